"""A trust card beside the concepts that it is of: a table above them, and in each concept's details its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .html import render

WORDS = {1.0: "yes", 0.0: "no"}  # any other answer: not evaluated
SYMBOLS = {"yes": "✓", "no": "✗", "not evaluated": "○", "not measured": "–"}


@dataclass(frozen=True)
class Answer:
    """What a trust card says of one concept to one question."""

    name: str  # of the question, short
    question: str
    text: str  # yes, no, not evaluated, or not measured
    value: float | None  # what was measured of the concept, if anything was
    rule: str  # when the answer is yes

    @property
    def symbol(self) -> str:
        """The answer as a mark on a card."""
        return SYMBOLS[self.text]


def card_of(bank, cards: Sequence):
    """The one of some trust cards that is of this bank, however often it was saved, loaded or named; else None."""
    return next((card for card in cards if _is_of(card, bank)), None)


def check_cards(cards, banks: Sequence) -> list:
    """One trust card, several or none as a list; ValueError if one is of none of the banks."""
    cards = [] if cards is None else list(cards) if isinstance(cards, (list, tuple)) else [cards]
    for card in cards:
        if not any(_is_of(card, bank) for bank in banks):
            raise ValueError(f"the trust card is of {card.bank!r}, which is not shown here: give one of a bank shown")
    return cards


def trust_html(card) -> str:
    """The table of a trust card, each question with its counts; "" without a card."""
    legend = ", ".join(f"{symbol} {text}" for text, symbol in SYMBOLS.items())
    return render("trust.html", checks=card.checks, facts=card.facts, legend=legend) if card else ""


def answers_of(card, number: int) -> tuple[Answer, ...]:
    """What a trust card says of one concept; nothing without a card."""
    return tuple(_answer(check, number) for check in (card.checks if card else ()))


def _answer(check, number: int) -> Answer:
    if check.answers is None:
        return Answer(check.name, check.question, "not measured", None, check.rule)
    holds, value = float(check.answers.holds[number]), float(check.answers.values[number])
    text = WORDS.get(holds, "not evaluated")
    return Answer(check.name, check.question, text, None if np.isnan(value) else value, check.rule)


def _is_of(card, bank) -> bool:
    return card.bank.fingerprint == bank.fingerprint and np.array_equal(card.bank.concepts, bank.concepts)
