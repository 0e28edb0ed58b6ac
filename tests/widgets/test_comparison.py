"""Two banks side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.shift import Cuts, compare
from coxlmm_utils.widgets.cards import make_cards
from coxlmm_utils.widgets.comparison import compare_banks, compare_shift, comparison_html
from coxlmm_utils.widgets.html import Thumbnails
from tests.widgets.browsed import NASTY, Read, browsed_bank


@pytest.fixture(scope="module")
def browsed(bank, tmp_path_factory):
    return browsed_bank(bank, tmp_path_factory.mktemp("browsed"))


def with_concepts(bank, concepts):
    return replace(bank, dictionary=SemiNMF.from_components(np.array(concepts, np.float32)))


def compared(bank, other, keep=slice(None)):
    cards = make_cards(bank, Thumbnails(bank))
    return compare_banks(bank, other, cards, cards[keep])


def test_concepts_are_matched_one_to_one_the_most_alike_first(browsed):
    bank = with_concepts(browsed, np.eye(4))
    other = with_concepts(browsed, np.eye(4)[[2, 3, 0, 1]] + 0.3 * np.eye(4)[[1] * 4])
    comparison = compared(bank, other)
    assert [(card.number, other_card.number) for card, other_card, _ in comparison.pairs] == [
        (1, 3),
        (0, 2),
        (2, 0),
        (3, 1),
    ]
    cosines = [cosine for _, _, cosine in comparison.pairs]
    assert cosines == pytest.approx([1, *[1.09**-0.5] * 3])
    assert comparison.left_over == comparison.others_left_over == () and comparison.same_space


def test_concepts_without_a_partner_are_listed(browsed):
    few = replace(with_concepts(browsed, np.eye(4)[:2]), words=browsed.words[:2])
    whole = with_concepts(browsed, np.eye(4))
    comparison = compared(whole, few, slice(2))
    assert [card.number for card in comparison.left_over] == [2, 3] and comparison.others_left_over == ()
    cards = make_cards(browsed, Thumbnails(browsed))
    back = compare_banks(few, whole, cards[:2], cards)
    assert [card.number for card in back.others_left_over] == [2, 3] and back.left_over == ()
    seen = Read(comparison_html(comparison, "one", NASTY))
    assert "Without a partner: one" in seen.text and f"Without a partner: {NASTY}" not in seen.text
    assert NASTY in seen.text and "two different models" not in seen.text
    assert len(seen.of_class("cox-pair")) == 1 + 2 and len(seen.of_class("cox-side")) == 4 + 2


def test_banks_of_another_width_are_refused(browsed):
    with pytest.raises(ValueError, match="cannot be compared: .* have 6 numbers, those of the other 4"):
        compared(browsed, with_concepts(browsed, np.eye(4)))


def test_banks_of_another_model_are_said_to_be(browsed):
    model = {"model": {"name": "other", "fingerprint": "other"}}
    comparison = compared(browsed, replace(browsed, provenance={**browsed.provenance, **model}))
    assert not comparison.same_space
    assert "two different models" in Read(comparison_html(comparison, "one", "two")).text


def test_a_shift_has_those_that_changed_most_first_with_what_became_of_them(browsed):
    after = with_concepts(browsed, [*browsed.concepts[:3], -browsed.concepts[3]])
    shift = compare(browsed, after, Cuts(0.99, 50.0))
    cards = make_cards(browsed, Thumbnails(browsed))
    comparison = compare_shift(shift, cards, cards)
    cosines = [cosine for *_, cosine in comparison.pairs]
    assert cosines[:4] == sorted(cosines[:4]) and comparison.same_space
    assert sum(note.startswith("unchanged") for note in comparison.notes) == 3
    assert {note.split(",")[0] for note in comparison.notes} >= {"unchanged"} and len(comparison.notes) == len(cosines)
    seen = Read(comparison_html(comparison, "before", NASTY))
    assert "unchanged, 100 % of its words" in seen.text and "two different models" not in seen.text
