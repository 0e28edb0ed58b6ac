"""Concept patch maps beside other explanations of the same token: attention, gradient x input, occlusion (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ..models import LMM, Box
from ..plots import INK, QUIET, new_figure, put_text
from .concept_maps import WAYS, overlay, patch_map
from .explain import Explanation
from .localization import MaskScores
from .token_maps import attention, gradient_times_input, occlusion

MAPS = {  # of the token, then of the concept
    "attention": "attention",
    "gradient_times_input": "gradient × input",
    "occlusion": "occlusion",
    "concept_projection": "concept, projected",
    "concept_gradient": "concept, gradient",
}
PANEL = 1.75  # inches, of a map
HEAD = 0.66  # of a row: its title, and the names of the maps
FOOT = 0.3  # of a row: the scores
KEY = 0.4  # of the line below all
HIT, MISSED = "●", "○"
KEYS = (
    "yellow: speaks for it, blue: against; hints only: where the object is known, no map finds it reliably (notebook 07)",
    f"yellow: speaks for it, blue: against; outlined: the object; {HIT} the strongest cell lies on it, {MISSED} it does "
    "not; IoU: overlap with it, 0 to 1",
)


def explanation_maps(lmm: LMM, explained: Explanation, concept: int, span: int = 3) -> dict[str, np.ndarray]:
    """Five maps of what in the picture speaks for the token, and for one of its concepts (ours).

    Parameters
    ----------
    lmm : LMM
        The model that the explanation is of.
    explained : Explanation
    concept : int
        Its number in the bank.
    span : int, default 3
        Of the square that `occlusion` hides, in image tokens.

    Returns
    -------
    dict of str to numpy.ndarray
        (rows, columns) over the image tokens, for each of `MAPS`; see `attention`, `gradient_times_input`, `occlusion`
        and the two ways of `patch_map`.

    Raises
    ------
    ValueError
        If the model is not the bank's, the bank is of layer 0, there is no such concept, or the image tokens are no
        grid over one picture.
    """
    return token_maps(lmm, explained, span) | concept_maps(lmm, explained, concept)


def token_maps(lmm: LMM, explained: Explanation, span: int = 3) -> dict[str, np.ndarray]:
    """The first three of `explanation_maps`, which know of no concept."""
    return {
        "attention": attention(lmm, explained),
        "gradient_times_input": gradient_times_input(lmm, explained),
        "occlusion": occlusion(lmm, explained, span),
    }


def concept_maps(lmm: LMM, explained: Explanation, concept: int) -> dict[str, np.ndarray]:
    """The last two of `explanation_maps`."""
    return {f"concept_{way}": patch_map(lmm, explained, concept, way).values for way in WAYS}


def maps_figure(
    explained: Sequence[Explanation],
    concepts: Sequence[int],
    maps: Sequence[Mapping[str, np.ndarray]],
    boxes: Sequence[Box],
    masks: Sequence[np.ndarray] | None = None,
    scores: Sequence[Mapping[str, MaskScores]] | None = None,
) -> Figure:
    """A row for each picture: the picture, then its maps laid over it (ours).

    Parameters
    ----------
    explained : sequence of Explanation
        A row each.
    concepts : sequence of int
        The concept mapped in each row.
    maps : sequence of mapping of str to numpy.ndarray
        For each row, by the kind of map, (rows, columns) of image tokens.
    boxes : sequence of tuple of float
        What the maps of each row cover, in pixels of the picture.
    masks, scores : sequence, optional
        The true places, outlined, and how well each map finds them.

    Returns
    -------
    matplotlib.figure.Figure
    """
    n, columns = len(explained), 1 + len(MAPS)
    figure = new_figure(PANEL * columns + 0.1, n * (PANEL + HEAD + FOOT) + KEY)
    put_text(figure, 0.05, 0.12, KEYS[masks is not None], fontsize=9, color=QUIET)
    for row, (explanation, concept, own_maps, box) in enumerate(zip(explained, concepts, maps, boxes, strict=True)):
        bottom = (n - 1 - row) * (PANEL + HEAD + FOOT) + FOOT + KEY
        mask = masks[row] if masks is not None else None
        panels = [_panel(figure, column, bottom) for column in range(columns)]
        _show(panels[0], explanation.picture, mask, "the picture")
        title = f"“{explanation.caption}” · concept {concept}: {explanation.title(concept)}"
        panels[0].text(0, 1.21, title, transform=panels[0].transAxes, fontsize=10.5, color=INK, parse_math=False)
        for axes, (name, label) in zip(panels[1:], MAPS.items()):
            _show(axes, overlay(own_maps[name], explanation.picture, box), mask, label)
            if scores is not None:
                score = scores[row][name]
                text = f"{HIT if score.pointing else MISSED}   IoU {score.iou:.2f}"
                axes.text(0.5, -0.05, text, transform=axes.transAxes, ha="center", va="top", fontsize=9, color=QUIET)
    return figure


def _panel(figure: Figure, column: int, bottom: float) -> Axes:
    """Axes for a picture, placed in inches."""
    width, height = figure.get_size_inches()
    gap = 0.08
    left = 0.05 + column * PANEL
    return figure.add_axes((left / width, bottom / height, (PANEL - gap) / width, (PANEL - gap) / height))


def _show(axes: Axes, picture: Image.Image, mask: np.ndarray | None, label: str) -> None:
    """A picture with the object outlined."""
    height, width = picture.size[::-1] if mask is None else mask.shape
    axes.imshow(picture, extent=(0, width, height, 0))
    if mask is not None:
        x, y = np.arange(width) + 0.5, np.arange(height) + 0.5  # of pixels' centres
        for colour, line in ((INK, 2.4), ("white", 1.2)):  # seen on any ground
            axes.contour(x, y, mask.astype(float), levels=[0.5], colors=colour, linewidths=line)
    axes.set_axis_off()
    axes.set_title(label, fontsize=9, color=QUIET, pad=4)
