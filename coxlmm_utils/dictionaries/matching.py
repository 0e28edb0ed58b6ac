"""Match the concepts of two dictionaries one to one."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment


def match(concepts: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Partners for concepts, no partner twice, such that their cosines sum to the most (Hungarian matching).

    As paper 2 matches dictionaries for recovery (arXiv 2501.03012).

    Parameters
    ----------
    concepts, others : numpy.ndarray
        (concepts, width) each; `others` may be more or fewer.

    Returns
    -------
    partners : numpy.ndarray
        (concepts,), the row of `others` for each concept; -1 for concepts that are left over.
    cosines : numpy.ndarray
        (concepts,), of each pair; NaN for concepts that are left over.
    """
    similarity = _unit(concepts) @ _unit(others).T  # (concepts, others)
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    partners, cosines = np.full(len(concepts), -1), np.full(len(concepts), np.nan)
    partners[rows], cosines[rows] = columns, similarity[rows, columns]
    return partners, cosines


def stability(dictionaries: list[np.ndarray]) -> np.ndarray:
    """How well each dictionary is found again in the others: its mean matched cosine with each, averaged (ours).

    Parameters
    ----------
    dictionaries : list of numpy.ndarray
        (concepts, width) each, such as those of several seeds.

    Returns
    -------
    numpy.ndarray
        (dictionaries,), at most 1; NaN if there is only one.
    """
    n = len(dictionaries)
    cosines = np.full((n, n), np.nan)
    for i in range(n):
        for j in range(i + 1, n):
            cosines[i, j] = cosines[j, i] = np.nanmean(match(dictionaries[i], dictionaries[j])[1])
    return np.array([np.nan] * n) if n < 2 else np.nanmean(cosines, axis=1)


def _unit(concepts: np.ndarray) -> np.ndarray:
    """Concepts of length 1; a concept that is zero stays so."""
    lengths = np.linalg.norm(concepts, axis=1, keepdims=True)
    return concepts / np.where(lengths > 0, lengths, 1)
