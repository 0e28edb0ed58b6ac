"""Measure the picture book's LMM, its dictionaries, the paper's evaluation, and the checks of truth: `make scores`.

Prints tables and writes build/scores.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..concepts import ConceptBank
from ..dictionaries import SemiNMF
from ..evaluation import FORM_PAGES, evaluate, load_judges
from ..extraction import States, extract
from ..faithfulness import ablation_summary, remove_concepts, visual_dependence, words_before
from ..files import atomic_write
from ..images import blank_images, load_images, noise_images
from ..models import LMM, Layer, encode, load_lmm
from ..picturebook import (
    SUBJECTS,
    Factors,
    factors_of,
)
from ..statistics import Mean, bootstrap_mean
from .controls import recover_factors
from .counterfactuals import counterfactual_edits, selectivity
from .factor_matching import best_aucs, matched_values, shuffled_auc
from .model_scores import as_text, model_scores, model_table
from .without_picture import best_values, recovery_without_picture

GALLERY_LAYER = 4  # the last block but one, as in the gallery notebook
N_CONCEPTS = 16
PAGES_PER_SUBJECT = 1200
N_TESTED, N_EDITED = 200, 40  # pages not learned from, for single checks
POSITIONS = ("own", "predicts")  # the first one's scores are the main result
NO_PICTURE = {"blank": blank_images, "noise": noise_images}
CHECKED = "dog"  # the subject of the checks against ground truth
EVALUATED = ("dog", "bus", "train", "cat")  # the tokens of the paper's Table 1
EVALUATED_SYSTEMS = ("semi_nmf", "rnd_words", "noise_imgs", "simple", "pca", "kmeans", "gt_captions")


def dictionary_scores(lmm: LMM, subject: str, position: str, layer=GALLERY_LAYER) -> dict:
    """Known truth about one subject's concepts: mean best AUC, how many lie above .9, and the shuffled control."""
    images = load_images("picturebook").mentioning(subject)[:PAGES_PER_SUBJECT]
    states = extract(lmm, images, token=subject, layer=layer, position=position)
    pages = [factors_of(int(id)) for id in states.images.ids]
    activations = SemiNMF(n_concepts=N_CONCEPTS).fit_transform(states.Z)
    best = [auc for auc, _, _ in best_aucs(activations, pages)]
    return {
        "mean_auc": float(np.mean(best)),
        "above_0_9": int(np.sum(np.array(best) > 0.9)),
        "shuffled_auc": shuffled_auc(activations, pages),
        "samples": len(pages),
    }


def evaluation_scores(lmm: LMM, subject: str, layer=GALLERY_LAYER) -> dict:
    """The evaluation of one subject on about 350 held-out pages, by the bundled judges, with the paper's K = 20."""
    images = load_images("picturebook").mentioning(subject)[:PAGES_PER_SUBJECT]
    states = extract(lmm, images, token=subject, layer=layer)
    test = load_images("picturebook", split="validation+test")[FORM_PAGES:]
    results = evaluate(lmm, states, extract(lmm, test, token=subject, layer=layer), *load_judges("picturebook"))
    return {
        system: {name: mean and [mean.value, mean.low, mean.high] for name, mean in results.means(system).items()}
        for system in EVALUATED_SYSTEMS
    }


def measure(lmm: LMM, subjects: Sequence[str]) -> dict:
    """All scores, as they are written to build/scores.json."""
    dictionary = {
        subject: {position: dictionary_scores(lmm, subject, position) for position in ("predicts", "own")}
        for subject in subjects
    }
    evaluation = {subject: evaluation_scores(lmm, subject) for subject in EVALUATED if subject in subjects}
    truth = {"truth": truth_scores(lmm, CHECKED, GALLERY_LAYER)} if CHECKED in subjects else {}
    return {"picturebook": model_scores(lmm), "dictionary": dictionary, "evaluation": evaluation} | truth


def dictionary_table(scores: dict) -> str:
    """The dictionaries' scores as text."""
    rows = {(subject, position): row for subject, rows in scores.items() for position, row in rows.items()}
    return as_text(pd.DataFrame.from_dict(rows, orient="index"))


def evaluation_table(scores: dict) -> str:
    """The evaluation's means as text; intervals are in the file."""
    rows = {(subject, system): row for subject, systems in scores.items() for system, row in systems.items()}
    means = {key: {name: ends and ends[0] for name, ends in row.items()} for key, row in rows.items()}
    return as_text(pd.DataFrame.from_dict(means, orient="index").astype(float))


def truth_table(scores: dict) -> str:
    """The checks of truth as text; intervals are in the file."""
    rows = {"own": scores, "predicts": scores["predicts"]} if scores else {}
    numbers = {
        position: {name: value for name, value in row.items() if not isinstance(value, dict)}
        for position, row in rows.items()
    }
    return as_text(pd.DataFrame(numbers))


def truth_scores(lmm: LMM, subject: str, layer: Layer) -> dict:
    """The checks of one subject's concepts, on pages of the validation and test splits (ours)."""
    scores = {position: _at(lmm, subject, layer, position) for position in POSITIONS}
    return scores["own"] | {"predicts": scores["predicts"]}


def _at(lmm: LMM, subject: str, layer: Layer, position: str) -> dict:
    """The scores at one position."""
    train = load_images("picturebook").mentioning(subject)[:PAGES_PER_SUBJECT]
    test = load_images("picturebook", split="validation+test").mentioning(subject)
    states, held_out, few = (
        extract(lmm, images, subject, layer, position) for images in (train, test, test[:N_TESTED])
    )
    bank = ConceptBank.learn(lmm, states, SemiNMF(N_CONCEPTS, verbose=False))
    recovered = {
        name: result.recovery.recovered for name, result in recover_factors(lmm, states, held_out, N_CONCEPTS).items()
    }
    means = {"covered": recovered["semi_nmf"]} | _used(lmm, bank, few)
    means |= _without_picture(lmm, bank, few, subject, position) | _edited(lmm, bank, test.ids[:N_EDITED])
    scores = {name: mean.value for name, mean in means.items()}
    scores["intervals"] = {name: [mean.low, mean.high] for name, mean in means.items()}
    return scores | {"controls": {name: [mean.value, mean.low, mean.high] for name, mean in recovered.items()}}


def _used(lmm: LMM, bank: ConceptBank, few: States) -> dict[str, Mean]:
    """Concepts whose removal lowers their own words."""
    table = remove_concepts(lmm, bank, few)
    words = ablation_summary(table)
    results = {"removal_share": words.share, "removal_minus_random": words.minus_random}
    others = {f"removal_share_{name}": ablation_summary(table, name).share for name in ("later", "mentions")}
    return results | others


def _without_picture(lmm: LMM, bank: ConceptBank, few: States, subject: str, position: str) -> dict[str, Mean]:
    """Known truth on blank pages and on noise, of the values that concepts tell on the pages they were learned from."""
    prefixes = words_before(lmm, [encode(lmm, caption) for caption in bank.captions], [subject], position)
    values = best_values(bank.activations, prefixes, _pages(bank.ids))
    results = visual_dependence(lmm, bank, few, NO_PICTURE, knockout_from=())
    table = recovery_without_picture(results, _pages(results.ids), values).set_index("condition")
    return {f"{name}_auc": bootstrap_mean(table.loc[name, "auc"]) for name in NO_PICTURE}


def _edited(lmm: LMM, bank: ConceptBank, ids) -> dict[str, Mean]:
    """Concepts that their own factor moves most."""
    values = matched_values(bank.activations, _pages(bank.ids))
    results = selectivity(counterfactual_edits(lmm, bank, [int(id) for id in ids]), values)
    return {"diagonal": results.share, "diagonal_sure": results.share_significant}


def _pages(ids) -> list[Factors]:
    """What is on pages of the book."""
    return [factors_of(int(id)) for id in ids]


def main() -> None:
    """Measure, print, and write build/scores.json."""
    parser = argparse.ArgumentParser(description="Measure the picture book's LMM and its dictionaries.")
    parser.add_argument("--model", default="picturebook", help="the bundled model, or a folder")
    parser.add_argument("--out", type=Path, default=Path("build/scores.json"))
    parser.add_argument("--subjects", nargs="+", default=list(SUBJECTS), choices=SUBJECTS)
    options = parser.parse_args()
    scores = measure(load_lmm(options.model), options.subjects)
    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    atomic_write(options.out, lambda path: path.write_text(json.dumps(known | scores, indent=1)))
    print(model_table(scores["picturebook"]), dictionary_table(scores["dictionary"]), sep="\n\n")
    print("", evaluation_table(scores["evaluation"]), "", truth_table(scores.get("truth", {})), sep="\n")
    print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    main()
