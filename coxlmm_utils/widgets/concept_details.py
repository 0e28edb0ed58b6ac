"""One concept in detail: its histogram of activations, dropped words, nearest concepts, and pictures from low to high."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics.pairwise import cosine_similarity

from .cards import N_PICTURES, Card, Shown, show
from .html import Thumbnails, render

N_MORE = 12
N_STRIP = 7
N_NEAREST = 5
N_BINS = 24


@dataclass(frozen=True)
class Histogram:
    """How many samples a concept is how active on; those that it is not active on are left out."""

    counts: tuple[int, ...]  # of bins of equal width
    low: float
    high: float


@dataclass(frozen=True)
class ConceptDetails:
    """All that is known of one concept."""

    card: Card
    more: tuple[tuple[Shown, ...], ...]  # the most activating pictures after the card's: above zero, then below
    histogram: Histogram | None  # none of a concept that is active on no sample
    n_samples: int
    dropped: tuple[tuple[str, str], ...]  # words that the filter dropped, each with the reason
    # the concepts of the same bank of largest cosine with this one, and the cosine
    nearest: tuple[tuple[Card, float], ...]
    # pictures at equal steps through the samples that it is active on, from low to high activation
    strip: tuple[Shown, ...]
    note: str  # why only the bank's own pictures are shown, if so


def concept_details(bank, thumbnails: Thumbnails, cards: Sequence[Card], number: int) -> ConceptDetails:
    """All that is known of one concept."""
    values = bank.activations[:, number]  # (samples,)
    rising = np.flatnonzero(values)[np.argsort(values[values != 0], kind="stable")]
    shown = [int(row) for row in rising if thumbnails.can_look_for(int(row))]
    more = [_more(bank, shown, number, sign) for sign in bank.sides]
    return ConceptDetails(
        cards[number],
        tuple(tuple(show(bank, thumbnails, row, number) for row in rows) for rows in more),
        histogram_of(values),
        len(values),
        tuple(pair for sign in bank.sides for pair in bank.words_of(number, sign).dropped),
        tuple((cards[k], cosine) for k, cosine in nearest(bank.concepts, number)),
        tuple(show(bank, thumbnails, row, number) for row in at_steps(shown, N_STRIP)),
        thumbnails.note,
    )


def _more(bank, rows: Sequence[int], number: int, sign: int) -> list[int]:
    """Of some samples the most active ones of one side, after those on the card."""
    on_card, values = bank.top_of(number, sign)[:N_PICTURES], sign * bank.activations[:, number]
    rest = [row for row in rows if values[row] > 0 and row not in on_card]
    return sorted(rest, key=lambda row: -values[row])[:N_MORE]


def histogram_of(values: np.ndarray, n_bins: int = N_BINS) -> Histogram | None:
    """The histogram of a concept's activations, (samples,), that are not zero; None if all are."""
    active = values[values != 0]
    if not len(active):
        return None
    counts, edges = np.histogram(active, n_bins)
    return Histogram(tuple(map(int, counts)), float(edges[0]), float(edges[-1]))


def nearest(concepts: np.ndarray, number: int, n: int = N_NEAREST) -> list[tuple[int, float]]:
    """The numbers of the other concepts of largest cosine with this one, with their cosines, largest first."""
    cosines = cosine_similarity(concepts[number : number + 1], concepts)[0]  # (concepts,)
    order = [int(k) for k in np.argsort(-cosines, kind="stable") if k != number]
    return [(k, float(cosines[k])) for k in order[:n]]


def at_steps(rows: Sequence[int], n: int) -> list[int]:
    """At most n of some rows, at equal steps from the first to the last."""
    indices = np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int))
    return [rows[index] for index in indices]


def details_html(details: ConceptDetails) -> str:
    """A concept's details as HTML."""
    return render("opened.html", details=details, linked=False)
