"""Intervals of means and shares, and paired comparisons of systems that score the same pictures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

RESAMPLES_AT_ONCE = 1000  # bounds the memory
Z_95 = 1.96  # of the normal distribution, for 95 % intervals


@dataclass(frozen=True)
class Mean:
    """A mean with its interval (ours).

    Attributes
    ----------
    value, low, high : float
        The mean, and the ends of its interval.
    n : int
        How many values it is the mean of.
    n_missing : int
        How many more were NaN, and left out.

    Examples
    --------
    >>> print(Mean(0.61, 0.598, 0.622, 200))
    0.610 [0.598, 0.622]
    """

    value: float
    low: float
    high: float
    n: int
    n_missing: int = 0

    def named(self, name: str) -> dict[str, float]:
        """The mean and the ends of its interval for a row of a table: `name`, `name`_low and `name`_high."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    def __str__(self) -> str:
        return f"{self.value:z.3f} [{self.low:z.3f}, {self.high:z.3f}]"


def bootstrap_mean(
    values: Sequence[float] | np.ndarray, n_resamples: int = 10_000, level: float = 0.95, seed: int = 0
) -> Mean:
    """The mean of scores with its bootstrap interval: percentiles of the means of resamples (ours).

    The paper (arXiv 2406.08074, table 1) gives the standard deviation over pictures instead, which says how much
    pictures differ and not how precisely their mean is known. Where all values are equal the interval is that one
    value; with fewer than ten or so it comes out too narrow.

    Parameters
    ----------
    values : sequence of float or numpy.ndarray
        (n,), a score for each picture; NaN where there is none, which is left out and counted.
    n_resamples : int, default 10,000
        How many resamples are drawn.
    level : float, default 0.95
        How often such intervals hold the true mean.
    seed : int, default 0
        Of the resamples.

    Returns
    -------
    Mean

    Raises
    ------
    ValueError
        If fewer than two values are left, they are no list of finite numbers, or `level` is not between 0 and 1.
    """
    values = _numbers(values, "the values")
    _check_level(level)
    there = values[~np.isnan(values)]  # (n,)
    if len(there) < 2:
        raise ValueError(f"an interval takes at least two values, but {len(there)} of {len(values)} are there.")
    options = {"n_resamples": n_resamples, "batch": RESAMPLES_AT_ONCE, "confidence_level": level, "rng": seed}
    interval = stats.bootstrap((there,), np.mean, method="percentile", **options).confidence_interval
    ends = float(interval.low), float(interval.high)
    return Mean(float(there.mean()), *ends, n=len(there), n_missing=len(values) - len(there))


def share_of(holds: Sequence[float] | np.ndarray, level: float = 0.95) -> Mean:
    """How often something holds, with the exact interval of a share, Clopper and Pearson's (1934).

    A bootstrap says nothing where it always holds, or never: all its resamples are alike. This interval keeps its width
    there, and holds the true share at least as often as `level` says if the cases are independent.

    Parameters
    ----------
    holds : sequence of bool or float, or numpy.ndarray
        (n,), true or 1 for each case where it holds, else false or 0; NaN where that is not known, which is left out
        and counted.
    level : float, default 0.95
        How often such intervals hold the true share.

    Returns
    -------
    Mean

    Raises
    ------
    ValueError
        If no value is left, they are no list of true and false, or `level` is not between 0 and 1.
    """
    holds = _numbers(holds, "the values")
    _check_level(level)
    there = holds[~np.isnan(holds)]  # (n,)
    if not len(there):
        raise ValueError(f"a share takes at least one value, but 0 of {len(holds)} are there.")
    if not np.isin(there, (0, 1)).all():
        raise ValueError("a share is of values that are true or false: give 1 or 0 for each, NaN where there is none.")
    interval = stats.binomtest(int(there.sum()), len(there)).proportion_ci(level, method="exact")
    ends = float(interval.low), float(interval.high)
    return Mean(float(there.mean()), *ends, n=len(there), n_missing=len(holds) - len(there))


def compare(
    scores: Mapping[str, Sequence[float] | np.ndarray],
    ours: str,
    n_resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare one system with each other one, picture by picture (ours).

    Both systems score the same pictures, so the tests are paired, and corrected for how many comparisons there are.
    The paper's own test (arXiv 2406.08074, appendix D) takes the two lists of scores for independent; it is given too.

    Parameters
    ----------
    scores : mapping of str to array
        (pictures,) for each system, the same pictures in the same order; NaN where a picture has no score. A pair of
        systems is compared on the pictures that both have a score for.
    ours : str
        The system that the others are compared with.
    n_resamples, level, seed
        Of the interval; see `bootstrap_mean`.

    Returns
    -------
    pandas.DataFrame
        One row for each other system, which is its index:

        - n, n_missing: pictures compared on, and left out;
        - difference, low, high: mean of ours minus the other, and its bootstrap interval;
        - p_paired_t, p_paired_t_holm: paired t-test, as it is and after Holm's correction over the rows;
        - p_wilcoxon, p_wilcoxon_holm: Wilcoxon's signed-rank test, which does not ask for normal differences;
        - p_independent_t_paper: the paper's two-sided independent t-test (Student's, equal variances), uncorrected.

        Where all scores are the same, every p is 1.

    Raises
    ------
    ValueError
        If `ours` is missing or alone, the lists are of different lengths or not of finite numbers, or a pair has
        fewer than two pictures in common.
    """
    scores = {name: _numbers(values, f"the scores of {name!r}") for name, values in scores.items()}
    _check_systems(scores, ours)
    rows = {}
    for name, other in scores.items():
        if name != ours:
            first, second = _in_common(scores[ours], other, f"{ours!r} and {name!r}")
            mean = bootstrap_mean(first - second, n_resamples, level, seed)
            counts = {"n": mean.n, "n_missing": len(other) - mean.n}
            rows[name] = counts | {"difference": mean.value, "low": mean.low, "high": mean.high}
            rows[name] |= _p_values(first, second)
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("other")
    for test in ("p_wilcoxon", "p_paired_t"):
        table.insert(table.columns.get_loc(test) + 1, f"{test}_holm", holm(table[test]))
    return table


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Correct p-values for how many there are, by Holm's step-down method (1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none gets smaller than the one before it, and
    none exceeds 1.

    Parameters
    ----------
    p_values : sequence of float or numpy.ndarray
        (tests,).

    Returns
    -------
    numpy.ndarray
        (tests,), in the same order.
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
            "p_independent_t_paper": 1.0 if same else float(stats.ttest_ind(first, second).pvalue),
        }


def _numbers(values: Sequence[float] | np.ndarray, what: str) -> np.ndarray:
    """Scores as float64 (n,), NaN among them or not."""
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or np.isinf(values).any():
        raise ValueError(f"{what} are no list of finite numbers: give one for each picture, NaN where there is none.")
    return values


def _check_level(level: float) -> None:
    """Refuse what is no share of intervals, such as 95."""
    if not 0 < level < 1:
        raise ValueError(f"level={level} is no share of intervals: give one between 0 and 1, such as 0.95.")


def _check_systems(scores: Mapping[str, np.ndarray], ours: str) -> None:
    """Refuse what cannot be compared picture by picture."""
    if ours not in scores:
        raise ValueError(f"there are no scores of {ours!r}: choose one of {', '.join(map(repr, scores))}.")
    if len(scores) < 2:
        raise ValueError(f"there are scores of {ours!r} only: give those of another system to compare it with.")
    lengths = {name: len(values) for name, values in scores.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the systems were scored on different numbers of pictures, {lengths}: give the same ones.")


def _in_common(first: np.ndarray, second: np.ndarray, who: str) -> tuple[np.ndarray, np.ndarray]:
    """The scores of the pictures that both have one for: (n,) each."""
    both = ~np.isnan(first) & ~np.isnan(second)  # (pictures,)
    if both.sum() < 2:
        raise ValueError(f"{who} have {both.sum()} scored pictures in common: a comparison takes at least two.")
    return first[both], second[both]


def wilson_interval(k: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of a share of which k of n cases were seen (Wilson 1927); 0 to 1 where n is 0.

    Parameters
    ----------
    k, n : numpy.ndarray

    Returns
    -------
    low, high : numpy.ndarray
    """
    k, n = np.asarray(k, dtype=float), np.asarray(n, dtype=float)
    weight = n + Z_95**2
    centre = (k + Z_95**2 / 2) / weight
    half = Z_95 * np.sqrt(k * (n - k) / np.maximum(n, 1) + Z_95**2 / 4) / weight
    return (centre - half).clip(0), (centre + half).clip(max=1)
