"""Cards: what stands on them, their orders, and search."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coxlmm_utils.widgets.cards import (
    card_pictures_html,
    card_text_html,
    in_order,
    make_cards,
    matching,
    orders,
    terms_of,
)
from coxlmm_utils.widgets.html import Thumbnails
from tests.widgets.browsed import NASTY, Read, browsed_bank, signed_bank


@pytest.fixture(scope="module")
def browsed(bank, tmp_path_factory):
    return browsed_bank(bank, tmp_path_factory.mktemp("browsed"))


@pytest.fixture(scope="module")
def cards(browsed):
    return make_cards(browsed, Thumbnails(browsed))


def numbers(cards) -> list[int]:
    return [card.number for card in cards]


def test_a_card_tells_what_the_bank_knows(browsed, cards):
    V = browsed.activations
    assert numbers(cards) == [0, 1, 2, 3]
    assert [card.title for card in cards] == ["beach, sand, Sea", NASTY, "concept 2", "snow"]
    assert [card.name for card in cards] == ["", NASTY, "", ""]
    for card in cards:
        marked = V[:, card.number]
        assert card.often == pytest.approx((marked > 0).mean()) and card.total == pytest.approx(marked.sum(), rel=1e-5)
        assert card.strongly == pytest.approx(marked[marked > 0].mean() if marked.any() else 0, rel=1e-5)
    first = cards[0].pictures
    assert [shown.activation for shown in first] == sorted(V[:, 0].tolist(), reverse=True)[:5]
    assert [shown.thumb.id for shown in first] == [browsed.ids[row] for row in browsed.top[0]]
    assert all(shown.caption == f"{NASTY} on {shown.thumb.id}" for shown in first)
    assert cards[3].pictures == () and cards[0].measures == {}


def test_a_signed_card_shows_each_side_with_its_own_words(bank, cards, tmp_path):
    signed = signed_bank(bank, tmp_path / "signed")
    values = np.sort(signed.activations[:, 0])
    card = make_cards(signed, Thumbnails(signed))[0]
    assert card.words == ("beach", "sand", "Sea") and card.below.words == ("night", NASTY)
    assert [shown.activation for shown in card.pictures] == values[::-1][:5].tolist()
    assert [shown.activation for shown in card.below.pictures] == values[:5].tolist() and values[4] < 0
    assert card.strongly > 0 and all(card.below is None for card in cards)
    assert matching([card], "night") == [card] and matching([card], "snow") == []
    seen = Read(card_text_html(card, "night"))
    assert "0+ beach sand Sea 0− night" in seen.text and len(seen.of("img")) == 5
    assert len(seen.of_class("cox-hit")) == 1


def test_orders_put_the_largest_first_and_what_is_not_measured_last(browsed):
    measures = {
        "stability": np.array([0.2, 0.9, np.nan, 0.5]),
        "clipscore": np.array([1.0, 1, 2, 1]),
        "own": np.ones(4),
    }
    other = replace(browsed, measures=measures)
    cards = make_cards(other, Thumbnails(other))
    assert orders(other) == [
        *("most active overall", "active on most pictures", "most strongly active"),
        *("CLIPScore", "stability", "own", "name", "number"),
    ]
    assert numbers(in_order(cards, "stability")) == [1, 3, 0, 2]
    assert numbers(in_order(cards, "CLIPScore")) == [2, 0, 1, 3]
    assert numbers(in_order(cards[::-1], "number")) == [0, 1, 2, 3]
    assert numbers(in_order(cards, "name")) == [1, 0, 2, 3]  # "<", "beach", "concept 2", "snow"
    V = browsed.activations
    assert numbers(in_order(cards, "most active overall")) == np.argsort(-V.sum(0), kind="stable").tolist()
    assert numbers(in_order(cards, "active on most pictures")) == np.argsort(-(V > 0).sum(0), kind="stable").tolist()
    assert numbers(in_order(cards, "most strongly active"))[0] == 1 and "own" in cards[0].measures
    assert "stability" not in cards[2].measures and list(cards[0].measures) == ["CLIPScore", "stability", "own"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", [0, 1, 2, 3]),
        ("  ", [0, 1, 2, 3]),
        ("beach", [0, 1]),
        ("BEA", [0, 1]),
        ("sea", [0]),
        ("beach dog", [1]),
        ("beach, sand", [0]),
        ("onerror", [1]),
        ("the", []),
        ("concept", []),
        (".*", []),
    ],
)
def test_search_finds_parts_of_kept_words_and_names(cards, text, expected):
    assert numbers(matching(cards, text)) == expected


def test_search_finds_a_name(browsed):
    other = replace(browsed, names={2: "Dogs at Rest"})
    assert numbers(matching(make_cards(other, Thumbnails(other)), "rest dogs")) == [2]
    assert terms_of(" Rest,dogs ") == ["rest", "dogs"]


def test_the_text_of_a_card(browsed):
    other = replace(browsed, measures={"clipscore": np.array([0.714, np.nan, 1, 1])})
    cards = make_cards(other, Thumbnails(other))
    text = Read(card_text_html(cards[0], "bea"))
    share, strength = round(100 * cards[0].often), f"{cards[0].strongly:.3g}"
    assert f"active on {share}% of pictures, with strength {strength}" in text.text
    assert "CLIPScore 0.71" in text.text and len(text.of_class("cox-hit")) == 1
    assert "CLIPScore" not in Read(card_text_html(cards[1])).text
    assert not Read(card_text_html(cards[0])).of_class("cox-hit")
    assert "no words left by the filter" in Read(card_text_html(cards[2])).text


@pytest.mark.parametrize(
    "often, text", [(0, "0%"), (0.001, "under 1%"), (0.5, "50%"), (0.9999, "over 99%"), (1, "100%")]
)
def test_shares_are_rounded_honestly(cards, often, text):
    assert f"active on {text} of pictures" in Read(card_text_html(replace(cards[0], often=often))).text


def test_the_pictures_of_a_card(cards):
    seen = Read(card_pictures_html(cards[1])).of("img")
    assert [image["src"] for image in seen] == [shown.thumb.uri for shown in cards[1].pictures]
    assert seen[0]["alt"] == f"{NASTY} on {NASTY}.png"
    assert "no picture activates it" in Read(card_pictures_html(cards[3])).text
