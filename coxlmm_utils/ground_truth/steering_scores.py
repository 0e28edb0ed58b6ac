"""Steering in numbers, for `make scores`: layer and alpha chosen on validation pages, hit and same of test pages (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import pandas as pd

from ..concepts import ConceptBank
from ..dictionaries import SemiNMF
from ..extraction import States, extract
from ..faithfulness import remove_concepts
from ..images import CaptionedImages, load_images, load_questions
from ..models import LMM, Layer
from ..picturebook import QUESTION_TOPICS, SUBJECTS
from ..steering import Direction, answer_directions, answer_effects, reach
from .counterfactuals import counterfactual_edits
from .factor_matching import matched_values, pages_of
from .interchange import SWAPPED, interchange_effects
from .model_scores import as_text
from .steering_and_ablation import rank_correlations, steered_beside_ablated
from .steering_effects import STEERED_FACTORS, best_setting, effect_means
from .steering_methods import METHODS, OF_MEANS, chosen_setting, effects_over, means

N_LEARNED, N_CHOSEN, N_TESTED = 600, 12, 30  # pages of each subject
ALPHAS = (1.0, 1.25, 1.5, 2.0, 3.0)
N_CONCEPTS = 20  # of each subject
N_QUESTIONS = {"train": 400, "validation": 120, "test": 400}  # about each topic
PRESENCE, YES_NO = "presence", ("yes", "no")
BY_CONCEPTS = "set_concepts"  # the method that is compared with ablation
MAX_DROP = 0.02  # of other topics' accuracy


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


def steering_scores(lmm: LMM, subjects: Sequence[str] = SUBJECTS) -> dict:
    """For each factor and method the `method_scores`; `question_scores`, `interchange_scores` and `causal_scores`."""
    states = learned_states(lmm, range(2, lmm.n_layers), subjects)
    banks = {subject: learned_bank(lmm, some.at(lmm.n_layers - 1)) for subject, some in states.items()}
    pages = {split: subject_pages(split, n, subjects) for split, n in (("validation", N_CHOSEN), ("test", N_TESTED))}
    scores, by_concepts = {factor: {} for factor in STEERED_FACTORS}, {}
    for factor, method in product(STEERED_FACTORS, METHODS):
        rows, row = method_scores(lmm, states, banks, pages, factor, method, ALPHAS)
        if row:
            scores[factor][method] = row
        if row and method == BY_CONCEPTS:
            by_concepts[factor] = rows
    scores["causal"] = causal_scores(lmm, banks, pages["test"], by_concepts)
    scores["interchange"] = interchange_scores(lmm, banks, pages["test"])
    return scores | {"questions": question_scores(lmm)}


def method_scores(
    lmm: LMM,
    states: Mapping[str, States],
    banks: Mapping[str, ConceptBank],
    pages: Mapping[str, Mapping[str, CaptionedImages]],
    factor: str,
    method: str,
    alphas: Sequence[float],
) -> tuple[pd.DataFrame, dict]:
    """The rows of test pages, and hit, same, added and, for means, random_hit, at what validation pages choose.

    Nothing of a method that steers no page, such as concepts that are matched to no two values.
    """
    setting = chosen_setting(lmm, states, banks, pages["validation"], factor, method, alphas)
    if setting is None:
        return pd.DataFrame(), {}
    rows = effects_over(lmm, states, banks, pages["test"], factor, METHODS[method], [setting])
    row = {name: mean.ends for name, mean in effect_means(rows).items()}
    row |= dict(zip(("layer", "alpha"), setting)) | {"pages": rows["id"].nunique(), "values": rows["wanted"].nunique()}
    if method in OF_MEANS:
        random = effects_over(lmm, states, banks, pages["test"], factor, means, [setting], random=True)
        row["random_hit"] = effect_means(random)["hit"].ends
    return rows, row


def causal_scores(
    lmm: LMM,
    banks: Mapping[str, ConceptBank],
    images: Mapping[str, CaptionedImages],
    effects: Mapping[str, pd.DataFrame],
) -> dict:
    """Rank correlations of steering by concepts with their removal, over the concepts of all subjects."""
    tables = []
    for subject, pages in images.items():
        bank = banks[subject]
        removed = remove_concepts(lmm, bank, extract(lmm, pages, subject, bank.layer))
        names = matched_values(bank.activations, pages_of(bank.ids))
        of_subject = {factor: rows[rows["subject"] == subject] for factor, rows in effects.items()}
        tables.append(steered_beside_ablated(of_subject, names, removed))
    table = pd.concat(tables, ignore_index=True)
    correlations = rank_correlations(table) if len(table) > 2 else {}
    return {"concepts": len(table)} | {measure: mean.ends for measure, mean in correlations.items()}


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
            controls = {f"{name.split()[0]}_hit": mean["hit"].ends for name, mean in by_swapped.items()}
            scores[factor] = {name: own[name].ends for name in ("hit", "same")} | controls
    return scores


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
