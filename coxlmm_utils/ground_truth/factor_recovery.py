"""How many of the picture book's factor values do concepts recover, on pages that they were not matched on? (ours)

The best of some twenty values is optimistically biased. So concepts and values are matched one to one on some pages;
how well each concept recovers its value is then measured on others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..faithfulness import MIN_AUC, Answers, bank_key, by_concept
from ..picturebook import Factors
from ..statistics import Mean, aucs, weighted_aucs
from .factor_matching import Matching, Value, checked_rows, match_values, scorable_labels

N_PICTURES = 5  # per concept, for its purity: as many as a bank shows
N_RESAMPLES = 2_000

COLUMNS = ["concept", "factor", "value", "side", "auc_matching", "auc", "low", "high", "purity", "base"]
COLUMNS += ["best_factor", "best_value", "best_auc"]


@dataclass(frozen=True)
class FactorRecovery:
    """How well concepts recover the factor values that they were matched to.

    Attributes
    ----------
    table : pandas.DataFrame
        A row for each concept; where there is no answer, NaN or None:

        - concept, factor, value: the value that it was matched to;
        - side: -1 if low activations recover it, which only concepts with a sign may;
        - auc_matching: on the pages of the matching, optimistically biased;
        - auc, low, high: on held-out pages, with its interval; .5 for a concept that is as active on all of them;
        - purity: of its five most active held-out pages, the share that show the value; base: of all of them;
        - best_factor, best_value, best_auc: the value of its highest AUC on the pages of the matching, whatever others
          recover, and its AUC on held-out pages.
    recovered : Mean
        How many values have a held-out AUC above .9. As of all means here, n is the number of held-out pages, and the
        interval says what other pages would give for the same concepts and matching.
    mean_auc : Mean
        Held-out AUC, of the values matched alone: at most as many as concepts, so that K bounds them.
    n_values : int
        How many values there were to match.
    n_excluded : int
        Concepts without an AUC: unmatched, or as active on all pages of the matching, or matched to a value that fewer
        than `MIN_SAMPLES` held-out pages show, or do not show.
    draws : numpy.ndarray
        (resamples, concepts): AUCs on resampled held-out pages.
    held_out_pages : tuple of Factors
    bank_key : str
        Of the bank whose activations the values were matched on; see `faithfulness.bank_key`.
    level : float
        Of the intervals.
    seed : int
        Of the resamples.
    """

    table: pd.DataFrame
    recovered: Mean
    mean_auc: Mean
    n_values: int
    n_excluded: int
    draws: np.ndarray
    held_out_pages: tuple[Factors, ...]
    bank_key: str
    level: float
    seed: int

    def __str__(self) -> str:
        recovered, excluded = self.recovered, f"; {self.n_excluded} not scored" if self.n_excluded else ""
        return (
            f"{recovered.value:.0f} [{recovered.low:.0f}, {recovered.high:.0f}] of {self.n_values} values recovered at "
            f"held-out AUC above {MIN_AUC} by {len(self.table)} concepts; mean AUC of the values matched {self.mean_auc}{excluded}"
        )

    def answers(self, bank) -> Answers:
        """Does it recover something that is known to be there? For the trust card."""
        [values] = by_concept(bank, self.table.set_index("concept"), "auc")
        recovered = self.recovered
        finding = f"{recovered.value:.0f} [{recovered.low:.0f}, {recovered.high:.0f}] of {self.n_values} factor values "
        return Answers(values, values > MIN_AUC, finding + f"recovered; mean AUC of the values matched {self.mean_auc}")


def over_seeds(runs: Sequence[FactorRecovery], minus: Sequence[FactorRecovery] = ()) -> dict[str, Mean]:
    """Means over seeds, with seeds as the outer level of their intervals; less those of other concepts, if given.

    A resample draws seeds (one less than there are, as `nested_bootstrap` does) and held-out pages, the same pages for
    all seeds and for both sides of a difference. The names are those of `MEASURES`.
    """
    first = runs[0]
    for other in (*runs, *minus):
        if (other.held_out_pages, other.seed, len(other.draws)) != (first.held_out_pages, first.seed, len(first.draws)):
            raise ValueError("these were scored on different held-out pages or resamples: score all on the same ones.")
    means = {}
    for name, measure in MEASURES.items():
        value, draws = _mean_over(runs, name, measure)
        if minus:
            others = _mean_over(minus, name, measure)
            value, draws = value - others[0], draws - others[1]
        means[name] = replace(_mean(value, draws, len(first.held_out_pages), first.level), n_seeds=len(runs))
    return means


def _mean_over(runs: Sequence[FactorRecovery], name: str, measure: Callable) -> tuple[float, np.ndarray]:
    """One measure's mean over seeds, and the same on resampled seeds and pages: (resamples,)."""
    draws = np.array([measure(run.draws) for run in runs])  # (seeds, resamples)
    n_drawn, rng = max(len(runs) - 1, 1), np.random.default_rng(runs[0].seed)
    shares = rng.multinomial(n_drawn, np.full(len(runs), 1 / len(runs)), size=draws.shape[1]) / n_drawn
    return float(np.mean([getattr(run, name).value for run in runs])), (draws * shares.T).sum(axis=0)


def score_against_factors(
    activations: np.ndarray,
    pages: Sequence[Factors],
    held_out: np.ndarray,
    held_out_pages: Sequence[Factors],
    level: float = 0.95,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> FactorRecovery:
    """Match concepts to factor values on some pages, and score them on others (ours).

    Parameters
    ----------
    activations : numpy.ndarray
        (pages, concepts), to match on.
    pages : sequence of Factors
        What is on them; all of one subject.
    held_out : numpy.ndarray
        (held-out pages, concepts), to score on.
    held_out_pages : sequence of Factors
    level : float, default 0.95
        Of the intervals: percentiles over resampled held-out pages.
    n_resamples : int, default 2,000
    seed : int, default 0
        Of the resamples.

    Returns
    -------
    FactorRecovery

    Raises
    ------
    ValueError
        As `match_values`, for either pages; or if the two are of different numbers of concepts.
    """
    matching, held_out = match_values(activations, pages), checked_rows(held_out, held_out_pages)
    if held_out.shape[1] != len(matching.partners):
        raise ValueError(
            f"the held-out activations are of {held_out.shape[1]} concepts, the others of {len(matching.partners)}: "
            "give those of one dictionary."
        )
    labels = scorable_labels(held_out_pages)
    table = pd.DataFrame(
        [_row(matching, k, held_out[:, k], labels) for k in range(len(matching.partners))], columns=COLUMNS
    )
    draws = _draws(matching, held_out, labels, _resamples(len(held_out), n_resamples, seed))
    table["low"], table["high"] = zip(*(_ends(drawn, level) for drawn in draws.T))
    auc, tested = table["auc"].to_numpy(dtype=float), tuple(held_out_pages)
    means = (_mean(measure(auc[None])[0], measure(draws), len(tested), level) for measure in MEASURES.values())
    n_excluded = int(np.isnan(auc).sum())
    key, n_values = bank_key(activations), len(matching.names)
    return FactorRecovery(table, *means, n_values, n_excluded, draws, tested, key, level, seed)


def _row(matching: Matching, k: int, held_out: np.ndarray, labels: dict[Value, np.ndarray]) -> dict:
    """A concept's row of the table but for the interval; `held_out` are its activations (held-out pages,)."""
    row, v = {"concept": k}, matching.partners[k]
    if v >= 0:
        (factor, value), side = matching.names[v], int(matching.sides[k, v])
        row |= {"factor": factor, "value": value, "side": side, "auc_matching": matching.scores[k, v]}
        if (factor, value) in labels:
            has = labels[factor, value]
            row |= {"auc": _auc(side * held_out, has), "purity": _purity(side * held_out, has), "base": has.mean()}
    if not np.isnan(matching.scores[k, 0]):
        best = matching.scores[k].argmax()
        name = factor, value = matching.names[best]
        auc = _auc(matching.sides[k, best] * held_out, labels[name]) if name in labels else np.nan
        row |= {"best_factor": factor, "best_value": value, "best_auc": auc}
    return row


def _auc(active: np.ndarray, has: np.ndarray) -> float:
    """Of one concept for one value, (pages,) each."""
    return float(aucs(active[:, None], has[:, None])[0, 0])


def _purity(active: np.ndarray, has: np.ndarray) -> float:
    """The share of the most active pages that show a value; NaN where none is active."""
    top = np.argsort(-active, kind="stable")[:N_PICTURES]
    top = top[active[top] > 0]
    return float(has[top].mean()) if len(top) else np.nan


def _resamples(n_pages: int, n_resamples: int, seed: int) -> np.ndarray:
    """How often each page is drawn: (resamples, pages)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_pages, np.full(n_pages, 1 / n_pages), size=n_resamples).astype(float)


def _draws(
    matching: Matching, held_out: np.ndarray, labels: dict[Value, np.ndarray], weights: np.ndarray
) -> np.ndarray:
    """Each concept's AUC for its value on resampled pages: (resamples, concepts), NaN where there is none."""
    draws = np.full((len(weights), len(matching.partners)), np.nan)
    for k, v in enumerate(matching.partners):
        if v >= 0 and matching.names[v] in labels:
            draws[:, k] = weighted_aucs(matching.sides[k, v] * held_out[:, k], labels[matching.names[v]], weights)
    return draws


def _n_recovered(scores: np.ndarray) -> np.ndarray:
    """How many AUCs are above `MIN_AUC`: (draws, concepts) to (draws,)."""
    return (scores > MIN_AUC).sum(axis=1).astype(float)


def _mean_auc(scores: np.ndarray) -> np.ndarray:
    """The mean of those that there are: (draws, concepts) to (draws,)."""
    n = (~np.isnan(scores)).sum(axis=1)
    return np.divide(np.nansum(scores, axis=1), n, out=np.full(len(n), np.nan), where=n > 0)


MEASURES = {"recovered": _n_recovered, "mean_auc": _mean_auc}


def _ends(draws: np.ndarray, level: float) -> tuple[float, float]:
    """The percentiles that hold a share `level` of the draws; NaN if there are none."""
    drawn = draws[~np.isnan(draws)]
    if not len(drawn):
        return np.nan, np.nan
    low, high = np.percentile(drawn, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def _mean(value: float, draws: np.ndarray, n: int, level: float) -> Mean:
    """A value with the ends of its draws."""
    return Mean(float(value), *_ends(draws, level), n=n)
