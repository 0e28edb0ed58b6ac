"""Figures of evaluations: every system's mean with its interval, and the paper's Fig 3."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import pandas as pd
from matplotlib.figure import Figure

from ..plots import BAR, INK, QUIET, new_figure
from .evaluate import METRICS, Evaluation
from .sweep_figures import COLOURS
from .systems import NAMES, OURS

ROW = 0.24  # inches


def systems_figure(evaluations: Sequence[Evaluation], top: int = 1) -> Figure:
    """Mean CLIPScore and BERTScore of every system, a panel for each token (ours; the numbers are Table 1's).

    Parameters
    ----------
    evaluations : sequence of Evaluation
        One for each token.
    top : {1, 3}
        How many of a picture's most active concepts are judged.

    Returns
    -------
    matplotlib.figure.Figure
        Dots are means, lines their bootstrap intervals over test pictures; Semi-NMF in colour.
    """
    systems = [name for name in NAMES if any(name in evaluation.systems for evaluation in evaluations)]
    width, height = 2.1 * len(evaluations) + 2.0, 2 * (ROW * len(systems) + 0.75)
    figure = new_figure(width, height, layout="constrained")
    panels = figure.subplots(2, len(evaluations), sharey=True, sharex="row", squeeze=False)
    for row, (metric, name) in zip(panels, METRICS.items()):
        for axes, evaluation in zip(row, evaluations):
            _panel(axes, evaluation, metric, top, systems)
            axes.set_title(f"{evaluation.token} · {name}", loc="left", fontsize=10, color=INK, parse_math=False)
    return figure


def _panel(axes, evaluation: Evaluation, metric: str, top: int, systems: Sequence[str]) -> None:
    """One token's systems from top to bottom, best known answer last."""
    for place, system in enumerate(systems):
        mean = evaluation.mean(system, metric, top) if system in evaluation.systems else None
        if mean is None:
            continue
        colour = BAR if system == "semi_nmf" else INK
        axes.plot([mean.low, mean.high], [place, place], color=colour, linewidth=2, solid_capstyle="round")
        axes.plot(mean.value, place, "o", color=colour, markersize=5)
    names = [NAMES[system] + (" (ours)" if system in OURS else "") for system in systems]
    axes.set_yticks(range(len(systems)), names)
    axes.set_ylim(len(systems) - 0.5, -0.5)
    axes.grid(axis="x", color=QUIET, alpha=0.25, linewidth=0.6)
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)


def grounding_figure(tables: Sequence[pd.DataFrame]) -> Figure:
    """The paper's Fig 3: each concept's score with its own words against that with random words.

    Parameters
    ----------
    tables : sequence of pandas.DataFrame
        From `grounding_quality`, one for each token.

    Returns
    -------
    matplotlib.figure.Figure
        CLIPScore on the left, BERTScore on the right; a dot is a concept, and those above the line are better than
        random words.
    """
    table = pd.concat(tables, ignore_index=True)
    figure = new_figure(9.2, 4.5, layout="constrained")
    for axes, (metric, name) in zip(figure.subplots(1, 2), METRICS.items()):
        known = table.dropna(subset=[metric, metric + "_random"])
        for colour, (token, rows) in zip(cycle(COLOURS), known.groupby("token", sort=False)):
            places = rows[metric + "_random"], rows[metric]
            axes.scatter(*places, s=34, color=colour, alpha=0.85, linewidth=0.6, edgecolor="white", label=token)
        _dress_scatter(axes, known, metric, name)
    if len(table):
        legend = figure.axes[0].legend(frameon=False, fontsize=9, loc="lower right", title="token", title_fontsize=9)
        for text in legend.get_texts():
            text.set_parse_math(False)  # a word is a word
    return figure


def _dress_scatter(axes, table: pd.DataFrame, metric: str, name: str) -> None:
    """Equal axes with the line on which random words are as good, and how many concepts lie above it."""
    both = table[[metric, metric + "_random"]].to_numpy()
    low, high = (both.min(), both.max()) if both.size else (0.0, 1.0)
    margin = 0.05 * (high - low or 1)
    ends = low - margin, high + margin
    axes.plot(ends, ends, color=QUIET, linewidth=1, linestyle="--", zorder=0)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_xlabel("with random words", color=INK)
    axes.set_ylabel("with the concept's own words", color=INK)
    above = int((table[metric] > table[metric + "_random"]).sum())
    axes.set_title(f"{name} · {above} of {len(table)} concepts above the line", loc="left", fontsize=11, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
