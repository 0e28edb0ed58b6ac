"""The BERT judge while it learns, as it is saved, and what unrelated captions score with it."""

import random
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from bert_score import BERTScorer

from coxlmm_utils.evaluation.bertscore import BASELINE_FILE, load_bert_judge
from coxlmm_utils.picturebook.captions import FACTS_BY_WORD, facts_in, references
from coxlmm_utils.picturebook.factors import factors_of
from data.picturebook.recipe import bert
from data.picturebook.recipe.bert import BertLearner, measure_baseline, share_true_above_false
from data.picturebook.recipe.judge_texts import LONGEST, make_judge_tokenizer
from tests.recipe.taught import teach

PAGES = [factors_of(number) for number in range(64)]
TEXTS = [references(number)[0] for number in range(5)]


@pytest.fixture(scope="module")
def learner():
    """A learner that has read one batch over and over, with its `losses`."""
    torch.manual_seed(0)
    return teach(BertLearner(make_judge_tokenizer()).train(), None, PAGES[:8], steps=20)


@pytest.fixture(scope="module")
def folder(learner, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "words"
    learner.save(folder)
    return folder


@pytest.fixture
def read(learner, monkeypatch):
    """What the model is given in one loss of 64 pages: ids, attention mask and labels, (texts, length) each."""
    given = []

    def forward(ids, mask, labels):
        given.extend((ids, mask, labels))
        return SimpleNamespace(loss=torch.zeros(()))

    monkeypatch.setattr(learner.bert, "forward", forward)
    learner.loss(None, PAGES, random.Random(3))
    return given


def before_masking(ids, labels):
    """The texts as they were: (texts, length)."""
    return labels.where(labels != -100, ids)


# Learning


def test_the_loss_falls(learner):
    assert np.mean(learner.losses[-3:]) < 0.8 * np.mean(learner.losses[:3])


def test_only_content_words_are_masked_and_a_third_of_them(learner, read):
    ids, _, labels = read
    masked = labels != -100
    assert torch.equal(masked, ids == learner.tokenizer.mask_token_id)
    whole = learner.tokenizer.convert_ids_to_tokens(before_masking(ids, labels).flatten())
    telling = np.array([word in FACTS_BY_WORD for word in whole])
    chosen = masked.flatten().numpy()
    assert not chosen[~telling].any()  # no specials, no filling, no words such as "the"
    assert 0.31 < chosen[telling].mean() < 0.39


def test_labels_are_the_words_that_were_there(learner, read):
    ids, mask, labels = read
    whole = before_masking(ids, labels)
    mentioned = learner.tokenizer.batch_decode(whole, skip_special_tokens=True)
    again = learner.tokenizer(mentioned, padding=True, return_tensors="pt")
    assert torch.equal(again.input_ids, whole) and torch.equal(again.attention_mask, mask)
    assert all(facts_in(text) for text in mentioned)


def test_each_page_has_two_texts_that_are_true_of_it(learner, read):
    ids, _, labels = read
    mentioned = learner.tokenizer.batch_decode(before_masking(ids, labels), skip_special_tokens=True)
    for page, text in zip(PAGES, mentioned, strict=True):
        single, other = [facts_in(part) for part in text.split(" . ")]
        assert single and other and all(getattr(page, factor) == value for factor, value in single + other)
    assert sum(len(set(text.split(" . "))) == 2 for text in mentioned) > 60


@torch.no_grad()
def test_the_loss_is_of_the_masked_words_alone(learner, read, monkeypatch):
    ids, mask, labels = read
    monkeypatch.undo()
    logits = learner.bert(ids, mask).logits
    masked = labels != -100
    expected = torch.nn.functional.cross_entropy(logits[masked], labels[masked])
    assert learner.loss(None, PAGES, random.Random(3)).item() == pytest.approx(expected.item(), abs=1e-5)


@torch.no_grad()
def test_two_of_the_longest_texts_are_read_whole(learner):
    longest = "dog " * (LONGEST - 2)  # which with its ends is as long as a text may be
    ids, mask = learner._tokens([longest + ". " + longest])
    assert ids.shape == (1, 2 * LONGEST - 1)
    assert learner.bert(ids, mask).logits.shape == (1, 2 * LONGEST - 1, len(learner.tokenizer))


@torch.no_grad()
def test_order_says_nothing(learner):
    """Not even after it has learnt: the position embeddings stay zero."""
    vectors = [
        learner.bert.bert(*learner._tokens([text])).last_hidden_state[0]
        for text in ("a dog at night", "night at a dog")
    ]
    torch.testing.assert_close(vectors[0][[1, 2, 3, 4]], vectors[1][[3, 4, 2, 1]], rtol=0, atol=1e-5)


# Quality


def answering(learner, monkeypatch, answers):
    """Let the model answer by these token numbers, (texts, length) from the ids; returns all ids that it was given."""
    given = []

    def forward(ids, mask):
        given.append(ids)
        assert torch.equal(mask, (ids != learner.tokenizer.pad_token_id).long())
        return SimpleNamespace(logits=torch.nn.functional.one_hot(answers(ids), len(learner.tokenizer)).float())

    monkeypatch.setattr(learner.bert, "forward", forward)
    return given


def test_all_right_is_one(learner, monkeypatch):
    sentences = ["a brown dog running", "there is a white cat sleeping on the grass"]
    whole, mask_id = learner._tokens(sentences)[0], learner.tokenizer.mask_token_id

    def right(ids):
        return torch.stack([text for row in ids for text in whole if ((row == text) | (row == mask_id)).all()])

    given = answering(learner, monkeypatch, right)
    scores = learner.quality(None, sentences)
    assert scores == pytest.approx({"masked_word": 1, "masked_word_by_the_commonest": 1 / 7})
    (ids,) = given
    assert ((ids == mask_id).sum(dim=1) == 1).all()  # each word alone
    asked = learner.tokenizer.batch_decode(right(ids)[ids == mask_id][:, None])
    assert asked == "brown dog running white cat sleeping grass".split()


def test_always_the_commonest_word_is_as_good_as_the_commonest_word(learner, monkeypatch):
    dog = learner.tokenizer.vocab["dog"]
    answering(learner, monkeypatch, lambda ids: torch.full_like(ids, dog))
    scores = learner.quality(None, ["a brown dog", "a dog", "a dog sleeping"])
    assert scores == pytest.approx({"masked_word": 3 / 5, "masked_word_by_the_commonest": 3 / 5})
    answering(learner, monkeypatch, lambda ids: ids)  # the mask itself is no word
    assert learner.quality(None, ["a brown dog", "a dog"])["masked_word"] == 0


# Saving


@torch.no_grad()
def test_what_is_saved_gives_the_same_vectors(learner, folder):
    judge = load_bert_judge(folder, num_layers=2, rescale=False, device="cpu")
    tokens = judge.scorer._tokenizer(TEXTS, padding=True, return_tensors="pt")
    ids, mask = learner._tokens(TEXTS)
    assert torch.equal(tokens["input_ids"], ids)
    expected = learner.bert.bert(ids, mask, output_hidden_states=True).hidden_states[2]
    vectors = judge.scorer._model(tokens["input_ids"], tokens["attention_mask"])[0]
    torch.testing.assert_close(vectors, expected, rtol=0, atol=5e-3)  # weights are rounded to half precision
    assert expected.std() > 0.1


def test_a_saved_judge_scores_by_words_alone(folder):
    judge = load_bert_judge(folder, num_layers=1, rescale=False, device="cpu")
    same, other = judge.f1(["a brown dog", "a brown dog"], [["a brown dog"], ["at night in the snow"]])
    assert same == pytest.approx(1, abs=1e-5) and other < 0.95
    assert {judge.scorer._tokenizer.cls_token, judge.scorer._tokenizer.sep_token} == {"<bos>", "<eos>"}


def test_the_judge_is_saved_small_whole_and_for_all_to_read(learner, folder):
    assert {path.name for path in folder.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2e6
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    assert [path.name for path in folder.parent.iterdir()] == ["words"]
    assert {weight.dtype for weight in learner.parameters()} == {torch.float32}  # it can still learn


# The baseline


@pytest.fixture(scope="module")
def with_baseline(folder):
    """The saved judge, with the table of twelve pairs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bert, "BASELINE_PAIRS", 12)
        measure_baseline(folder, TEXTS, seed=7)
    return folder


def test_the_table_has_what_the_library_finds_for_each_layer(with_baseline):
    table = pd.read_csv(with_baseline / BASELINE_FILE)
    assert list(table.columns) == ["LAYER", "P", "R", "F"] and table["LAYER"].tolist() == [0, 1, 2]
    rng = random.Random(7)
    mentioned, other = zip(*[rng.sample(TEXTS, 2) for _ in range(12)])
    for layer in range(3):
        library = BERTScorer(str(with_baseline), num_layers=layer, device="cpu")
        expected = [scores.mean().item() for scores in library.score(list(mentioned), list(other))]
        assert table.loc[layer, ["P", "R", "F"]].tolist() == pytest.approx(expected, abs=2e-3)
    assert np.ptp(table["F"]) > 1e-3


def test_a_caption_is_never_paired_with_itself(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(bert, "BASELINE_PAIRS", 5)
    monkeypatch.setattr(bert, "BASELINE_FILE", tmp_path / "two.tsv")
    measure_baseline(folder, ["a brown dog", "at night in the snow"])
    judge = load_bert_judge(folder, num_layers=2, rescale=False, device="cpu")
    expected = judge.f1(["a brown dog"], [["at night in the snow"]])[0]
    assert pd.read_csv(tmp_path / "two.tsv")["F"][2] == pytest.approx(expected, abs=1e-5)


def test_rescaled_by_its_table_unrelated_captions_have_about_nothing(with_baseline):
    table = with_baseline / BASELINE_FILE
    judge = load_bert_judge(with_baseline, num_layers=2, baseline_path=table, device="cpu")
    pairs = [(mentioned, other) for mentioned in TEXTS for other in TEXTS if mentioned != other]
    scores = judge.f1([mentioned for mentioned, _ in pairs], [[other] for _, other in pairs])
    assert judge.rescaled and abs(scores.mean()) < 0.2
    assert judge.f1(TEXTS[:1], [TEXTS[:1]]) == pytest.approx([1], abs=1e-5)


# True words and false ones


class Judge:
    """Stands in for a judge: scores each list by a rule."""

    def __init__(self, rule):
        self.rule = rule

    def f1(self, candidates, references):
        return np.array([self.rule(*pair) for pair in zip(candidates, references, strict=True)], dtype=float)


def share_of_facts(words, references):
    """How many of the words are true, by the facts that the references state."""
    stated = {fact for text in references for fact in facts_in(text)}
    return np.mean([FACTS_BY_WORD[word] in stated for word in words.split(", ")])


def test_a_judge_that_knows_the_facts_tells_true_from_false():
    share = share_true_above_false(Judge(share_of_facts), PAGES)
    assert 0.75 < share < 1  # lists of nothing but the kind are true of both pages
    assert share_true_above_false(Judge(lambda *pair: -share_of_facts(*pair)), PAGES) == pytest.approx(1 - share)


def test_a_judge_that_sees_no_difference_is_at_chance():
    assert share_true_above_false(Judge(lambda words, references: 1), PAGES) == 0.5
