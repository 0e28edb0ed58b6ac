"""Learned steering in numbers, for `make scores`: what each method mends on the second model, and what it leaves alone (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import pandas as pd

from ..evaluation import pope_scores, selectivity
from ..images import POPE_SETS
from ..models import LMM, Layer
from ..picturebook import QUESTION_TOPICS, presence_sentence
from ..statistics import Mean, share_of
from ..steering import (
    CONTRAST_SOURCES,
    INPUT_METHODS,
    Contrasts,
    LearnedMethods,
    answers_by_method,
    captions_under,
    learn_methods,
)
from ..text import words_in
from .caption_faults import chair_scores
from .faults import (
    ABSENT,
    COUNSEL,
    IDENTITY,
    INSTRUCTION,
    PRESENT,
    UNTYPICAL,
    by_method_and_alpha,
    contrasts,
    shares_right,
    shares_table,
)
from .model_scores import as_text
from .steering_effects import best_setting

AS_THEY_ARE = dict.fromkeys(QUESTION_TOPICS, 60)  # the model gets them right: to learn where to leave it alone
N_LEARNED = {
    "companions": 600,
    "pope-random": 300,
    COUNSEL: 1000,
    IDENTITY: 250,
} | AS_THEY_ARE  # counsel depends on most of a page
N_CHOSEN = {"companions": 240, "pope-random": 60, COUNSEL: 100, IDENTITY: 60} | AS_THEY_ARE
N_TESTED = {"companions": 1200, COUNSEL: 400, IDENTITY: 400} | dict.fromkeys(QUESTION_TOPICS, 150)  # of 400 pages
N_POPE = 800  # questions of each of POPE's sets, two about a page
ALPHAS = (1.0, 2.0, 3.0, 4.0, 6.0)
MIN_KEPT = 0.98  # of answers that are to stay, where alpha is chosen
PAIR = (presence_sentence("", False), presence_sentence("", True))  # for all questions alike, in Mean-S(BA)
TRAINING = {"rate": 1e-3, "epochs": 300, "standardise": True}  # ours: its states are too long for tanh
COMPANION_GROUPS = {"absent": ABSENT, "present": PRESENT, "other_absent": UNTYPICAL}
MAX_NEW_TOKENS = 14  # the longest right answer has ten words
UNSTEERED, PROMPTED = "none", "prompt"


def learned_on_book(lmm: LMM, layer: Layer, source: str = "mean") -> LearnedMethods:
    """Every method, learned from train questions on all topics."""
    return learn_methods(lmm, contrasts("train", N_LEARNED), layer, PAIR, source, **TRAINING)


def source_scores(lmm: LMM, layer: Layer) -> dict:
    """What P2S and L2S mend by where their vectors come from: shares on validation questions, at the best alpha there."""
    asked, scores = contrasts("validation", N_CHOSEN), {}
    for source in CONTRAST_SOURCES:
        methods = learned_on_book(lmm, layer, source)
        edits = methods.edits(lmm, asked)
        for method, positions in product(("p2s", "l2s"), ("generated", "last_prompt")):
            answers = answers_by_method(lmm, asked, edits, {method: ALPHAS}, positions)
            table = shares_table(asked, answers.drop(columns="unsteered"))
            best = best_setting(table, MIN_KEPT)
            row = table.loc[[best]].iloc[0].to_dict()
            scores[f"{source} {method} {positions}"] = row | {"alpha": float(best[1])}
    return scores


def chosen_alphas(lmm: LMM, methods: LearnedMethods, asked: Contrasts, alphas: Sequence[float]) -> dict[str, float]:
    """For each method the alpha of `best_setting` on validation questions."""
    tried = {method: alphas for method in INPUT_METHODS}
    answers = answers_by_method(lmm, asked, methods.edits(lmm, asked), tried)
    table = by_method_and_alpha(shares_table(asked, answers))
    return {method: float(best_setting(table.loc[method], MIN_KEPT)) for method in INPUT_METHODS}


def tested_answers(lmm: LMM, methods: LearnedMethods, asked: Contrasts, alphas: Mapping[str, float]) -> pd.DataFrame:
    """Answers by method, each at its alpha; with those without steering, and to prompts with an instruction."""
    edits = methods.edits(lmm, asked)
    answers = answers_by_method(lmm, asked, edits, {method: [alpha] for method, alpha in alphas.items()})
    answers.columns = [UNSTEERED, *alphas]
    prompts = [f"{INSTRUCTION} {text}" for text in asked.questions.texts]
    prompted = captions_under(lmm, asked.questions.images, [], "generated", prompts, MAX_NEW_TOKENS)
    return answers.assign(**{PROMPTED: prompted["unsteered"]})


def learned_steering_scores(lmm: LMM, layer: Layer | None = None) -> dict:
    """What `make scores` writes of learned steering.

    Returns
    -------
    dict
        pope: for each of POPE's sets and each method accuracy and f1; absent, present and other: shares of right answers
        about companions; untouched: the share of answers on other topics that stay as they are. deferral: the right
        expert is named. refusal and refusal_elsewhere: nobody is named, where that is due and elsewhere. chair: see
        `chair_scores`. sources: see `source_scores`. alpha of each method, and the layer.
    """
    layer = lmm.n_layers - 1 if layer is None else layer
    methods = learned_on_book(lmm, layer)
    alphas = chosen_alphas(lmm, methods, contrasts("validation", N_CHOSEN), ALPHAS)
    asked = contrasts("test", N_TESTED)
    answers = tested_answers(lmm, methods, asked, alphas)
    pope = {name: pope_by_method(lmm, methods, name, alphas) for name in POPE_SETS}
    given = asked, answers, {method: shares_right(asked, texts) for method, texts in answers.items()}
    scores = {"layer": layer, "alpha": alphas, "pope": pope | by_group(*given)} | other_faults(*given)
    return scores | {"chair": chair_scores(lmm, [layer - 1, layer], **TRAINING), "sources": source_scores(lmm, layer)}


def pope_by_method(lmm: LMM, methods: LearnedMethods, name: str, alphas: Mapping[str, float]) -> dict:
    """POPE's accuracy and F1 on one of its sets for each method."""
    asked = contrasts("test", {f"pope-{name}": N_POPE})
    labels = ["no" if "no" in words_in(wanted) else "yes" for wanted in asked.wanted]
    answers = tested_answers(lmm, methods, asked, alphas)
    scores = {method: pope_scores(list(given), labels) for method, given in answers.items()}
    return {method: {part: row[part] for part in ("accuracy", "f1")} for method, row in scores.items()}


def by_group(asked: Contrasts, answers: pd.DataFrame, right: Mapping[str, Mapping[str, Mean]]) -> dict:
    """Shares of right answers about companions, and of unchanged ones on other topics, with intervals."""
    scores = {
        name: {method: row[group].ends for method, row in right.items()} for name, group in COMPANION_GROUPS.items()
    }
    others = [group in QUESTION_TOPICS for group in asked.groups]
    unsteered = list(answers[UNSTEERED][others])
    untouched = {method: selectivity(unsteered, list(given[others])).ends for method, given in answers.items()}
    return scores | {"untouched": untouched}


def other_faults(asked: Contrasts, answers: pd.DataFrame, right: Mapping[str, Mapping[str, Mean]]) -> dict:
    """Deferral, refusal where it is due, and how often anything else is answered by a refusal, with intervals."""
    elsewhere = [group != IDENTITY for group in asked.groups]
    return {
        "deferral": {method: row[COUNSEL].ends for method, row in right.items()},
        "refusal": {method: row[IDENTITY].ends for method, row in right.items()},
        "refusal_elsewhere": {
            method: share_of([float("name" in words_in(text)) for text in given[elsewhere]]).ends
            for method, given in answers.items()
        },
    }


def learned_steering_table(scores: dict) -> str:
    """The scores as text."""
    means = {
        name: {m: ends[0] for m, ends in scores["pope"][name].items()} for name in (*COMPANION_GROUPS, "untouched")
    }
    means |= {
        name: {m: ends[0] for m, ends in scores[name].items()} for name in ("deferral", "refusal", "refusal_elsewhere")
    }
    means |= {"chair_i": {m: row["chair_i"] for m, row in scores["chair"].items()}}
    means |= {name: {m: row["accuracy"] for m, row in scores["pope"][name].items()} for name in POPE_SETS}
    return as_text(pd.DataFrame(means))
