"""How far the states of two answers lie apart, layer by layer (arXiv 2501.03012, by PCA; the number is ours)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from ..extraction import States
from ..models import Layer
from ..plots import PALETTE, new_figure, style_axes

PANEL = (2.5, 2.7)  # inches


def separation(a: States, b: States, layer: Layer) -> float:
    """The share of states that lie nearer to the mean of their own kind, each mean of one half and tried on the other.

    .5 is chance if the two are of equal number, 1 a clean cut. Ours: the paper looks at the PCA alone.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"there are {len(a)} and {len(b)} states: give at least two states of either kind")
    parts = [np.asarray(states.at(layer).Z, dtype=float) for states in (a, b)]
    right = []
    for learned, tested in ((0, 1), (1, 0)):
        means = np.stack([part[learned::2].mean(axis=0) for part in parts])  # (2, width)
        for own, part in enumerate(parts):
            distances = np.linalg.norm(part[tested::2, None] - means, axis=2)  # (states, 2)
            right += (distances[:, own] < distances[:, 1 - own]).tolist()
    return float(np.mean(right))


def separation_figure(states: Mapping[str, States], layers: list[Layer]) -> Figure:
    """The states of two kinds on their first two principal components, a panel for each layer (arXiv 2501.03012).

    Parameters
    ----------
    states : mapping of str to States
        Two kinds, by name, each at all these layers.
    layers : list of layer

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(PANEL[0] * len(layers), PANEL[1] + 0.5, layout="constrained")
    for axes, layer in zip(figure.subplots(1, len(layers), squeeze=False)[0], layers):
        parts = [np.asarray(some.at(layer).Z, dtype=float) for some in states.values()]
        projected = PCA(2, random_state=0).fit_transform(np.concatenate(parts))  # (states, 2)
        for name, points, colour in zip(states, np.split(projected, [len(parts[0])]), PALETTE):
            axes.scatter(*points.T, s=9, color=colour, alpha=0.6, linewidths=0, label=name)
        title = "final norm" if layer == "norm" else f"layer {layer}"
        style_axes(axes, f"{title}: {separation(*states.values(), layer):.2f}", "first component")
        axes.set_xticks([])
        axes.set_yticks([])
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=2, frameon=False, fontsize=9, markerscale=2)
    return figure
