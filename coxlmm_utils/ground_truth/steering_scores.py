"""Steering in numbers, for `make scores`: layer and alpha chosen on validation pages, hit and same of test pages (ours)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations, product

import pandas as pd

from ..concepts import ConceptBank
from ..dictionaries import SemiNMF
from ..extraction import States, extract
from ..images import CaptionedImages, load_images, load_questions
from ..models import LMM, Layer
from ..picturebook import QUESTION_TOPICS, SUBJECTS
from ..statistics import Mean
from ..steering import (
    Direction,
    InTurn,
    Steering,
    answer_directions,
    answer_effects,
    concept_difference,
    reach,
    set_concepts,
)
from .counterfactuals import counterfactual_edits
from .factor_matching import concepts_of_values, matched_values, pages_of
from .interchange import SWAPPED, interchange_effects
from .model_scores import as_text
from .steering_effects import (
    STEERED_FACTORS,
    Change,
    best_setting,
    effect_means,
    effects_table,
    random_directions,
    steering_effects,
    value_directions,
)

N_LEARNED, N_CHOSEN, N_TESTED = 600, 12, 30  # pages of each subject
ALPHAS = (1.0, 1.25, 1.5, 2.0, 3.0)
N_CONCEPTS = 20  # of each subject
N_QUESTIONS = {"train": 400, "validation": 120, "test": 400}  # about each topic
PRESENCE, YES_NO = "presence", ("yes", "no")
MAX_DROP = 0.02  # of other topics' accuracy
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


def subject_pages(split: str, n: int, subjects: Sequence[str] = SUBJECTS) -> dict[str, CaptionedImages]:
    """The first pages of each subject in a split."""
    images = load_images("picturebook", split=split)
    return {subject: images.mentioning(subject)[:n] for subject in subjects}


def learned_states(lmm: LMM, layers: Sequence[Layer], subjects: Sequence[str] = SUBJECTS) -> dict[str, States]:
    """States of each subject's word, where it is predicted."""
    pages = subject_pages("train", N_LEARNED, subjects)
    return {subject: extract(lmm, images, subject, list(layers)) for subject, images in pages.items()}


def learned_bank(lmm: LMM, states: States) -> ConceptBank:
    """The concepts of a subject."""
    return ConceptBank.learn(lmm, states, SemiNMF(N_CONCEPTS, verbose=False))


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
) -> tuple[Layer, float] | None:
    """The layer and alpha of `best_setting`, on validation pages; None if nothing could be steered."""
    layers = list(next(iter(states.values())).vectors)
    grid = list(product(layers if method in OF_MEANS else layers[-1:], ALPHAS))
    rows = effects_over(lmm, states, banks, images, factor, METHODS[method], grid)
    if not len(rows):  # no concepts are matched to two values of the factor
        return None
    layer, alpha = best_setting(effects_table(rows, ["layer", "alpha"]))
    return int(layer), float(alpha)


def steering_scores(lmm: LMM, subjects: Sequence[str] = SUBJECTS) -> dict:
    """For each factor and method hit, same, added and random_hit on test pages, with the layer and alpha chosen on
    validation pages; for questions `question_scores`, and `interchange_scores`."""
    states = learned_states(lmm, range(2, lmm.n_layers), subjects)
    banks = {subject: learned_bank(lmm, some.at(lmm.n_layers - 1)) for subject, some in states.items()}
    chosen_on, tested = subject_pages("validation", N_CHOSEN, subjects), subject_pages("test", N_TESTED, subjects)
    scores = {factor: {} for factor in STEERED_FACTORS}
    for factor, (method, make) in product(STEERED_FACTORS, METHODS.items()):
        setting = chosen_setting(lmm, states, banks, chosen_on, factor, method)
        if setting is None:
            continue
        rows = effects_over(lmm, states, banks, tested, factor, make, [setting])
        row = {name: _ends(mean) for name, mean in effect_means(rows).items()}
        row |= {
            "layer": setting[0],
            "alpha": setting[1],
            "pages": rows["id"].nunique(),
            "values": rows["wanted"].nunique(),
        }
        if method in OF_MEANS:
            control = effect_means(effects_over(lmm, states, banks, tested, factor, means, [setting], random=True))[
                "hit"
            ]
            row["random_hit"] = _ends(control)
        scores[factor][method] = row
    return scores | {"questions": question_scores(lmm), "interchange": interchange_scores(lmm, banks, tested)}


def interchange_scores(lmm: LMM, banks: Mapping[str, ConceptBank], images: Mapping[str, CaptionedImages]) -> dict:
    """For each factor hit and same of `interchange_effects` at alpha 1, and the hit of either control."""
    tables = {factor: [] for factor in STEERED_FACTORS}
    for subject, pages in images.items():
        bank = banks[subject]
        edits = counterfactual_edits(lmm, bank, [int(id) for id in pages.ids])
        names = matched_values(bank.activations, pages_of(bank.ids))
        for factor, rows in tables.items():
            rows.append(interchange_effects(lmm, edits, names, factor))
    scores = {}
    for factor, rows in tables.items():
        by_swapped = {name: effect_means(some) for name, some in pd.concat(rows).groupby("swapped")}
        if own := by_swapped.pop(SWAPPED[0], None):
            controls = {f"{name.split()[0]}_hit": _ends(mean["hit"]) for name, mean in by_swapped.items()}
            scores[factor] = {name: _ends(own[name]) for name in ("hit", "same")} | controls
    return scores


def _ends(mean: Mean) -> list[float]:
    """A mean with its interval, as it is written."""
    return [mean.value, mean.low, mean.high]


def question_scores(lmm: LMM) -> dict:
    """From yes to no by `reach`: the share that turns, and how much accuracy falls on other topics (ours)."""
    layers, alphas = list(range(2, lmm.n_layers + 1)), (0.8, 1.0, 1.25)
    learned = load_questions("picturebook", "train", PRESENCE, N_QUESTIONS["train"])
    directions = answer_directions(lmm, learned, YES_NO, layers)
    tried = {layer: _turned(lmm, directions[layer], "validation", alphas) for layer in layers}
    layer, alpha = best_setting(pd.concat(tried), 1 - MAX_DROP)
    row = _turned(lmm, directions[layer], "test", [alpha]).loc[alpha]
    return {"yes_no": row["hit"], "untargeted_drop": 1 - row["same"], "layer": int(layer), "alpha": float(alpha)}


def _turned(lmm: LMM, direction: Direction, split: str, alphas: Sequence[float]) -> pd.DataFrame:
    """hit, the share of yes that turns to no, and same, 1 minus the mean fall of the other topics' accuracy, by alpha."""
    asked = {
        topic: load_questions("picturebook", split, topic, N_QUESTIONS[split]) for topic in (PRESENCE, *QUESTION_TOPICS)
    }
    tables = {
        topic: answer_effects(lmm, questions, reach(direction), YES_NO, alphas) for topic, questions in asked.items()
    }
    others = pd.DataFrame({topic: tables[topic]["all"] for topic in QUESTION_TOPICS})
    same = 1 - (others.loc[0.0] - others).mean(axis=1)
    return pd.DataFrame({"hit": tables[PRESENCE]["turned"], "same": same}).drop(index=0.0)


def steering_table(scores: dict) -> str:
    """The scores as text."""
    rows = {(factor, method): row for factor in STEERED_FACTORS for method, row in scores[factor].items()}
    means = {
        key: {name: row[name][0] for name in ("hit", "same", "added")}
        | {name: row[name] for name in ("layer", "alpha")}
        for key, row in rows.items()
    }
    return as_text(pd.DataFrame.from_dict(means, orient="index"))
