"""Figures of agreement: what a concept's words and its pictures say, and how stable that is (ours)."""

from __future__ import annotations

from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..plots import ACCENT, INK, QUIET, new_figure, style_axes
from .agreement import Agreement

BLUE, GREY = "#3d7ea6", "#9aa3b2"
JUDGES = ((ACCENT, "o"), (BLUE, "D"), ("#5a9367", "s"), ("#b08bbb", "^"))  # colour and marker of each judge in turn
TITLE = 90  # letters of a line above
LONGEST = 34  # letters of words beside a row
LIFT = 0.28  # between the judges of one bank, in rows


def picture_and_word(found: Agreement, bank, n_words: int = 4) -> Figure:
    """A row for each concept: its words, where they are in the judge's ranking, and what the judge says (ours).

    Parameters
    ----------
    found : Agreement
    bank : ConceptBank
        The one it was found for.
    n_words : int
        Words shown on either side, as far as there is room. A concept that its user named is called by its name.

    Returns
    -------
    matplotlib.figure.Figure
        The concept that agrees most comes first. A grey square shows the same for the other concepts' words. Concepts
        that were not judged come last, without marks.
    """
    table = found.concepts.sort_values("rank", na_position="first", kind="stable")  # drawn from below
    figure = new_figure(9.6, 0.3 * len(table) + 1.8, layout="constrained")
    axes, places = figure.subplots(), np.arange(len(table))
    axes.hlines(places, table["rank_others"], table["rank"], color="#d5d9e0", linewidth=2, zorder=1)
    axes.plot(table["rank_others"], places, "s", color=GREY, markersize=5, label="the other concepts' words")
    axes.plot(table["rank"], places, "o", color=ACCENT, markersize=7, label="its own words")
    axes.axvline(0.5, color=INK, linewidth=0.9, linestyle=":", label="random words")
    said = [bank.names.get(k) or _short(words, n_words) or "(no words)" for k, words in table["words"].items()]
    _rows(axes, [f"{text}   {k}" for text, k in zip(said, table.index)], "read from the concept")
    other = axes.twinx()
    near = [_short(words, n_words) or "not judged" for words in table["nearest"]]
    _rows(other, near, "nearest to its pictures")
    _quiet_rows(axes, "place among all candidate words, by the pictures (1: nearest)")
    axes.set_xlim(min(0, *axes.get_xlim()) - 0.02, 1.02)
    title = [f"“{bank.token}”, {bank.where}", *wrap(str(found), TITLE)]
    figure.suptitle("\n".join(title), x=0.01, ha="left", fontsize=10.5, color=INK, parse_math=False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    return figure


def stability(table: pd.DataFrame) -> Figure:
    """How much nearer own words are than other concepts' for each bank and judge, with intervals over concepts (ours).

    Parameters
    ----------
    table : pandas.DataFrame
        The first of `agreement_over`.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each bank, in the table's order; two panels, for `rank` and for `shared`.
    """
    banks, judges = (list(dict.fromkeys(table[name])) for name in ("bank", "judge"))
    figure = new_figure(8.6, (0.3 + 0.08 * len(judges)) * len(banks) + 1.3, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    texts = ("place in the judge's ranking", "share among the judge's nearest")
    for axes, name, text in zip(panels, ("rank_beyond", "shared_beyond"), texts):
        for number, judge in enumerate(judges):
            mine = table[table["judge"] == judge].set_index("bank").reindex(banks)
            places = np.arange(len(banks))[::-1] - LIFT * (number - (len(judges) - 1) / 2) * 2 / len(judges)
            colour, marker = JUDGES[number % len(JUDGES)]
            axes.hlines(places, mine[f"{name}_low"], mine[f"{name}_high"], color=colour, linewidth=1.8, alpha=0.6)
            axes.plot(mine[name], places, marker, color=colour, markersize=5.5, label=judge)
        axes.axvline(0, color=INK, linewidth=0.9)
        _quiet_rows(axes, f"{text}:\nown words minus other concepts' words")
    panels[0].set_yticks(range(len(banks)), banks[::-1], fontsize=9, color=INK, parse_math=False)
    panels[0].set_ylim(-0.6, len(banks) - 0.4)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    return figure


def _short(words: tuple[str, ...], n: int) -> str:
    """The first n words, fewer if they are too long for a row."""
    shown = words[:n]
    while len(shown) > 1 and len(", ".join(shown)) > LONGEST:
        shown = shown[:-1]
    text = ", ".join(shown)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _rows(axes: Axes, labels: list[str], title: str) -> None:
    """Texts beside the rows, under a heading."""
    axes.set_yticks(range(len(labels)), labels, fontsize=8.5, color=INK, parse_math=False)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    right = axes.yaxis.get_ticks_position() == "right"
    offset, side = ((4, 3), "left") if right else ((-4, 3), "right")
    place = dict(xycoords="axes fraction", textcoords="offset points", ha=side, va="bottom")
    axes.annotate(title, (int(right), 1), offset, **place, fontsize=9, color=QUIET)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)


def _quiet_rows(axes: Axes, below: str) -> None:
    """A quiet chart whose rows are named."""
    style_axes(axes, "", below)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.spines["left"].set_visible(False)
