"""Are the words of a concept true of its pictures? On pages of the book every word can be checked (ours)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..concepts import Words, ground_pictures
from ..picturebook import Factors, facts_in
from ..statistics import Mean, nested_bootstrap


@dataclass(frozen=True)
class WordAccuracy:
    """How often concepts' words are true of their most active pages."""

    # A row per concept: words (those that name a fact), true (the share of pairs of such a word and a most active page
    # that are true), chance (the same words on all pages), margin (true minus chance). NaN for concepts without such
    # words, or above 0 on no page.
    table: pd.DataFrame
    true: Mean
    chance: Mean
    margin: Mean

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
    """Check each concept's words against the pages that it is most active on (ours)."""
    activations = np.asarray(activations)
    if activations.shape != (len(pages), len(words)):
        raise ValueError(
            f"activations of shape {activations.shape} are not of {len(pages)} pages and the words of {len(words)} "
            "concepts: give a row for each page, and a column for each concept."
        )
    rows, holds = [], _holds({word for concept in words for word in concept.kept}, pages)
    for k, top in enumerate(ground_pictures(activations.clip(min=0), n_pictures)):
        rows.append({"concept": k} | _row(words[k], holds, top[activations[top, k] > 0]))
    table = pd.DataFrame(rows)
    return WordAccuracy(table, *(mean_of_known([table[name]], level, seed) for name in ("true", "chance", "margin")))


def _row(words: Words, holds: dict[str, np.ndarray], top: np.ndarray) -> dict:
    """One concept's words that name a fact, and how often they are true."""
    named = tuple(word for word in words.kept if word in holds)
    if not named or not len(top):
        return {"words": named, "true": np.nan, "chance": np.nan, "margin": np.nan}
    of_words = np.array([holds[word] for word in named])  # (words, pages)
    true, chance = float(of_words[:, top].mean()), float(of_words.mean())
    return {"words": named, "true": true, "chance": chance, "margin": true - chance}


def _holds(words: Collection[str], pages: Sequence[Factors]) -> dict[str, np.ndarray]:
    """On which pages each word that names facts is true: bool (pages,); words that name none are left out."""
    facts = {word: facts_in(word) for word in words}
    return {
        word: np.array([all(getattr(page, factor) == value for factor, value in values) for page in pages])
        for word, values in facts.items()
        if values
    }


def mean_of_known(values: Sequence[pd.Series], level: float = 0.95, seed: int = 0) -> Mean:
    """The mean of each seed's values that are there; its interval if they are two or more, else NaN."""
    known = pd.concat(values).dropna()
    if len(known) < 2:
        return Mean(float(known.mean()), np.nan, np.nan, len(known), sum(map(len, values)) - len(known))
    return nested_bootstrap(values, level=level, seed=seed)
