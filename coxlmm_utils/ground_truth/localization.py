"""Maps of explanations against the known place of what a concept is of (ours)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from ..concepts import ConceptBank
from ..explanation import MAPS, concept_maps, explanation_of, generated_for, mask_scores, token_maps
from ..models import LMM
from ..picturebook import Factors, page
from ..plots import ACCENT, EDGE, INK, new_figure, style_axes
from ..statistics import bootstrap_mean
from .factor_matching import Value

OBJECTS = {"subject": ("colour", "action", "size"), "companion": ("companion",)}  # on which factors are seen
RANDOM = "random"
SCORES = {"pointing": "strongest cell lies on the object", "iou": "overlap (IoU)"}
BLUE = "#3d7ea6"


def concept_of(values: Sequence[Value | None], factors: Factors, thing: str) -> int | None:
    """Which concept tells a page's object (ours).

    Parameters
    ----------
    values : sequence of (factor, value) or None
        Of each concept; see `matched_values`.
    factors : Factors
        Of the page.
    thing : {"subject", "companion"}

    Returns
    -------
    int or None
        The first concept of a value that the object on this page has; None if there is none, or no such object.
    """
    shown = [(factor, getattr(factors, factor)) for factor in OBJECTS[thing]]
    if ("companion", "none") in shown:
        return None
    return next((values.index(value) for value in shown if value in values), None)


def score_maps(
    lmm: LMM, bank: ConceptBank, values: Sequence[Value | None], numbers: Sequence[int], seed: int = 0
) -> pd.DataFrame:
    """How well each kind of map finds the object that a concept is of (ours).

    Parameters
    ----------
    lmm : LMM
    bank : ConceptBank
        Of a subject of the picture book.
    values : sequence of (factor, value) or None
        Which factor value each concept tells, better chosen on other pages; see `matched_values`.
    numbers : sequence of int
        Pages. Nothing is scored of one whose caption does not have the bank's token, or with no object that a concept
        tells.
    seed : int, default 0
        Of the random maps.

    Returns
    -------
    pandas.DataFrame
        A row for each page, object and map: page, object ("subject" or "companion"), concept, map (of `MAPS`, or
        "random", whose cells are drawn at random), and pointing, iou and energy (see `MaskScores`). The maps of the
        token are scored on both objects, though nothing says that a dog should be explained by a ball.
    """
    bank.check_model(lmm)
    rows = []
    for number in tqdm(numbers, desc="mapping", unit="pages"):
        shown = page(number)
        found = {thing: concept_of(values, shown.factors, thing) for thing in OBJECTS}
        found = {thing: concept for thing, concept in found.items() if concept is not None and shown.masks[thing].any()}
        if not found:
            continue
        [written] = generated_for(lmm, bank, [shown.picture])
        explained = explanation_of(lmm, bank, shown.picture, written)
        if explained is None:
            continue
        of_token = token_maps(lmm, explained)
        of_token[RANDOM] = np.random.default_rng([seed, number]).random(of_token["attention"].shape)
        for thing, concept in found.items():
            sample = {"page": number, "object": thing, "concept": concept}
            for name, map in (of_token | concept_maps(lmm, explained, concept)).items():
                rows.append(sample | {"map": name} | asdict(mask_scores(map, shown.masks[thing])))
    return pd.DataFrame(rows, columns=["page", "object", "concept", "map", "pointing", "iou", "energy"])


def map_means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over pages of `score_maps`, with 95% intervals (ours).

    Returns
    -------
    pandas.DataFrame
        Rows (object, map); columns (score, value / low / high), and n pages.
    """
    rows = {}
    for (thing, name), scores in table.groupby(["object", "map"], sort=False):
        means = {score: bootstrap_mean(scores[score].astype(float)) for score in SCORES}
        ends = {(score, end): getattr(mean, end) for score, mean in means.items() for end in ("value", "low", "high")}
        rows[thing, name] = ends | {("n", ""): len(scores)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["object", "map"])


def map_scores_figure(table: pd.DataFrame) -> Figure:
    """Pointing and overlap of each kind of map, for the subject and for its companion, with intervals (ours).

    Parameters
    ----------
    table : pandas.DataFrame
        From `score_maps`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    means, names = map_means(table), {**MAPS, RANDOM: "random"}
    things = means.index.unique("object")
    figure = new_figure(9.6, 0.3 * len(names) + 1.4, layout="constrained")
    panels = figure.subplots(1, len(SCORES), sharey=True)
    for axes, (score, title) in zip(panels, SCORES.items()):
        for lift, colour, thing in zip((-0.13, 0.13), (ACCENT, BLUE), things):
            for place, name in enumerate(names):
                mean = means.loc[(thing, name), score]
                axes.plot([mean["low"], mean["high"]], [place + lift] * 2, color=colour, linewidth=2)
                label = (
                    f"concept of the {thing} ({means.loc[(thing, name), ('n', '')]:.0f} pages)" if place == 0 else None
                )
                axes.plot(mean["value"], place + lift, "o", color=colour, markersize=5, label=label)
        style_axes(axes, title, "share of pages" if score == "pointing" else "mean over pages")
        axes.grid(visible=False, axis="y")
        for place in (2.5, 4.5):  # between maps of the token, of the concept, and chance
            axes.axhline(place, color=EDGE, linewidth=0.8)
        axes.tick_params(length=0)
    panels[0].set_xlim(-0.02, 1.02)
    panels[0].set_yticks(range(len(names)), names.values(), color=INK, fontsize=9)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    return figure
