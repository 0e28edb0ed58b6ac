"""How the charts of this project look: a title at the left, few lines, quiet colours."""

from __future__ import annotations

from matplotlib.axes import Axes

from .canvas import INK, QUIET

PALE = "#e8e8ec"  # of a grid
EDGE = "#c8ccd4"  # of the two axes that are drawn


def quiet_axes(axes: Axes, title: str, below: str) -> None:
    """Dress a chart: title above, what is measured below, a pale grid behind (ours).

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    title : str
        Shown literally, also with $ or _ in it.
    below : str
        Of the horizontal axis.
    """
    axes.set_title(title, loc="left", fontsize=10, color=INK, parse_math=False)
    axes.set_xlabel(below, fontsize=9, color=QUIET)
    axes.tick_params(labelsize=8.5, colors=QUIET)
    axes.grid(color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(EDGE)
