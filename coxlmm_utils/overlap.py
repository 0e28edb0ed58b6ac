"""How much the concepts of a dictionary say the same words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .grounding import Words


def overlaps(words: Sequence[Words]) -> np.ndarray:
    """The share of its words that a concept has in common with another, on average over the others.

    Paper, section 4: ``1 / (K - 1) * sum over l != k of |T_l and T_k| / |T_k|``, where T_k are the unique words of
    concept k. The mean over concepts is the dictionary's overlap; lower is better.

    Parameters
    ----------
    words : sequence of Words
        Of all concepts.

    Returns
    -------
    numpy.ndarray
        (concepts,), from 0 to 1; NaN for a concept without words (ours; the released code calls it 0), and for a
        single concept.
    """
    sets = [set(concept.kept) for concept in words]
    shared = np.array([[len(mine & other) for other in sets] for mine in sets], dtype=float)  # (concepts, concepts)
    sizes = np.array([len(mine) for mine in sets], dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (shared.sum(axis=1) - sizes) / sizes / (len(sets) - 1)
