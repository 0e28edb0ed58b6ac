"""Figure of what each factor value adds to each concept, by counterfactual edits of pages (ours)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from ..plots import INK, QUIET, new_figure
from .counterfactuals import Counterfactuals, selectivity
from .factor_matching import Value

CELL = (0.42, 0.235)  # inches
MAX_TITLE = 30  # letters
MIN_WIDTH = 7.8  # inches, for the lines of text
LABEL_WIDTH = 62  # points, of the names of values


def edits(changes: Counterfactuals, values: Sequence[Value | None]) -> Figure:
    """Factor values against concepts: how much each value adds to each concept when it is drawn.

    `values` is what each concept is matched with. Concepts are in the order of their values, so that matched pairs lie
    on the diagonal, and unmatched ones come last. A pair's frame is dashed where another value raises the concept more.
    """
    by_factor, by_value = (selectivity(changes, values, by) for by in ("factor", "value"))
    rows = {value: row for row, value in enumerate(changes.values)}
    order = sorted(range(len(values)), key=lambda k: rows.get(values[k], len(rows)))
    matrix = changes.matrix().to_numpy()[:, order]  # (values, concepts)
    width = max(CELL[0] * len(order) + 3.4, MIN_WIDTH)
    figure = new_figure(width, CELL[1] * len(rows) + 2.6, layout="constrained")
    axes = figure.subplots()
    most = np.abs(matrix).max() or 1  # where nothing moves
    image = axes.imshow(matrix, cmap="PuOr_r", vmin=-most, vmax=most, aspect="auto")
    _name(axes, changes, order)
    for column, k in enumerate(order):
        if values[k] is not None:
            _frame(axes, column, rows[values[k]], dashed=not by_value.concepts["largest"][k])
    bar = figure.colorbar(image, pad=0.015, aspect=40)
    bar.set_label("what the value adds,\nin standard deviations", fontsize=9, color=QUIET)
    bar.ax.tick_params(labelsize=8.5, colors=QUIET)
    bar.outline.set_visible(False)
    title = f"“{changes.bank.token}”, {changes.bank.where}: {len(changes.numbers)} pages edited"
    figure.suptitle(
        "\n".join([title, str(by_factor), str(by_value)]), x=0.01, ha="left", fontsize=10, color=INK, parse_math=False
    )
    return figure


def _name(axes: Axes, changes: Counterfactuals, order: list[int]) -> None:
    """Concepts below, values at the side, and their factors beside these, set apart by white lines."""
    titles = [f"{_short(changes.bank.title(k))}  {k}" for k in order]
    style = dict(rotation=50, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_xticks(range(len(order)), titles, fontsize=8.5, color=INK, **style)
    axes.set_yticks(range(len(changes.values)), [value for _, value in changes.values], fontsize=8.5, color=INK)
    for factor in changes.factors:
        rows = [row for row, (name, _) in enumerate(changes.values) if name == factor]
        position = dict(xy=(0, np.mean(rows)), xycoords=("axes fraction", "data"), xytext=(-LABEL_WIDTH, 0))
        style = dict(textcoords="offset points", ha="right", va="center", fontsize=9, weight="bold", color=INK)
        axes.annotate(factor, **position, **style)
        if rows[0]:
            axes.axhline(rows[0] - 0.5, color="white", linewidth=3)
    note = "framed: the value that a concept is matched with, dashed where another raises it as much or more"
    axes.set_xlabel(note, fontsize=9, color=QUIET)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _short(title: str) -> str:
    """A title that does not crowd out the cells."""
    return title if len(title) <= MAX_TITLE else title[: MAX_TITLE - 1] + "…"


def _frame(axes: Axes, column: int, row: int, dashed: bool) -> None:
    """A frame around one cell, within it, that is seen on every colour."""
    style = dict(fill=False, edgecolor=INK, linewidth=1.6, linestyle=(0, (2, 1.2)) if dashed else "-", zorder=3)
    frame = axes.add_patch(Rectangle((column - 0.46, row - 0.43), 0.92, 0.86, **style))
    frame.set_path_effects([withStroke(linewidth=3.2, foreground="white")])
