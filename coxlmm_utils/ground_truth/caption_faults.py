"""Captions of the second model that name a companion that is not there: what mends them, and what else it changes (ours).

P2S contrasts two completions; here they are alike up to the place where the false companion is said, so their states
are, too, and the contrast has nothing on whether to say it. What is learned here contrasts inputs instead: the mean state,
at the last input token, of pages of a kind without a companion, minus that of its pages with the typical one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ..evaluation import chair
from ..extraction import States, prompt_states
from ..images import CaptionedImages, load_images
from ..models import LMM, Layer
from ..picturebook import COMPANION_NOUNS, SUBJECTS, TYPICAL, Factors, present_nouns
from ..statistics import share_of
from ..steering import (
    INPUT_METHODS,
    InputVectors,
    LearnedMethods,
    Steering,
    answer_contrasts,
    captions_under,
    prompt_to_steer,
)
from .factor_matching import pages_of
from .faults import INSTRUCTION, by_method_and_alpha
from .model_scores import captions_of
from .steering_effects import best_setting, facts_of

ALONE = "none"  # the companion of a page without one
PAIR = ("a dog", "a dog next to a ball")  # for all pages alike, in Mean-S(BA)
MIN_KEPT = 0.97  # of captions whose other facts stay, where alpha is chosen
N_PAGES = {"train": 1600, "validation": 240, "test": 400}
MAX_NEW_TOKENS = 40
ALPHAS = (0.35, 0.5, 0.7, 1.0, 1.4)


def objects_in(caption: str) -> set[str]:
    """The subjects and companions that a caption names, by one word each."""
    facts = facts_of(caption)
    return {*facts.get("kind", ()), *facts.get("companion", ())} & {*SUBJECTS, *COMPANION_NOUNS}


def without_absent(caption: str, page: Factors) -> str:
    """A caption without the companions that its page does not show."""
    for noun in set(COMPANION_NOUNS) - set(present_nouns(page)):
        caption = caption.replace(f" next to a {noun}", "")
    return caption


def alone_contrasts(states: States) -> InputVectors:
    """For pages alone, away from the mean state of their kind's pages with the typical companion; for others zero."""
    pages = pages_of(states.images.ids)
    alone = [page.companion == ALONE for page in pages]
    compared = [is_alone or page.companion == TYPICAL[page.kind] for is_alone, page in zip(alone, pages)]
    groups = [page.kind if is_compared else "" for is_compared, page in zip(compared, pages)]
    answers = ["alone" if is_alone else "in company" for is_alone in alone]
    return answer_contrasts(states, groups, answers).scaled([float(is_alone) for is_alone in alone])


def learn_from_captions(lmm: LMM, images: CaptionedImages, layer: Layer, **training) -> LearnedMethods:
    """Every method, learned from train pages."""
    states = prompt_states(lmm, images, lmm.prompt, [layer])
    targets = [page.kind if page.companion == ALONE else "" for page in pages_of(states.images.ids)]
    pairs = ([text] * len(images) for text in PAIR)
    mean_of_pair = prompt_to_steer(lmm, images, lmm.prompt, *pairs, layer, "mean").mean()
    return LearnedMethods.learn(states, alone_contrasts(states), targets, mean_of_pair, **training)


def caption_edits(lmm: LMM, methods: LearnedMethods, images: CaptionedImages) -> dict[str, Steering]:
    """For each method what steers these pages' captions; P2S contrasts the own captions with what is true of them."""
    layer, captions = methods.net.layer, captions_of(lmm, images)
    true = [without_absent(*pair) for pair in zip(captions, pages_of(images.ids))]
    oracle = prompt_to_steer(lmm, images, lmm.prompt, true, captions, layer, methods.source)
    return methods.steering(prompt_states(lmm, images, lmm.prompt, [layer]), oracle)


def caption_faults(captions: Sequence[str], unsteered: Sequence[str], ids: Sequence[str]) -> dict:
    """CHAIR of captions, and the share of them that keep every fact of the unsteered one but false companions."""
    pages = pages_of(ids)
    kept = [float(keeps_facts(*row)) for row in zip(captions, unsteered, pages)]
    shown = [set(present_nouns(page)) for page in pages]
    return chair([objects_in(caption) for caption in captions], shown) | {"kept": share_of(kept).ends}


def keeps_facts(caption: str, unsteered: str, page: Factors) -> bool:
    """Whether a caption says all that the unsteered one says, companions only where they are the page's."""
    before, after = facts_of(unsteered), facts_of(caption)
    companions = {page.companion} & set(before.pop("companion", ()))
    return all(after.get(factor) == values for factor, values in before.items()) and companions <= set(
        after.get("companion", ())
    )


def captions_by_method(
    lmm: LMM, methods: LearnedMethods, images: CaptionedImages, alphas: Mapping[str, Sequence[float]]
) -> pd.DataFrame:
    """Captions without steering ("unsteered"), and under each (method, alpha)."""
    edits = caption_edits(lmm, methods, images)
    runs = [((method, alpha), edits[method], alpha) for method, of in alphas.items() for alpha in of]
    return captions_under(lmm, images, runs, "generated", None, MAX_NEW_TOKENS)


def faults_table(captions: pd.DataFrame) -> pd.DataFrame:
    """`caption_faults` of each column; and hit, the share of objects that are there, and same, of captions kept."""
    rows = {
        name: caption_faults(list(given), list(captions["unsteered"]), captions.index)
        for name, given in captions.items()
    }
    table = pd.DataFrame(
        {name: row | {"hit": 1 - row["chair_i"], "same": row["kept"][0]} for name, row in rows.items()}
    ).T
    return table.astype({"hit": float, "same": float})


def chair_scores(lmm: LMM, layers: Sequence[Layer], **training) -> dict:
    """What captions name that is not there, by method, each at what `best_setting` chooses on validation pages.

    Returns
    -------
    dict
        For each method, "none" and "prompt": chair_s, chair_i and recall of `chair` on test pages; kept, the share of
        captions that keep every fact of the unsteered one but false companions, with its interval; layer and alpha.
    """
    pages = {split: load_images("picturebook", split)[:n] for split, n in N_PAGES.items()}
    methods = {layer: learn_from_captions(lmm, pages["train"], layer, **training) for layer in layers}
    grids = {layer: validation_table(lmm, learned, pages["validation"]) for layer, learned in methods.items()}
    grid = pd.concat(grids, names=["layer", "method", "alpha"]).swaplevel("layer", "method")
    chosen = {method: best_setting(grid.loc[method], MIN_KEPT) for method in INPUT_METHODS}
    captions = {}
    for layer in dict.fromkeys(layer for layer, _ in chosen.values()):
        here = {method: [alpha] for method, (at, alpha) in chosen.items() if at == layer}
        tested = captions_by_method(lmm, methods[layer], pages["test"], here)
        captions |= {"none": tested["unsteered"]} | {name: tested[name, alpha] for name, [alpha] in here.items()}
    instructed = f"{INSTRUCTION} {lmm.prompt}"
    prompted = captions_under(lmm, pages["test"], [], "generated", instructed, MAX_NEW_TOKENS)
    captions["prompt"] = prompted["unsteered"]
    settings = {method: {"layer": int(layer), "alpha": float(alpha)} for method, (layer, alpha) in chosen.items()}
    none, ids = list(captions["none"]), captions["none"].index
    return {name: caption_faults(list(given), none, ids) | settings.get(name, {}) for name, given in captions.items()}


def validation_table(lmm: LMM, methods: LearnedMethods, images: CaptionedImages) -> pd.DataFrame:
    """`faults_table` of every method and alpha."""
    captions = captions_by_method(lmm, methods, images, {method: ALPHAS for method in INPUT_METHODS})
    return by_method_and_alpha(faults_table(captions))
