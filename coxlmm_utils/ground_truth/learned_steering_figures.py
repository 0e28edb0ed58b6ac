"""Figures of learned steering: what is answered right by strength, and where the vectors of inputs lie (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..plots import INK, PALETTE, QUIET, new_figure, style_axes
from ..steering import InputVectors

PANEL = (3.1, 2.5)  # inches
N_COLUMNS = 3
MAP = (8.6, 4.2)
MARKERS = "o^sD"  # where there are more answers than colours
DASHED = "--"


def right_answer_curves(tables: Mapping[str, pd.DataFrame], solid: Sequence[str]) -> Figure:
    """Shares of right answers against alpha, or how blurred a picture is: a panel for each table, a colour for each column.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        By title: a row for each strength, whose name is the index's, and a column for each group of questions.
    solid : sequence of str
        The columns drawn solid, such as groups that are wrong without steering; the others are dashed.

    Returns
    -------
    matplotlib.figure.Figure
    """
    n_columns = min(N_COLUMNS, len(tables))
    n_rows = -(-len(tables) // n_columns)
    figure = new_figure(PANEL[0] * n_columns, PANEL[1] * n_rows + 0.8, layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).flat
    groups = list(next(iter(tables.values())))
    looks = {
        group: {"color": colour, "linestyle": "-" if group in solid else DASHED, "label": group}
        for group, colour in zip(groups, PALETTE)
    }
    for axes, (title, table) in zip(panels, tables.items()):
        for group, look in looks.items():
            axes.plot(table.index, table[group], marker="o", markersize=3, linewidth=1.8, **look)
        style_axes(axes, title, table.index.name or "")
        axes.set_ylim(-0.03, 1.03)
    for axes in panels[len(tables) :]:
        axes.set_axis_off()
    for axes in panels[::n_columns]:
        axes.set_ylabel("right answers", fontsize=9, color=QUIET)
    handles = [Line2D([], [], linewidth=1.8, **look) for look in looks.values()]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def vector_map(vectors: InputVectors, answers: Sequence[str]) -> Figure:
    """The vectors of inputs on their first two principal components, a colour for each wanted answer.

    The paper (arXiv 2508.12815) draws t-SNE; principal components keep distances as they are.
    """
    Y = vectors.vectors - vectors.vectors.mean(dim=0)
    _, spread, directions = torch.linalg.svd(Y, full_matrices=False)
    points, shares = (Y @ directions[:2].T).numpy(), (spread**2 / (spread**2).sum())[:2].tolist()
    figure = new_figure(*MAP, layout="constrained")
    axes = figure.subplots()
    for i, answer in enumerate(dict.fromkeys(sorted(answers))):
        own = [row for row, other in enumerate(answers) if other == answer]
        look = {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i // len(PALETTE) % len(MARKERS)]}
        axes.scatter(*points[own].T, s=12, alpha=0.6, linewidths=0, label=answer, **look)
    style_axes(axes, "", f"first component, {shares[0]:.0%} of the variance")
    axes.set_ylabel(f"second component, {shares[1]:.0%}", fontsize=9, color=QUIET)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9, labelcolor=INK, markerscale=2)
    return figure
