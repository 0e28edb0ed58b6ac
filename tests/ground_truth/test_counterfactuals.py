"""Redrawn pages: what moves a concept, whether it is what the concept is matched with, and the pages themselves."""

from __future__ import annotations

import numpy as np
import pytest

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.dictionaries.baselines import PCA, RandomDictionary
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.ground_truth.counterfactuals import (
    CAPTION,
    Counterfactuals,
    _edited,
    counterfactual_edits,
    selectivity,
)
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.picturebook.captions import facts_in
from coxlmm_utils.picturebook.factors import SUBJECTS, allowed_values, factors_of
from coxlmm_utils.picturebook.page import page
from coxlmm_utils.statistics import share_of
from tests.conftest import in_memory

RED, BLUE, GREEN, DAY, NIGHT = VALUES = [
    *[("colour", colour) for colour in ("red", "blue", "green")],
    *[("time", time) for time in ("day", "night")],
]
SHOWN = [(RED, DAY), (BLUE, NIGHT), (BLUE, DAY), (GREEN, NIGHT)]  # by pages


class Bank:
    """Stands in for a bank: concepts that vary by 1 over its samples, or as given."""

    token, where = "$\\frac$", "layer 4, its own position (ours)"

    def __init__(self, activations):
        self.activations = np.array(activations, dtype=float)  # (samples, concepts)

    def __len__(self):
        return self.activations.shape[1]

    def project(self, Z):
        return Z  # the states are given as activations

    def title(self, concept):
        return f"$\\frac$ words {concept}"


def made(*concepts, units=None, pages=SHOWN):
    """Concepts as functions of what is drawn on a page and of its number."""
    spread = np.array(units or [1] * len(concepts), dtype=float)
    results = np.zeros((len(pages), len(VALUES), len(concepts)))
    for number, (colour, time) in enumerate(pages):
        for place, value in enumerate(VALUES):
            drawn = (value, time) if value[0] == "colour" else (colour, value)
            results[number, place] = [concept(drawn, number) for concept in concepts]
    shown = np.array([[value in page for value in VALUES] for page in pages])
    return Counterfactuals(Bank([-spread, spread]), tuple(range(len(pages))), list(VALUES), shown, results)


def is_(*values, height=1.0):
    """A concept that is `height` where one of the values is drawn, on top of what it is on the page anyway."""
    return lambda drawn, number: 10.0 * number + height * any(value in drawn for value in values)


def still(drawn, number):
    return 0.1 * number


# Matrices


def test_what_each_factor_moves():
    moved = made(is_(RED, height=6), is_(NIGHT, height=5), units=[2, 1]).by_factor()
    assert moved.index.tolist() == ["colour", "time"]
    # in units of 2, red is 3 high: both switches from the red page move it, of the others one in two
    assert moved[0].tolist() == pytest.approx([(3 + 1.5 + 1.5 + 1.5) / 4, 0])
    assert moved[1].tolist() == pytest.approx([0, 5])


def test_what_each_value_adds():
    added = made(is_(RED, height=6), is_(NIGHT, height=5), units=[2, 1]).matrix()
    assert added.index.tolist() == VALUES
    assert added[0].tolist() == pytest.approx([3, -1.5, -1.5, 0, 0])
    assert added[1].tolist() == pytest.approx([0, 0, 0, -5, 5])


def test_pages_count_alike_and_ups_do_not_cancel_downs_in_moves():
    both_ways = made(lambda drawn, number: (1 if number < 2 else -1) * (NIGHT in drawn))
    assert both_ways.by_factor()[0].tolist() == pytest.approx([0, 1])
    assert both_ways.matrix()[0].tolist() == pytest.approx([0] * 5)
    once = made(lambda drawn, number: 8 * (number == 3) * (RED in drawn))
    assert once.by_factor()[0]["colour"] == pytest.approx(8 / 2 / 4)
    assert once.matrix()[0][RED] == pytest.approx(8 / 4)


def test_signed_activations_fall():
    falls = made(is_(RED, height=-2))
    assert falls.by_factor()[0]["colour"] == pytest.approx((2 + 1 + 1 + 1) / 4)
    assert falls.matrix()[0][RED] == pytest.approx(-2)


def test_a_concept_that_is_constant_in_the_bank_keeps_its_unit():
    changes = made(is_(NIGHT, height=3), still, units=[1, 1])
    changes.bank.activations = np.full((10, 2), 0.1)  # whose standard deviation is not quite 0 in floating point
    assert changes.by_factor()[0].tolist() == pytest.approx([0, 3])
    assert (changes.by_factor()[1] == 0).all() and (changes.matrix()[1] == 0).all()  # not by rounding


# The diagonal


def test_how_many_concepts_their_own_factor_moves_most():
    changes = made(is_(RED), is_(NIGHT), is_(GREEN))
    results = selectivity(changes, [RED, NIGHT, DAY])  # the last is of a colour, but matched with the time
    table = results.concepts
    assert table["largest"].tolist() == table["significant"].tolist() == [True, True, False]
    assert (results.share.value, results.share.n, results.n_unmatched) == (pytest.approx(2 / 3), 3, 0)
    # dealt at random, the first and the last meet "colour" one time in three, the second meets "time" two in three
    assert results.chance == pytest.approx((1 / 3 + 2 / 3 + 1 / 3) / 3)
    assert table["factor"].tolist() == ["colour", "time", "time"] and table["value"][2] == "day"
    assert table["other"].tolist() == ["time", "colour", "colour"]
    assert table["own"].tolist() == pytest.approx([0.625, 1, 0])
    assert table["runner_up"].tolist() == pytest.approx([0, 0, 0.625])
    assert table["difference"].tolist() == pytest.approx([0.625, 1, -0.625])
    assert str(results) == "2 of 3 concepts move most with their own factor, 1.3 by chance"


def test_how_many_concepts_their_own_value_raises_most():
    changes = made(is_(RED), is_(NIGHT), is_(GREEN))
    results = selectivity(changes, [RED, NIGHT, BLUE], by="value")
    assert results.concepts["largest"].tolist() == [True, True, False] and results.by == "value"
    assert results.concepts["other"].tolist()[2] == GREEN
    assert results.concepts["runner_up"][2] == pytest.approx(1) and results.concepts["own"][2] == pytest.approx(-0.5)
    assert results.chance == pytest.approx(2 / 9)  # red and night are matched, green is not
    assert selectivity(changes, [RED, NIGHT, BLUE]).share.value == 1  # its factor is the right one
    assert str(results) == "2 of 3 concepts rise most with their own value, 0.7 by chance"


def test_a_value_that_lowers_a_concept_does_not_raise_it():
    changes = made(is_(RED, height=-2), is_(NIGHT))
    assert selectivity(changes, [RED, NIGHT]).concepts["largest"].tolist() == [True, True]
    assert selectivity(changes, [RED, NIGHT], by="value").concepts["largest"].tolist() == [False, True]


def test_the_largest_is_not_sure_where_pages_disagree():
    pages = [(BLUE, DAY)] * 6
    doubtful = made(lambda drawn, n: (NIGHT in drawn) + 2 * (n % 2) * (BLUE not in drawn), is_(NIGHT), pages=pages)
    table = selectivity(
        doubtful, [NIGHT, NIGHT]
    ).concepts  # colours move the first by 0, 2, 0, 2, 0, 2: as much as night
    assert table["own"].tolist() == [1, 1] and table["runner_up"].tolist() == [1, 0]
    assert table["largest"].tolist() == [False, True]
    fewer = made(lambda drawn, n: (NIGHT in drawn) + 2 * (n < 2) * (BLUE not in drawn), is_(NIGHT), pages=pages)
    results = selectivity(fewer, [NIGHT, NIGHT])
    assert results.concepts["largest"].tolist() == [True, True] and results.concepts["significant"].tolist() == [
        False,
        True,
    ]
    assert results.concepts["low"][0] < 0 < results.concepts["high"][0]
    assert (results.share, results.share_significant) == (share_of([1, 1]), share_of([0, 1]))
    narrow = selectivity(fewer, [NIGHT, NIGHT], level=0.2)
    assert narrow.concepts["significant"].all() and narrow.share_significant == share_of([1, 1], 0.2)


def test_a_concept_that_never_moves_is_not_moved_most_by_its_own():
    for by in ("factor", "value"):
        results = selectivity(made(still, is_(NIGHT)), [NIGHT, NIGHT], by)
        assert results.concepts["largest"].tolist() == results.concepts["significant"].tolist() == [False, True]
        assert results.chance == pytest.approx(1 / 2)  # nor at random


def test_concepts_without_a_value_are_left_out():
    results = selectivity(made(is_(RED), is_(GREEN), is_(NIGHT)), [None, GREEN, NIGHT], by="value")
    assert results.concepts.index.tolist() == [1, 2] and results.concepts["largest"].all()
    assert (results.share.n, results.n_unmatched, results.chance) == (2, 1, pytest.approx(1 / 2))
    assert str(results).endswith("; 1 not matched")


def test_what_cannot_be_judged():
    changes = made(is_(RED), is_(NIGHT))
    with pytest.raises(ValueError, match="no level 'page' of the matrix: choose one of factor, value"):
        selectivity(changes, [RED, NIGHT], by="page")
    with pytest.raises(ValueError, match="^1 values for 2 concepts"):
        selectivity(changes, [RED])
    with pytest.raises(ValueError, match=r"edited to \('kind', 'dog'\): choose from \[\('colour', 'red'\)"):
        selectivity(changes, [("kind", "dog"), NIGHT])
    with pytest.raises(ValueError, match="two pages and two matched concepts"):
        selectivity(changes, [RED, None])
    with pytest.raises(ValueError, match="two pages and two matched concepts"):
        selectivity(made(is_(RED), is_(NIGHT), pages=SHOWN[:1]), [RED, NIGHT])


# Redrawing and reading


def test_redrawn_pages():
    assert np.array_equal(_edited("2000000"), page(2_000_000).picture)
    changed = page(2_000_000).with_(place="snow")
    assert changed != page(2_000_000) and np.array_equal(_edited("2000000 place snow"), changed.picture)


def test_the_caption_names_the_kind_only():
    for kind in SUBJECTS:
        assert facts_in(CAPTION.format(kind=kind)) == [("kind", kind)]


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


@pytest.fixture(scope="module")
def dogs(lmm):
    """A bank whose concepts are plain directions, so that activations tell states apart."""
    images = load_images("picturebook", split="test")
    images = images[[row for row, id in enumerate(images.ids) if factors_of(int(id)).kind == "dog"][:40]]
    states = extract(lmm, images, "dog", 4, position="own", cache=False)
    return ConceptBank.learn(lmm, states, PCA(6))


def test_pages_are_redrawn_and_read_at_the_banks_layer_and_position(lmm, dogs):
    numbers = [1_000_000, 1_000_008]
    changes = counterfactual_edits(lmm, dogs, iter(numbers), batch_size=8)
    assert changes.numbers == tuple(numbers) and changes.factors == [f for f in allowed_values("dog") if f != "kind"]
    assert changes.activations.shape == (2, len(changes.values), 6) and changes.shown.sum(1).tolist() == [6, 6]
    for number, row, shown in zip(numbers, changes.activations, changes.shown):
        pages = [page(number).with_(**{factor: value}) for factor, value in changes.values]
        assert shown.tolist() == [item == page(number) for item in pages]
        images = in_memory([item.picture for item in pages], ("a dog",))
        captions = dict.fromkeys(images.ids, "a dog")
        states = extract(lmm, images, "dog", 4, position="own", captions=captions, cache=False)
        np.testing.assert_allclose(row, dogs.project(states.Z), rtol=1e-3, atol=1e-3)
    assert np.ptp(changes.activations, axis=1).min() > 0.01


def test_another_bank_sees_the_same_edits(lmm, dogs):
    states = extract(lmm, load_images("picturebook", split="test").with_ids(dogs.ids), "dog", 4, position="own")
    other = ConceptBank.learn(lmm, states, RandomDictionary(3))
    edits = counterfactual_edits(lmm, dogs, [1_000_000])
    np.testing.assert_allclose(
        edits.of(other).activations, counterfactual_edits(lmm, other, [1_000_000]).activations, rtol=1e-5
    )
    elsewhere = ConceptBank.learn(lmm, extract(lmm, states.images, "dog", 4, position="predicts"), RandomDictionary(3))
    with pytest.raises(ValueError, match="the edits and the bank differ in position"):
        edits.of(elsewhere)


def test_a_direction_from_day_to_night_is_found(lmm, dogs):
    numbers = list(range(1_000_000, 1_000_000 + 8 * 4, 8))
    changes = counterfactual_edits(lmm, dogs, numbers)
    table = changes.by_factor()
    k = int(table.loc["time"].argmax())
    assert table[k].idxmax() == "time"
    night = changes.matrix()[k]["time"]
    assert night["night"] == pytest.approx(-night["day"]) and abs(night["night"]) == pytest.approx(table[k]["time"])


def test_pages_that_do_not_fit(lmm, llava, dogs):
    with pytest.raises(ValueError, match="learned on"):
        counterfactual_edits(llava, dogs, [0])
    with pytest.raises(ValueError, match=r"the pages are of \['cat'\], the bank of 'dog'"):
        counterfactual_edits(lmm, dogs, [1])
    with pytest.raises(ValueError, match=r"the pages are of \['cat', 'dog'\]"):
        counterfactual_edits(lmm, dogs, [0, 1])
    with pytest.raises(ValueError, match=r"the pages are of \[\]"):
        counterfactual_edits(lmm, dogs, [])
    with pytest.raises(ValueError, match="comes twice"):
        counterfactual_edits(lmm, dogs, [0, 0])
