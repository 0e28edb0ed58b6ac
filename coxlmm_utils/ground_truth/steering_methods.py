"""Ways to steer from one value of a factor to another on the picture book, and their effects over subjects, layers and alphas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations, product

import pandas as pd

from ..concepts import ConceptBank
from ..extraction import States
from ..images import CaptionedImages
from ..models import LMM, Layer
from ..steering import InTurn, Steering, concept_difference, reach, set_concepts
from .factor_matching import concepts_of_values, matched_values, pages_of
from .steering_effects import (
    Change,
    best_setting,
    effects_table,
    random_directions,
    steering_effects,
    value_directions,
)

Make = Callable[[States, ConceptBank, str], Mapping[Change, Steering]]  # edits of one subject, for a factor


def means(states: States, bank: ConceptBank, factor: str) -> Mapping[Change, Steering]:
    """From the mean of one value to that of another (arXiv 2501.03012, coarse)."""
    return value_directions(states, factor)


def reached(states: States, bank: ConceptBank, factor: str) -> Mapping[Change, Steering]:
    """The same, as far as each state lacks it (ours)."""
    return {change: reach(direction) for change, direction in value_directions(states, factor).items()}


def concepts(states: States, bank: ConceptBank, factor: str) -> Mapping[Change, Steering]:
    """From the concept that is matched to one value to that of the other (arXiv 2501.03012, fine-grained)."""
    return _of_concepts(bank, factor, concept_difference)


def concepts_set(states: States, bank: ConceptBank, factor: str) -> Mapping[Change, Steering]:
    """The one concept set to zero, the other to its mean where it is active (ours)."""
    return _of_concepts(bank, factor, exchanged)


def combined(states: States, bank: ConceptBank, factor: str) -> Mapping[Change, Steering]:
    """The concepts set, and then as far as the mean of the wanted value is still lacking (ours)."""
    reaching, setting = (make(states, bank, factor) for make in (reached, concepts_set))
    return {change: InTurn([setting[change], reaching[change]]) for change in setting if change in reaching}


METHODS: dict[str, Make] = {
    "mean_difference": means,
    "reach": reached,
    "concept_difference": concepts,
    "set_concepts": concepts_set,
    "combined": combined,
}
OF_MEANS = ("mean_difference", "reach")  # at every layer but the first and the last; concepts are of the last but one


def _of_concepts(bank: ConceptBank, factor: str, make: Callable) -> Mapping[Change, Steering]:
    """Edits between the values of a factor that concepts are matched to, on the pages that they were learned from."""
    of_value = concepts_of_values(matched_values(bank.activations, pages_of(bank.ids)), factor)
    return {(a, b): make(bank, of_value[a], of_value[b]) for a, b in permutations(of_value, 2)}


def exchanged(bank: ConceptBank, away: int, towards: int) -> Steering:
    """An edit that sets one concept to zero, and another to its mean where it is active."""
    active = bank.activations[:, towards]
    return set_concepts(bank, {away: 0.0, towards: float(active[active > 0].mean())})


def effects_over(
    lmm: LMM,
    states: Mapping[str, States],
    banks: Mapping[str, ConceptBank],
    images: Mapping[str, CaptionedImages],
    factor: str,
    make: Make,
    settings: Sequence[tuple[Layer, float]],
    positions: str = "generated",
    random: bool = False,
) -> pd.DataFrame:
    """`steering_effects` of several subjects, layers and alphas: the columns subject and layer beside its own.

    Means are of the states at each layer; concepts are the bank's, at its own layer.
    """
    tables, layers = [], dict.fromkeys(layer for layer, _ in settings)
    for subject, layer in product(images, layers):
        edits = make(states[subject].at(layer), banks[subject], factor)
        edits = random_directions(edits) if random else edits
        alphas = [alpha for at, alpha in settings if at == layer]
        table = steering_effects(lmm, images[subject], factor, edits, alphas, positions)
        tables.append(table.assign(subject=subject, layer=layer))
    return pd.concat(tables, ignore_index=True)


def chosen_setting(
    lmm: LMM,
    states: Mapping[str, States],
    banks: Mapping[str, ConceptBank],
    images: Mapping[str, CaptionedImages],
    factor: str,
    method: str,
    alphas: Sequence[float],
) -> tuple[Layer, float] | None:
    """The layer and alpha of `best_setting`, on validation pages; None if nothing could be steered."""
    layers = list(next(iter(states.values())).vectors)
    grid = list(product(layers if method in OF_MEANS else layers[-1:], alphas))
    rows = effects_over(lmm, states, banks, images, factor, METHODS[method], grid)
    if not len(rows):  # no concepts are matched to two values of the factor
        return None
    layer, alpha = best_setting(effects_table(rows, ["layer", "alpha"]))
    return int(layer), float(alpha)
