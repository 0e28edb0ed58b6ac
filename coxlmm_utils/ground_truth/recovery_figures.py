"""Figures of factor recovery: systems side by side, layers and positions, and which concept recovers which value."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..plots import ACCENT, BLUE, EDGE, GREY, INK, QUIET, band, interval_dots, new_figure, row_labels, style_axes
from .controls import SYSTEMS
from .factor_matching import Value, scorable_labels
from .factor_recovery import MIN_AUC, FactorRecovery

POSITION_STYLES = {  # colour, marker, label
    "predicts": (ACCENT, "o", "where the word is predicted"),
    "own": (BLUE, "D", "at the word itself"),
}
MEASURES = {
    "recovered": f"factor values recovered, held-out AUC above {MIN_AUC}",
    "mean_auc": "held-out AUC, mean of the values matched",
}
COLOURS = {"semi_nmf": ACCENT, "probe": INK} | dict.fromkeys(("kmeans", "pca", "simple"), BLUE)  # controls are grey
PANEL = (2.35, 2.3)  # inches
MIN_WIDTH = 6.2  # of the legend, inches
FACTOR_OFFSET = 100  # points left of the axes, for the names of factors and values


def systems_compared(table: pd.DataFrame, title: str = "") -> Figure:
    """Each system's factor recovery with intervals over seeds and held-out pages; `table` is from `comparison`."""
    figure = new_figure(8.6, 0.31 * len(table) + 1.4, layout="constrained")
    figure.get_layout_engine().set(wspace=0.05)
    panels, rows = figure.subplots(1, 2, sharey=True), np.arange(len(table))
    colours = {name: COLOURS.get(name, GREY) for name in table.index}
    for axes, (measure, below) in zip(panels, MEASURES.items()):
        style_axes(axes, "", below)
        for row, name in zip(rows, table.index):
            values = table.loc[name, [measure, f"{measure}_low", f"{measure}_high"]]
            interval_dots(axes, row, *values, colours[name], markersize=6.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    row_labels(panels[0], [SYSTEMS[name] for name in table.index], 9, top_first=True)
    panels[0].set_xlim(-0.6, table["n_values"].max() + 0.6)
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[1].set_xlim(0.4, 1.02)
    panels[1].axvline(0.5, color=INK, linewidth=0.9, linestyle=":")
    n_concepts, n_values, seeds = table.loc["semi_nmf", ["n_concepts", "n_values", "seeds"]].astype(int)
    sizes = f"{n_concepts} concepts (PCA: two sides of each axis; probes: one per value)"
    head = f"{sizes}, {n_values} factor values; up to {seeds} seeds each"
    figure.suptitle(
        f"{title}\n{head}" if title else head, x=0.01, ha="left", fontsize=10.5, color=INK, parse_math=False
    )
    return figure


def over_layers(table: pd.DataFrame, measure: str = "recovered") -> Figure:
    """Factor recovery of each layer, a panel for each token; bands are intervals.

    A line for each position; shuffled activations in grey. The dotted line is how many values could be recovered, or
    the AUC of chance. Where all states are the same there is no AUC, and so no point.
    """
    tokens = list(table.groupby("token", sort=False))
    n_columns = min(4, len(tokens))
    n_rows = -(-len(tokens) // n_columns)
    width = max(PANEL[0] * n_columns + 0.3, MIN_WIDTH)
    figure = new_figure(width, PANEL[1] * n_rows + 0.5, layout="constrained")
    figure.subplots(n_rows, n_columns, sharey=True)
    at = {layer: x for x, layer in enumerate(table["layer"].unique())}  # "norm" comes after the last block
    for axes, (token, rows) in zip(figure.axes, tokens):
        _layer_lines(axes, rows, measure, at)
        _limit(axes, rows, measure)
        style_axes(axes, f"“{token}”", "layer")
        axes.set_xticks(list(at.values()), [str(layer) for layer in at])
    for axes in figure.axes[len(tokens) :]:
        axes.set_visible(False)
    if measure == "recovered":
        figure.axes[0].set_ylim(-0.8, 1.15 * table[["n_values", "n_concepts"]].min(axis=1).max())
    figure.axes[0].set_ylabel(MEASURES[measure].replace(", ", ",\n"), fontsize=9, color=QUIET)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return figure


def values_recovered(recovery: FactorRecovery, titles: Sequence[str], title: str = "") -> Figure:
    """Every factor value with the concept that was matched to it, and its held-out AUC with interval.

    A filled dot is held-out, a hollow one the optimistically biased AUC of the matching. Values without a concept, and
    concepts without an AUC, have no dot.
    """
    by_value = {(row["factor"], row["value"]): row for _, row in recovery.table.iterrows() if row["auc"] >= 0}
    values = list(dict.fromkeys([*scorable_labels(recovery.held_out_pages), *by_value]))
    figure = new_figure(8.6, 0.25 * len(values) + 1.6, layout="constrained")
    axes = figure.subplots()
    for row, value in enumerate(values):
        _value_row(axes, row, by_value.get(value), titles)
    style_axes(axes, "\n".join(filter(None, [title, _counts(recovery)])), "AUC, one value against the rest")
    axes.axvline(MIN_AUC, color=INK, linewidth=0.9, linestyle=":")
    row_labels(axes, [value for _, value in values], 9, top_first=True)
    lowest = recovery.table[["low", "auc_matching"]].min(axis=None)
    axes.set_xlim(np.nanmin([0.47, lowest - 0.02]), 1.015)
    _factor_names(axes, values)
    axes.plot([], [], "o", color=ACCENT, markersize=5, label=f"held-out pages, above {MIN_AUC}")
    axes.plot([], [], "o", color=GREY, markersize=5, label=f"held-out pages, up to {MIN_AUC}")
    axes.plot([], [], "o", color=GREY, markerfacecolor="white", markersize=8, label="pages of the matching, optimistic")
    figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    return figure


def _limit(axes: Axes, rows: pd.DataFrame, measure: str) -> None:
    """A dotted line at the most values that there could be, or at chance."""
    n_values, n_concepts = rows.iloc[0][["n_values", "n_concepts"]]
    most = min(n_values, n_concepts)
    axes.axhline(most if measure == "recovered" else 0.5, color=INK, linewidth=0.9, linestyle=":", zorder=0)
    if measure == "recovered":
        axes.text(0, most + 0.3, f"at most {most} of {n_values}", va="bottom", fontsize=8.5, color=QUIET)


def _layer_lines(axes: Axes, rows: pd.DataFrame, measure: str, at: dict) -> None:
    """One token's lines over layers: the control below, then a line for each position."""
    shuffled = rows["system"] == "shuffled"
    for number, (position, points) in enumerate(rows[shuffled].groupby("position", sort=False)):
        label = "shuffled activations" if number == 0 else None
        _band(axes, points, measure, at, colour=GREY, label=label, marker="s")
    for position, points in rows[~shuffled].groupby("position", sort=False):
        colour, marker, label = POSITION_STYLES[position]
        _band(axes, points, measure, at, colour=colour, label=label, marker=marker)


def _band(axes: Axes, points: pd.DataFrame, measure: str, at: dict, colour: str, **style) -> None:
    """A line over layers with its intervals as a band."""
    values = (points[column] for column in (measure, f"{measure}_low", f"{measure}_high"))
    band(axes, [at[layer] for layer in points["layer"]], *values, colour, markersize=4.5, **style)


def _value_row(axes: Axes, y: int, row: pd.Series | None, titles: Sequence[str]) -> None:
    """One value's dots, and beside them its concept."""
    beside = dict(transform=axes.get_yaxis_transform(), va="center_baseline", fontsize=8.5, parse_math=False)
    if row is None:
        axes.text(1.02, y, "no concept", color=GREY, style="italic", **beside)
        return
    colour = ACCENT if row["auc"] > MIN_AUC else GREY
    axes.plot(row["auc_matching"], y, "o", color=GREY, markerfacecolor="white", markersize=8)
    interval_dots(axes, y, row["auc"], row["low"], row["high"], colour)
    axes.text(1.02, y, titles[row["concept"]], color=INK, **beside)


def _factor_names(axes: Axes, values: Sequence[Value]) -> None:
    """Each factor's name left of its values, and a line between factors."""
    first = 0  # row of the factor
    for factor, group in groupby(values, key=lambda value: value[0]):
        style = dict(textcoords="offset points", va="center_baseline", color=QUIET, fontsize=9)
        axes.annotate(factor, (0, first), (-FACTOR_OFFSET, 0), xycoords=axes.get_yaxis_transform(), **style)
        first += len(list(group))
        if first < len(values):
            axes.axhline(first - 0.5, color=EDGE, linewidth=0.8)


def _counts(recovery: FactorRecovery) -> str:
    """How many values are recovered."""
    n = recovery.recovered
    count = f"{n.value:.0f} [{n.low:.0f}, {n.high:.0f}] of {recovery.n_values} values recovered"
    return f"{count} by {len(recovery.table)} concepts"
