"""Figures of sweeps: how measures change with K, lambda and layer, and how a shared dictionary is shared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..concepts import token_shares
from ..plots import INK, PALETTE, QUIET, band, new_figure, row_labels, style_axes
from .paper import FIG6_CLIPSCORE, FIG6_LAYERS, FIG6_PRECISION
from .selection import MEASURES, Choice, is_relative

NAMES = {"n_concepts": "K", "lam": "λ", "layer": "layer"}
PANEL = (2.75, 2.4)  # inches


def curves(
    table: pd.DataFrame, setting: str, measures: Sequence[str], choice: Choice | None = None, log: bool = False
) -> Figure:
    """Measures against one setting, a panel each; the paper's Fig 11 is the relative error against K.

    Parameters
    ----------
    table : pandas.DataFrame
        From `sweep`.
    setting : str
        The column on the horizontal axis.
    measures : sequence of str
        Columns, a panel each.
    choice : Choice, optional
        Marked with a line.
    log : bool, default False
        Whether the horizontal axis is logarithmic.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(PANEL[0] * len(measures) + 0.2, PANEL[1] + 0.3, layout="constrained")
    panels = figure.subplots(1, len(measures), squeeze=False)[0]
    at = {value: value for value in table[setting].unique()}
    if setting == "layer":
        at = {layer: x for x, layer in enumerate(at)}
        if "norm" in at:  # after the last block, with room for its name
            at["norm"] += len(at) // 10
    for axes, measure in zip(panels, measures):
        for colour, (token, rows) in zip(PALETTE, _by_token(table)):
            _line(axes, rows, setting, measure, at, colour, token)
        style_axes(axes, MEASURES[measure], "relative " * (setting == "lam" and is_relative(table)) + NAMES[setting])
        if log:
            axes.set_xscale("log")
        if setting == "layer":
            named = [layer for layer in at if len(at) <= 8 or layer == "norm" or layer % 5 == 0]
            axes.set_xticks([at[layer] for layer in named], [str(layer) for layer in named])
        if choice is not None:
            axes.axvline(at[choice.value], color=QUIET, linewidth=1, linestyle=":", zorder=0)
    if "token" in table:
        panels[0].legend(frameon=False, fontsize=8)
    return figure


def layers_beside_the_paper(table: pd.DataFrame, measure: str = "auc") -> Figure:
    """Layer curves: ours, and beside it the paper's Fig 6, which measures something else on another model."""
    figure = curves(table, "layer", [measure, "mentioned"])
    figure.set_figwidth(PANEL[0] * 3 + 1)
    grid = figure.add_gridspec(1, 3)
    for column, axes in enumerate(figure.axes):
        axes.set_subplotspec(grid[column])
        axes.set_title(f"ours · {axes.get_title(loc='left')}", loc="left", fontsize=10, color=INK)
    tokens = dict.fromkeys([token for token, _ in _by_token(table)] + list(FIG6_CLIPSCORE))  # a word has one colour
    _paper_fig6(figure.add_subplot(grid[2]), dict(zip(tokens, PALETTE)))
    return figure


def grounding_by_layer(table: pd.DataFrame, n_layers: int) -> Figure:
    """The paper's Fig 6 for another model, and the paper's beside it.

    Parameters
    ----------
    table : pandas.DataFrame
        A row for each token and layer: token, layer, clipscore (mean over concepts) with clipscore_low and
        clipscore_high, and clipscore_random (the same with random words).
    n_layers : int
        Blocks of the model; "norm" is drawn after the last.
    """
    figure = new_figure(9.2, 3.6, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    axes, paper = figure.subplots(1, 2)
    step = 1 if n_layers <= 8 else 5 if n_layers <= 40 else 10
    at = {layer: n_layers + step if layer == "norm" else layer for layer in table["layer"].unique()}
    tokens = list(table["token"].unique())
    colours = dict(zip(dict.fromkeys([*tokens, *FIG6_CLIPSCORE]), PALETTE))  # a word has one colour
    for token, rows in table.groupby("token", sort=False):
        x, ends = rows["layer"].map(at), (rows["clipscore_low"], rows["clipscore_high"])
        band(axes, x, rows["clipscore"], *ends, colours[token], token, linewidth=1.6, marker="o", markersize=3.5)
    random = table.groupby("layer", sort=False)["clipscore_random"].mean()
    axes.plot([at[layer] for layer in random.index], random, color=QUIET, linewidth=1.6, label="random words")
    style_axes(axes, "ours · CLIPScore", f"layer of {n_layers}; band: 95% interval over concepts")
    ticks = {x: str(x) for x in (1, *range(step, n_layers + 1, step))} | ({at["norm"]: "norm"} if "norm" in at else {})
    axes.set_xticks(list(ticks), list(ticks.values()))
    for text in axes.legend(frameon=False, fontsize=8).get_texts():
        text.set_parse_math(False)  # a token may hold a $
    _paper_fig6(paper, colours)
    return figure


def _paper_fig6(axes: Axes, colours: dict[str, str]) -> None:
    """The paper's own curves."""
    for name, scores in FIG6_CLIPSCORE.items():
        colour = QUIET if name == "random words" else colours[name]
        axes.plot(FIG6_LAYERS, scores, color=colour, linewidth=1.6, label=name)
    style_axes(axes, "paper, Fig 6 · CLIPScore", "layer of OPT-6.7B (32 blocks)")
    axes.legend(frameon=False, fontsize=8, title=f"read off to ±{FIG6_PRECISION}", title_fontsize=8)


def shares(bank, n_words: int = 4) -> Figure:
    """A shared dictionary: each concept's share of each token as a bar, and its words.

    Parameters
    ----------
    bank : ConceptBank
        Of joined states; see `join_states`.
    n_words : int, default 4

    Returns
    -------
    matplotlib.figure.Figure
    """
    table = token_shares(bank)
    order = np.argsort(table.max(axis=1).to_numpy(), kind="stable")  # bars are drawn from below
    figure = new_figure(7.2, 0.27 * len(table) + 1.2, layout="constrained")
    axes, left = figure.subplots(), np.zeros(len(table))
    for colour, token in zip(PALETTE, table):
        width = table[token].to_numpy()[order]
        axes.barh(range(len(table)), width, left=left, color=colour, height=0.78, label=token)
        left += width
    labels = [bank.label(k, n_words) for k in order]
    style_axes(axes, "", "share of a concept's activation")
    row_labels(axes, labels)
    axes.set_xlim(0, 1)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.legend(loc="outside upper right", ncols=min(4, len(table.columns)), frameon=False, fontsize=9)
    return figure


def _by_token(table: pd.DataFrame):
    """(name, rows) of each token; of all rows if there is no such column."""
    return table.groupby("token", sort=False) if "token" in table else [("", table)]


def _line(axes: Axes, rows: pd.DataFrame, setting: str, measure: str, at: dict, colour: str, name: str) -> None:
    """The mean over seeds as a line, their range as a band."""
    seeds = rows.groupby(setting, sort=setting != "layer")[measure]
    x = [at[value] for value in seeds.groups]
    band(axes, x, seeds.mean(), seeds.min(), seeds.max(), colour, name, linewidth=1.6, marker="o", markersize=3.5)
