"""Shift vectors: which concept a sample is of, the mean move, and how consistent moves are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.extraction.state_pair import StatePair
from coxlmm_utils.shift.vectors import ShiftVectors, shift_vectors, sized_concepts
from tests.shift.by_hand import AFTER, BEFORE, bank_of, states_of

STATES = np.array([[2, 0], [1, 0.5], [0, -3], [0.5, 1]])  # the third is of the second concept, by magnitude
MOVES = np.array([[1, 0], [0, 1], [2, 2], [2, 2]])
RNG = np.random.default_rng(0)


def pair_of(states, moves, **other) -> StatePair:
    return StatePair(states_of(states, **other), states_of(np.add(states, moves), AFTER, **other))


@pytest.fixture
def bank():
    """The third concept is of length zero: no state is of it."""
    return bank_of([[1, 0], [0, 1], [0, 0]], ["dog", "beach", ""])


@pytest.fixture
def shift(bank):
    return shift_vectors(pair_of(STATES, MOVES), bank)


def cosine(a, b) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def test_moves_and_their_means_by_hand(shift):
    assert shift.concepts.tolist() == [0, 0, 1, 1]
    assert shift.moves.tolist() == MOVES.tolist()
    assert shift.vectors[:2].tolist() == [[0.5, 0.5], [2, 2]]
    assert np.isnan(shift.vectors[2]).all() and shift.vectors.shape == (3, 2)


def test_table_by_hand(shift):
    table = shift.table
    assert table["title"].tolist() == ["dog", "beach", "concept 2"]
    assert table["samples"].tolist() == [2, 2, 0] and table.index.name == "concept"
    assert table["magnitude"].tolist() == pytest.approx([0.5**0.5, 8**0.5, np.nan], nan_ok=True)
    assert table["consistency"].tolist() == pytest.approx([0.5**0.5, 1, np.nan], nan_ok=True)
    assert table["pairwise_consistency"].tolist() == pytest.approx([0, 1, np.nan], nan_ok=True)


def test_shifted_concepts(shift):
    assert shift.shifted()[:2].tolist() == [[1.5, 0.5], [2, 3]]
    assert shift.shifted(-2)[:2].tolist() == [[0, -1], [-4, -3]]
    assert shift.shifted(0)[:2].tolist() == [[1, 0], [0, 1]] and np.isnan(shift.shifted()[2]).all()


def test_consistencies_are_mean_cosines():
    moves, concepts = RNG.standard_normal((40, 5)), RNG.integers(4, size=40)
    shift = ShiftVectors(bank_of(np.eye(5)[:4]), moves, concepts)
    for k in range(4):
        own = [move for move, concept in zip(moves, concepts) if concept == k]
        mean = sum(own) / len(own)
        pairs = [cosine(a, b) for i, a in enumerate(own) for b in own[:i]]
        row = shift.table.loc[k]
        assert shift.vectors[k] == pytest.approx(mean)
        assert row["consistency"] == pytest.approx(np.mean([cosine(move, mean) for move in own]))
        assert row["pairwise_consistency"] == pytest.approx(np.mean(pairs))
        assert row["magnitude"] == pytest.approx((mean @ mean) ** 0.5)


def test_one_sample_agrees_with_itself_alone(bank):
    table = shift_vectors(pair_of(STATES[:1], MOVES[:1]), bank).table
    assert table.loc[0, "consistency"] == 1 and np.isnan(table.loc[0, "pairwise_consistency"])


def test_where_nothing_moves_there_is_no_direction(bank):
    table = shift_vectors(pair_of(STATES, np.zeros((4, 2))), bank).table.loc[:1]
    assert (table[["magnitude", "consistency", "pairwise_consistency"]] == 0).all(axis=None)


def test_a_sample_that_no_concept_is_active_on_is_of_none():
    dictionary = SemiNMF(2, lam=0.1)
    dictionary.components_, dictionary.lam_ = np.eye(2, dtype=np.float32), 0.1
    dictionary.mean_ = None
    shift = shift_vectors(pair_of([[-1, -1], [1, 0], [0, 1]], [[9, 9], [1, 0], [0, 1]]), bank_of(dictionary))
    assert shift.concepts.tolist() == [-1, 0, 1] and shift.table["samples"].tolist() == [1, 1]
    assert shift.vectors.tolist() == [[1, 0], [0, 1]]


def test_samples_may_be_others_than_the_banks(bank):
    held_out = pair_of(STATES[[3, 0, 2]], MOVES[[3, 0, 2]])
    assert len(held_out) != len(bank.ids)
    assert shift_vectors(held_out, bank).vectors[:2].tolist() == [[1, 0], [2, 2]]


def test_the_model_after_may_have_any_weights_but_the_bank_is_of_the_one_before(bank):
    pair = pair_of(STATES, MOVES)
    other = bank_of(np.eye(2), model=AFTER)
    said = f"model b .{AFTER['fingerprint']}., and the states before of model a .{BEFORE['fingerprint']}.*pair.before"
    with pytest.raises(ValueError, match=said):
        shift_vectors(pair, other)
    assert len(shift_vectors(StatePair(pair.before, pair.before), bank).moves) == 4


@pytest.mark.parametrize("field, value", [("layer", 1), ("position", "own"), ("prompt", "List.")])
def test_states_of_elsewhere_are_refused(bank, field, value):
    with pytest.raises(ValueError, match=f"the bank and the states before differ in {field}"):
        shift_vectors(pair_of(STATES, MOVES, **{field: value}), bank)


def test_states_of_another_width_are_refused(bank):
    with pytest.raises(ValueError, match="width 3, not 2"):
        shift_vectors(pair_of(np.eye(3), np.eye(3)), bank)


def test_parts_are_as_long_as_they_are_active_and_centres_stay():
    parts = bank_of(SemiNMF.from_components(np.array([[1, 0], [0, 1]], np.float32)))
    parts = replace(parts, activations=np.array([[2, 0], [4, 0]], np.float32))
    assert sized_concepts(parts).tolist() == [[3, 0], [0, 0]]  # the second is never active
    centres = bank_of([[1, 0], [0, 1]])
    assert sized_concepts(centres) is centres.concepts
    vectors = ShiftVectors(parts, np.array([[1.0, 1.0]]), np.array([0]))
    assert vectors.shifted(2)[0].tolist() == [5, 2] and np.isnan(vectors.shifted()[1]).all()
