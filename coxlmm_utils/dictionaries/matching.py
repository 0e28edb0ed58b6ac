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
        (concepts,), the row of `others` for each concept; -1 for unmatched concepts.
    cosines : numpy.ndarray
        (concepts,), of each pair; NaN for unmatched concepts.

    Raises
    ------
    ValueError
        If the two are of different widths: dictionaries of two models, or of two kinds of states.
    """
    similarity = cosines_between(concepts, others)
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    partners, cosines = np.full(len(concepts), -1), np.full(len(concepts), np.nan)
    partners[rows], cosines[rows] = columns, similarity[rows, columns]
    return partners, cosines


def cosines_between(concepts: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The cosine of each concept with each of the others: (concepts, others).

    Raises
    ------
    ValueError
        If the two are of different widths.
    """
    if concepts.shape[1] != others.shape[1]:
        raise ValueError(
            f"concepts of widths {concepts.shape[1]} and {others.shape[1]} cannot be matched: "
            "take two dictionaries of the same kind of states."
        )
    return unit_rows(concepts) @ unit_rows(others).T


def unit_rows(concepts: np.ndarray) -> np.ndarray:
    """Rows of length 1, as for cosines; one that is zero stays so."""
    lengths = np.linalg.norm(concepts, axis=1, keepdims=True)
    return concepts / np.where(lengths > 0, lengths, 1)
