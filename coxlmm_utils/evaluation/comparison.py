"""Paired comparisons of systems that score the same pictures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from ..statistics import nested_bootstrap


def compare(scores: Mapping[str, Sequence[float] | np.ndarray], ours: str) -> pd.DataFrame:
    """Compare one system with each other one, picture by picture (ours).

    Both systems score the same pictures, so the tests are paired, and corrected for how many comparisons there are.
    Their unit is the picture, its score averaged over seeds: they ask about other pictures, given these seeds. The
    interval asks about other seeds too.

    Parameters
    ----------
    scores : mapping of str to array
        (seeds, pictures) for each system, or (pictures,) of one without seeds; the same pictures in the same order, NaN
        where a picture has no score. Seeds are paired in their order, and a system without seeds with each seed. A pair
        of systems is compared on the pictures that both have scores for.
    ours : str
        The system that the others are compared with.

    Returns
    -------
    pandas.DataFrame
        One row for each other system, which is its index:

        - n, n_missing: pictures compared on, and left out;
        - difference, low, high: mean of ours minus the other, and its interval over seeds and pictures;
        - p_paired_t, p_paired_t_holm: paired t-test, as it is and after Holm's correction over the rows;
        - p_wilcoxon, p_wilcoxon_holm: Wilcoxon's signed-rank test, which does not ask for normal differences;
        - p_independent_t: a two-sided independent t-test (Student's, equal variances) of means over seeds, uncorrected;
          the paper's test, as it is recalled.

        Where all scores are the same, every p is 1.

    Raises
    ------
    ValueError
        If `ours` is missing or alone, the lists are of different lengths or not of finite numbers, the numbers of seeds
        do not fit, or a pair has fewer than two pictures in common.
    """
    scores = {name: np.atleast_2d(np.asarray(values, dtype=float)) for name, values in scores.items()}
    _check_systems(scores, ours)
    rows = {}
    for name, other in scores.items():
        if name != ours:
            common = _in_common(scores[ours], other, f"{ours!r} and {name!r}")  # (pictures,)
            first, second = scores[ours][:, common], other[:, common]
            mean = nested_bootstrap(first - second, crossed=True)  # (seeds, pictures)
            counts = {"n": mean.n, "n_missing": int((~common).sum())}
            rows[name] = counts | {"difference": mean.value, "low": mean.low, "high": mean.high}
            rows[name] |= _p_values(first.mean(axis=0), second.mean(axis=0))
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("other")
    for test in ("p_wilcoxon", "p_paired_t"):
        table.insert(table.columns.get_loc(test) + 1, f"{test}_holm", holm(table[test]))
    return table


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Correct p-values, (tests,), for how many there are, by Holm's step-down method (1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none gets smaller than the one before it, and
    none exceeds 1.
    """
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values)
    multiplied = p_values[order] * np.arange(len(order), 0, -1)
    corrected = np.empty_like(multiplied)
    corrected[order] = np.minimum(np.maximum.accumulate(multiplied), 1)
    return corrected


def _p_values(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Two-sided, of three tests on the same pictures; scores that are all the same tell no difference."""
    same = np.array_equal(first, second)  # there the tests divide by zero
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of differences that are all one number: p is 0
        return {
            "p_paired_t": 1.0 if same else float(stats.ttest_rel(first, second).pvalue),
            "p_wilcoxon": 1.0 if same else float(stats.wilcoxon(first - second).pvalue),
            "p_independent_t": 1.0 if same else float(stats.ttest_ind(first, second).pvalue),
        }


def _check_systems(scores: Mapping[str, np.ndarray], ours: str) -> None:
    """Refuse what cannot be compared picture by picture."""
    if ours not in scores:
        raise ValueError(f"there are no scores of {ours!r}: choose one of {', '.join(map(repr, scores))}.")
    if len(scores) < 2:
        raise ValueError(f"there are scores of {ours!r} only: give those of another system to compare it with.")
    for name, values in scores.items():
        if np.isinf(values).any():
            raise ValueError(f"the scores of {name!r} are not all finite: give NaN where a picture has no score.")
        if len(values) not in (1, len(scores[ours])) and len(scores[ours]) > 1:
            raise ValueError(
                f"{ours!r} has {len(scores[ours])} seeds and {name!r} {len(values)}: give as many, or one."
            )
    lengths = {name: values.shape[1] for name, values in scores.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the systems were scored on different numbers of pictures, {lengths}: give the same ones.")


def _in_common(first: np.ndarray, second: np.ndarray, who: str) -> np.ndarray:
    """Which pictures both have a score for, of all seeds: (pictures,)."""
    both = ~np.isnan(first).any(axis=0) & ~np.isnan(second).any(axis=0)
    if both.sum() < 2:
        raise ValueError(f"{who} have {both.sum()} scored pictures in common: a comparison takes at least two.")
    return both
