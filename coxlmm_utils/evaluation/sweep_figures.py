"""Figures of sweeps: how measures change with K, lambda and layer, and how a shared dictionary is shared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..concepts import token_shares
from ..plots import INK, QUIET, new_figure, style_axes
from .paper import FIG6_CLIPSCORE, FIG6_LAYERS
from .selection import MEASURES, Choice

COLOURS = ("#e07a5f", "#3d7ea6", "#5a9367", "#b08bbb", "#c9a227", "#7a8794", "#a44a3f", "#3d405b")
NAMES = {"n_concepts": "K", "lam": "λ", "layer": "layer"}
PANEL = (2.75, 2.4)  # inches


def curves(
    table: pd.DataFrame, setting: str, measures: Sequence[str], choice: Choice | None = None, log: bool = False
) -> Figure:
    """Measures against one setting, a panel each; the paper's Fig 11 is the relative error against K.

    Parameters
    ----------
    table : pandas.DataFrame
        From `sweep`. If it has a column "token", each token is a line; the band is what seeds differ by.
    setting : {"n_concepts", "lam", "layer"}
    measures : sequence of str
        Columns of the table.
    choice : Choice, optional
        Its value is marked.
    log : bool
        The setting on a logarithmic axis.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(PANEL[0] * len(measures) + 0.2, PANEL[1] + 0.3, layout="constrained")
    panels = figure.subplots(1, len(measures), squeeze=False)[0]
    places = {value: value for value in table[setting].unique()}
    if setting == "layer":
        places = {layer: place for place, layer in enumerate(places)}  # "norm" comes after the last block
    for axes, measure in zip(panels, measures):
        for colour, (token, rows) in zip(COLOURS, _by_token(table)):
            _line(axes, rows, setting, measure, places, colour, token)
        style_axes(axes, MEASURES[measure], NAMES[setting])
        if log:
            axes.set_xscale("log")
        if setting == "layer":
            axes.set_xticks(list(places.values()), [str(layer) for layer in places])
        if choice is not None:
            axes.axvline(places[choice.value], color=QUIET, linewidth=1, linestyle=":", zorder=0)
    if "token" in table:
        panels[0].legend(frameon=False, fontsize=8)
    return figure


def layers_beside_the_paper(table: pd.DataFrame, measure: str = "auc") -> Figure:
    """Layer curves: ours, and beside it the paper's Fig 6, which measures something else on another model.

    Parameters
    ----------
    table : pandas.DataFrame
        From `sweep` over layers.
    measure : str
        Which of ours.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = curves(table, "layer", [measure, "said"])
    figure.set_figwidth(PANEL[0] * 3 + 1)
    ours = figure.axes
    grid = figure.add_gridspec(1, 3)
    for place, axes in enumerate(ours):
        axes.set_subplotspec(grid[place])
        axes.set_title(f"ours · {axes.get_title(loc='left')}", loc="left", fontsize=10, color=INK)
    paper = figure.add_subplot(grid[2])
    for colour, (name, scores) in zip((*COLOURS[:2], QUIET), FIG6_CLIPSCORE.items()):
        paper.plot(FIG6_LAYERS, scores, color=colour, linewidth=1.6, label=name)
    style_axes(paper, "CLIPScore", "layer of OPT-6.7B (32 blocks)")
    paper.set_title("paper, Fig 6 · CLIPScore", loc="left", fontsize=10, color=INK)
    paper.legend(frameon=False, fontsize=8)
    return figure


def shares(bank, n_words: int = 4) -> Figure:
    """A shared dictionary: each concept's share of each token as a bar, and its words.

    Parameters
    ----------
    bank : ConceptBank
        Learned from the states of several tokens.
    n_words : int
        Words shown for each concept.

    Returns
    -------
    matplotlib.figure.Figure
        Concepts that are one token's own come first.
    """
    table = token_shares(bank)
    order = np.argsort(table.max(axis=1).to_numpy(), kind="stable")  # bars are drawn from below
    figure = new_figure(7.2, 0.27 * len(table) + 1.2, layout="constrained")
    axes, left = figure.subplots(), np.zeros(len(table))
    for colour, token in zip(COLOURS, table):
        width = table[token].to_numpy()[order]
        axes.barh(range(len(table)), width, left=left, color=colour, height=0.78, label=token)
        left += width
    labels = [bank.label(k, n_words) for k in order]
    axes.set_yticks(range(len(table)), labels, fontsize=8.5, parse_math=False)
    style_axes(axes, "", "share of a concept's activation")
    axes.set(xlim=(0, 1), ylim=(-0.6, len(table) - 0.4))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.legend(loc="outside upper right", ncols=min(4, len(table.columns)), frameon=False, fontsize=9)
    return figure


def _by_token(table: pd.DataFrame):
    """(name, rows) of each token; of all rows if there is no such column."""
    return table.groupby("token", sort=False) if "token" in table else [("", table)]


def _line(axes: Axes, rows: pd.DataFrame, setting: str, measure: str, places: dict, colour: str, name: str) -> None:
    """The mean over seeds as a line, their range as a band."""
    seeds = rows.groupby(setting, sort=setting != "layer")[measure]
    x = [places[value] for value in seeds.groups]
    axes.plot(x, seeds.mean(), color=colour, linewidth=1.6, marker="o", markersize=3.5, label=name)
    axes.fill_between(x, seeds.min(), seeds.max(), color=colour, alpha=0.2, linewidth=0)
