"""Agreement of words and pictures: by hand with made-up scorers, and once with the bundled model."""

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
        words=[Words(tuple(own), ()) for own in words],
        concepts=np.eye(len(words)) if concepts is None else np.array(concepts, float),
    )


def scorer_of(scores=SCORES, words=WORDS) -> SimpleNamespace:
    return SimpleNamespace(words=words, scores=lambda bank: np.array(scores, float))


def mentioned(*references: tuple[str, ...]) -> CaptionedImages:
    ids = tuple(f"p{row}" for row in range(len(references)))
    return CaptionedImages("", "all", ids, references, {}.__getitem__)


def test_ranks_and_shares_by_hand():
    result = agreement(bank_of(), scorer_of(), n_nearest=2)
    table = result.concepts
    assert table["rank"].tolist() == pytest.approx([(1 + 0.75) / 2, 0.75, 0.75])
    # of concept 0's pictures grass has 0.25 and dog 0.5; of 1's snow 0, hill 0.25, dog 0.5; of 2's grass 0.5
    assert table["rank_others"].tolist() == pytest.approx([0.375, (0.125 + 0.5) / 2, (0.125 + 0.5) / 2])
    assert table["rank_margin"].tolist() == pytest.approx([0.5, 0.4375, 0.4375])
    assert table["above"].tolist() == [1, 1, 1]
    assert table["shared"].tolist() == [1, 1, 1]
    assert table["shared_others"].tolist() == table["shared_margin"].sub(1).abs().tolist() == [0, 0, 0]
    assert result.shared_chance == 0.4 and result.n_excluded == 0
    assert table["words"].tolist() == OWN
    assert table["nearest"].tolist() == [("snow", "hill"), ("lawn",), ("lawn",)]


def test_means_are_over_concepts_with_their_intervals():
    result = agreement(bank_of(), scorer_of())
    for name in result.concepts.columns[2:-1]:
        mean = getattr(result, name)
        assert mean.value == pytest.approx(result.concepts[name].mean()) and mean.n == 3
    assert result.rank_margin.low < result.rank_margin.value < result.rank_margin.high
    wide, narrow = (agreement(bank_of(), scorer_of(), level=level).rank_margin for level in (0.9, 0.2))
    assert wide.high - wide.low > narrow.high - narrow.low


def test_half_of_other_words_shared():
    result = agreement(bank_of(), scorer_of(), n_nearest=3)
    assert result.concepts["shared_others"].tolist() == pytest.approx([0.5, 0.5, 0.5])  # dog, dog, and grass
    assert result.concepts["shared_margin"].tolist() == pytest.approx([0.5, 0.5, 0.5])


def test_each_other_concept_counts_once_however_many_words_it_has():
    table = agreement(bank_of([("dog",), ("snow", "hill", "lawn", "grass"), ("snow",)]), scorer_of()).concepts
    assert table.loc[0, "rank_others"] == pytest.approx(((1 + 0.75 + 0 + 0.25) / 4 + 1) / 2)


def test_equal_scores_share_a_place():
    result = agreement(bank_of(), scorer_of(np.zeros((3, 5))), n_nearest=2)
    assert result.concepts["rank"].tolist() == result.concepts["rank_others"].tolist() == [0.5] * 3
    assert result.concepts["shared"].tolist() == pytest.approx([0.4] * 3) and result.shared_chance == 0.4
    assert result.rank_margin.value == 0 and result.p == 1
    some = agreement(bank_of(), scorer_of([[1, 0, 0, 0, 0]] * 3), n_nearest=2)  # one place left for four equals
    assert some.concepts["shared"].tolist() == pytest.approx([(1 + 0.25) / 2, 0.25, 0.25])
    assert some.concepts["rank"].tolist() == pytest.approx([(1 + 0.375) / 2, 0.375, 0.375])


def test_more_nearest_than_words_share_everything():
    result = agreement(bank_of(), scorer_of(), n_nearest=9)
    assert result.shared.value == result.shared_others.value == result.shared_chance == 1


def test_random_words_are_at_half():
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(50)]
    bank = bank_of([rng.choice(words, 5, replace=False) for _ in range(200)])
    result = agreement(bank, scorer_of(rng.standard_normal((200, 50)), words), n_nearest=10)
    assert result.rank.value == pytest.approx(0.5, abs=0.02) and result.rank_others.value == pytest.approx(
        0.5, abs=0.01
    )
    assert result.shared.value == pytest.approx(result.shared_chance, abs=0.03) and result.p > 0.01


def test_p_is_the_share_of_dealings_that_agree_as_much(monkeypatch):
    monkeypatch.setattr(word_agreement, "N_PERMUTATIONS", 4000)
    scores = np.random.default_rng(3).standard_normal((4, 5))
    bank = bank_of([("snow",), ("grass",), ("lawn",), ("dog",)])
    ranks = scores.argsort(axis=1).argsort(axis=1)[:, [0, 2, 3, 4]]  # of each concept's word in each ranking
    permuted = [sum(ranks[k, words[k]] for k in range(4)) for words in permutations(range(4))]
    expected = np.mean(np.array(permuted) >= permuted[0])
    assert 0.05 < expected < 0.95 and agreement(bank, scorer_of(scores)).p == pytest.approx(expected, abs=0.03)


def test_concepts_without_words_or_pictures_are_counted_and_in_nobodys_others():
    words = [*OWN, (), ("lawn",)]
    scores = np.vstack([SCORES, SCORES[0], np.full(5, np.nan)])
    result = agreement(bank_of(words), scorer_of(scores))
    assert result.n_excluded == 2 and result.rank.n == 3 and result.rank.n_missing == 2
    assert result.concepts.index.tolist() == [0, 1, 2, 3, 4]
    assert result.concepts.iloc[3:, 2:].isna().all(axis=None)
    assert result.concepts["nearest"].tolist()[3:] == [(), ()]
    pd.testing.assert_frame_equal(result.concepts.iloc[:3], agreement(bank_of(), scorer_of()).concepts)
    assert str(result).endswith("; 2 concepts not scored")
    assert "not scored" not in str(agreement(bank_of(), scorer_of()))


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="^1 of 3 concepts have both words and pictures.*: give a bank"):
        agreement(bank_of([("snow",), (), ("dog",)]), scorer_of(np.vstack([SCORES[:2], np.full(5, np.nan)])))
    with pytest.raises(ValueError, match="the word 'sea' of concept 1 is not among the scorer's 5 words: make"):
        agreement(bank_of([("snow",), ("dog", "sea")]), scorer_of())


def test_over_banks_and_scorers_every_agreement_is_a_row():
    banks = {"one": bank_of(), "two": bank_of([*OWN[:2], ()])}
    scorers = {"clear": scorer_of(), "flat": scorer_of(np.zeros((3, 5)))}
    table, repeats = agreement_over(banks, scorers, n_nearest=2)
    assert table[["bank", "scorer"]].to_numpy().tolist() == [[b, j] for b in banks for j in scorers]
    assert table["n"].tolist() == [3, 3, 2, 2] and table["n_excluded"].tolist() == [0, 0, 1, 1]
    alone = agreement(banks["one"], scorers["clear"], n_nearest=2)
    first = table.iloc[0]
    for name in ("rank", "rank_others", "rank_margin", "shared", "shared_others", "shared_margin"):
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


def scorer_by_bank(**beyond) -> SimpleNamespace:
    """Puts each concept's own word, w0 to w3, at a place of its ranking that is given for each bank."""
    words = [f"w{number}" for number in range(4)] + [f"other{number}" for number in range(20)]

    def scores(bank) -> np.ndarray:
        table = np.zeros((4, 24))
        table[:, 4:] = np.arange(20)
        table[range(4), [int(own.kept[0][1:]) for own in bank.words]] = np.array(beyond[bank.name]) + 0.5
        return table

    return SimpleNamespace(words=words, scores=scores)


def test_concepts_of_two_banks_are_matched_before_they_are_compared():
    names = [("w0",), ("w1",), ("w2",), ("w3",)]
    turn, tilted = [2, 0, 3, 1], np.eye(4) * 3
    tilted[0, 3] = 4  # its cosine with its partner is 0.6
    single, other = bank_of(names), bank_of(names, concepts=tilted[turn])
    single.name, other.name = "one", "other"
    ranks = np.array([2, 9, 13, 6])
    scorer, opposite = scorer_by_bank(one=ranks, other=ranks[turn]), scorer_by_bank(one=-ranks + 15, other=ranks)
    _, repeats = agreement_over({"one": single, "other": other}, {"a": scorer, "b": opposite})
    repeats = repeats.set_index(["bank", "scorer", "other_bank", "other_scorer"])
    same = repeats.loc["one", "a", "other", "a"]
    assert same["n"] == 4 and same["correlation"] == pytest.approx(1) and same["cosine"] == pytest.approx(3.6 / 4)
    assert repeats.loc["one", "a", "one", "b"].tolist() == pytest.approx([4, 1, -1])


def test_within_a_bank_each_concept_is_its_own_partner():
    bank = bank_of(concepts=[[1, 0], [0, 0], [1, 0]])  # by cosine any of them would do
    _, repeats = agreement_over({"one": bank}, {"a": scorer_of(), "b": scorer_of()})
    assert repeats.iloc[0, 4:].tolist() == pytest.approx([3, 1, 1])


def test_a_bank_with_more_concepts_leaves_some_without_a_partner():
    few, many = bank_of(OWN), bank_of([*OWN, ("lawn",)])
    few.concepts = np.eye(4)[:3]
    scorer = SimpleNamespace(words=WORDS, scores=lambda bank: np.vstack([SCORES, SCORES[:1]])[: len(bank.words)])
    _, repeats = agreement_over({"many": many, "few": few}, {"a": scorer})
    assert repeats["n"].tolist() == [3] and repeats["cosine"].tolist() == [1]
    _, repeats = agreement_over({"few": few, "many": many}, {"a": scorer})
    assert repeats["n"].tolist() == [3]


def test_banks_of_other_widths_and_lone_banks():
    wide = bank_of(concepts=np.eye(3, 7))
    with pytest.raises(ValueError, match=r"different widths, {'one': 3, 'two': 7}: give banks of one model and layer"):
        agreement_over({"one": bank_of(), "two": wide}, {"a": scorer_of()})
    table, repeats = agreement_over({"one": bank_of()}, {"a": scorer_of()})
    assert len(table) == 1 and len(repeats) == 0 and "correlation" in repeats


@pytest.fixture(scope="module")
def book():
    lmm = load_lmm("picturebook")
    states = extract(lmm, load_images("picturebook").mentioning("dog")[:150], "dog", 4, "own", cache=False)
    words = candidate_words(lmm)
    scorers = {
        "CLIP": ClipWords(states.images, load_clip_judge("picturebook"), words),
        "references": ReferenceWords(states.images, words),
    }
    return lmm, states, scorers


def test_on_the_picture_book_pictures_and_words_agree(book):
    lmm, states, scorers = book
    bank = ConceptBank.learn(lmm, states, SemiNMF(8, verbose=False))
    mixed = replace(bank, words=bank.words[1:] + bank.words[:1])
    for scorer in scorers.values():
        result = agreement(bank, scorer)
        assert result.rank_margin.low > 0 and result.p < 0.05 and result.n_excluded == 0
        assert result.rank.value > agreement(mixed, scorer).rank.value
    rows = bank.top[0][bank.activations[bank.top[0], 0] > 0]
    clip = load_clip_judge("picturebook")
    vectors = clip.encode_pictures([states.images.picture(row) for row in range(len(states))])
    (text,) = clip.encode_texts(["A photo is described by the words snow."])
    column = scorers["CLIP"].words.index("snow")
    by_hand = (vectors[rows] @ text).mean() - (vectors @ text).mean()
    assert scorers["CLIP"].scores(bank)[0, column] == pytest.approx(by_hand.item(), abs=1e-5)


def test_signed_concepts_are_scored_where_they_are_positive(book):
    lmm, states, scorers = book
    bank = ConceptBank.learn(lmm, states, PCA(8))
    assert (bank.activations < 0).any()
    one_way = np.where(np.arange(8) < 2, -np.abs(bank.activations), bank.activations)
    table, _ = agreement_over({"as found": bank, "two negative": replace(bank, activations=one_way)}, scorers)
    assert table["n_excluded"].tolist() == [0, 0, 2, 2]
