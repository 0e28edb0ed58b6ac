"""Concepts as cards: what a card shows, in which order cards come, and which of them contain a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..concepts import active_mean, active_share
from .html import Thumb, Thumbnails, render
from .trust import Answer, answers_of

N_PICTURES = 5
MEASURES = {"clipscore": "CLIPScore", "bertscore": "BERTScore", "stability": "stability"}
ORDERS = ("most active overall", "active on most pictures", "most strongly active", "name", "number")


@dataclass(frozen=True)
class Shown:
    """A sample as it is shown with a concept."""

    thumb: Thumb
    caption: str  # as the LMM generated it
    activation: float  # of the concept


@dataclass(frozen=True)
class Side:
    """The words and pictures of a concept where its activation has one sign."""

    words: tuple[str, ...]
    pictures: tuple[Shown, ...]  # the most activating first


@dataclass(frozen=True)
class Card:
    """What is known of one concept at a glance."""

    number: int
    title: str  # its user's name, else its first words
    name: str  # its user's name, or ""
    words: tuple[str, ...]
    often: float  # share of samples that it is active on
    strongly: float  # mean magnitude of its activation where it is active
    total: float  # sum of magnitudes over samples
    measures: dict[str, float]  # by their displayed names; only those that were measured
    pictures: tuple[Shown, ...]  # the most activating first
    below: Side | None  # where its activation is below zero; None if it never is, as with all methods but PCA
    answers: tuple[Answer, ...]  # of the trust card, if there is one

    @property
    def searched(self) -> list[str]:
        """The texts that a search looks into."""
        return [self.name, *self.words, *(self.below.words if self.below else ())]


def make_cards(bank, thumbnails: Thumbnails, trust=None) -> list[Card]:
    """A card for each concept of a bank, by number, with its answers of a trust card."""
    often, strongly = active_share(bank.activations), active_mean(bank.activations)
    return [
        make_card(bank, thumbnails, k, float(often[k]), float(strongly[k]), answers_of(trust, k))
        for k in range(len(bank))
    ]


def make_card(bank, thumbnails: Thumbnails, number: int, often: float, strongly: float, answers=()) -> Card:
    """The card of one concept, from how often and how strongly it is active, and what was measured of it."""
    side, *below = (make_side(bank, thumbnails, number, sign) for sign in bank.sides)
    measures = {measure_label(name): float(bank.measures[name][number]) for name in measured(bank)}
    return Card(
        number,
        bank.title(number),
        bank.names.get(number, ""),
        side.words,
        often,
        strongly,
        often * strongly * len(bank.ids),
        {label: value for label, value in measures.items() if not np.isnan(value)},
        side.pictures,
        *(below or [None]),
        answers,
    )


def make_side(bank, thumbnails: Thumbnails, number: int, sign: int) -> Side:
    """One side of a concept."""
    rows = bank.top_of(number, sign)[:N_PICTURES]
    return Side(bank.words_of(number, sign).kept, tuple(show(bank, thumbnails, row, number) for row in rows))


def show(bank, thumbnails: Thumbnails, row: int, number: int) -> Shown:
    """A sample of a bank, by its row, as it is shown with a concept."""
    return Shown(thumbnails.of(row), bank.captions[row], float(bank.activations[row, number]))


def measured(bank) -> list[str]:
    """The measures that a bank has, the paper's first."""
    return [*(name for name in MEASURES if name in bank.measures), *sorted(set(bank.measures) - set(MEASURES))]


def measure_label(name: str) -> str:
    """The displayed name of a measure."""
    return MEASURES.get(name, name)


def orders(bank) -> list[str]:
    """The orders that the cards of a bank can be put in, the default first; its measures are among them."""
    return [*ORDERS[:3], *map(measure_label, measured(bank)), *ORDERS[3:]]


def in_order(cards: Sequence[Card], order: str) -> list[Card]:
    """Cards in an order, of equals the lower number first."""
    keys = {
        "most active overall": lambda card: -card.total,
        "active on most pictures": lambda card: -card.often,
        "most strongly active": lambda card: -card.strongly,
        "name": lambda card: card.title.casefold(),
        "number": lambda card: card.number,
    }
    by_measure = lambda card: -card.measures.get(order, -np.inf)  # noqa: E731
    return sorted(cards, key=lambda card: (keys.get(order, by_measure)(card), card.number))


def terms_of(text: str) -> list[str]:
    """The terms of a search, all of which a card must contain."""
    return text.casefold().replace(",", " ").split()


def matching(cards: Sequence[Card], text: str) -> list[Card]:
    """The cards with all parts of a text in their words or name, whatever the case; all cards if the text is blank."""
    terms = terms_of(text)
    texts = [[said.casefold() for said in card.searched] for card in cards]
    return [card for card, said in zip(cards, texts) if all(any(term in one for one in said) for term in terms)]


def card_pictures_html(card: Card) -> str:
    """The pictures of a card as HTML."""
    return render("card_pictures.html", card=card)


def card_text_html(card: Card, text: str = "") -> str:
    """Number, name, words and measures of a card as HTML."""
    terms = terms_of(text)
    marked = {word for word in card.searched if any(term in word.casefold() for term in terms)}
    return render("card_text.html", card=card, marked=marked)
