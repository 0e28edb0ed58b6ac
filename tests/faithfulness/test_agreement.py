"""Agreement of words and pictures: by hand with made-up judges, and once with the bundled model."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.concepts.grounding import Words, ground_pictures
from coxlmm_utils.dictionaries.baselines import PCA
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.evaluation.clipscore import load_clip_judge
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.faithfulness.agreement import agreement, agreement_over
from coxlmm_utils.faithfulness.word_scorers import ClipWords, ReferenceWords, candidate_words
from coxlmm_utils.images.captioned_images import CaptionedImages
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.loading import load_lmm

word_agreement = import_module("coxlmm_utils.faithfulness.agreement")  # its room has a function of that name

WORDS = ["snow", "hill", "grass", "lawn", "dog"]
OWN = [("snow", "hill"), ("Grass",), ("dog",)]
SCORES = np.array([[0.9, 0.7, 0.1, 0.0, 0.5], [0.0, 0.1, 0.7, 0.9, 0.5], [0.0, 0.1, 0.2, 0.9, 0.5]])


def bank_of(words=OWN, activations=None, n_pictures: int = 2, concepts=None) -> SimpleNamespace:
    """A bank of pictures p0, p1, ...; by default each concept is active on two of them."""
    activations = np.repeat(np.eye(len(words)), 2, axis=0) if activations is None else np.array(activations, float)
    return SimpleNamespace(
        activations=activations,  # (samples, concepts)
        top=ground_pictures(activations, n_pictures),
        ids=[f"p{row}" for row in range(len(activations))],
        words=[Words(tuple(mine), ()) for mine in words],
        concepts=np.eye(len(words)) if concepts is None else np.array(concepts, float),
    )


def judge_of(scores=SCORES, words=WORDS) -> SimpleNamespace:
    return SimpleNamespace(words=words, scores=lambda bank: np.array(scores, float))


def said(*references: tuple[str, ...]) -> CaptionedImages:
    ids = tuple(f"p{row}" for row in range(len(references)))
    return CaptionedImages("", "all", ids, references, {}.__getitem__)


def test_ranks_and_shares_by_hand():
    found = agreement(bank_of(), judge_of(), n_nearest=2)
    table = found.concepts
    assert table["rank"].tolist() == pytest.approx([(1 + 0.75) / 2, 0.75, 0.75])
    # of concept 0's pictures grass has 0.25 and dog 0.5; of 1's snow 0, hill 0.25, dog 0.5; of 2's grass 0.5
    assert table["rank_others"].tolist() == pytest.approx([0.375, (0.125 + 0.5) / 2, (0.125 + 0.5) / 2])
    assert table["rank_beyond"].tolist() == pytest.approx([0.5, 0.4375, 0.4375])
    assert table["above"].tolist() == [1, 1, 1]
    assert table["shared"].tolist() == [1, 1, 1]
    assert table["shared_others"].tolist() == table["shared_beyond"].sub(1).abs().tolist() == [0, 0, 0]
    assert found.shared_chance == 0.4 and found.n_unjudged == 0
    assert table["words"].tolist() == OWN
    assert table["nearest"].tolist() == [("snow", "hill"), ("lawn",), ("lawn",)]


def test_means_are_over_concepts_with_their_intervals():
    found = agreement(bank_of(), judge_of())
    for name in found.concepts.columns[2:-1]:
        mean = getattr(found, name)
        assert mean.value == pytest.approx(found.concepts[name].mean()) and mean.n == 3
    assert found.rank_beyond.low < found.rank_beyond.value < found.rank_beyond.high
    wide, narrow = (agreement(bank_of(), judge_of(), level=level).rank_beyond for level in (0.9, 0.2))
    assert wide.high - wide.low > narrow.high - narrow.low


def test_half_of_other_words_shared():
    found = agreement(bank_of(), judge_of(), n_nearest=3)
    assert found.concepts["shared_others"].tolist() == pytest.approx([0.5, 0.5, 0.5])  # dog, dog, and grass
    assert found.concepts["shared_beyond"].tolist() == pytest.approx([0.5, 0.5, 0.5])


def test_each_other_concept_counts_once_however_many_words_it_has():
    table = agreement(bank_of([("dog",), ("snow", "hill", "lawn", "grass"), ("snow",)]), judge_of()).concepts
    assert table.loc[0, "rank_others"] == pytest.approx(((1 + 0.75 + 0 + 0.25) / 4 + 1) / 2)


def test_equal_scores_share_a_place():
    found = agreement(bank_of(), judge_of(np.zeros((3, 5))), n_nearest=2)
    assert found.concepts["rank"].tolist() == found.concepts["rank_others"].tolist() == [0.5] * 3
    assert found.concepts["shared"].tolist() == pytest.approx([0.4] * 3) and found.shared_chance == 0.4
    assert found.rank_beyond.value == 0 and found.p == 1
    some = agreement(bank_of(), judge_of([[1, 0, 0, 0, 0]] * 3), n_nearest=2)  # one place left for four equals
    assert some.concepts["shared"].tolist() == pytest.approx([(1 + 0.25) / 2, 0.25, 0.25])
    assert some.concepts["rank"].tolist() == pytest.approx([(1 + 0.375) / 2, 0.375, 0.375])


def test_more_nearest_than_words_share_everything():
    found = agreement(bank_of(), judge_of(), n_nearest=9)
    assert found.shared.value == found.shared_others.value == found.shared_chance == 1


def test_random_words_are_at_half():
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(50)]
    bank = bank_of([rng.choice(words, 5, replace=False) for _ in range(200)])
    found = agreement(bank, judge_of(rng.standard_normal((200, 50)), words), n_nearest=10)
    assert found.rank.value == pytest.approx(0.5, abs=0.02) and found.rank_others.value == pytest.approx(0.5, abs=0.01)
    assert found.shared.value == pytest.approx(found.shared_chance, abs=0.03) and found.p > 0.01


def test_p_is_the_share_of_dealings_that_agree_as_much(monkeypatch):
    monkeypatch.setattr(word_agreement, "PERMUTATIONS", 4000)
    scores = np.random.default_rng(3).standard_normal((4, 5))
    bank = bank_of([("snow",), ("grass",), ("lawn",), ("dog",)])
    ranks = scores.argsort(axis=1).argsort(axis=1)[:, [0, 2, 3, 4]]  # of each concept's word in each ranking
    dealt = [sum(ranks[k, words[k]] for k in range(4)) for words in permutations(range(4))]
    expected = np.mean(np.array(dealt) >= dealt[0])
    assert 0.05 < expected < 0.95 and agreement(bank, judge_of(scores)).p == pytest.approx(expected, abs=0.03)


def test_concepts_without_words_or_pictures_are_counted_and_in_nobodys_others():
    words = [*OWN, (), ("lawn",)]
    scores = np.vstack([SCORES, SCORES[0], np.full(5, np.nan)])
    found = agreement(bank_of(words), judge_of(scores))
    assert found.n_unjudged == 2 and found.rank.n == 3 and found.rank.n_missing == 2
    assert found.concepts.index.tolist() == [0, 1, 2, 3, 4]
    assert found.concepts.iloc[3:, 2:].isna().all(axis=None)
    assert found.concepts["nearest"].tolist()[3:] == [(), ()]
    pd.testing.assert_frame_equal(found.concepts.iloc[:3], agreement(bank_of(), judge_of()).concepts)
    assert str(found).endswith("; 2 concepts not judged")
    assert "not judged" not in str(agreement(bank_of(), judge_of()))


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(ValueError, match="^1 of 3 concepts have both words and pictures.*: give a bank"):
        agreement(bank_of([("snow",), (), ("dog",)]), judge_of(np.vstack([SCORES[:2], np.full(5, np.nan)])))
    with pytest.raises(ValueError, match="the word 'sea' of concept 1 is not among the judge's 5 words: make"):
        agreement(bank_of([("snow",), ("dog", "sea")]), judge_of())


def test_over_banks_and_judges_every_agreement_is_a_row():
    banks = {"one": bank_of(), "two": bank_of([*OWN[:2], ()])}
    judges = {"clear": judge_of(), "flat": judge_of(np.zeros((3, 5)))}
    table, repeats = agreement_over(banks, judges, n_nearest=2)
    assert table[["bank", "judge"]].to_numpy().tolist() == [[b, j] for b in banks for j in judges]
    assert table["n"].tolist() == [3, 3, 2, 2] and table["n_unjudged"].tolist() == [0, 0, 1, 1]
    alone = agreement(banks["one"], judges["clear"], n_nearest=2)
    first = table.iloc[0]
    for name in ("rank", "rank_others", "rank_beyond", "shared", "shared_others", "shared_beyond"):
        mean = getattr(alone, name)
        assert first[[name, f"{name}_low", f"{name}_high"]].tolist() == [mean.value, mean.low, mean.high]
    assert (first["shared_chance"], first["p"]) == (alone.shared_chance, alone.p)
    pairs = repeats.iloc[:, :4].to_numpy().tolist()
    assert pairs == [
        ["one", "clear", "one", "flat"],
        ["one", "clear", "two", "clear"],
        ["one", "flat", "two", "flat"],
        ["two", "clear", "two", "flat"],
    ]
    assert repeats["n"].tolist() == [3, 2, 2, 2] and repeats["correlation"].isna().all()


def judge_by_bank(**beyond) -> SimpleNamespace:
    """Puts each concept's own word, w0 to w3, at a place of its ranking that is given for each bank."""
    words = [f"w{number}" for number in range(4)] + [f"other{number}" for number in range(20)]

    def scores(bank) -> np.ndarray:
        table = np.zeros((4, 24))
        table[:, 4:] = np.arange(20)
        table[range(4), [int(mine.kept[0][1:]) for mine in bank.words]] = np.array(beyond[bank.name]) + 0.5
        return table

    return SimpleNamespace(words=words, scores=scores)


def test_concepts_of_two_banks_are_matched_before_they_are_compared():
    names = [("w0",), ("w1",), ("w2",), ("w3",)]
    turn, tilted = [2, 0, 3, 1], np.eye(4) * 3
    tilted[0, 3] = 4  # its cosine with its partner is 0.6
    one, other = bank_of(names), bank_of(names, concepts=tilted[turn])
    one.name, other.name = "one", "other"
    places = np.array([2, 9, 13, 6])
    judge, opposite = judge_by_bank(one=places, other=places[turn]), judge_by_bank(one=-places + 15, other=places)
    _, repeats = agreement_over({"one": one, "other": other}, {"a": judge, "b": opposite})
    repeats = repeats.set_index(["bank", "judge", "other_bank", "other_judge"])
    same = repeats.loc["one", "a", "other", "a"]
    assert same["n"] == 4 and same["correlation"] == pytest.approx(1) and same["cosine"] == pytest.approx(3.6 / 4)
    assert repeats.loc["one", "a", "one", "b"].tolist() == pytest.approx([4, 1, -1])


def test_within_a_bank_each_concept_is_its_own_partner():
    bank = bank_of(concepts=[[1, 0], [0, 0], [1, 0]])  # by cosine any of them would do
    _, repeats = agreement_over({"one": bank}, {"a": judge_of(), "b": judge_of()})
    assert repeats.iloc[0, 4:].tolist() == pytest.approx([3, 1, 1])


def test_a_bank_with_more_concepts_leaves_some_without_a_partner():
    few, many = bank_of(OWN), bank_of([*OWN, ("lawn",)])
    few.concepts = np.eye(4)[:3]
    judge = SimpleNamespace(words=WORDS, scores=lambda bank: np.vstack([SCORES, SCORES[:1]])[: len(bank.words)])
    _, repeats = agreement_over({"many": many, "few": few}, {"a": judge})
    assert repeats["n"].tolist() == [3] and repeats["cosine"].tolist() == [1]
    _, repeats = agreement_over({"few": few, "many": many}, {"a": judge})
    assert repeats["n"].tolist() == [3]


def test_banks_of_other_widths_and_lone_banks():
    wide = bank_of(concepts=np.eye(3, 7))
    with pytest.raises(ValueError, match=r"different widths, {'one': 3, 'two': 7}: give banks of one model and layer"):
        agreement_over({"one": bank_of(), "two": wide}, {"a": judge_of()})
    table, repeats = agreement_over({"one": bank_of()}, {"a": judge_of()})
    assert len(table) == 1 and len(repeats) == 0 and "correlation" in repeats


@pytest.fixture(scope="module")
def book():
    lmm = load_lmm("picturebook")
    states = extract(lmm, load_images("picturebook").mentioning("dog")[:150], "dog", 4, "own", cache=False)
    words = candidate_words(lmm)
    judges = {
        "CLIP": ClipWords(states.images, load_clip_judge("picturebook"), words),
        "references": ReferenceWords(states.images, words),
    }
    return lmm, states, judges


def test_on_the_picture_book_pictures_and_words_agree(book):
    lmm, states, judges = book
    bank = ConceptBank.learn(lmm, states, SemiNMF(8, verbose=False))
    mixed = replace(bank, words=bank.words[1:] + bank.words[:1])
    for judge in judges.values():
        found = agreement(bank, judge)
        assert found.rank_beyond.low > 0 and found.p < 0.05 and found.n_unjudged == 0
        assert found.rank.value > agreement(mixed, judge).rank.value
    rows = bank.top[0][bank.activations[bank.top[0], 0] > 0]
    clip = load_clip_judge("picturebook")
    vectors = clip.encode_pictures([states.images.picture(row) for row in range(len(states))])
    (text,) = clip.encode_texts(["A photo is described by the words snow."])
    column = judges["CLIP"].words.index("snow")
    by_hand = (vectors[rows] @ text).mean() - (vectors @ text).mean()
    assert judges["CLIP"].scores(bank)[0, column] == pytest.approx(by_hand.item(), abs=1e-5)


def test_signed_concepts_are_judged_where_they_are_positive(book):
    lmm, states, judges = book
    bank = ConceptBank.learn(lmm, states, PCA(8))
    assert (bank.activations < 0).any()
    one_way = np.where(np.arange(8) < 2, -np.abs(bank.activations), bank.activations)
    table, _ = agreement_over({"as found": bank, "two negative": replace(bank, activations=one_way)}, judges)
    assert table["n_unjudged"].tolist() == [0, 0, 2, 2]
