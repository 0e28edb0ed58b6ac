"""Figures of ablations: what removing each concept does to words, and curves of deletion and insertion."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..plots import ACCENT, BLUE, GREY, INK, QUIET, band, interval_dots, new_figure, row_labels, style_axes
from ..statistics import bootstrap_mean
from .ablation_summary import WHERE, AblationSummary

EFFECTS = {  # colour, marker and label of each
    "own": (ACCENT, "o", "its own words (hollow: not beyond both)"),
    "others": (BLUE, "D", "others' words, drawn to the left"),
    "random": (GREY, "s", "random direction instead"),
}
ORDERS = {"activation": (ACCENT, "most active first"), "random": (GREY, "random order")}
MEASURED = {"caption": "caption", "target": "word"}  # columns of `curves`
SHARES = np.linspace(0, 1, 11)  # where curves of different numbers of concepts are averaged
N_RESAMPLES = 2_000  # for a band


def ablation_effects(summary: AblationSummary, bank, n_words: int = 4) -> Figure:
    """Per concept how its removal changes its own words and others', beside a random direction's, with intervals.

    How far others' words move has no sign: it is drawn to the left, as the line that the concept's own have to cross.
    The concept whose words fall most comes first; its dot is hollow where it is not `significant`.
    """
    table = summary.concepts.sort_values("own", ascending=False)  # drawn from below
    figure = new_figure(7.6, 0.32 * len(table) + 1.5, layout="constrained")
    axes, rows = figure.subplots(), np.arange(len(table))
    for lift, (name, (colour, marker, label)) in zip((0.2, 0, -0.2), EFFECTS.items()):
        value, low, high = (table[column].to_numpy() for column in (name, f"{name}_low", f"{name}_high"))
        if name == "others":
            value, low, high = -value, -high, -low
        filled = table["significant"].to_numpy(dtype=bool) if name == "own" else True
        interval_dots(axes, rows + lift, value, low, high, colour, label, filled, marker=marker)
    axes.axvline(0, color=INK, linewidth=0.9)
    below = "change in log-probability when it, or a random direction, is removed, nats"
    style_axes(axes, f"“{bank.token}”, {bank.where}", below)
    row_labels(axes, [bank.label(k, n_words) for k in table.index])
    style = dict(ncols=3, frameon=False, fontsize=8.5, title_fontsize=10)
    figure.legend(loc="outside upper center", title=_title(summary), **style)
    return figure


def deletion_insertion(table: pd.DataFrame, measure: str = "caption", seed: int = 0) -> Figure:
    """The log-probability of "caption" or "target" as concepts are removed, and put back; bands are intervals (ours)."""
    figure = new_figure(7.2, 3, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (curve, done) in zip(panels, {"deletion": "removed", "insertion": "put back"}.items()):
        for order, (colour, label) in ORDERS.items():
            samples = _on_shares(table[(table["curve"] == curve) & (table["order"] == order)], measure)
            means = [bootstrap_mean(values, N_RESAMPLES, seed=seed) for values in samples.T]
            band(axes, SHARES, *zip(*(mean.ends for mean in means)), colour, label)
        axes.axhline(0, color=INK, linewidth=0.9)
        style_axes(axes, curve, f"share of the active concepts {done}")
        axes.set_xlim(0, 1)
    panels[0].set_ylabel(f"change of the {MEASURED[measure]}'s\nlog-probability, nats", fontsize=9, color=QUIET)
    panels[1].legend(frameon=False, fontsize=8.5, loc="lower right")
    return figure


def _on_shares(table: pd.DataFrame, measure: str) -> np.ndarray:
    """Each sample's curve at the same shares, the mean over draws: (samples, shares)."""
    samples, draws = [], []
    for (sample, _), points in table.groupby(["sample", "draw"], sort=False):
        samples.append(sample)
        draws.append(np.interp(SHARES, points["share"], points[measure]))
    return pd.DataFrame(draws, index=samples).groupby(level=0).mean().to_numpy()


def _title(summary: AblationSummary) -> str:
    """How many concepts have an effect of their own."""
    excluded = f" ({summary.n_excluded} not tested)" if summary.n_excluded else ""
    n, of = summary.concepts["significant"].sum(), len(summary.concepts)
    return f"{n} of {of} concepts lower their own words {WHERE[summary.measure]} beyond both controls{excluded}"
