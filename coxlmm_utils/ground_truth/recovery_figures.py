"""Figures of known answers: systems side by side, layers and positions, and which concept tells which value. (ours)"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..plots import ACCENT, INK, QUIET, new_figure, style_axes
from .controls import SYSTEMS
from .factor_matching import Value, judged_labels
from .factor_recovery import TOLD, FactorRecovery

BLUE, GREY = "#3d7ea6", "#9aa3b2"
POSITION_STYLES = {  # colour, marker, label
    "predicts": (ACCENT, "o", "where the word is predicted"),
    "own": (BLUE, "D", "at the word itself"),
}
MEASURES = {"covered": f"factor values told, held-out AUC above {TOLD}", "mean_auc": "mean held-out AUC"}
PANEL = (2.35, 2.3)  # inches
LEGEND_WIDTH = 6.2
FACTOR_ROOM = 100  # points left of the axes, for the names of factors and values


def systems_compared(table: pd.DataFrame, title: str = "") -> Figure:
    """Each system's known answers with intervals, Semi-NMF first (ours).

    Parameters
    ----------
    table : pandas.DataFrame
        From `comparison`.
    title : str
        What the states are.

    Returns
    -------
    matplotlib.figure.Figure
        Left how many values are covered, right the mean held-out AUC; .5 is chance.
    """
    figure = new_figure(8.6, 0.34 * len(table) + 1.4, layout="constrained")
    panels, places = figure.subplots(1, 2, sharey=True), np.arange(len(table))[::-1]
    for axes, (measure, below) in zip(panels, MEASURES.items()):
        for place, (name, row) in zip(places, table.iterrows()):
            colour = ACCENT if name == "semi_nmf" else GREY
            axes.hlines(place, row[f"{measure}_low"], row[f"{measure}_high"], color=colour, linewidth=3, alpha=0.6)
            axes.plot(row[measure], place, "o", color=colour, markersize=6.5)
        style_axes(axes, "", below)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(places, [SYSTEMS[name] for name in table.index], fontsize=9, color=INK)
    panels[0].set_xlim(-0.4, table["n_concepts"].max() + 0.4)
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[1].set_xlim(0.4, 1.02)
    panels[1].axvline(0.5, color=INK, linewidth=0.9, linestyle=":")
    for axes in panels:
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(-0.6, len(table) - 0.4)
    n_concepts, n_values = table.iloc[0][["n_concepts", "n_values"]].astype(int)
    head = f"{n_concepts} concepts of each system, {n_values} factor values"
    figure.suptitle(
        f"{title}: {head}" if title else head, x=0.01, ha="left", fontsize=10.5, color=INK, parse_math=False
    )
    return figure


def over_layers(table: pd.DataFrame, measure: str = "covered") -> Figure:
    """Known answers of each layer, a panel for each token; bands are intervals (ours).

    Parameters
    ----------
    table : pandas.DataFrame
        From `known_answers_over`.
    measure : {"covered", "mean_auc"}

    Returns
    -------
    matplotlib.figure.Figure
        A line for each position; shuffled activations in grey. The dotted line is how many values could be told, or
        the AUC of chance. Where all states are the same there is no AUC, and so no point.
    """
    tokens = list(table.groupby("token", sort=False))
    n_columns = min(4, len(tokens))
    n_rows = -(-len(tokens) // n_columns)
    width = max(PANEL[0] * n_columns + 0.3, LEGEND_WIDTH)
    figure = new_figure(width, PANEL[1] * n_rows + 0.5, layout="constrained")
    figure.subplots(n_rows, n_columns, sharey=True)
    places = {layer: place for place, layer in enumerate(table["layer"].unique())}  # "norm" comes after the last block
    for axes, (token, rows) in zip(figure.axes, tokens):
        _layer_lines(axes, rows, measure, places)
        _limit(axes, rows, measure)
        style_axes(axes, f"“{token}”", "layer")
        axes.set_xticks(list(places.values()), [str(layer) for layer in places])
    for axes in figure.axes[len(tokens) :]:
        axes.set_visible(False)
    if measure == "covered":
        figure.axes[0].set_ylim(-0.8, 1.15 * table[["n_values", "n_concepts"]].min(axis=1).max())
    figure.axes[0].set_ylabel(MEASURES[measure].replace(", ", ",\n"), fontsize=9, color=QUIET)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return figure


def values_told(known: FactorRecovery, titles: Sequence[str], title: str = "") -> Figure:
    """Every factor value with the concept that was matched to it, and its held-out AUC with interval (ours).

    Parameters
    ----------
    known : FactorRecovery
    titles : sequence of str
        What each concept is called: `[bank.title(k) for k in range(len(bank))]`.
    title : str
        What the states are.

    Returns
    -------
    matplotlib.figure.Figure
        A filled dot is held-out, a hollow one the flattered AUC of the matching. Values without a concept, and concepts
        that are not judged, have no dot.
    """
    by_value = {(row["factor"], row["value"]): row for _, row in known.table.iterrows() if row["auc"] >= 0}
    values = list(dict.fromkeys([*judged_labels(known.held_out_pages), *by_value]))
    figure = new_figure(8.6, 0.25 * len(values) + 1.6, layout="constrained")
    axes, places = figure.subplots(), np.arange(len(values))[::-1]
    for place, value in zip(places, values):
        _told_value(axes, place, by_value.get(value), titles)
    style_axes(axes, f"{title}: {_counts(known)}" if title else _counts(known), "AUC, one value against the rest")
    axes.axvline(TOLD, color=INK, linewidth=0.9, linestyle=":")
    axes.set_yticks(places, [value for _, value in values], fontsize=9)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(visible=False, axis="y")
    lowest = known.table[["low", "auc_matching"]].min(axis=None)
    axes.set(xlim=(np.nanmin([0.47, lowest - 0.02]), 1.015), ylim=(-0.7, len(values) - 0.3))
    _factor_names(axes, values)
    axes.plot([], [], "o", color=ACCENT, markersize=5, label=f"held-out pages, above {TOLD}")
    axes.plot([], [], "o", color=GREY, markersize=5, label=f"held-out pages, up to {TOLD}")
    axes.plot([], [], "o", color=GREY, markerfacecolor="white", markersize=8, label="pages of the matching, flattered")
    figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    return figure


def _limit(axes: Axes, rows: pd.DataFrame, measure: str) -> None:
    """A dotted line at the most values that there could be, or at chance."""
    n_values, n_concepts = rows.iloc[0][["n_values", "n_concepts"]]
    most = min(n_values, n_concepts)
    axes.axhline(most if measure == "covered" else 0.5, color=INK, linewidth=0.9, linestyle=":", zorder=0)
    if measure == "covered":
        axes.text(0, most + 0.3, f"at most {most} of {n_values}", va="bottom", fontsize=8.5, color=QUIET)


def _layer_lines(axes: Axes, rows: pd.DataFrame, measure: str, places: dict) -> None:
    """One token's lines over layers: the control below, then a line for each position."""
    shuffled = rows["system"] == "shuffled"
    for number, (position, points) in enumerate(rows[shuffled].groupby("position", sort=False)):
        label = "shuffled activations" if number == 0 else None
        _band(axes, points, measure, places, color=GREY, label=label, marker="s")
    for position, points in rows[~shuffled].groupby("position", sort=False):
        colour, marker, label = POSITION_STYLES[position]
        _band(axes, points, measure, places, color=colour, label=label, marker=marker)


def _band(axes: Axes, points: pd.DataFrame, measure: str, places: dict, color: str, **style) -> None:
    """A line over layers with its intervals as a band."""
    x = [places[layer] for layer in points["layer"]]
    axes.plot(x, points[measure], color=color, linewidth=1.8, markersize=4.5, **style)
    axes.fill_between(x, points[f"{measure}_low"], points[f"{measure}_high"], color=color, alpha=0.2, linewidth=0)


def _told_value(axes: Axes, place: int, row: pd.Series | None, titles: Sequence[str]) -> None:
    """One value's dots, and beside them its concept."""
    beside = dict(transform=axes.get_yaxis_transform(), va="center_baseline", fontsize=8.5, parse_math=False)
    if row is None:
        axes.text(1.02, place, "no concept", color=GREY, style="italic", **beside)
        return
    colour = ACCENT if row["auc"] > TOLD else GREY
    axes.plot(row["auc_matching"], place, "o", color=GREY, markerfacecolor="white", markersize=8)
    axes.hlines(place, row["low"], row["high"], color=colour, linewidth=3, alpha=0.6)
    axes.plot(row["auc"], place, "o", color=colour, markersize=5)
    axes.text(1.02, place, titles[row["concept"]], color=INK, **beside)


def _factor_names(axes: Axes, values: Sequence[Value]) -> None:
    """Each factor's name left of its values, and a line between factors."""
    place = len(values)
    for factor, group in groupby(values, key=lambda value: value[0]):
        style = dict(textcoords="offset points", va="center_baseline", color=QUIET, fontsize=9)
        axes.annotate(factor, (0, place - 1), (-FACTOR_ROOM, 0), xycoords=axes.get_yaxis_transform(), **style)
        place -= len(list(group))
        if place:
            axes.axhline(place - 0.5, color="#c8ccd4", linewidth=0.8)


def _counts(known: FactorRecovery) -> str:
    """How many values are covered."""
    covered = known.covered
    told = f"{covered.value:.0f} [{covered.low:.0f}, {covered.high:.0f}] of {known.n_values} values told"
    return f"{told} by {len(known.table)} concepts"
