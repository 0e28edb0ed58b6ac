"""Two banks side by side: matches, T-Overlap, and what became of each concept, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from coxlmm_utils.concepts.grounding import Words
from coxlmm_utils.shift.compare import (
    CHANGES,
    DIMINISHED,
    EMERGED,
    REFINED,
    UNCHANGED,
    Cuts,
    compare,
    t_overlaps,
)
from tests.shift.by_hand import AFTER, bank_of

# Of those before the first stays, the second leans towards the third, and nothing is left of the third's words. Of those
# after the last is new: no concept before is near it.
BEFORE_WORDS = ("dog brown", "beach sand sea water", "night dark")
AFTER_WORDS = ("brown dog", "beach red sand blue", "snow beach")


@pytest.fixture
def before():
    return bank_of(np.eye(3), BEFORE_WORDS)


@pytest.fixture
def after():
    return bank_of([[2, 0, 0], [0, 4, 3], [-5, 0, -12]], AFTER_WORDS, model=AFTER)


@pytest.fixture
def shift(before, after):
    return compare(before, after)


# T-Overlap


def test_t_overlap_is_the_share_of_the_firsts_words():
    first, second = ([Words(tuple(text.split()), ()) for text in texts] for texts in (BEFORE_WORDS, AFTER_WORDS))
    assert t_overlaps(first, second).tolist() == [[100, 0, 0], [0, 50, 25], [0, 0, 0]]
    assert t_overlaps(second, first).tolist() == [[100, 0, 0], [0, 50, 0], [0, 50, 0]]


def test_words_count_once_and_dropped_ones_do_not():
    repeated, other = Words(("dog", "dog", "cat"), (("the", "stop"),)), Words(("dog", "the"), ())
    assert t_overlaps([repeated], [other]).tolist() == [[50]]


def test_without_words_there_is_no_t_overlap():
    overlaps = t_overlaps([Words((), ()), Words(("dog",), ())], [Words((), ())] * 2)
    assert np.isnan(overlaps[0]).all() and overlaps[1].tolist() == [0, 0]


def test_no_words_at_all_keep_the_shape():
    assert t_overlaps([Words(("dog",), ())], []).shape == (1, 0)


# Matches


def test_each_concept_has_the_nearest_as_its_match(shift):
    before, after = shift.before_table, shift.after_table
    assert before["match"].tolist() == [0, 1, 1] and after["match"].tolist() == [0, 1, 1]  # a partner twice, none else
    assert before["cosine"].tolist() == pytest.approx([1, 0.8, 0.6])
    assert after["cosine"].tolist() == pytest.approx([1, 0.8, 0])
    assert before["match_title"].tolist() == ["brown, dog", "beach, red, sand", "beach, red, sand"]
    assert before["title"].tolist() == ["dog, brown", "beach, sand, sea", "night, dark"]
    assert before.index.name == after.index.name == "concept"


def test_t_overlap_is_of_the_concept_before_in_both_tables(shift):
    assert shift.before_table["t_overlap"].tolist() == [100, 50, 0]
    assert shift.after_table["t_overlap"].tolist() == [100, 50, 25]  # of "beach sand sea water"


def test_other_numbers_of_concepts(before):
    shift = compare(before, bank_of(np.eye(3)[:1], ["dog"], model=AFTER))
    assert shift.cosines.shape == shift.overlaps.shape == (3, 1)
    assert len(shift.before_table) == 3 and len(shift.after_table) == 1


def test_concepts_of_length_zero_are_near_none(before):
    table = compare(before, bank_of(np.zeros((2, 3)), model=AFTER)).before_table
    assert table["cosine"].tolist() == [0, 0, 0] and set(table["change"]) == {DIMINISHED}


# What became of each


def test_changes_and_their_counts(shift):
    assert shift.before_table["change"].tolist() == [UNCHANGED, REFINED, DIMINISHED]
    assert shift.after_table["change"].tolist() == [UNCHANGED, REFINED, EMERGED]
    assert shift.counts.to_dict() == {UNCHANGED: 1, REFINED: 1, EMERGED: 1, DIMINISHED: 1}
    assert shift.changed_share() == pytest.approx(4 / 6)


def test_a_bank_and_itself_are_unchanged(before):
    shift = compare(before, before)
    assert shift.counts.to_dict() == {UNCHANGED: 3, REFINED: 0, EMERGED: 0, DIMINISHED: 0}
    assert list(shift.counts.index) == list(CHANGES) and shift.changed_share() == 0


@pytest.mark.parametrize(
    "cosine, overlap, change",
    [
        (0.9, 0, UNCHANGED),
        (0.89, 50, REFINED),
        (0.89, 49, DIMINISHED),
        (0.89, np.nan, DIMINISHED),
        (0.95, np.nan, UNCHANGED),
    ],
)
def test_values_at_the_cuts(cosine, overlap, change):
    assert Cuts().change(cosine, overlap, DIMINISHED) == change


def test_other_cuts_are_kept(before, after):
    shift = compare(before, after, Cuts(0.7, 60))
    assert shift.before_table["change"].tolist() == [UNCHANGED, UNCHANGED, DIMINISHED]
    assert compare(before, after, Cuts(0.85, 60)).counts[REFINED] == 0


def test_cuts_of_a_fine_tuning_that_changes_nothing(shift, before):
    # of the cosines 0 0.6 0.8 0.8 1 1 of both tables
    cuts = Cuts.of_null([shift], level=0.2)
    assert cuts.cosine == pytest.approx(0.6) and cuts.overlap == 50  # half of the words, whatever the null's
    both = Cuts.of_null([shift, compare(before, before)], level=0.5)
    assert both.cosine == pytest.approx(1)
    assert Cuts.of_null([compare(before, before)]) == Cuts(1.0)


def test_cuts_of_nothing_are_refused():
    with pytest.raises(ValueError, match="no comparison to take cuts from"):
        Cuts.of_null([])


# What cannot be compared


@pytest.mark.parametrize(
    "field, value, said",
    [
        ("layer", 1, "2 and 1"),
        ("position", "own", "'predicts' and 'own'"),
        ("token", ["cat"], r"\['dog'\] and \['cat'\]"),
        ("prompt", "List.", "'Describe.' and 'List.'"),
        ("samples", "said", "'said and there' and 'said'"),
    ],
)
def test_banks_of_something_else_are_refused(before, field, value, said):
    with pytest.raises(ValueError, match=f"the bank before and the bank after differ in {field}: {said}"):
        compare(before, bank_of(np.eye(3), model=AFTER, **{field: value}))


@pytest.mark.parametrize("ids, n_common", [(("p5", "p6", "p7"), 0), (("p1", "p2", "p3"), 1), (("p1", "p0"), 2)])
def test_banks_of_other_samples_are_refused(before, ids, n_common):
    said = f"not of the same samples, {n_common} of 2 and {len(ids)} are in both: .* StatePair"
    with pytest.raises(ValueError, match=said):
        compare(before, bank_of(np.eye(3), ids=ids, model=AFTER))


def test_other_widths_are_refused(before):
    with pytest.raises(ValueError, match="widths 3 and 4"):
        compare(before, bank_of(np.eye(4), model=AFTER))
