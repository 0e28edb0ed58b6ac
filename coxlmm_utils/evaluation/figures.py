"""Figures of evaluations: every system's mean with its interval, and the paper's Fig 3."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import pandas as pd
from matplotlib.figure import Figure

from ..plots import ACCENT, INK, PALETTE, QUIET, interval_dots, new_figure, row_labels, style_axes
from .evaluate import METRICS, Evaluation, Top
from .systems import NAMES, heading

ROW = 0.24  # inches
PAD = 0.1  # inches, so that no title touches the edge


def systems_figure(evaluations: Sequence[Evaluation], top: Top = 1) -> Figure:
    """Mean CLIPScore and BERTScore of every system, a panel for each token (ours; the numbers are Table 1's).

    Bars are 95% intervals; small strokes are the means of single seeds, where there are several.
    """
    systems = [name for name in NAMES if any(name in evaluation.systems for evaluation in evaluations)]
    width, height = 2.1 * len(evaluations) + 2.0, 2 * (ROW * len(systems) + 0.75) + 0.3
    figure = new_figure(width, height, layout="constrained")
    panels = figure.subplots(2, len(evaluations), sharey=True, sharex="row", squeeze=False)
    for row, metric in zip(panels, METRICS):
        for axes, evaluation in zip(row, evaluations):
            _panel(axes, evaluation, metric, top, systems)
    figure.get_layout_engine().set(h_pad=PAD)
    figure.supxlabel("dot: mean · bar: its 95% interval · stroke: mean of one seed", fontsize=9, color=QUIET)
    return figure


def _panel(axes, evaluation: Evaluation, metric: str, top: Top, systems: Sequence[str]) -> None:
    """One token's systems from top to bottom, GT-captions in their place."""
    style_axes(axes, f"{evaluation.token} · {METRICS[metric]}", "")
    row_labels(axes, [heading(system) for system in systems], 9, top_first=True)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for row, system in enumerate(systems):
        mean = evaluation.mean(system, metric, top) if system in evaluation.systems else None
        if mean is not None:
            colour = ACCENT if system == "semi_nmf" else INK
            interval_dots(axes, row, *mean.ends, colour)
            if mean.n_seeds > 1:
                seeds = evaluation.seed_means(system, metric, top)
                axes.plot(seeds, [row] * len(seeds), "|", color=colour, markersize=7, alpha=0.5)


def grounding_figure(tables: Sequence[pd.DataFrame]) -> Figure:
    """The paper's Fig 3: each concept's score with its own words against that with random words."""
    table = pd.concat(tables, ignore_index=True)
    figure = new_figure(9.2, 4.7, layout="constrained")
    figure.get_layout_engine().set(h_pad=PAD)
    for axes, (metric, name) in zip(figure.subplots(1, 2), METRICS.items()):
        scored = table.dropna(subset=[metric, metric + "_random"])
        for colour, (token, rows) in zip(cycle(PALETTE), scored.groupby("token", sort=False)):
            axes.scatter(
                rows[metric + "_random"],
                rows[metric],
                s=34,
                color=colour,
                alpha=0.85,
                linewidth=0.6,
                edgecolor="white",
                label=token,
            )
        _style_scatter(axes, scored, metric, name)
    if len(table):
        legend = figure.axes[0].legend(frameon=False, fontsize=9, loc="lower right", title="token", title_fontsize=9)
        for text in legend.get_texts():
            text.set_parse_math(False)  # a token may hold a $
    return figure


def _style_scatter(axes, table: pd.DataFrame, metric: str, name: str) -> None:
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
