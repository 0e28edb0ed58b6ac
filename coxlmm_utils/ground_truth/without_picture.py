"""How well concepts recover known factor values without the picture, and a figure of it (ours)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..faithfulness import ORIGINAL, VisualDependence, knockout_name
from ..picturebook import Factors, facts_in
from ..plots import INK, PALE, PALETTE, QUIET, new_figure
from ..statistics import aucs
from .factor_matching import MIN_SAMPLES, Value, factor_labels

FACTOR_COLOURS = dict(zip(("colour", "place", "action", "companion", "time", "size"), PALETTE))
LINES = (dict(linewidth=1, alpha=0.75), dict(linewidth=2.4, marker="o", markersize=5))  # of each concept, of the mean
DOTS = (  # the same where conditions have no order
    dict(linestyle="none", marker="o", markersize=3.5),
    dict(linestyle="none", marker="_", markersize=34, markeredgewidth=2),
)


def best_values(activations: np.ndarray, prefixes: Sequence[str], pages: Sequence[Factors]) -> list[Value]:
    """Per concept the factor value that it recovers best, by AUC: (factor, value).

    Parameters
    ----------
    activations : numpy.ndarray
        (samples, concepts).
    prefixes : sequence of str
        What precedes the token in each sample's caption.
    pages : sequence of Factors
        Of the samples.

    Returns
    -------
    list of (str, str)
        Factor and value for each concept.
    """
    scores = {value: auc for value, (auc, _) in _unnamed_aucs(activations, prefixes, pages).items()}
    return [list(scores)[best] for best in np.array(list(scores.values())).argmax(0)]


def recovery_without_picture(
    dependence: VisualDependence, pages: Sequence[Factors], values: Sequence[Value] | None = None
) -> pd.DataFrame:
    """How well each concept recovers one known factor value, with the picture and without it (ours).

    Parameters
    ----------
    dependence : VisualDependence
    pages : sequence of Factors
        What is on the samples, in their order: `[factors_of(int(id)) for id in dependence.ids]`.
    values : sequence of (factor, value), optional
        Of each concept, best chosen on other pages by `best_values`. Default: chosen on these with their pictures,
        which biases the original condition optimistically.

    Returns
    -------
    pandas.DataFrame
        One row for each concept and condition: concept, factor, value, condition, auc, samples. Samples whose words
        before the state name the factor are left out, since the words would give it away; the AUC is NaN if fewer than
        `MIN_SAMPLES` of the others show the value, or do not.
    """
    values = values or best_values(dependence.activations[ORIGINAL], dependence.prefixes, pages)
    rows = []
    for condition, activations in dependence.activations.items():
        scores = _unnamed_aucs(activations, dependence.prefixes, pages)
        for k, value in enumerate(values):
            auc, n = scores.get(value, (np.full(len(values), np.nan), 0))
            rows.append((k, *value, condition, float(auc[k]), n))
    return pd.DataFrame(rows, columns=["concept", "factor", "value", "condition", "auc", "samples"])


def _unnamed_aucs(
    activations: np.ndarray, prefixes: Sequence[str], pages: Sequence[Factors]
) -> dict[Value, tuple[np.ndarray, int]]:
    """For each factor value the concepts' AUCs, (concepts,), over samples whose words leave it open; and how many."""
    named = [{factor for factor, _ in facts_in(prefix)} for prefix in prefixes]
    scores = {}
    for (factor, value), shown in factor_labels(pages).items():
        unnamed = np.array([factor not in factors for factors in named])
        shown = shown[unnamed]
        if min(shown.sum(), (~shown).sum()) >= MIN_SAMPLES:
            scores[factor, value] = aucs(activations[unnamed], shown[:, None])[:, 0], len(shown)
    return scores


def recovery_falls(table: pd.DataFrame) -> Figure:
    """How the AUC falls as pictures are perturbed, and with attention knockout from earlier layers on.

    A dot or a thin line per concept, in its factor's colour; the mean over concepts in black. The right panel ends with
    the pictures as they are, since a knockout from the bank's layer on changes nothing.

    Parameters
    ----------
    table : pandas.DataFrame
        From `recovery_without_picture`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    scores = table.pivot(index="concept", columns="condition", values="auc")
    names = list(dict.fromkeys(table["condition"]))
    prefix = knockout_name(0)[:-1]
    knockouts = [name for name in names if name.startswith(prefix)]
    perturbed = [name for name in names if name not in knockouts]
    groups = [group for group in (perturbed, [*knockouts, ORIGINAL]) if len(group) > 1]
    figure = new_figure(4.0 * len(groups) + 1.4, 3.4, layout="constrained")
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    factors = table.drop_duplicates("concept").set_index("concept")["factor"]
    for axes, group in zip(panels, groups):
        layers = group[0] in knockouts
        _falls(axes, scores[group], factors, in_order=layers)
        labels = [name.removeprefix(prefix) for name in knockouts] + ["none"] if layers else group
        axes.set_xticks(range(len(group)), [label.replace(" ", "\n") for label in labels], fontsize=9, color=INK)
        axes.set_title(
            "attention knockout from layer" if layers else "picture perturbed", loc="left", fontsize=10, color=INK
        )
    panels[0].set_ylabel("AUC of each concept's factor value", fontsize=9, color=QUIET)
    lines, labels = panels[-1].get_legend_handles_labels()
    shown = dict(zip(labels, lines))
    figure.legend(shown.values(), shown.keys(), loc="outside right upper", frameon=False, fontsize=9)
    return figure


def _falls(axes: Axes, scores: pd.DataFrame, factors: pd.Series, in_order: bool) -> None:
    """Each concept and their mean, and chance: lines where the conditions have an order, else dots side by side."""
    (of_concept, of_mean), x = LINES if in_order else DOTS, np.arange(scores.shape[1])
    concepts = scores.index if in_order else factors.sort_values(kind="stable").index
    lifts = np.linspace(-0.3, 0.3, len(scores)) * (not in_order)
    axes.axhline(0.5, color=QUIET, linewidth=1, linestyle=":", label="chance")
    for lift, (concept, row) in zip(lifts, scores.loc[concepts].iterrows()):
        colour = FACTOR_COLOURS.get(factors[concept], QUIET)
        axes.plot(x + lift, row, color=colour, label=factors[concept], **of_concept)
    axes.plot(x, scores.mean(), color=INK, label="mean", **of_mean)
    axes.set_ylim(min(0.3, scores.min(axis=None) - 0.02), 1.03)
    axes.tick_params(labelsize=9, length=0, colors=QUIET)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
