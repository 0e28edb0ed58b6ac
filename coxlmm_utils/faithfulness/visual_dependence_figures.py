"""Figures of what is left of concepts, and of their words, without the picture (ours)."""

from __future__ import annotations

from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..plots import ACCENT, BLUE, INK, MAUVE, QUIET, interval_dots, new_figure, row_labels, style_axes
from .visual_dependence import MEASURES, ORIGINAL, VisualDependence, knockout_name, means_by_condition

VERDICT_COLOURS = {"from the picture": BLUE, "mixed": MAUVE, "from the words": ACCENT, "never active": QUIET}
CELL = (0.62, 0.27)  # inches
LETTERS_PER_INCH = 10  # of a title
MAX_LIGHT = 0.55  # a share above is a dark cell, with a white number


def dependence(result: VisualDependence, condition: str = "blank", n_words: int = 3) -> Figure:
    """Concepts against conditions: the weighted Jaccard of activations with and without the picture, and the verdict.

    The verdicts, and the order, are of one condition: what the picture matters most for comes first.
    """
    shares = result.table().pivot(index="concept", columns="condition", values="weighted_jaccard")
    order = np.argsort(shares[condition].to_numpy(), kind="stable")
    knockouts = [knockout_name(layer) for layer in result.knockout_from]
    groups = [[name for name in result.activations if name not in (ORIGINAL, *knockouts)], knockouts]
    widths = [max(1, len(group)) * CELL[0] for group in groups if group]
    figure = new_figure(sum(widths) + 3.6, len(shares) * CELL[1] + 1.3, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08)  # inches
    panels = figure.subplots(1, len(widths), width_ratios=widths, sharey=True, squeeze=False)[0]
    for axes, group in zip(panels, [group for group in groups if group]):
        _cells(axes, shares[group].to_numpy()[order])
        layers = group == knockouts
        names = (
            [str(layer) for layer in result.knockout_from] if layers else [name.replace(" ", "\n") for name in group]
        )
        axes.set_xticks(range(len(group)), names, fontsize=9, color=INK)
        axes.set_title(
            "attention knockout from layer" if layers else "picture perturbed", loc="left", fontsize=10, color=INK
        )
    verdicts = result.verdicts(condition)
    row_labels(panels[0], [result.bank.label(k, n_words) for k in order], 9, top_first=True)
    for row, k in enumerate(order):
        style = dict(va="center", fontsize=9, color=VERDICT_COLOURS[verdicts[k]], clip_on=False)
        panels[-1].text(panels[-1].get_xlim()[1] + 0.15, row, verdicts[k], **style)
    title = (
        f"“{result.bank.token}”, {result.bank.where}: share of each concept's activation that stays (weighted Jaccard)"
    )
    title = "\n".join(wrap(title, int(LETTERS_PER_INCH * figure.get_figwidth())))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    return figure


def words_fall(table: pd.DataFrame) -> Figure:
    """How much of an explanation's words stays without the picture, and how well they fit it: a panel per measure.

    A row per condition: means with 95% intervals over samples. Without references there is no panel of BERTScore.
    """
    conditions = list(dict.fromkeys(table["condition"]))
    figure = new_figure(9.6, 0.3 * len(conditions) + 1.0, layout="constrained")
    measures = {name: title for name, title in MEASURES.items() if table[name].notna().any()}
    panels = figure.subplots(1, len(measures), sharey=True)
    for axes, (measure, title) in zip(panels, measures.items()):
        means = means_by_condition(table, measure)
        for row, condition in enumerate(conditions):
            mean, colour = means[condition], ACCENT if condition == ORIGINAL else INK
            interval_dots(axes, row, *mean.ends, colour)
        axes.axvline(means[ORIGINAL].value, color=ACCENT, linewidth=0.9, linestyle=":", zorder=0)
        style_axes(axes, title, "")
        axes.tick_params(length=0)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(5))
    panels[0].set_xlim(-0.03, 1.03)
    row_labels(panels[0], conditions, 9, top_first=True)
    return figure


def _cells(axes: Axes, shares: np.ndarray) -> None:
    """Shares as shades with their numbers, (concepts, conditions)."""
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        text = "" if np.isnan(share) else f"{share:.2f}".lstrip("0") if share < 1 else "1"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if share > MAX_LIGHT else INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
