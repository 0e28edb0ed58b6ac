"""Figures of interventions: what removing each concept does to words, and curves of deletion and insertion."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..plots import ACCENT, INK, QUIET, new_figure, style_axes
from ..statistics import bootstrap_mean
from .ablation_summary import RemovalSummary

BLUE = "#3d7ea6"
EDITS = {
    "own": (ACCENT, "o", "its own words"),
    "others": (BLUE, "D", "other concepts' words"),
    "random": ("#9aa3b2", "s", "its own words, random direction instead"),
}
ORDERS = {"activation": (ACCENT, "most active first"), "random": ("#9aa3b2", "random order")}
SHARES = np.linspace(0, 1, 11)  # where curves of different numbers of concepts are averaged
RESAMPLES = 2_000  # for a band


def removal(summary: RemovalSummary, bank, n_words: int = 4) -> Figure:
    """For each concept how removal changes its own words and others', beside a random direction, with intervals (ours).

    Parameters
    ----------
    summary : RemovalSummary
    bank : ConceptBank
    n_words : int
        Words shown for each concept.

    Returns
    -------
    matplotlib.figure.Figure
        The concept whose words fall most comes first. A dot is hollow where the concept is not `sure` to do more than
        both controls.
    """
    table = summary.concepts.sort_values("own", ascending=False)  # drawn from below
    figure = new_figure(7.6, 0.32 * len(table) + 1.5, layout="constrained")
    axes, places = figure.subplots(), np.arange(len(table))
    for lift, (name, (colour, marker, label)) in zip((0.2, 0, -0.2), EDITS.items()):
        ends = table[f"{name}_low"], table[f"{name}_high"]
        axes.hlines(places + lift, *ends, color=colour, linewidth=1.6, alpha=0.6)
        style = dict(color=colour, marker=marker, markersize=5, linestyle="none", markerfacecolor="white")
        sure = table["sure"].to_numpy(dtype=bool) if name == "own" else np.full(len(table), True)
        axes.plot(table[name][~sure], places[~sure] + lift, **style)
        axes.plot(table[name][sure], places[sure] + lift, **{**style, "markerfacecolor": colour}, label=label)
    axes.axvline(0, color=INK, linewidth=0.9)
    labels = [bank.label(k, n_words) for k in table.index]
    axes.set_yticks(places, labels, fontsize=8.5, parse_math=False)
    style_axes(
        axes,
        f"“{bank.token}”, {bank.where}",
        "change in log-probability when it, or a random direction, is removed, nats",
    )
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.set_ylim(-0.6, len(table) - 0.4)
    figure.legend(
        loc="outside upper center", ncols=3, frameon=False, fontsize=8.5, title=_title(summary), title_fontsize=10.5
    )
    return figure


def deletion_insertion(table: pd.DataFrame, measure: str = "caption", seed: int = 0) -> Figure:
    """The caption's log-probability as concepts are removed, and as they are put back; bands are intervals (ours).

    Parameters
    ----------
    table : pandas.DataFrame
        From `curves`.
    measure : {"caption", "target"}
    seed : int, default 0
        Of the bootstrap.

    Returns
    -------
    matplotlib.figure.Figure
        The mean over samples at eleven shares, between a sample's own points on straight lines.
    """
    figure = new_figure(7.2, 3, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (curve, done) in zip(panels, {"deletion": "removed", "insertion": "put back"}.items()):
        for order, (colour, label) in ORDERS.items():
            samples = _on_shares(table[(table["curve"] == curve) & (table["order"] == order)], measure)
            means = [bootstrap_mean(values, RESAMPLES, seed=seed) for values in samples.T]
            axes.plot(SHARES, [mean.value for mean in means], color=colour, linewidth=1.8, label=label)
            ends = [mean.low for mean in means], [mean.high for mean in means]
            axes.fill_between(SHARES, *ends, color=colour, alpha=0.2, linewidth=0)
        axes.axhline(0, color=INK, linewidth=0.9)
        style_axes(axes, curve, f"share of the active concepts {done}")
        axes.set_xlim(0, 1)
    panels[0].set_ylabel(f"change of the {measure}'s\nlog-probability, nats", fontsize=9, color=QUIET)
    panels[1].legend(frameon=False, fontsize=8.5, loc="lower right")
    return figure


def _on_shares(table: pd.DataFrame, measure: str) -> np.ndarray:
    """Each sample's curve at the same shares, the mean over draws: (samples, shares)."""
    samples, draws = [], []
    for (sample, _), points in table.groupby(["sample", "draw"], sort=False):
        samples.append(sample)
        draws.append(np.interp(SHARES, points["share"], points[measure]))
    return pd.DataFrame(draws, index=samples).groupby(level=0).mean().to_numpy()


def _title(summary: RemovalSummary) -> str:
    """How many concepts have an effect of their own."""
    judged = len(summary.concepts)
    unjudged = f" ({summary.n_unjudged} not judged)" if summary.n_unjudged else ""
    return f"{summary.concepts['sure'].sum()} of {judged} concepts lower their own words beyond both controls{unjudged}"
