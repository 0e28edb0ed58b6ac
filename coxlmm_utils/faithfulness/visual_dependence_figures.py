"""Figures of what is left of concepts without the picture (ours)."""

from __future__ import annotations

from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..plots import ACCENT, INK, PALE, QUIET, new_figure, style_axes
from .visual_dependence import MEASURES, ORIGINAL, VisualDependence, cut_name, means_by_condition

VERDICT_COLOURS = {
    "from the picture": "#3d7ea6",
    "mixed": "#b08bbb",
    "from the words": "#e07a5f",
    "never active": QUIET,
}
FACTOR_COLOURS = {
    "colour": "#e07a5f",
    "place": "#3d7ea6",
    "action": "#5a9367",
    "companion": "#b08bbb",
    "time": "#c9a227",
    "size": "#7a8794",
}
CELL = (0.62, 0.27)  # inches
LETTERS = 10  # of a title to an inch
COURSE = (dict(linewidth=1, alpha=0.75), dict(linewidth=2.4, marker="o", markersize=5))  # of each concept, of the mean
SIDE_BY_SIDE = (  # the same where conditions have no order
    dict(linestyle="none", marker="o", markersize=3.5),
    dict(linestyle="none", marker="_", markersize=34, markeredgewidth=2),
)
LIGHT = 0.55  # above it a cell is dark, and its number white


def unchanged(found: VisualDependence, condition: str = "blank", n_words: int = 3) -> Figure:
    """Concepts against conditions: the share of each concept's activation that is unchanged, and its verdict (ours).

    Parameters
    ----------
    found : VisualDependence
    condition : str, default "blank"
        Of the verdicts, and of the order: what the picture matters most for comes first.
    n_words : int
        Words shown for each concept.

    Returns
    -------
    matplotlib.figure.Figure
    """
    shares = found.table().pivot(index="concept", columns="condition", values="unchanged")
    order = np.argsort(shares[condition].to_numpy(), kind="stable")
    cuts = [cut_name(layer) for layer in found.cut_from]
    groups = [[name for name in found.activations if name not in (ORIGINAL, *cuts)], cuts]
    widths = [max(1, len(group)) * CELL[0] for group in groups if group]
    figure = new_figure(sum(widths) + 3.6, len(shares) * CELL[1] + 1.3, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08)  # inches
    panels = figure.subplots(1, len(widths), width_ratios=widths, sharey=True, squeeze=False)[0]
    for axes, group in zip(panels, [group for group in groups if group]):
        _cells(axes, shares[group].to_numpy()[order])
        layers = group == cuts
        names = [str(layer) for layer in found.cut_from] if layers else [name.replace(" ", "\n") for name in group]
        axes.set_xticks(range(len(group)), names, fontsize=9, color=INK)
        axes.set_title(
            "image tokens cut from layer" if layers else "picture altered", loc="left", fontsize=10, color=INK
        )
    verdicts = found.verdicts(condition)
    labels = [found.bank.label(k, n_words) for k in order]
    panels[0].set_yticks(range(len(order)), labels, fontsize=9, color=INK, parse_math=False)
    for row, k in enumerate(order):
        style = dict(va="center", fontsize=9, color=VERDICT_COLOURS[verdicts[k]], clip_on=False)
        panels[-1].text(panels[-1].get_xlim()[1] + 0.15, row, verdicts[k], **style)
    title = f"“{found.bank.token}”, {found.bank.where}: unchanged share of each concept's activation"
    title = "\n".join(wrap(title, int(LETTERS * figure.get_figwidth())))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    return figure


def known_truth_falls(table: pd.DataFrame) -> Figure:
    """How the known-truth AUC falls as pictures are altered, and as image tokens are cut from earlier layers on (ours).

    Parameters
    ----------
    table : pandas.DataFrame
        From `known_truth`.

    Returns
    -------
    matplotlib.figure.Figure
        A dot or a thin line for each concept, in its factor's colour; the mean over concepts in black. The right panel
        ends with the pictures as they are, since cutting from the bank's layer on changes nothing.
    """
    scores = table.pivot(index="concept", columns="condition", values="auc")
    names = list(dict.fromkeys(table["condition"]))
    cuts = [name for name in names if name.startswith(cut_name(0)[:-1])]
    altered = [name for name in names if name not in cuts]
    groups = [group for group in (altered, [*cuts, ORIGINAL]) if len(group) > 1]
    figure = new_figure(4.0 * len(groups) + 1.4, 3.4, layout="constrained")
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    factors = table.drop_duplicates("concept").set_index("concept")["factor"]
    for axes, group in zip(panels, groups):
        cut = group[0] in cuts
        _falls(axes, scores[group], factors, in_order=cut)
        labels = [name.removeprefix(cut_name(0)[:-1]) for name in cuts] + ["uncut"] if cut else group
        axes.set_xticks(range(len(group)), [label.replace(" ", "\n") for label in labels], fontsize=9, color=INK)
        axes.set_title("image tokens cut from layer" if cut else "picture altered", loc="left", fontsize=10, color=INK)
    panels[0].set_ylabel("AUC of each concept's factor value", fontsize=9, color=QUIET)
    lines, labels = panels[-1].get_legend_handles_labels()
    shown = dict(zip(labels, lines))
    figure.legend(shown.values(), shown.keys(), loc="outside right upper", frameon=False, fontsize=9)
    return figure


def words_fall(table: pd.DataFrame) -> Figure:
    """How much of what is said about a picture stays as it is altered or cut, and how well it fits the picture (ours).

    Parameters
    ----------
    table : pandas.DataFrame
        From `words_without_picture`.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each measure, a row for each condition: means with 95% intervals over samples. Where no picture has
        a reference there is no BERTScore, and so no panel of it.
    """
    conditions = list(dict.fromkeys(table["condition"]))
    figure = new_figure(9.6, 0.3 * len(conditions) + 1.0, layout="constrained")
    measures = {name: title for name, title in MEASURES.items() if table[name].notna().any()}
    panels = figure.subplots(1, len(measures), sharey=True)
    for axes, (measure, title) in zip(panels, measures.items()):
        means = means_by_condition(table, measure)
        for row, condition in enumerate(conditions):
            mean, colour = means[condition], ACCENT if condition == ORIGINAL else INK
            axes.plot([mean.low, mean.high], [row, row], color=colour, linewidth=2, solid_capstyle="round")
            axes.plot(mean.value, row, "o", color=colour, markersize=5)
        axes.axvline(means[ORIGINAL].value, color=ACCENT, linewidth=0.9, linestyle=":", zorder=0)
        style_axes(axes, title, "")
        axes.grid(visible=False, axis="y")
        axes.tick_params(length=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    panels[0].set_xlim(-0.03, 1.03)
    panels[0].set_yticks(range(len(conditions)), conditions, color=INK)
    panels[0].set_ylim(len(conditions) - 0.5, -0.5)
    return figure


def _cells(axes: Axes, shares: np.ndarray) -> None:
    """Shares as shades with their numbers, (concepts, conditions)."""
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        text = "" if np.isnan(share) else f"{share:.2f}".lstrip("0") if share < 1 else "1"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if share > LIGHT else INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _falls(axes: Axes, scores: pd.DataFrame, factors: pd.Series, in_order: bool) -> None:
    """Each concept and their mean, and chance: lines where the conditions have an order, else dots side by side."""
    (each, mean), places = COURSE if in_order else SIDE_BY_SIDE, np.arange(scores.shape[1])
    concepts = scores.index if in_order else factors.sort_values(kind="stable").index
    lifts = np.linspace(-0.3, 0.3, len(scores)) * (not in_order)
    axes.axhline(0.5, color=QUIET, linewidth=1, linestyle=":", label="chance")
    for lift, (concept, row) in zip(lifts, scores.loc[concepts].iterrows()):
        colour = FACTOR_COLOURS.get(factors[concept], QUIET)
        axes.plot(places + lift, row, color=colour, label=factors[concept], **each)
    axes.plot(places, scores.mean(), color=INK, label="mean", **mean)
    axes.set_ylim(min(0.3, scores.min(axis=None) - 0.02), 1.03)
    axes.tick_params(labelsize=9, length=0, colors=QUIET)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
