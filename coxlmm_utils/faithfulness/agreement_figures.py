"""Figures of agreement: what a concept's words and its pictures say, and how stable that is (ours)."""

from __future__ import annotations

from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..plots import (
    ACCENT,
    BLUE,
    EDGE,
    GREEN,
    GREY,
    INK,
    MAUVE,
    QUIET,
    interval_dots,
    new_figure,
    row_labels,
    style_axes,
)
from .agreement import Agreement

SCORERS = ((ACCENT, "o"), (BLUE, "D"), (GREEN, "s"), (MAUVE, "^"))  # colour and marker of each scorer in turn
MAX_TITLE = 90  # letters of a line above
MAX_LABEL = 34  # letters of words beside a row
LIFT = 0.28  # between the scorers of one bank, in rows


def picture_and_word(result: Agreement, bank, n_words: int = 4) -> Figure:
    """A row per concept: its words, their rank by its pictures, and the words that the scorer finds nearest to these.

    The concept that agrees most comes first, concepts without a score last and without marks. A grey square shows the
    rank of the other concepts' words.
    """
    table = result.concepts.sort_values("rank", na_position="first", kind="stable")  # drawn from below
    figure = new_figure(9.6, 0.3 * len(table) + 1.8, layout="constrained")
    axes, rows = figure.subplots(), np.arange(len(table))
    axes.hlines(rows, table["rank_others"], table["rank"], color=EDGE, linewidth=2, zorder=1)
    axes.plot(table["rank_others"], rows, "s", color=GREY, markersize=5, label="the other concepts' words")
    axes.plot(table["rank"], rows, "o", color=ACCENT, markersize=7, label="its own words")
    axes.axvline(0.5, color=INK, linewidth=0.9, linestyle=":", label="random words")
    titles = [bank.names.get(k) or _short(words, n_words) or "(no words)" for k, words in table["words"].items()]
    style_axes(axes, "", "rank among all candidate words, by the pictures (1: nearest)")
    _side_labels(axes, [f"{title}   {k}" for title, k in zip(titles, table.index)], "read from the concept")
    nearest = [_short(words, n_words) or "not scored" for words in table["nearest"]]
    _side_labels(axes.twinx(), nearest, "nearest to its pictures")
    axes.set_xlim(min(0, *axes.get_xlim()) - 0.02, 1.02)
    title = [f"“{bank.token}”, {bank.where}", *wrap(str(result), MAX_TITLE)]
    figure.suptitle("\n".join(title), x=0.01, ha="left", fontsize=10.5, color=INK, parse_math=False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    return figure


def stability(table: pd.DataFrame) -> Figure:
    """How much nearer own words are than other concepts' for each bank and scorer, with intervals over concepts.

    `table` is the first of `agreement_over`; a row per bank, in its order, and two panels, for `rank` and `shared`.
    """
    banks, scorers = (list(dict.fromkeys(table[name])) for name in ("bank", "scorer"))
    figure = new_figure(8.6, (0.3 + 0.08 * len(scorers)) * len(banks) + 1.3, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    texts = ("rank by the scorer", "share among the scorer's nearest")
    for axes, name, text in zip(panels, ("rank_margin", "shared_margin"), texts):
        for number, scorer in enumerate(scorers):
            rows = table[table["scorer"] == scorer].set_index("bank").reindex(banks)
            lift = LIFT * (number - (len(scorers) - 1) / 2) * 2 / len(scorers)
            colour, marker = SCORERS[number % len(SCORERS)]
            values = (rows[column].to_numpy() for column in (name, f"{name}_low", f"{name}_high"))
            interval_dots(axes, np.arange(len(banks))[::-1] - lift, *values, colour, scorer, marker=marker)
        axes.axvline(0, color=INK, linewidth=0.9)
        style_axes(axes, "", f"{text}:\nown words minus other concepts' words")
        axes.spines["left"].set_visible(False)
    row_labels(panels[0], banks[::-1], 9)
    panels[1].tick_params(axis="y", length=0)
    panels[1].grid(visible=False, axis="y")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    return figure


def _short(words: tuple[str, ...], n: int) -> str:
    """The first n words, fewer if they are too long for a row."""
    shown = words[:n]
    while len(shown) > 1 and len(", ".join(shown)) > MAX_LABEL:
        shown = shown[:-1]
    text = ", ".join(shown)
    return text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"


def _side_labels(axes: Axes, labels: list[str], title: str) -> None:
    """Texts beside the rows, under a heading."""
    row_labels(axes, labels)
    right = axes.yaxis.get_ticks_position() == "right"
    offset, side = ((4, 3), "left") if right else ((-4, 3), "right")
    style = dict(xycoords="axes fraction", textcoords="offset points", ha=side, va="bottom", fontsize=9, color=QUIET)
    axes.annotate(title, (int(right), 1), offset, **style)
    axes.spines[:].set_visible(False)
