"""Do shifted concepts become those after fine-tuning: exact where they do, controls, and what is gained."""

from __future__ import annotations

import sys
from copy import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.concepts.word_filter import WordFilter
from coxlmm_utils.dictionaries.baselines import KMeans
from coxlmm_utils.models import randomly_initialised
from coxlmm_utils.shift.recovery import (
    KINDS,
    PERMUTED,
    RANDOM,
    SHIFTED,
    UNSHIFTED,
    correlation,
    gains,
    recovery,
)
from coxlmm_utils.shift.vectors import ShiftVectors
from coxlmm_utils.statistics import derangement
from tests.shift.by_hand import BEFORE

K, FILTER = 3, WordFilter(min_length=2)  # of the bank of the shared fixtures
ORDER = [2, 0, 1]  # the concepts after, as those before become them
MODULE = sys.modules[recovery.__module__]  # which the function hides in the door
RNG = np.random.default_rng(0)


def before_of(after: ConceptBank, concepts: np.ndarray) -> ConceptBank:
    """The bank of another model, with these concepts."""
    dictionary = copy(after.dictionary)
    dictionary.components_ = concepts.astype(np.float32)
    words = [after.words[0]] * len(concepts)
    return replace(after, dictionary=dictionary, words=words, provenance=after.provenance | {"model": BEFORE})


def vectors_of(bank: ConceptBank, moves: np.ndarray, samples: list[int] | None = None) -> ShiftVectors:
    """Two samples of each concept, which move alike."""
    concepts = np.repeat(np.arange(len(bank)) if samples is None else samples, 2)
    return ShiftVectors(bank, moves[concepts], concepts)


@pytest.fixture(scope="module")
def bank(llava, states):
    """Centres of clusters, which are states."""
    return ConceptBank.learn(llava, states, KMeans(K), word_filter=FILTER)


@pytest.fixture(scope="module")
def exact(bank) -> ShiftVectors:
    """Vectors that lead from each concept to one after, each to another."""
    moves = 0.3 * RNG.standard_normal(bank.concepts.shape)
    return vectors_of(before_of(bank, bank.concepts[ORDER] - moves), moves)


@pytest.fixture(scope="module")
def table(llava, exact, bank, states):
    return recovery(llava, exact, bank, states, alphas=(0.5, 1), word_filter=FILTER)


def rows_of(table: pd.DataFrame, kind: str, alpha: float) -> pd.DataFrame:
    return table[(table["kind"] == kind) & (table["alpha"] == alpha)].set_index("concept")


@pytest.fixture
def compared(monkeypatch) -> list[np.ndarray]:
    """The concepts whose words are read, of each run."""
    runs, read = [], MODULE.ground_words

    def keep(lmm, concepts, *settings):
        runs.append(concepts)
        return read(lmm, concepts, *settings)

    monkeypatch.setattr(MODULE, "ground_words", keep)
    return runs


# Recovery


def test_exact_vectors_bring_each_concept_to_its_own(table):
    rows = rows_of(table, SHIFTED, 1)
    assert rows["match"].tolist() == ORDER and rows.index.tolist() == [0, 1, 2]
    assert rows["cosine"].tolist() == pytest.approx([1] * K, abs=1e-6)
    assert rows["distance"].tolist() == pytest.approx([0] * K, abs=1e-5)
    assert rows["words"].tolist() == [100] * K and rows["pictures"].tolist() == [1] * K


def test_half_way_and_none(table, bank, exact):
    half, none = rows_of(table, SHIFTED, 0.5), rows_of(table, UNSHIFTED, 0)
    lengths = np.linalg.norm(exact.vectors, axis=1)
    for rows, left in ((half, 0.5), (none, 1)):
        concepts = exact.bank.concepts + (1 - left) * exact.vectors
        partners = bank.concepts[rows["match"].astype(int)]
        products = (concepts * partners).sum(axis=1)
        norms = np.linalg.norm(concepts, axis=1) * np.linalg.norm(partners, axis=1)
        assert rows["cosine"].to_numpy() == pytest.approx(products / norms, abs=1e-5)
        assert rows["distance"].to_numpy() == pytest.approx(np.linalg.norm(concepts - partners, axis=1), abs=1e-4)
    assert half["match"].tolist() == ORDER and half["distance"].to_numpy() == pytest.approx(lengths / 2, abs=1e-4)
    assert half["cosine"].sum() > none["cosine"].sum()


def test_a_row_for_each_kind_alpha_and_concept(table):
    counts = table.groupby(["kind", "alpha"]).size()
    assert counts.to_dict() == {(UNSHIFTED, 0.0): K} | {
        (kind, a): K for kind in KINDS[:1] + KINDS[2:] for a in (0.5, 1)
    }
    assert table["words"].between(0, 100).all() and table["pictures"].between(0, 1).all()
    for _, matches in table.groupby(["kind", "alpha"])["match"]:
        assert sorted(matches) == [0, 1, 2]  # one to one


def test_controls_move_as_far_but_elsewhere(llava, exact, bank, states, compared):
    recovery(llava, exact, bank, states, alphas=(1, 2), seed=4)
    plain, *moved = [run - exact.bank.concepts for run in compared]
    assert len(moved) == 6 and not plain.any()
    lengths = np.linalg.norm(exact.vectors, axis=1)
    for alpha, (shifted, random, permuted) in zip((1, 2), (moved[:3], moved[3:])):
        assert shifted == pytest.approx(alpha * exact.vectors, abs=1e-4)
        assert np.linalg.norm(random, axis=1) == pytest.approx(alpha * lengths, abs=1e-3)
        assert (np.abs((random * shifted).sum(axis=1)) < 0.6 * alpha**2 * lengths**2).all()
        sources = [np.abs(alpha * exact.vectors - row).max(axis=1).argmin() for row in permuted]
        assert permuted == pytest.approx(alpha * exact.vectors[sources], abs=1e-4)
        assert sorted(sources) == [0, 1, 2] and all(source != k for k, source in enumerate(sources))


@pytest.mark.parametrize("n", [2, 3, 4, 11])
def test_a_derangement_leaves_none_in_its_place(n):
    for seed in range(20):
        order = derangement(n, np.random.default_rng(seed))
        assert sorted(order) == list(range(n)) and (order != np.arange(n)).all()


def test_controls_depend_on_the_seed_alone(llava, exact, bank, states, table):
    again = recovery(llava, exact, bank, states, alphas=(0.5, 1), word_filter=FILTER)
    pd.testing.assert_frame_equal(again, table)
    other = recovery(llava, exact, bank, states, seed=1, word_filter=FILTER)
    assert not np.allclose(rows_of(other, RANDOM, 1)["cosine"], rows_of(table, RANDOM, 1)["cosine"])
    pd.testing.assert_frame_equal(rows_of(other, SHIFTED, 1), rows_of(table, SHIFTED, 1))


def test_more_concepts_than_after_leave_some_without_a_match(llava, bank, states):
    concepts = np.concatenate([bank.concepts, RNG.standard_normal((1, bank.concepts.shape[1]))])
    bank_before = before_of(bank, concepts)
    table = recovery(llava, vectors_of(bank_before, np.zeros_like(concepts)), bank, states)
    rows = rows_of(table, SHIFTED, 1)
    assert rows["match"].tolist()[:3] == [0, 1, 2] and rows["cosine"].tolist()[:3] == pytest.approx([1] * 3)
    assert rows.loc[3, ["match", "cosine", "distance", "words", "pictures"]].isna().all()


def test_a_concept_without_samples_is_left_out(llava, exact, bank, states):
    part = vectors_of(exact.bank, exact.vectors, samples=[0, 2])
    rows = rows_of(recovery(llava, part, bank, states, word_filter=FILTER), SHIFTED, 1)
    assert rows.index.tolist() == [0, 2] and rows["match"].tolist() == [ORDER[0], ORDER[2]]
    assert rows["cosine"].tolist() == pytest.approx([1, 1], abs=1e-6)


def test_one_concept_alone_has_no_other_vector(llava, exact, bank, states):
    one = vectors_of(exact.bank, exact.vectors, samples=[1])
    assert set(recovery(llava, one, bank, states)["kind"]) == {SHIFTED, UNSHIFTED, RANDOM}


def test_pictures_that_a_concept_is_not_active_on_do_not_count(llava, exact, bank, states):
    activations = np.zeros_like(bank.activations)
    activations[-1, 0] = 1  # of the most active ones all others would be the first that there are
    rare = replace(bank, activations=activations)
    rows = rows_of(recovery(llava, exact, rare, states), SHIFTED, 1).set_index("match")
    assert rows.loc[0, "pictures"] in (0, 1) and rows.loc[[1, 2], "pictures"].isna().all()


def test_any_dictionary_will_do(llava, states):
    after = ConceptBank.learn(llava, states, KMeans(2))
    moves = RNG.standard_normal(after.concepts.shape)
    vectors = vectors_of(before_of(after, after.concepts - moves), moves)
    rows = rows_of(recovery(llava, vectors, after, states), SHIFTED, 1)
    assert rows["cosine"].tolist() == pytest.approx([1, 1], abs=1e-6) and rows["pictures"].tolist() == [1, 1]


# What is no recovery


def test_another_model_is_refused(llava, exact, bank, states):
    with pytest.raises(ValueError, match="untrained"):
        recovery(randomly_initialised(llava), exact, bank, states)


def test_states_of_other_samples_or_of_the_other_model_are_refused(llava, exact, bank, states):
    said = "the states are not those that the bank after fine-tuning was learned from"
    for other in (
        states.subset(states.images.ids[:5]),
        states.subset(states.images.ids[::-1]),
        replace(states, provenance=states.provenance | {"model": BEFORE}),
        replace(states, vectors={1: states.Z}),
    ):
        with pytest.raises(ValueError, match=said):
            recovery(llava, exact, bank, other)


@pytest.mark.parametrize("field, value", [("layer", 1), ("token", ["cat"]), ("position", "own")])
def test_vectors_of_something_else_are_refused(llava, exact, bank, states, field, value):
    other = replace(exact.bank, provenance=exact.bank.provenance | {field: value})
    with pytest.raises(ValueError, match=f"the bank of the shift vectors and the bank after differ in {field}"):
        recovery(llava, replace(exact, bank=other), bank, states)


def test_without_samples_there_is_nothing_to_shift(llava, exact, bank, states):
    with pytest.raises(ValueError, match="no concept has samples"):
        recovery(llava, replace(exact, concepts=np.full(len(exact.concepts), -1)), bank, states)


# What is gained


def kind_rows(kind: str, alpha: float, cosines: list, distances: list, words: list) -> pd.DataFrame:
    values = {"concept": range(len(cosines)), "cosine": cosines, "distance": distances, "words": words}
    return pd.DataFrame(values, dtype=float).assign(kind=kind, alpha=alpha)


def test_gains_by_hand():
    table = pd.concat(
        [
            kind_rows(UNSHIFTED, 0.0, [0.5, -0.2, 0.8], [2, 1, 4], [20, 0, 50]),
            kind_rows(SHIFTED, 0.1 + 0.2, [0.75, 0.1, 0.4], [1, 1, 5], [60, 0, 30]),
            kind_rows(RANDOM, 0.3, [0.5, -0.4, 0.8], [2, 2, 2], [20, 10, np.nan]),
        ]
    )
    shifted = gains(table, alpha=0.3)
    assert shifted["nearer"].tolist() == [True, True, False]
    assert shifted["cosine_gain"].tolist() == pytest.approx([0.5, 1.5, -0.5])
    assert shifted["distance_gain"].tolist() == pytest.approx([0.5, 0, -0.25])
    assert shifted["words_gain"].tolist() == [40, 0, -20] and shifted.index.name == "concept"
    random = gains(table, alpha=0.3, kind=RANDOM)
    assert random["cosine_gain"].tolist() == pytest.approx([0, -1, 0])
    assert random["words_gain"].tolist() == pytest.approx([0, 10, np.nan], nan_ok=True)


def test_exact_vectors_gain_all_of_the_distance(table):
    assert gains(table)["distance_gain"].tolist() == pytest.approx([1] * K, abs=1e-4)
    assert len(gains(table, alpha=0.7)) == K and gains(table, alpha=0.7)["cosine_gain"].isna().all()
    assert set(gains(table, kind=PERMUTED).index) == {0, 1, 2}


def test_correlation_with_its_interval():
    x = RNG.standard_normal(60)
    y = x + RNG.standard_normal(60)
    r = correlation(x, y)
    assert r.value == pytest.approx(np.corrcoef(x, y)[0, 1]) and r.n == 60
    assert r.low < r.value < r.high and 0.1 < r.high - r.low < 0.5
    assert correlation(x, y) == r != correlation(x, y, seed=1)
    narrow = correlation(x, y, level=0.5)
    assert r.low < narrow.low < narrow.high < r.high
    assert correlation(x, -2 * x + 3).value == pytest.approx(-1)
    assert correlation([*x, np.nan], [*y, 1]) == r  # a pair with a NaN is left out


@pytest.mark.parametrize(
    "x, y, n",
    [
        ([], [], 0),
        ([1, 2], [3, 4], 2),
        ([1, 2, np.nan], [3, 4, 5], 2),
        ([1, 1, 1, 1], [1, 2, 3, 4], 4),
        ([1, 2, 3], [np.nan] * 3, 0),
    ],
)
def test_no_correlation(x, y, n):
    r = correlation(x, y)
    assert np.isnan([r.value, r.low, r.high]).all() and r.n == n
