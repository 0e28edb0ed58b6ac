"""Match concepts to the factor values that they tell best, one to one. (ours)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from .factors import Factors
from .known_truth import FEWEST, aucs, factor_labels

Value = tuple[str, str]  # (factor, value), such as ("place", "beach")


@dataclass(frozen=True)
class Matching:
    """How well concepts tell factor values on some pages, and which concept goes with which.

    Attributes
    ----------
    names : list of (factor, value)
    scores : numpy.ndarray
        (concepts, values): AUC; NaN for concepts that are as active on all pages.
    sides : numpy.ndarray
        (concepts, values): -1 where the AUC is that of low activations, else 1.
    partners : numpy.ndarray
        (concepts,): the number of the value matched to each; -1 for none.
    """

    names: list[Value]
    scores: np.ndarray
    sides: np.ndarray
    partners: np.ndarray


def match_values(activations: np.ndarray, pages: Sequence[Factors]) -> Matching:
    """Match each concept to one factor value, none twice, such that the AUCs sum to the most (ours; Hungarian).

    Parameters
    ----------
    activations : numpy.ndarray
        (pages, concepts). If any is negative, as PCA's are, a concept may also tell a value by low activations.
    pages : sequence of Factors
        What is on them; all of one subject. Values that fewer than `FEWEST` of them show, or do not, are left out.

    Returns
    -------
    Matching

    Raises
    ------
    ValueError
        If there is not one row of finite numbers for each page, or no value is on enough of the pages.
    """
    activations, labels = checked_rows(activations, pages), judged_labels(pages)
    scores = aucs(activations, np.column_stack(list(labels.values())))  # (concepts, values)
    turned = (scores < 0.5) & (activations < 0).any()
    scores = np.where(turned, 1 - scores, scores)
    scores[np.ptp(activations, axis=0) == 0] = np.nan
    return Matching(list(labels), scores, np.where(turned, -1, 1), _partners(scores))


def matched_values(activations: np.ndarray, pages: Sequence[Factors]) -> list[Value | None]:
    """The (factor, value) that each concept is matched to, None for concepts without one; see `match_values` (ours)."""
    matching = match_values(activations, pages)
    return [matching.names[value] if value >= 0 else None for value in matching.partners]


def checked_rows(activations: np.ndarray, pages: Sequence[Factors]) -> np.ndarray:
    """Activations as float64; ValueError unless a row of finite numbers for each page."""
    activations = np.asarray(activations, dtype=float)
    if activations.ndim != 2 or len(activations) != len(pages) or not np.isfinite(activations).all():
        raise ValueError(
            f"activations of shape {activations.shape} for {len(pages)} pages: give each page a row of finite numbers."
        )
    return activations


def judged_labels(pages: Sequence[Factors]) -> dict[Value, np.ndarray]:
    """Which pages show which value, bool (pages,), for values that enough of them show and enough do not."""
    shown = {value: has for value, has in factor_labels(pages).items() if FEWEST <= has.sum() <= len(has) - FEWEST}
    if not shown:
        raise ValueError(
            f"no factor value is on at least {FEWEST} of the {len(pages)} pages and off {FEWEST}: give more."
        )
    return shown


def _partners(scores: np.ndarray) -> np.ndarray:
    """(concepts,), see `Matching`."""
    varies, partners = np.flatnonzero(~np.isnan(scores[:, 0])), np.full(len(scores), -1)
    concepts, values = linear_sum_assignment(scores[varies], maximize=True)
    partners[varies[concepts]] = values
    return partners
