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

from ..dictionaries import SemiNMF
from ..evaluation import FORM_PAGES, evaluate, load_judges
from ..extraction import extract
from ..files import atomic_write
from ..images import load_images
from ..models import LMM, load_lmm
from ..picturebook import SUBJECTS
from .depalm_learned_steering import depalm_p2s_scores, depalm_p2s_table
from .depalm_scores import depalm_scores, depalm_table, loaded_depalm
from .depalm_shift import depalm_shift_scores, depalm_shift_table
from .depalm_steering import depalm_steering_scores, depalm_steering_table
from .error_scores import caption_error_scores, error_scores, error_table
from .factor_matching import best_aucs, pages_of, shuffled_auc
from .learned_steering_scores import learned_steering_scores, learned_steering_table
from .model_scores import as_text, model_scores, model_table
from .shift_scores import shift_scores, shift_table
from .steering_scores import steering_scores, steering_table
from .truth_scores import (
    GALLERY_LAYER,
    N_CONCEPTS,
    PAGES_PER_SUBJECT,
    ground_truth_scores,
    ground_truth_table,
    truth_scores,
    truth_table,
)

EVALUATED = ("dog", "bus", "train", "cat")  # the tokens of the paper's Table 1
EVALUATED_SYSTEMS = (
    "semi_nmf",
    "rnd_words",
    "noise_imgs",
    "simple",
    "pca",
    "pca_released",
    "kmeans",
    "semi_nmf_other",
    "gt_captions",
)


def dictionary_scores(lmm: LMM, subject: str, position: str, layer=GALLERY_LAYER) -> dict:
    """Each concept's best AUC on the pages that it was learned from, optimistically biased as the shuffled control shows."""
    images = load_images("picturebook").mentioning(subject)[:PAGES_PER_SUBJECT]
    states = extract(lmm, images, token=subject, layer=layer, position=position)
    pages = pages_of(states.images.ids)
    activations = SemiNMF(N_CONCEPTS, verbose=False).fit_transform(states.Z)
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
        system: {name: mean and mean.ends for name, mean in results.means(system).items()}
        for system in EVALUATED_SYSTEMS
    }


def measure(lmm: LMM, subjects: Sequence[str]) -> dict:
    """All scores, as they are written to build/scores.json."""
    dictionary = {
        subject: {position: dictionary_scores(lmm, subject, position) for position in ("predicts", "own")}
        for subject in subjects
    }
    evaluation = {subject: evaluation_scores(lmm, subject) for subject in EVALUATED if subject in subjects}
    ground_truth = {subject: ground_truth_scores(lmm, subject, GALLERY_LAYER) for subject in subjects}
    truth = truth_scores(lmm, subjects, GALLERY_LAYER)
    scores = {"picturebook": model_scores(lmm), "dictionary": dictionary, "evaluation": evaluation}
    return scores | {"ground_truth": ground_truth, "truth": truth, "steering": steering_scores(lmm, subjects)}


def dictionary_table(scores: dict) -> str:
    """The dictionaries' scores as text."""
    rows = {(subject, position): row for subject, rows in scores.items() for position, row in rows.items()}
    return as_text(pd.DataFrame.from_dict(rows, orient="index"))


def evaluation_table(scores: dict) -> str:
    """The evaluation's means as text; intervals are in the file."""
    rows = {(subject, system): row for subject, systems in scores.items() for system, row in systems.items()}
    means = {key: {name: ends and ends[0] for name, ends in row.items()} for key, row in rows.items()}
    return as_text(pd.DataFrame.from_dict(means, orient="index").astype(float))


def main() -> None:
    """Measure, print, and write build/scores.json."""
    parser = argparse.ArgumentParser(description="Measure the picture book's LMM and its dictionaries.")
    parser.add_argument("--model", default="picturebook", help="the bundled model, or a folder")
    parser.add_argument("--out", type=Path, default=Path("build/scores.json"))
    parser.add_argument("--subjects", nargs="+", default=list(SUBJECTS), choices=SUBJECTS)
    options = parser.parse_args()
    scores = measure(load_lmm(options.model), options.subjects)
    biased = load_lmm("picturebook-biased")
    scores |= {"l2s": learned_steering_scores(biased), "errors": error_scores(biased)}
    scores["shift"] = shift_scores(load_lmm("picturebook"))  # which the bundled adapters are of
    depalm = loaded_depalm()
    if depalm is not None:
        scores["depalm"] = depalm_scores(depalm)
        scores["steering"]["depalm"] = depalm_steering_scores(depalm)
        scores["errors"]["depalm"] = caption_error_scores(depalm)
        scores["l2s"]["depalm"] = depalm_p2s_scores(depalm)
        scores["shift"]["depalm"] = depalm_shift_scores(depalm)
    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    known.pop("depalm", None)  # of an earlier run: else it would be taken for measured now
    atomic_write(options.out, lambda path: path.write_text(json.dumps(known | scores, indent=1)))
    print(model_table(scores["picturebook"]), dictionary_table(scores["dictionary"]), sep="\n\n")
    print("", evaluation_table(scores["evaluation"]), "", ground_truth_table(scores["ground_truth"]), sep="\n")
    print("", truth_table(scores["truth"]), "", steering_table(scores["steering"]), sep="\n")
    print("", learned_steering_table(scores["l2s"]), "", error_table(scores["errors"]), sep="\n")
    print("", shift_table(scores["shift"]), sep="\n")
    if depalm is not None:
        print("", depalm_table(scores["depalm"]), "", depalm_steering_table(scores["steering"]["depalm"]), sep="\n")
        print("", depalm_p2s_table(scores["l2s"]["depalm"]), sep="\n")
        print("", depalm_shift_table(scores["shift"]["depalm"]), sep="\n")
    print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    main()
