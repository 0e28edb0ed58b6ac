"""Are the words of a concept true of its pictures? On pages of the book every word can be checked (ours)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..concepts import Words, ground_pictures
from ..picturebook import Factors, facts_in
from ..statistics import Mean, bootstrap_mean


@dataclass(frozen=True)
class WordAccuracy:
    """How often concepts' words are true of their most active pages.

    Attributes
    ----------
    table : pandas.DataFrame
        A row for each concept: concept, words (those that name a fact), true (the share of pairs of such a word and a
        most active page that are true), chance (the same words on all pages), beyond (true minus chance). NaN for
        concepts without such words, or above 0 on no page.
    true, chance, beyond : Mean
        Over concepts; `n_missing` counts those with NaN. NaN with no interval if fewer than two are left.
    """

    table: pd.DataFrame
    true: Mean
    chance: Mean
    beyond: Mean

    def __str__(self) -> str:
        return f"{self.true} of words true of their concept's pictures, {self.chance} of all pages"


def word_accuracy(
    words: Sequence[Words],
    activations: np.ndarray,
    pages: Sequence[Factors],
    n_pictures: int = 5,
    level: float = 0.95,
    seed: int = 0,
) -> WordAccuracy:
    """Check each concept's words against the pages that it is most active on (ours).

    Parameters
    ----------
    words : sequence of Words
        Of each concept; synonyms count as right, and words that name no fact ("with") are left out. The subject's own
        noun is true of every page, so compare with chance.
    activations : numpy.ndarray
        (pages, concepts): of the pages of a bank, or of others. Largest first, and only those above 0, since words are
        read from a concept's positive direction (ours; a bank shows pages by magnitude).
    pages : sequence of Factors
        What is on them.
    n_pictures : int, default 5
        Most active pages of each concept; fewer where fewer are active.
    level : float, default 0.95
        Of the intervals; see `bootstrap_mean`.
    seed : int, default 0
        Of the bootstrap.

    Returns
    -------
    WordAccuracy

    Raises
    ------
    ValueError
        If there is not one row of activations for each page, and one column for each concept's words.
    """
    activations = np.asarray(activations)
    if activations.shape != (len(pages), len(words)):
        raise ValueError(
            f"activations of shape {activations.shape} are not of {len(pages)} pages and the words of {len(words)} "
            "concepts: give a row for each page, and a column for each concept."
        )
    rows = []
    for k, top in enumerate(ground_pictures(activations.clip(min=0), n_pictures)):
        rows.append({"concept": k} | _row(words[k], pages, top[activations[top, k] > 0]))
    table = pd.DataFrame(rows)
    return WordAccuracy(table, *(_mean(table[name], level, seed) for name in ("true", "chance", "beyond")))


def _row(words: Words, pages: Sequence[Factors], top: np.ndarray) -> dict:
    """One concept's words that name a fact, and how often they are true."""
    facts = {word: facts_in(word) for word in words.kept}
    named = {word: found for word, found in facts.items() if found}
    if not named or not len(top):
        return {"words": tuple(named), "true": np.nan, "chance": np.nan, "beyond": np.nan}
    holds = np.array([[_holds(found, page) for page in pages] for found in named.values()])  # (words, pages)
    true, chance = float(holds[:, top].mean()), float(holds.mean())
    return {"words": tuple(named), "true": true, "chance": chance, "beyond": true - chance}


def _holds(facts: Sequence[tuple[str, str]], page: Factors) -> bool:
    """Whether a page shows all of these values."""
    return all(getattr(page, factor) == value for factor, value in facts)


def _mean(values: pd.Series, level: float, seed: int) -> Mean:
    """With its interval, if enough values are there."""
    there = values.dropna()
    if len(there) < 2:
        return Mean(float(there.mean()), np.nan, np.nan, len(there), len(values) - len(there))
    return bootstrap_mean(values, level=level, seed=seed)
