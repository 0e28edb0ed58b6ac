"""Choose the layer, lambda and K from the curves of a sweep, by stated rules, with the reason in words (all ours)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

MAX_ERROR_RATIO = 1.1  # of a sparser dictionary

MEASURES = {  # column of a sweep: what it is called in figures and sentences
    "reconstruction_error": "relative error",
    "active": "active concepts per sample",
    "overlap": "overlap of words",
    "mentioned": "words that captions mention",
    "stability": "stability across seeds",
    "auc": "ground truth (best AUC)",
}


@dataclass(frozen=True)
class Choice:
    """A value of one setting, and why."""

    setting: str  # column of the sweep: "layer", "lam" or "n_concepts"
    value: str | float | int
    reason: str  # in words, with the numbers that it rests on

    def __str__(self) -> str:
        return self.reason


def choose_n_concepts(table: pd.DataFrame) -> Choice:
    """K at the elbow: where the curve of error against K lies farthest below the line between its ends.

    Parameters
    ----------
    table : pandas.DataFrame
        From `sweep`, of one layer and lambda; rows of several seeds or tokens are averaged.

    Returns
    -------
    Choice
        With its value, and the rule and the numbers behind it.

    Raises
    ------
    ValueError
        If there are fewer than three K, for which no curve can bend.
    """
    curve = _means(table, "n_concepts")
    if len(curve) < 3:
        raise ValueError(f"an elbow needs at least three n_concepts, not {list(curve.index)}: sweep over more")
    errors = curve["reconstruction_error"]
    best = int(elbow(np.array(errors.index, dtype=float), errors.to_numpy()))
    reason = (
        f"K = {best}: the elbow. The relative error falls from {errors.iloc[0]:.3f} at K = {errors.index[0]} to "
        f"{errors[best]:.3f} here, and only to {errors.iloc[-1]:.3f} at K = {errors.index[-1]}."
    )
    return Choice("n_concepts", best, reason + _beside(curve, best, ("stability", "overlap", "auc")))


def choose_lam(table: pd.DataFrame) -> Choice:
    """The largest lambda, and so the sparsest dictionary, with at most a tenth more error than the smallest lambda.

    Parameters
    ----------
    table : pandas.DataFrame
        From `sweep`, of one layer and K; rows of several seeds or tokens are averaged.

    Returns
    -------
    Choice
        With its value, and the rule and the numbers behind it.
    """
    curve = _means(table, "lam")
    errors, active = curve["reconstruction_error"], curve["active"]
    least = errors.iloc[0]
    best = float(errors.index[errors <= MAX_ERROR_RATIO * least].max())
    reason = (
        f"lambda = {best:g}: the largest with at most a tenth more error than the smallest "
        f"({errors[best]:.3f} against {least:.3f}); a sample needs {active[best]:.1f} concepts instead of "
        f"{active.iloc[0]:.1f}."
    )
    return Choice("lam", best, reason + _beside(curve, best, ("stability", "overlap", "auc")))


def choose_layer(table: pd.DataFrame) -> Choice:
    """The layer whose concepts recover the known factors best, or where these are not known, whose words occur in the
    references of their pictures.

    Parameters
    ----------
    table : pandas.DataFrame
        From `sweep`, of one K and lambda; rows of several seeds or tokens are averaged.

    Returns
    -------
    Choice
        With its value, and the rule and the numbers behind it.

    Raises
    ------
    ValueError
        If the sweep measured neither.
    """
    measure = next((name for name in ("auc", "mentioned") if name in table), None)
    if measure is None:
        raise ValueError("a layer is chosen by ground truth or by words: sweep with truth= or lmm=")
    curve = _means(table, "layer")
    best = curve[measure].idxmax()
    worst = curve[measure].idxmin()
    reason = (
        f"layer {best}: the highest {MEASURES[measure]}, {curve[measure][best]:.3f}; the lowest is "
        f"{curve[measure][worst]:.3f} at layer {worst}."
    )
    return Choice(
        "layer", best, reason + _beside(curve, best, ("mentioned", "overlap") if measure == "auc" else ("overlap",))
    )


def elbow(x: np.ndarray, y: np.ndarray) -> float:
    """The x at which a falling curve lies farthest below the line between its ends, both axes scaled to 0 .. 1.

    As the knee of Satopaa and others (2011). The first x if the curve does not bend below the line.
    """
    across = (x - x[0]) / (x[-1] - x[0])
    down = (y - y[-1]) / (y[0] - y[-1]) if y[0] != y[-1] else 1 - across
    return float(x[np.argmax(1 - across - down)])


def _means(table: pd.DataFrame, setting: str) -> pd.DataFrame:
    """Means of the measures for each value of a setting, in order."""
    return table.groupby(setting, sort=setting != "layer")[[name for name in MEASURES if name in table]].mean()


def _beside(curve: pd.DataFrame, value, names: tuple[str, ...]) -> str:
    """The other measures at a value, as a sentence."""
    others = [f"{MEASURES[name]} {curve[name][value]:.3f}" for name in names if name in curve]
    return f" There: {', '.join(others)}." if others else ""
