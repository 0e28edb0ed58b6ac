"""Figures of steering: how often the wanted fact changes, and how often all else stays, against strength (ours)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..plots import INK, PALETTE, QUIET, new_figure, style_axes

PANEL = (3.1, 2.9)  # inches
SAME = "--"  # the line of what stays


def effect_curves(tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> Figure:
    """hit and same against alpha: a panel for each key, a colour for each line of it, with the 95 % interval of hit as a band.

    Parameters
    ----------
    tables : mapping of str to mapping of str to pandas.DataFrame
        Panel, then line, to what `effects_table` makes of one layer, factor and method.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(PANEL[0] * len(tables), PANEL[1] + 0.7, layout="constrained")
    panels = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
    colours = dict(zip(dict.fromkeys(line for lines in tables.values() for line in lines), PALETTE))
    for axes, (title, lines) in zip(panels, tables.items()):
        for line, table in lines.items():
            look = {"color": colours[line], "marker": "o", "markersize": 3, "linewidth": 1.8}
            axes.plot(table.index, table["hit"], **look)
            axes.fill_between(
                table.index, table["hit_low"], table["hit_high"], color=colours[line], alpha=0.2, linewidth=0
            )
            axes.plot(table.index, table["same"], **look | {"linestyle": SAME, "linewidth": 1.2})
        style_axes(axes, title, "alpha")
        axes.set_ylim(-0.03, 1.03)
    handles = [Line2D([], [], color=colour, label=line) for line, colour in colours.items()]
    handles += [Line2D([], [], color=QUIET, label="wanted value named, 95% interval")]
    handles += [Line2D([], [], color=QUIET, label="all else the same", linestyle=SAME)]
    figure.legend(handles=handles, loc="outside upper left", ncols=4, frameon=False, fontsize=9, labelcolor=INK)
    return figure
