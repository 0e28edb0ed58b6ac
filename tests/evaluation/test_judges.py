"""What is said of pictures, as tiny judges see it; expected scores are those of open_clip and bert_score by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bert_score import BERTScorer
from safetensors.torch import load_file, save_file

from coxlmm_utils.evaluation import judges as judging
from coxlmm_utils.evaluation.bertscore import BertJudge, load_bert_judge
from coxlmm_utils.evaluation.clipscore import ClipJudge, load_clip_judge, words_as_text
from coxlmm_utils.evaluation.judges import PictureScorer
from tests.conftest import in_memory
from tests.evaluation.test_bertscore import PLACES, tiny_bert
from tests.evaluation.test_clipscore import WEIGHTS, by_hand, tiny_clip

REFERENCES = [
    ("a brown dog", "a dog runs in the park", "  "),
    ("a red bus in the snow",),
    (),
    ("snow", "a small cat", "a bird on the street"),
    ("", " "),
]
SAID = [(0, ("dog", "brown")), (1, ("bus", "snow")), (3, ("cat",)), (3, ("street", "red", "night")), (0, ("snow",))]
ROWS, WORDS = zip(*SAID)


def tiny_judges(folder) -> tuple[ClipJudge, BertJudge]:
    """A random CLIP, whose words and attention weigh more, so that scores differ, and a random BERT, in a folder."""
    (folder / "clip").mkdir()
    weights = tiny_clip(folder / "clip") / WEIGHTS
    values = load_file(weights)
    values["token_embedding.weight"] *= 20
    for name in values:
        values[name] *= 3 if "in_proj_weight" in name else 1
    save_file(values, weights)
    clip = load_clip_judge(weights.parent, device="cpu")
    bert = tiny_bert(folder / "bert", model_max_length=PLACES)
    return clip, load_bert_judge(bert, num_layers=2, rescale=False, device="cpu")


def clip_by_hand(clip: ClipJudge, picture, text: str) -> float:
    """2.5 * max(cos, 0) of one picture and one text."""
    return 2.5 * max(by_hand(clip.name, picture, text), 0)


def bert_by_hand(bert: BertJudge, text: str, references: tuple[str, ...]) -> float:
    """F1 of one text."""
    library = BERTScorer(bert.name, num_layers=2, device="cpu")
    return library.score([text], [[single for single in references if single.strip()]])[2].item()


@pytest.fixture(scope="module")
def judges(tmp_path_factory):
    return tiny_judges(tmp_path_factory.mktemp("judges"))


@pytest.fixture(scope="module")
def judged(judges, pictures) -> PictureScorer:
    return PictureScorer(in_memory(pictures[:5], REFERENCES), *judges)


def test_clip_scores_are_those_of_open_clip_by_hand(judged, judges, pictures):
    expected = [clip_by_hand(judges[0], pictures[row], words_as_text(words)) for row, words in SAID]
    assert judged.clip_scores(ROWS, WORDS) == pytest.approx(expected, abs=1e-5)
    assert len(judged) == 5 and np.ptp(expected) > 0.01


def test_bert_scores_are_those_of_the_library_on_a_comma_list(judged, judges):
    expected = [bert_by_hand(judges[1], ", ".join(words), REFERENCES[row]) for row, words in SAID]
    assert judged.bert_scores(ROWS, WORDS) == pytest.approx(expected, abs=1e-5)
    assert np.ptp(expected) > 0.01


def test_no_words_are_the_bare_prefix_and_zero(judged, judges, pictures):
    expected = clip_by_hand(judges[0], pictures[1], "A photo is described by the words .")
    assert judged.clip_scores([1], [()]) == pytest.approx([expected], abs=1e-5)
    assert judged.bert_scores([1, 1], [(), ("bus",)])[0] == 0 != judged.bert_scores([1], [("bus",)])[0]


def test_no_reference_is_no_bertscore_whatever_is_said(judged):
    result = judged.bert_scores([2, 2, 4, 1, 4], [("dog",), (), (), (), ("dog",)])
    assert np.isnan(result).tolist() == [True, True, True, False, True]
    assert np.isfinite(judged.clip_scores([2, 4], [("dog",), ()])).all()


def test_nothing_said(judged):
    assert judged.clip_scores([], []).shape == judged.bert_scores([], []).shape == (0,)


# GT-captions


def test_clip_of_references_is_their_mean(judged, judges, pictures):
    result = judged.clip_of_references()
    expected = [
        np.mean([clip_by_hand(judges[0], pictures[row], text) for text in texts if text.strip()])
        for row, texts in ((0, REFERENCES[0]), (1, REFERENCES[1]), (3, REFERENCES[3]))
    ]
    assert result[[0, 1, 3]] == pytest.approx(expected, abs=1e-5)
    assert result.shape == (5,) and np.isnan(result[[2, 4]]).all()


def test_bert_of_references_leaves_each_out_in_turn(judged, judges):
    result = judged.bert_of_references()
    first, second, third = REFERENCES[3]
    by_turns = [(first, (second, third)), (second, (first, third)), (third, (first, second))]
    assert result[3] == pytest.approx(np.mean([bert_by_hand(judges[1], *turn) for turn in by_turns]), abs=1e-5)
    first, second, _ = REFERENCES[0]
    by_turns = [(first, (second,)), (second, (first,))]
    assert result[0] == pytest.approx(np.mean([bert_by_hand(judges[1], *turn) for turn in by_turns]), abs=1e-5)
    assert result.shape == (5,) and np.isnan(result[[1, 2, 4]]).all()  # of one reference there is no other


def test_the_same_reference_twice_is_left_out_once(judges, pictures):
    judged = PictureScorer(in_memory(pictures[:1], [("a dog", "a dog")]), *judges)
    assert judged.bert_of_references() == pytest.approx([1])


def test_no_references_at_all(judges, pictures):
    judged = PictureScorer(in_memory(pictures[:2], ()), *judges)
    for result in (judged.clip_of_references(), judged.bert_of_references()):
        assert result.shape == (2,) and np.isnan(result).all()


# Order, batches, and how often


def test_neither_order_nor_batch_size_matters(judged, judges, pictures, monkeypatch):
    monkeypatch.setattr(judging, "BATCH_SIZE", 2)
    monkeypatch.setattr("coxlmm_utils.evaluation.clipscore.TEXT_BATCH_SIZE", 2)
    turned = PictureScorer(in_memory(pictures[4::-1], REFERENCES[::-1]), *judges)
    torch.testing.assert_close(turned.vectors.flip(0), judged.vectors, rtol=0, atol=1e-5)
    rows = [4 - row for row in ROWS]
    assert turned.clip_scores(rows[::-1], WORDS[::-1])[::-1] == pytest.approx(judged.clip_scores(ROWS, WORDS), abs=1e-5)
    assert turned.bert_scores(rows[::-1], WORDS[::-1])[::-1] == pytest.approx(judged.bert_scores(ROWS, WORDS), abs=1e-5)
    for result, expected in (
        (turned.clip_of_references(), judged.clip_of_references()),
        (turned.bert_of_references(), judged.bert_of_references()),
    ):
        assert result[::-1] == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_each_picture_is_opened_and_encoded_once(judges, pictures, monkeypatch):
    clip, bert = judges
    opened, encoded = [], []
    images, encode = in_memory(pictures[:5], REFERENCES), clip.model.encode_image
    monkeypatch.setattr(judging, "BATCH_SIZE", 2)
    monkeypatch.setattr(clip.model, "encode_image", lambda batch: encoded.append(len(batch)) or encode(batch))
    object.__setattr__(images, "open", lambda id, open=images.open: opened.append(id) or open(id))
    judged = PictureScorer(images, clip, bert)
    judged.clip_scores([0, 0, 3, 3], [("dog",), ("cat",), ("dog",), ("dog",)])
    judged.clip_of_references()
    assert encoded == [2, 2, 1] and opened == list(images.ids)


def test_what_is_said_again_is_judged_once(judged, monkeypatch):
    texts, pairs = [], []
    encode, match = judged.clip.model.encode_text, BertJudge.match
    monkeypatch.setattr(judged.clip.model, "encode_text", lambda tokens: texts.append(len(tokens)) or encode(tokens))
    monkeypatch.setattr(BertJudge, "match", lambda bert, *asked: pairs.extend(asked[0]) or match(bert, *asked))
    rows, words = [3, 3, 0, 3, 0], [("dog",), ("dog",), ("dog",), ("cat",), ("dog",)]
    clip, bert = judged.clip_scores(rows, words), judged.bert_scores(rows, words)
    assert sum(texts) == 2 and pairs == ["dog", "dog", "cat"]
    for scores in (clip, bert):
        assert scores[0] == scores[1] and scores[2] == scores[4] and len({*scores.round(6)}) == 3
