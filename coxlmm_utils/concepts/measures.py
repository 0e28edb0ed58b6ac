"""Measures of concepts that need no judge: activity, stability, overlap of words, words that references mention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..dictionaries import match
from ..text import words_in
from .grounding import Words


def active_share(activations: np.ndarray) -> np.ndarray:
    """How often each concept is active: the share of samples whose activation is not zero (ours).

    Parameters
    ----------
    activations : numpy.ndarray
        (samples, concepts).

    Returns
    -------
    numpy.ndarray
        (concepts,), from 0 to 1; always 1 with K-Means and Simple, whose activations never are zero.
    """
    return (activations != 0).mean(axis=0)


def active_mean(activations: np.ndarray) -> np.ndarray:
    """How strongly each concept is active: its mean magnitude over the samples where it is not zero (ours).

    Parameters
    ----------
    activations : numpy.ndarray
        (samples, concepts).

    Returns
    -------
    numpy.ndarray
        (concepts,); 0 for a concept that is never active.
    """
    active = (activations != 0).sum(axis=0)  # (concepts,)
    return np.abs(activations).sum(axis=0, dtype=np.float64) / np.maximum(active, 1)


def concept_stability(concepts: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """How well each concept is found again in other dictionaries: the cosine of its partner, averaged over them (ours).

    Parameters
    ----------
    concepts : numpy.ndarray
        (concepts, width).
    others : sequence of numpy.ndarray
        (concepts, width) each, such as those of other seeds; see `match`.

    Returns
    -------
    numpy.ndarray
        (concepts,), at most 1; NaN for a concept without a partner in any of them.

    Raises
    ------
    ValueError
        If there are none, or they are of another width.
    """
    if not len(others):
        raise ValueError("stability needs at least one other dictionary, such as that of another seed")
    for other in others:
        if other.shape[1] != concepts.shape[1]:
            raise ValueError(
                f"the concepts have width {concepts.shape[1]}, those of another dictionary {other.shape[1]}"
            )
    cosines = np.stack([match(concepts, other)[1] for other in others])  # (others, concepts)
    matched = ~np.isnan(cosines)
    sums, counts = np.where(matched, cosines, 0).sum(axis=0), matched.sum(axis=0)
    return np.divide(sums, counts, out=np.full(len(concepts), np.nan), where=counts > 0)


def token_shares(bank) -> pd.DataFrame:
    """How much of each concept's activation belongs to each token.

    Parameters
    ----------
    bank : ConceptBank
        Learned from joined states.

    Returns
    -------
    pandas.DataFrame
        Concepts x tokens; a row sums to 1. Mean activation over a token's samples, so that a token with more
        samples has no more of a share; magnitudes, for dictionaries with signed activations.

    Raises
    ------
    ValueError
        If the bank is of one token.
    """
    tokens = bank.provenance.get("tokens")
    if not tokens:
        raise ValueError(f"this bank is of {bank.token!r} alone; learn one from states of several tokens")
    ends = np.cumsum(list(tokens.values()))[:-1]
    means = np.stack([np.abs(part).mean(axis=0) for part in np.split(bank.activations, ends)], axis=1)
    totals = means.sum(axis=1, keepdims=True)  # (concepts, 1)
    shares = means / np.where(totals > 0, totals, 1)
    return pd.DataFrame(shares, columns=list(tokens)).rename_axis("concept")


def words_mentioned(words: Sequence[Words], top: np.ndarray, references: Sequence[Sequence[str]]) -> np.ndarray:
    """Do the two groundings agree: the share of a concept's words that its pictures' references mention (ours).

    It asks what the paper's CLIPScore of the grounding asks (its Fig 3), and needs no judge, but knows no synonyms.

    Parameters
    ----------
    words : sequence of Words
        Of all concepts.
    top : numpy.ndarray
        (concepts, pictures) sample numbers, as from `ground_pictures`.
    references : sequence of sequence of str
        Reference captions of every sample.

    Returns
    -------
    numpy.ndarray
        (concepts,), mean over pictures and words, from 0 to 1; 0 for a concept without words.
    """
    mentioned = {int(row): set(words_in(" ".join(references[row]).lower())) for row in np.unique(top)}
    return np.array(
        [
            np.mean([[word.lower() in mentioned[int(row)] for word in concept.kept] or [0.0] for row in rows])
            for concept, rows in zip(words, top)
        ]
    )


def overlaps(words: Sequence[Words]) -> np.ndarray:
    """The share of its words that a concept has in common with another, on average over the others.

    Paper: ``1 / (K - 1) * sum over l != k of |T_l and T_k| / |T_k|``, where T_k are the unique words of
    concept k. The mean over concepts is the dictionary's overlap; lower is better.

    Parameters
    ----------
    words : sequence of Words
        Of all concepts; of a signed dictionary of all sides, each of which counts as one.

    Returns
    -------
    numpy.ndarray
        (concepts,), from 0 to 1; NaN for a concept without words (ours; the released code calls it 0), and for a single
        concept.
    """
    sets = [set(concept.kept) for concept in words]
    shared = np.array([[len(own & other) for other in sets] for own in sets], dtype=float)  # (concepts, concepts)
    sizes = np.array([len(own) for own in sets], dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (shared.sum(axis=1) - sizes) / sizes / (len(sets) - 1)
