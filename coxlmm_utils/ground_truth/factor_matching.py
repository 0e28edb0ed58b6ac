"""How well concepts recover the factors that are known to be on the pages: AUCs, and a one-to-one matching (ours)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment

from ..picturebook import Factors, allowed_values, factors_of
from ..plots import QUIET, new_figure
from ..statistics import aucs

MIN_SAMPLES = 5  # pages that show a factor value, and pages that do not, for an AUC


def pages_of(ids: Sequence[str]) -> list[Factors]:
    """What is on pages of the book, by their ids."""
    return [factors_of(int(id)) for id in ids]


def factor_labels(pages: Sequence[Factors]) -> dict[tuple[str, str], np.ndarray]:
    """Which pages show which factor value: bool (pages,) each, of values that some but not all pages show."""
    kinds = {page.kind for page in pages}
    if len(kinds) != 1:
        raise ValueError(f"factor values are compared within one subject, but these pages are of {sorted(kinds)}")
    labels = {}
    for factor, values in allowed_values(kinds.pop()).items():
        for value in values:
            shown = np.array([getattr(page, factor) == value for page in pages])
            if 0 < shown.sum() < len(shown):
                labels[factor, value] = shown
    return labels


def best_aucs(activations: np.ndarray, pages: Sequence[Factors]) -> list[tuple[float, str, str]]:
    """Per concept the factor value that it recovers best: (AUC, factor, value).

    The best of some twenty values on the same pages is optimistically biased; compare with `shuffled_auc`.
    """
    labels = factor_labels(pages)
    scores = aucs(activations, np.column_stack(list(labels.values())))
    names = list(labels)
    return [(float(row.max()), *names[row.argmax()]) for row in scores]


def mean_best_auc(activations: np.ndarray, pages: Sequence[Factors]) -> float:
    """The mean of `best_aucs` over concepts."""
    return float(np.mean([auc for auc, _, _ in best_aucs(activations, pages)]))


def shuffled_auc(activations: np.ndarray, pages: Sequence[Factors], n_shuffles: int = 20, seed: int = 0) -> float:
    """Mean best AUC when activations are permuted over pages: what chance alone gives."""
    rng = np.random.default_rng(seed)
    shuffles = [best_aucs(activations[rng.permutation(len(activations))], pages) for _ in range(n_shuffles)]
    return float(np.mean([auc for best in shuffles for auc, _, _ in best]))


def heatmap(bank, pages: Sequence[Factors]) -> Figure:
    """Concepts against factor values: each cell is the AUC of the concept for the value."""
    labels = factor_labels(pages)
    scores = aucs(bank.activations, np.column_stack(list(labels.values())))  # (concepts, values)
    order = np.lexsort((-scores.max(1), scores.argmax(1)))
    figure = new_figure(0.34 * len(labels) + 3.5, 0.27 * len(bank) + 1.9, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(scores[order], cmap="PuOr_r", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(labels)), [value for _, value in labels], rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(bank)), [bank.label(k) for k in order], parse_math=False)
    axes.set_ylabel("concept: its first words, and its number", color=QUIET)
    factors = [factor for factor, _ in labels]
    for factor in dict.fromkeys(factors):
        first, n = factors.index(factor), factors.count(factor)
        axes.axvline(first - 0.5, color="white", linewidth=3)
        axes.text(first + (n - 1) / 2, -0.7, factor, ha="center", color=QUIET, fontsize=9)
    axes.set_title(f"“{bank.token}”, {bank.where}", loc="left", fontsize=11, pad=20)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, label="AUC, one value against the rest", ticks=[0, 0.5, 1], pad=0.01)
    return figure


Value = tuple[str, str]  # (factor, value), such as ("place", "beach")


@dataclass(frozen=True)
class Matching:
    """How well concepts recover factor values on some pages, and which concept is matched to which."""

    names: list[Value]
    scores: np.ndarray  # (concepts, values): AUC; NaN for concepts that are as active on all pages
    sides: np.ndarray  # (concepts, values): -1 where the AUC is that of low activations, else 1
    partners: np.ndarray  # (concepts,): the number of the value matched to each; -1 for none


def match_values(activations: np.ndarray, pages: Sequence[Factors]) -> Matching:
    """Match concepts to factor values one to one such that the AUCs sum to the most (Hungarian matching)."""
    activations, labels = checked_rows(activations, pages), scorable_labels(pages)
    scores = aucs(activations, np.column_stack(list(labels.values())))  # (concepts, values)
    # Of a dictionary with signs a concept may recover a value by low activations; of one without only by high ones.
    flipped = (scores < 0.5) & (activations < 0).any()
    scores = np.where(flipped, 1 - scores, scores)
    scores[np.ptp(activations, axis=0) == 0] = np.nan
    return Matching(list(labels), scores, np.where(flipped, -1, 1), _partners(scores))


def matched_values(activations: np.ndarray, pages: Sequence[Factors]) -> list[Value | None]:
    """The (factor, value) that each concept is matched to, None for concepts without one; see `match_values`."""
    matching = match_values(activations, pages)
    return [matching.names[value] if value >= 0 else None for value in matching.partners]


def concepts_of_values(names: Sequence[Value | None], factor: str) -> dict[str, int]:
    """Of one factor, the concept that is matched to each value that has one; `names` is what `matched_values` gives."""
    return {name[1]: k for k, name in enumerate(names) if name is not None and name[0] == factor}


def checked_rows(activations: np.ndarray, pages: Sequence[Factors]) -> np.ndarray:
    """Activations as float64; ValueError unless a row of finite numbers for each page."""
    activations = np.asarray(activations, dtype=float)
    if activations.ndim != 2 or len(activations) != len(pages) or not np.isfinite(activations).all():
        raise ValueError(
            f"activations of shape {activations.shape} for {len(pages)} pages: give each page a row of finite numbers."
        )
    return activations


def scorable_labels(pages: Sequence[Factors]) -> dict[Value, np.ndarray]:
    """The `factor_labels` of values that at least `MIN_SAMPLES` pages show, and as many do not."""
    labels = {
        value: has for value, has in factor_labels(pages).items() if MIN_SAMPLES <= has.sum() <= len(has) - MIN_SAMPLES
    }
    if not labels:
        raise ValueError(
            f"no factor value is on at least {MIN_SAMPLES} of the {len(pages)} pages and off {MIN_SAMPLES}: give more."
        )
    return labels


def _partners(scores: np.ndarray) -> np.ndarray:
    """(concepts,), see `Matching`."""
    varies, partners = np.flatnonzero(~np.isnan(scores[:, 0])), np.full(len(scores), -1)
    concepts, values = linear_sum_assignment(scores[varies], maximize=True)
    partners[varies[concepts]] = values
    return partners
