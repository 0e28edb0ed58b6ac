"""One concept opened: more pictures, its histogram, its neighbours, and pictures from low to high."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from coxlmm_utils.widgets.cards import make_cards
from coxlmm_utils.widgets.concept_details import at_steps, concept_details, details_html, histogram_of, nearest
from coxlmm_utils.widgets.html import Thumbnails
from tests.widgets.browsed import N, Read, browsed_bank, signed_bank


@pytest.fixture(scope="module")
def browsed(bank, tmp_path_factory):
    return browsed_bank(bank, tmp_path_factory.mktemp("browsed"))


def opened_of(bank, number):
    thumbnails = Thumbnails(bank)
    return concept_details(bank, thumbnails, make_cards(bank, thumbnails), number)


def test_more_pictures_follow_those_of_the_card(browsed):
    opened, values = opened_of(browsed, 0), browsed.activations[:, 0]
    strongest = sorted(values.tolist(), reverse=True)
    assert [shown.activation for shown in opened.card.pictures] == strongest[:5]
    [more] = opened.more
    assert [shown.activation for shown in more] == strongest[5:17]
    assert all(shown.thumb.uri for shown in more) and opened.note == ""


def test_both_sides_of_a_signed_concept_are_opened(bank, tmp_path):
    signed = signed_bank(bank, tmp_path / "signed")
    opened, values = opened_of(signed, 0), np.sort(signed.activations[:, 0])
    above, below = ([shown.activation for shown in more] for more in opened.more)
    assert above == values[values > 0][::-1][5:17].tolist() and below == values[values < 0][5:17].tolist()
    assert opened.strip[0].activation == values[0] and opened.strip[-1].activation == values[-1]
    assert opened.dropped == (("the", "function word"), ("of", "function word"))
    seen = Read(details_html(opened))
    assert "More pictures that activate it below zero, the strongest first" in seen.text and "0− night" in seen.text


def test_the_strip_goes_from_the_lowest_to_the_highest_activation(browsed):
    values = browsed.activations[:, 0]
    active = sorted(values[values > 0].tolist())
    strip = [shown.activation for shown in opened_of(browsed, 0).strip]
    assert len(strip) == 7 and strip == sorted(strip)
    assert (strip[0], strip[-1]) == (active[0], active[-1]) and strip[3] in active[len(active) // 2 - 1 :][:2]


def test_steps():
    assert at_steps(range(10, 20), 4) == [10, 13, 16, 19]
    assert at_steps([5, 6], 7) == [5, 6] and at_steps([5], 7) == [5] and at_steps([], 7) == []


def test_a_histogram_leaves_out_zeros():
    histogram = histogram_of(np.array([0, 1, 1, 2, 0, 5.0]), 4)
    assert (histogram.counts, histogram.low, histogram.high) == ((2, 1, 0, 1), 1, 5)
    assert histogram_of(np.array([0.0, -2, 2]), 2).counts == (1, 1)
    assert histogram_of(np.zeros(3)) is None
    assert sum(histogram_of(np.full(6, 2.0)).counts) == 6


def test_nearest_concepts_are_those_of_largest_cosine():
    concepts = np.array([[1.0, 0], [0, 2], [3, 3], [-1, 0], [0, 0]])
    neighbours = nearest(concepts, 0, 3)
    assert [k for k, _ in neighbours] == [2, 1, 4]
    assert [cosine for _, cosine in neighbours] == pytest.approx([0.5**0.5, 0, 0])
    assert nearest(concepts[:1], 0) == []


def test_the_page_of_a_concept(browsed):
    opened = opened_of(browsed, 0)
    seen = Read(details_html(opened))
    assert len(seen.of("img")) == 7 + 12 + sum(bool(card.pictures) for card, _ in opened.nearest)
    bars = seen.of("rect")
    assert len(bars) == sum(count > 0 for count in opened.histogram.counts)
    assert max(float(bar["height"]) for bar in bars) == 104
    active = int((browsed.activations[:, 0] > 0).sum())
    assert f"over the {active} of {N} pictures" in seen.text and "the function word" in seen.text
    assert f"cosine {opened.nearest[0][1]:.2f}" in seen.text


def test_a_concept_that_is_never_active(browsed):
    seen = Read(details_html(opened_of(browsed, 3)))
    assert f"active on none of the {N} pictures" in seen.text and not seen.of("rect")
    assert "None." in seen.text  # no word was dropped


def test_a_cosine_just_below_zero_is_no_minus_zero(browsed):
    opened = opened_of(browsed, 0)
    seen = Read(details_html(replace(opened, nearest=((opened.card, -0.001), (opened.card, -0.01)))))
    assert "cosine 0.00" in seen.text and "cosine -0.01" in seen.text


def test_moved_pictures_leave_placeholders_with_their_path(bank, tmp_path):
    browsed = browsed_bank(bank, tmp_path / "pictures")
    shutil.rmtree(tmp_path / "pictures")
    seen = Read(details_html(opened_of(browsed, 0)))
    assert str(tmp_path / "pictures") in seen.text and len(seen.of_class("cox-missing")) >= 8


def test_without_a_source_only_the_banks_own_pictures_are_shown(browsed):
    data = {"data": {"source": "", "split": "all"}}
    opened = opened_of(replace(browsed, provenance={**browsed.provenance, **data}), 0)
    assert {shown.thumb.id for shown in opened.more[0] + opened.strip} <= browsed.thumbnails.keys()
    seen = Read(details_html(opened))
    assert not seen.of_class("cox-missing") and "give them as `images`" in seen.text
