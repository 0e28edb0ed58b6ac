"""Localization: maps of explanations against the known masks of what a concept is of (ours)."""

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
from ..plots import ACCENT, BLUE, EDGE, interval_dots, new_figure, row_labels, style_axes
from ..statistics import bootstrap_mean, share_of
from .factor_matching import Value

OBJECTS = {"subject": ("colour", "action", "size"), "companion": ("companion",)}  # on which factors are seen
RANDOM = "random"
SCORES = {"pointing": "strongest cell lies on the object", "iou": "overlap (IoU)"}


def concept_of(values: Sequence[Value | None], factors: Factors, object: str) -> int | None:
    """The concept that recovers a value of a page's object, "subject" or "companion"; None if none does."""
    shown = [(factor, getattr(factors, factor)) for factor in OBJECTS[object]]
    if ("companion", "none") in shown:
        return None
    return next((values.index(value) for value in shown if value in values), None)


def score_maps(
    lmm: LMM, bank: ConceptBank, values: Sequence[Value | None], numbers: Sequence[int], seed: int = 0
) -> pd.DataFrame:
    """How well each kind of map finds the object that a concept is of (ours).

    Parameters
    ----------
    bank : ConceptBank
        Of the picture book.
    values : sequence of (str, str) or None
        The factor value that each concept recovers; None for a concept that is of no object.
    numbers : sequence of int
        Pages, by number.
    seed : int, default 0
        Of the random map.

    Returns
    -------
    pandas.DataFrame
        A row for each page, concept and kind of map.
    """
    bank.check_model(lmm)
    rows = []
    for number in tqdm(numbers, desc="mapping", unit="pages"):
        shown = page(number)
        concepts = {thing: concept_of(values, shown.factors, thing) for thing in OBJECTS if shown.masks[thing].any()}
        concepts = {thing: concept for thing, concept in concepts.items() if concept is not None}
        if not concepts:
            continue
        [generated] = generated_for(lmm, bank, [shown.picture])
        explained = explanation_of(lmm, bank, shown.picture, generated)
        if explained is None:
            continue
        of_token = token_maps(lmm, explained)
        of_token[RANDOM] = np.random.default_rng([seed, number]).random(of_token["attention"].shape)
        for thing, concept in concepts.items():
            sample = {"page": number, "object": thing, "concept": concept}
            for name, map in (of_token | concept_maps(lmm, explained, concept)).items():
                rows.append(sample | {"map": name} | asdict(mask_scores(map, shown.masks[thing])))
    return pd.DataFrame(rows, columns=["page", "object", "concept", "map", "pointing", "iou", "energy"])


def map_means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over pages of `score_maps`, and their differences from the random map's, with 95% intervals (ours).

    Pointing is a share, with the exact interval (`share_of`); all others are of the bootstrap over pages.
    """
    rows, by_page = {}, table.set_index(["object", "page"])
    for (thing, name), scores in table.groupby(["object", "map"], sort=False):
        means = {"pointing": share_of(scores["pointing"]), "iou": bootstrap_mean(scores["iou"])}
        random = by_page[by_page["map"] == RANDOM].loc[thing].loc[scores["page"]]
        for score in SCORES:
            minus_random = scores[score].to_numpy(dtype=float) - random[score].to_numpy(dtype=float)
            means[f"{score}_minus_random"] = bootstrap_mean(minus_random)
        ends = {(score, end): getattr(mean, end) for score, mean in means.items() for end in ("value", "low", "high")}
        rows[thing, name] = ends | {("n", ""): len(scores)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["object", "map"])


def map_scores_figure(table: pd.DataFrame) -> Figure:
    """Pointing and overlap of each kind of map, for the subject and for its companion, with intervals (ours)."""
    means, names = map_means(table), {**MAPS, RANDOM: "random"}
    things = means.index.unique("object")
    figure = new_figure(9.6, 0.3 * len(names) + 1.4, layout="constrained")
    panels = figure.subplots(1, len(SCORES), sharey=True)
    for axes, (score, title) in zip(panels, SCORES.items()):
        for lift, colour, thing in zip((-0.13, 0.13), (ACCENT, BLUE), things):
            rows = means.loc[thing].loc[list(names)]
            values = (rows[score, end].to_numpy() for end in ("value", "low", "high"))
            label = f"on the {thing} ({rows['n', ''].iloc[0]:.0f} pages)"
            interval_dots(axes, np.arange(len(names)) + lift, *values, colour, label)
        style_axes(axes, title, "share of pages" if score == "pointing" else "mean over pages")
        for row in (2.5, 4.5):  # between maps of the token, of the concept, and chance
            axes.axhline(row, color=EDGE, linewidth=0.8)
        axes.grid(visible=False, axis="y")
        axes.tick_params(length=0)
    panels[0].set_xlim(-0.02, 1.02)
    row_labels(panels[0], list(names.values()), 9, top_first=True)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    return figure
