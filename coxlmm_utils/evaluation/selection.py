"""Choose the layer, lambda and K from the curves of a sweep, by stated rules, with the reason in words (all ours)."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

MIN_SCORE_RATIO = 0.95  # of a sparser dictionary's score to the best

MEASURES = {  # column of a sweep or of `layer_scores`: what it is called in figures and sentences
    "reconstruction_error": "relative error",
    "explained": "explained variance",
    "active": "active concepts per sample",
    "overlap": "overlap of words",
    "mentioned": "words that captions mention",
    "stability": "stability across seeds",
    "stability_single": "stability of single restarts",
    "auc": "ground truth (AUC)",
    "recovered": "factor values recovered",
    "score": "score",
    "clipscore": "CLIPScore of words and pictures",
    "n_words": "words of a concept",
    "norm": "norm of a state",
    "mean_share": "energy in the mean state",
    "peak": "largest dimension / median",
}
WEIGHED = ("explained", "stability", "recovered")  # whose product is the score; all are shares or cosines


@dataclass(frozen=True)
class Choice:
    """A value of one setting, and why."""

    setting: str  # column of the sweep: "layer", "lam" or "n_concepts"
    value: str | float | int
    reason: str  # in words, with the numbers that it rests on

    def __str__(self) -> str:
        return self.reason


def with_score(table: pd.DataFrame) -> pd.DataFrame:
    """A sweep with the column `score`: explained variance x stability x, where known, the share of values recovered.

    None is above 1: unlike an elbow, a K's score does not depend on the ends of the grid, on the grid only through the
    starts of `sweep` (ours).
    """
    missing = [name for name in WEIGHED[:2] if name not in table]
    if missing:
        raise ValueError(f"the sweep has no {', '.join(missing)}: sweep over two seeds or more")
    return table.assign(score=table[[name for name in WEIGHED if name in table]].prod(axis=1))


def choose_n_concepts(table: pd.DataFrame) -> Choice:
    """The K of the highest score, see `with_score`: reconstruction, stability and, where known, recovery weighed.

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
        If the sweep has one seed only, so that stability is not known.
    """
    curve = _means(with_score(table), "n_concepts")
    best = int(curve["score"].idxmax())
    others = curve["score"].drop(best).nlargest(2)
    next_best = ", ".join(f"{score:.3f} at K = {k}" for k, score in others.items())
    reason = f"K = {best}: the highest score, {_product(curve, best)}" + (f"; next {next_best}." if next_best else ".")
    return Choice("n_concepts", best, reason + _beside(curve, best, ("stability_single", "overlap")))


def choose_lam(table: pd.DataFrame) -> Choice:
    """The largest lambda, and so the sparsest dictionary, whose score is at least 95 % of the best; see `with_score`.

    Parameters
    ----------
    table : pandas.DataFrame
        From `sweep`, of one layer and K; rows of several seeds or tokens are averaged.

    Returns
    -------
    Choice
        With its value, and the rule and the numbers behind it.

    Raises
    ------
    ValueError
        If the sweep has one seed only, so that stability is not known.
    """
    curve = _means(with_score(table), "lam")
    scores, active = curve["score"], curve["active"]
    best = float(scores.index[scores >= MIN_SCORE_RATIO * scores.max()].max())
    reason = (
        f"{'relative ' * is_relative(table)}lambda = {best:g}: the largest whose score is at least {MIN_SCORE_RATIO:.0%} of the best "
        f"({scores.max():.3f} at {scores.idxmax():g}): {_product(curve, best)}; a sample needs {active[best]:.1f} "
        f"concepts instead of {active.iloc[0]:.1f} at {active.index[0]:g}."
    )
    return Choice("lam", best, reason + _beside(curve, best, ("stability_single", "overlap")))


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
    (best, highest), *next_best = curve[measure].nlargest(2).items()
    reason = (
        f"layer {best}: the highest {MEASURES[measure]}, {highest:.3f}"
        + "".join(f"; next {value:.3f} at layer {layer}" for layer, value in next_best)
        + f"; the lowest is {curve[measure].min():.3f} at layer {curve[measure].idxmin()}."
    )
    return Choice(
        "layer", best, reason + _beside(curve, best, ("mentioned", "overlap") if measure == "auc" else ("overlap",))
    )


def is_relative(table: pd.DataFrame) -> bool:
    """Whether the column lam of a sweep has fractions of the largest useful lambda."""
    return bool("relative" in table and table["relative"].all())


def _means(table: pd.DataFrame, setting: str) -> pd.DataFrame:
    """Means of the measures for each value of a setting, in order."""
    return table.groupby(setting, sort=setting != "layer")[[name for name in MEASURES if name in table]].mean()


def _product(curve: pd.DataFrame, value) -> str:
    """The score at a value as what it is made of, in words."""
    factors = [f"{MEASURES[name]} {curve[name][value]:.3f}" for name in WEIGHED if name in curve]
    return f"{' x '.join(factors)} = {curve['score'][value]:.3f}"


def _beside(curve: pd.DataFrame, value, names: tuple[str, ...]) -> str:
    """The other measures at a value, as a sentence."""
    others = [f"{MEASURES[name]} {curve[name][value]:.3f}" for name in names if name in curve]
    return f" There: {', '.join(others)}." if others else ""
