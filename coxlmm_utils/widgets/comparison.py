"""Two banks side by side, their concepts matched one to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..dictionaries import match
from ..shift import EMERGED, ConceptShift
from .cards import Card
from .html import render


@dataclass(frozen=True)
class Comparison:
    """The concepts of two banks, matched one to one."""

    pairs: tuple[tuple[Card, Card, float], ...]  # concepts of both, with their cosine; the most alike first
    left_over: tuple[Card, ...]
    others_left_over: tuple[Card, ...]
    same_space: bool  # whether both banks are of one model, or of one and its fine-tuned copy
    notes: tuple[str, ...] = ()  # of each pair what became of the concept, if that is known


def compare_banks(bank, other, cards: Sequence[Card], other_cards: Sequence[Card]) -> Comparison:
    """Match the concepts of two banks such that their cosines sum to the most; see `match`."""
    if bank.concepts.shape[1] != other.concepts.shape[1]:
        raise ValueError(
            f"these banks cannot be compared: the concepts of one have {bank.concepts.shape[1]:,} numbers, those of "
            f"the other {other.concepts.shape[1]:,}, since they are of models of different width"
        )
    partners, cosines = match(bank.concepts, other.concepts)
    pairs = [(cards[k], other_cards[partners[k]], float(cosines[k])) for k in range(len(bank)) if partners[k] >= 0]
    matched = set(partners.tolist())
    return Comparison(
        tuple(sorted(pairs, key=lambda pair: -pair[2])),
        tuple(cards[k] for k in range(len(bank)) if partners[k] < 0),
        tuple(other_cards[k] for k in range(len(other)) if k not in matched),
        bank.fingerprint == other.fingerprint,
    )


def compare_shift(shift: ConceptShift, cards: Sequence[Card], other_cards: Sequence[Card]) -> Comparison:
    """Each concept before fine-tuning with its nearest after, those that changed most first; then those that emerged."""
    before, after = (table.sort_values("cosine") for table in (shift.before_table, shift.after_table))
    after = after[after["change"] == EMERGED]
    rows = [(k, row.match, row) for k, row in zip(before.index, before.itertuples())]
    rows += [(row.match, k, row) for k, row in zip(after.index, after.itertuples())]
    pairs = tuple((cards[k], other_cards[j], float(row.cosine)) for k, j, row in rows)
    return Comparison(pairs, (), (), True, tuple(_note(row) for *_, row in rows))


def _note(row) -> str:
    """What became of a concept, and how many of its words its match has."""
    words = "" if np.isnan(row.t_overlap) else f", {row.t_overlap:.0f} % of its words"
    return f"{row.change}{words}"


def comparison_html(comparison: Comparison, name: str, other_name: str) -> str:
    """A comparison as HTML, under the names of both banks."""
    return render("comparison.html", comparison=comparison, names=(name, other_name))
