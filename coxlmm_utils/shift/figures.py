"""Figures of concept shift: groundings side by side, what changed, and how shift vectors recover the tuned concepts.

The paper's figures are numbered as in the first version of arXiv 2501.03012.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..concepts import figures
from ..plots import (
    ACCENT,
    BLUE,
    GREY,
    INK,
    PALETTE,
    QUIET,
    SLATE,
    new_figure,
    put_line,
    put_text,
    row_labels,
    style_axes,
)
from ..statistics import Mean
from .compare import DIMINISHED, EMERGED, REFINED, UNCHANGED, ConceptShift
from .recovery import KINDS, PERMUTED, RANDOM, SHIFTED, UNSHIFTED

COLOURS = {UNCHANGED: GREY, REFINED: BLUE, EMERGED: ACCENT, DIMINISHED: SLATE}
LOOKS = {SHIFTED: ACCENT, UNSHIFTED: INK, PERMUTED: BLUE, RANDOM: GREY}
SIDE = 0.7  # inches of a picture
HEAD = 0.62  # over the cards


def groundings(shift: ConceptShift, concepts: Sequence[int] | None = None, n_words: int = 4) -> Figure:
    """Concepts before, and beside each its match after: words and pictures (the paper's Figs 3 and 4).

    Parameters
    ----------
    shift : ConceptShift
    concepts : sequence of int, optional
        Of the bank before, in this order. Default: all, those that changed most, by cosine, first.
    n_words : int, default 4

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = _rows(shift.before_table, concepts)
    return _side_by_side(shift, [(k, int(row["match"]), row) for k, row in rows.items()], n_words)


def emerged(shift: ConceptShift, concepts: Sequence[int] | None = None, n_words: int = 4) -> Figure:
    """Concepts after, at the right, beside the nearest before; by default all, those that changed most first."""
    rows = _rows(shift.after_table, concepts)
    return _side_by_side(shift, [(int(row["match"]), k, row) for k, row in rows.items()], n_words)


def _rows(table: pd.DataFrame, concepts: Sequence[int] | None) -> dict[int, pd.Series]:
    """The rows of some concepts; ValueError for one that there is not."""
    chosen = list(table.sort_values("cosine").index if concepts is None else concepts)
    if not chosen or not set(chosen) <= set(table.index):
        raise ValueError(f"concepts {chosen} cannot be shown: give some of 0 to {len(table) - 1}")
    return {int(k): table.loc[k] for k in chosen}


def _side_by_side(shift: ConceptShift, pairs: Sequence[tuple[int, int, pd.Series]], n_words: int) -> Figure:
    """A row of two cards for each pair, and what became of it between."""
    n_pictures, gap, between = shift.before.top.shape[1], figures.MARGIN, 1.25
    width, height = figures.card_size(n_pictures, SIDE)
    step = height + gap
    figure = new_figure(2 * width + between + 2 * gap, len(pairs) * step + gap + HEAD)
    top, right = figure.get_figheight() - 2 * gap, gap + width + between
    for left, bank in ((gap, shift.before), (right, shift.after)):
        put_line(figure, left, top - 0.08, [bank.model_name], width, size=12, weight="bold")
    put_text(
        figure, gap, top - 0.32, f"“{shift.before.token}”, {shift.before.where}", color=QUIET, fontsize=9, va="center"
    )
    for row, (own, other, values) in enumerate(pairs):
        bottom = figure.get_figheight() - HEAD - (row + 1) * step
        for left, bank, number in ((gap, shift.before, own), (right, shift.after, other)):
            figures.card(figure, left, bottom, bank, (number, 1.0), n_words, n_pictures, SIDE)
        middle, x = bottom + height / 2, gap + width + between / 2
        style = {"ha": "center", "va": "center", "fontsize": 9}
        put_text(figure, x, middle + 0.2, values["change"], color=COLOURS[values["change"]], weight="bold", **style)
        put_text(figure, x, middle, f"cosine {values['cosine']:.2f}", color=INK, **style)
        if np.isfinite(values["t_overlap"]):  # else the concept before has no words
            put_text(figure, x, middle - 0.18, f"T-Overlap {values['t_overlap']:.0f} %", color=QUIET, **style)
    return figure


def changes(shift: ConceptShift, nulls: Sequence[ConceptShift] = ()) -> Figure:
    """Each concept's cosine and T-Overlap with its match, coloured by what became of it, over those of nulls, with the cuts.

    As the paper's Fig 5, and what no change looks like (ours).
    """
    figure = new_figure(8.4, 3.6, layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    sides = (("before, with the nearest after", "before_table"), ("after, with the nearest before", "after_table"))
    for axes, (title, side) in zip(panels, sides):
        for null in nulls:
            table = getattr(null, side)
            axes.scatter(
                table["cosine"],
                _jittered(table["t_overlap"]),
                s=22,
                color="white",
                edgecolors=GREY,
                label="no change (null)",
            )
        for change, some in getattr(shift, side).groupby("change"):
            axes.scatter(some["cosine"], _jittered(some["t_overlap"]), s=34, color=COLOURS[change], label=change)
        axes.axvline(shift.cuts.cosine, color=QUIET, linewidth=0.9, linestyle="--", label="cut of the cosine")
        axes.axhline(shift.cuts.overlap, color=QUIET, linewidth=0.9, linestyle=":", label="of the T-Overlap")
        style_axes(axes, f"Concepts {title}", "cosine with its nearest")
    panels[0].set_ylabel("T-Overlap, percent (jittered)", fontsize=9, color=QUIET)
    _legend(figure, panels)
    return figure


def _jittered(values: pd.Series) -> np.ndarray:
    """T-Overlaps of few words coincide: moved a little, the same way each time."""
    return values.to_numpy(float) + np.random.default_rng(0).uniform(-2.5, 2.5, len(values))


def recovery_curves(table: pd.DataFrame) -> Figure:
    """How near shifted concepts and controls are to the concepts after, against alpha (the paper's Fig 8)."""
    columns = {
        "cosine": "cosine",
        "distance": "L2 distance",
        "words": "T-Overlap, percent",
        "pictures": "pictures shared",
    }
    figure = new_figure(9.6, 2.9, layout="constrained")
    panels = figure.subplots(1, len(columns))
    means = table.groupby(["kind", "alpha"])[list(columns)].mean()
    for axes, (column, text) in zip(panels, columns.items()):
        start = float(means.loc[UNSHIFTED, column].iloc[0])
        for kind in (kind for kind in KINDS if kind != UNSHIFTED and kind in means.index):  # one concept has no other
            line = means.loc[kind, column]
            axes.plot([0, *line.index], [start, *line], marker="o", markersize=3, color=LOOKS[kind], label=kind)
        axes.axhline(start, color=QUIET, linewidth=0.9, linestyle=":", label=UNSHIFTED)
        style_axes(axes, text, "alpha")
        if column in ("words", "pictures"):  # shares, of few words and pictures
            axes.set_ylim(bottom=0)
    _legend(figure, panels)
    return figure


def gain_scatter(tables: Mapping[str, pd.DataFrame], correlations: Mapping[str, Mean]) -> Figure:
    """Magnitude and consistency of shift vectors against the gain in cosine, by set (magnitude: the paper's Fig 9).

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        By set: a row for each concept with magnitude, consistency and cosine_gain.
    correlations : mapping of str to Mean
        Pearson's r of "magnitude" and "consistency" with the gain, over all sets.
    """
    figure = new_figure(8.4, 3.2, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, name in zip(panels, ("magnitude", "consistency")):
        for (kind, table), colour in zip(tables.items(), PALETTE):
            axes.scatter(table[name], table["cosine_gain"], s=24, color=colour, label=kind)
        r = correlations[name]
        style_axes(axes, f"r = {r.value:.2f} [{r.low:.2f}, {r.high:.2f}]", f"{name} of the shift vector")
    panels[0].set_ylabel("gain in cosine", fontsize=9, color=QUIET)
    _legend(figure, panels)
    return figure


def over_steps(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """T-Overlap and cosine with the concepts before, against steps of fine-tuning (the paper's Figs 6 and 14).

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        By set: a row for each number of steps, with cosine and t_overlap.
    """
    figure = new_figure(8.4, 2.8, layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, (column, text) in zip(panels, {"cosine": "Cosine", "t_overlap": "T-Overlap, percent,"}.items()):
        for (kind, table), colour in zip(tables.items(), PALETTE):
            axes.plot(table.index, table[column], marker="o", markersize=4, color=colour, label=kind)
        style_axes(axes, f"{text} with the concepts before", "steps of fine-tuning")
    _legend(figure, panels)
    return figure


def about_bars(table: pd.DataFrame) -> Figure:
    """How many concepts are about one value of each factor, before and after: rows are factors, columns before and after (ours)."""
    figure = new_figure(6.0, 0.5 * len(table) + 1.0, layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(table))
    axes.hlines(rows, table["before"], table["after"], color=GREY, linewidth=2)
    axes.scatter(table["before"], rows, s=90, color="white", edgecolors=INK, zorder=3, label="before")
    axes.scatter(table["after"], rows, s=46, color=ACCENT, zorder=3, label="after")
    row_labels(axes, list(table.index), top_first=True)
    style_axes(axes, "", "concepts about one value")
    axes.grid(visible=False, axis="y")
    _legend(figure, [axes])
    return figure


def _legend(figure: Figure, panels) -> None:
    """One legend for all panels, each label once."""
    handles, labels = zip(*[pair for axes in panels for pair in zip(*axes.get_legend_handles_labels())])
    unique = dict(zip(labels, handles))
    style = {"ncols": 5, "frameon": False, "fontsize": 9, "labelcolor": INK}
    for text in figure.legend(unique.values(), unique, loc="outside upper left", **style).get_texts():
        text.set_parse_math(False)
