"""Does steering succeed where ablation says that the model uses a concept? The two side by side (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ..faithfulness import ablation_summary
from ..statistics import Mean
from .factor_matching import Value
from .steering_effects import N_RESAMPLES

ABLATION_MEASURES = ("own_step", "later", "mentions")


def steered_beside_ablated(
    effects: Mapping[str, pd.DataFrame], names: Sequence[Value | None], ablation: pd.DataFrame
) -> pd.DataFrame:
    """How often steering towards a concept's value hits, beside what its removal does to its own words.

    Parameters
    ----------
    effects : mapping of str to pandas.DataFrame
        For each factor from `steering_effects`, of edits by the concepts, at one alpha.
    names : sequence of (factor, value) or None
        What each concept is matched to, from `matched_values`.
    ablation : pandas.DataFrame
        From `remove_concepts`, of the same bank.

    Returns
    -------
    pandas.DataFrame
        A row for each concept that both know, by number: factor, value; hit, the mean over pages; own_step, later and
        mentions, how far its words fall by its removal, minus those of random directions, in nats (more is more causal).
    """
    falls = {measure: -ablation_summary(ablation, measure).concepts["minus_random"] for measure in ABLATION_MEASURES}
    hits = {factor: rows.groupby("wanted")["hit"].mean() for factor, rows in effects.items()}
    rows = {}
    for concept, name in enumerate(names):
        if name and name[0] in hits and name[1] in hits[name[0]]:
            row = {"factor": name[0], "value": name[1], "hit": float(hits[name[0]][name[1]])}
            rows[concept] = row | {measure: fall.get(concept, np.nan) for measure, fall in falls.items()}
    columns = ["factor", "value", "hit", *ABLATION_MEASURES]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("concept").dropna()


def rank_correlations(table: pd.DataFrame, seed: int = 0) -> dict[str, Mean]:
    """Spearman's correlation of hit with each measure of ablation, with 95 % intervals over concepts.

    The concepts of several banks may be joined. NaN where all concepts are alike.
    """
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(table), size=(N_RESAMPLES, len(table)))
    means = {}
    for measure in ABLATION_MEASURES:
        pair = table[["hit", measure]].to_numpy(float)  # (concepts, 2)
        value, ends = _spearman(pair), (np.nan, np.nan)
        if not np.isnan(value):
            ends = np.nanquantile([_spearman(pair[rows]) for rows in draws], [0.025, 0.975])
        means[measure] = Mean(value, *map(float, ends), len(table))
    return means


def _spearman(pair: np.ndarray) -> float:
    """The rank correlation of two columns; NaN if one of them is constant."""
    return float(spearmanr(*pair.T).statistic) if (np.ptp(pair, axis=0) > 0).all() else np.nan
