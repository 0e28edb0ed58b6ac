"""The BERTScore judge, on a tiny BERT and a tiny RoBERTa made here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from bert_score import BERTScorer
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    BertModel,
    BertTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizer,
)

from coxlmm_utils.evaluation.bertscore import BertJudge, _match, load_bert_judge

WORDS = "a an on in the dog cat bird bus brown red small large runs sits sleeps street park snow night".split()
PLACES = 24  # the longest text, in tokens
SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
CANDIDATES = ["a brown dog", "red bus on the street", "snow"]
REFERENCES = [
    ["a dog runs in the park", "a small brown dog"],
    ["a bus in the snow"],
    ["a cat", "snow on the park", "a"],
]


def save(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A model with much livelier weights, so that scores differ."""
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            torch.nn.init.normal_(weight, std=0.5 if "embeddings" not in name else 1.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_bert(folder: Path, **named) -> Path:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(special + WORDS)}, **named)
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=PLACES, **SIZES)
    return save(folder, BertModel(config), tokenizer)


def tiny_roberta(folder: Path, **named) -> Path:
    """Its tokenizer has pieces with and without the space before them."""
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=letters, special_tokens=special, show_progress=False)
    pieces.train_from_iterator([" ".join(WORDS), *WORDS] * 3, trainer)
    learned = json.loads(pieces.to_str())["model"]
    tokenizer = RobertaTokenizer(vocab=learned["vocab"], merges=[tuple(pair) for pair in learned["merges"]], **named)
    config = RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=PLACES + 2, **SIZES)
    return save(folder, RobertaModel(config), tokenizer)


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def roberta(tmp_path_factory) -> Path:
    return tiny_roberta(tmp_path_factory.mktemp("roberta"))


def load(folder: Path, **options) -> BertJudge:
    return load_bert_judge(folder, **{"num_layers": 2, "rescale": False, "device": "cpu"} | options)


@pytest.fixture(scope="module")
def judge(bert) -> BertJudge:
    return load(bert)


def f1_by_hand(scorer: BERTScorer, candidate: str, reference: str) -> float:
    """Greedy matching of the words' vectors, written out; the special tokens are matched, but do not count."""

    def vectors(text):
        tokens = scorer._tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            result = scorer._model(**tokens).last_hidden_state[0]
        return torch.nn.functional.normalize(result, dim=-1)

    similar = vectors(candidate) @ vectors(reference).T
    precision, recall = similar.max(dim=1).values[1:-1].mean(), similar.max(dim=0).values[1:-1].mean()
    return (2 * precision * recall / (precision + recall)).item()


# Scores


def test_equal_to_the_library_called_by_hand(tmp_path):
    library = BERTScorer(str(tiny_bert(tmp_path, model_max_length=PLACES)), num_layers=2, device="cpu")
    expected = library.score(CANDIDATES, REFERENCES)[2]
    result = load(tmp_path).f1(CANDIDATES, REFERENCES)
    assert result.shape == (3,) and np.ptp(result) > 0.01
    assert result == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_best_of_the_references_by_hand(request, family):
    judge = load(request.getfixturevalue(family))
    expected = [
        max(f1_by_hand(judge.scorer, candidate, text) for text in texts)
        for candidate, texts in zip(CANDIDATES, REFERENCES)
    ]
    assert judge.f1(CANDIDATES, REFERENCES) == pytest.approx(expected, abs=1e-5)


def test_the_same_text_scores_one(judge):
    assert judge.f1(["a red bus"], [["snow", "a red bus"]]) == pytest.approx([1])


def test_fewer_layers_score_differently(bert, judge):
    assert abs(load(bert, num_layers=1).f1(CANDIDATES, REFERENCES) - judge.f1(CANDIDATES, REFERENCES)).max() > 1e-3


def test_neither_order_nor_company_matters(judge):
    together = judge.f1(CANDIDATES, REFERENCES)
    assert judge.f1(CANDIDATES[::-1], REFERENCES[::-1])[::-1] == pytest.approx(together, abs=1e-5)
    alone = [judge.f1([text], [texts])[0] for text, texts in zip(CANDIDATES, REFERENCES)]
    assert alone == pytest.approx(together, abs=1e-5)
    many = judge.f1(CANDIDATES * 30, REFERENCES * 30)  # more than one batch
    assert many == pytest.approx(np.tile(together, 30), abs=1e-5)


def test_matching_by_hand():
    """A candidate of two words against a reference of one, and of two of which the second does not count."""
    east, north = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    both = np.stack([east, north]), np.array([0.5, 0.5])
    one, first_counts = (north[None], np.ones(1)), (np.stack([east, -north]), np.array([1.0, 0.0]))
    precision, recall, f1 = _match([both], [one, first_counts])[:, 0]
    assert precision.tolist() == [0.5, 0.5] and recall.tolist() == [1, 1] and f1 == pytest.approx([2 / 3, 2 / 3])


def test_padding_is_no_word():
    """A word unlike the only other one has its own cosine, -1, whatever longer text is with it; the library says 0."""
    word, opposite = (np.array([[1.0, 0.0]]), np.ones(1)), (np.array([[-1.0, 0.0]]), np.ones(1))
    longer = np.array([[0.0, 1.0]] * 3), np.full(3, 1 / 3)
    assert _match([word, longer], [opposite, longer])[:2, 0, 0].tolist() == [-1, -1]
    assert _match([word], [opposite])[:2, 0, 0].tolist() == [-1, -1]


def test_no_text_is_no_number(judge):
    result = judge.f1(["", "snow", " ", "snow", "snow"], [["snow"], [], ["snow"], ["", "snow"], ["", "  "]])
    assert np.isnan(result).tolist() == [True, True, True, False, True]
    assert result[3] == pytest.approx(1)
    assert judge.f1([], []).shape == (0,)


def test_references_may_be_tuples(judge):
    result = judge.f1(tuple(CANDIDATES), tuple(tuple(texts) for texts in REFERENCES))
    assert result == pytest.approx(judge.f1(CANDIDATES, REFERENCES))


def test_references_that_are_not_a_list_for_each_are_refused(judge):
    with pytest.raises(ValueError, match="2 candidates have 1 lists of references"):
        judge.f1(["snow", "bus"], [["snow"]])
    with pytest.raises(ValueError, match="are a string: give a list"):
        judge.f1(["snow"], ["snow"])


# The library's faults


def test_first_word_of_a_roberta_has_its_space(roberta):
    tokenizer = load(roberta).scorer._tokenizer
    tokens = tokenizer.convert_ids_to_tokens(tokenizer.encode("brown, dog"))
    assert tokens == ["<s>", "Ġbrown", ",", "Ġdog", "</s>"]


def test_a_word_is_the_same_first_and_later(tmp_path):
    """The library as it is reads "brown" and " brown" as two different words."""
    folder = tiny_roberta(tmp_path, model_max_length=PLACES)
    library = BERTScorer(str(folder), num_layers=0, device="cpu").score(["dog brown"], ["brown dog"])[2]
    assert load(folder, num_layers=0).f1(["dog brown"], [["brown dog"]])[0] > library.item() + 0.01


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_tokenizer_without_a_greatest_length(request, family):
    judge = load(request.getfixturevalue(family))
    assert judge.scorer._tokenizer.model_max_length == PLACES
    long = "dog " * 50
    assert judge.f1([long + "cat"], [[long + "bus"]]) == pytest.approx([1])  # cut before they differ


def test_a_shorter_greatest_length_is_kept(tmp_path):
    assert load(tiny_bert(tmp_path, model_max_length=9)).scorer._tokenizer.model_max_length == 9


# Loading


def test_judge_says_what_it_is(bert, judge):
    assert (judge.name, judge.num_layers, judge.rescaled) == (str(bert), 2, False)


def test_rescaled_by_a_baseline_of_ones_own(bert, judge, tmp_path):
    baseline = tmp_path / "baseline.tsv"
    baseline.write_text("LAYER,P,R,F\n0,0,0,0\n1,0.1,0.1,0.1\n2,0.2,0.3,0.4\n")
    rescaled = load(bert, rescale=True, baseline_path=baseline)
    raw = judge.f1(CANDIDATES, REFERENCES)
    assert rescaled.rescaled
    assert rescaled.f1(CANDIDATES, REFERENCES) == pytest.approx((raw - 0.4) / 0.6, abs=1e-5)


def test_a_baseline_that_is_missing_or_too_short_is_refused(bert, tmp_path):
    with pytest.raises(ValueError, match="no baseline for layer 2.*give baseline_path, or rescale=False"):
        load(bert, rescale=True)
    short = tmp_path / "short.tsv"
    short.write_text("LAYER,P,R,F\n0,0,0,0\n1,0.1,0.1,0.1\n")
    with pytest.raises(ValueError, match="no baseline for layer 2"):
        load(bert, rescale=True, baseline_path=short)


def test_a_folder_needs_the_number_of_layers(bert):
    with pytest.raises(ValueError, match="give num_layers"):
        load(bert, num_layers=None)


def test_more_layers_than_there_are_are_refused(bert):
    with pytest.raises(ValueError, match="num_layers=3 is not a layer of the judge.*between 0 and 2"):
        load(bert, num_layers=3)


@pytest.mark.parametrize("loader", [AutoConfig, AutoModel])
def test_a_judge_that_cannot_be_downloaded_is_named(bert, monkeypatch, loader):
    def fail(*args, **options):
        raise OSError("no network")

    monkeypatch.setattr(loader, "from_pretrained", fail)
    with pytest.raises(OSError, match="cannot be loaded .no network.*give a folder .* as `bert`"):
        load(bert)


def test_the_default_is_named_if_it_cannot_be_downloaded(monkeypatch):
    def fail(*args, **options):
        raise OSError("no network")

    monkeypatch.setattr(AutoConfig, "from_pretrained", fail)
    with pytest.raises(OSError, match='judge "roberta-large" cannot be loaded .no network'):
        load_bert_judge(device="cpu")


def test_a_path_that_the_library_takes_for_another_model_is_refused(tmp_path):
    folder = tmp_path / "best5"
    folder.mkdir()
    with pytest.raises(ValueError, match='any path with "t5" in it for a T5 model: move or rename'):
        load(tiny_bert(folder))
