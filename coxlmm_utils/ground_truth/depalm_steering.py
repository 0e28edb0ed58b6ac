"""Steering the picture book's DePALM: in which layers, how strongly, and from which states its directions come (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import pandas as pd

from ..extraction import States, extract, prompt_states
from ..images import CaptionedImages, load_images
from ..models import LMM, Layer
from .model_scores import as_text, captions_of
from .steering_effects import STEERED_FACTORS, best_setting, effect_means, effects_table
from .steering_methods import METHODS, OF_MEANS, effects_over

TOKEN = "dog"
LAYERS = (6, 15, 21, 24, 26, 29)  # of 30
ALPHAS = (1.0, 1.5, 2.0, 3.0)
N_LEARNED, N_CHOSEN, N_TESTED = 240, 6, 30  # pages
SOURCES = ("word", "caption")  # of states: where the word is predicted, or the mean over the whole caption


def depalm_steering_scores(lmm: LMM) -> dict:
    """hit and same by source of the directions, method, layer and alpha on validation pages; on test pages at the largest
    hit times same. Without a bound on same: under that of the LLaVA hardly a caption would name the wanted value."""
    pages = {
        split: load_images("picturebook", split=split).mentioning(TOKEN)[:n]
        for split, n in (("train", N_LEARNED), ("validation", N_CHOSEN), ("test", N_TESTED))
    }
    of_word = extract(lmm, pages["train"], TOKEN, list(LAYERS))
    states = dict(zip(SOURCES, (of_word, caption_states(lmm, pages["train"], LAYERS))))
    tables, tested = {}, {}
    for source, method in product(SOURCES, OF_MEANS):
        grid = list(product(LAYERS, ALPHAS))
        rows = _rows(lmm, states[source], pages["validation"], method, grid)
        tables[source, method] = table = _mean_of_factors(rows)
        layer, alpha = best_setting(table, bound=0.0)
        chosen = _rows(lmm, states[source], pages["test"], method, [(layer, alpha)])
        tested[f"{source}_{method}"] = {"layer": int(layer), "alpha": float(alpha)} | {
            factor: {name: mean.ends for name, mean in effect_means(some).items()} for factor, some in chosen.items()
        }
    table = pd.concat(tables, names=["source", "method"]).reset_index()
    return {"grid": table.to_dict("records"), "tested": tested}


def caption_states(lmm: LMM, images: CaptionedImages, layers: Sequence[Layer]) -> States:
    """The mean state over each picture's own caption, teacher-forced."""
    return prompt_states(lmm, images, lmm.prompt, list(layers), captions_of(lmm, images), average=True)


def _rows(
    lmm: LMM, states: States, images: CaptionedImages, method: str, grid: Sequence[tuple[Layer, float]]
) -> dict[str, pd.DataFrame]:
    """`effects_over` of each factor."""
    return {
        factor: effects_over(lmm, {TOKEN: states}, {TOKEN: None}, {TOKEN: images}, factor, METHODS[method], grid)
        for factor in STEERED_FACTORS
    }


def _mean_of_factors(rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """hit, same and added by layer and alpha, means over factors."""
    tables = [effects_table(some, ["layer", "alpha"])[["hit", "same", "added"]] for some in rows.values() if len(some)]
    return sum(tables) / len(tables)


def depalm_steering_table(scores: dict) -> str:
    """The scores of validation pages as text."""
    return as_text(pd.DataFrame(scores["grid"]).set_index(["source", "method", "layer", "alpha"]))
