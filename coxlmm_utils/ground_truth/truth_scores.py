"""The checks of concepts as numbers, for `make scores`: factor recovery, interventions, edits, states without the picture.

Numbers with an interval are lists: value, low, high.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..concepts import ConceptBank
from ..dictionaries import RandomDictionary, SemiNMF
from ..extraction import States, extract
from ..faithfulness import ablation_over, visual_dependence, words_before
from ..images import CaptionedImages, blank_images, load_images, noise_images
from ..models import LMM, Layer, encode
from ..picturebook import Factors
from ..statistics import SEEDS, Mean, bootstrap_mean, share_over_seeds
from .controls import SystemRecovery, comparison, recover_factors
from .counterfactuals import Counterfactuals, counterfactual_edits, selectivity
from .factor_matching import matched_values, pages_of
from .model_scores import as_text
from .without_picture import best_values, recovery_without_picture

GALLERY_LAYER = 4  # the last block but one, as in the gallery notebook
N_CONCEPTS = 20
PAGES_PER_SUBJECT = 1200
N_TESTED, N_EDITED = 200, 40  # pages not learned from, for single checks
POSITIONS = ("own", "predicts")  # the first one's scores are at the top
NO_PICTURE = {"blank": blank_images, "noise": noise_images}
CHECKED = "dog"  # the subject of the checks of edits and of states without the picture
INTERVENED = ("dog", "cat", "bus", "boat")
COUNTS = {"k": "n_concepts", "n_values": "n_values", "seeds": "seeds"}
MEASURES = ("own_step", "later", "mentions", "own", "random", "minus_random")  # of interventions


def subject_images(subject: str) -> tuple[CaptionedImages, CaptionedImages]:
    """Pages of one subject to learn from, and all others of it that no score is learned from."""
    test = load_images("picturebook", split="validation+test").mentioning(subject)
    return load_images("picturebook").mentioning(subject)[:PAGES_PER_SUBJECT], test


def ground_truth_scores(lmm: LMM, subject: str, layer: Layer, position: str = "predicts") -> dict:
    """How many factor values are recovered on held-out pages: by Semi-NMF, by its ceiling, and by every control."""
    return recovery_scores(comparison(_systems(lmm, subject, layer, position)))


def recovery_scores(table: pd.DataFrame) -> dict:
    """Factor recovery of several systems, from `comparison`, as it is written."""
    scores = {name: _ends(row, "recovered") for name, row in table.iterrows()}
    semi_nmf = table.loc["semi_nmf"]
    scores |= {"recovered": scores.pop("semi_nmf"), "mean_auc": _ends(semi_nmf, "mean_auc")}
    scores |= {"probe_auc": _ends(table.loc["probe"], "mean_auc")}
    return scores | {name: int(semi_nmf[column]) for name, column in COUNTS.items()}


def intervention_scores(lmm: LMM, subjects: Sequence[str], layer: Layer) -> dict:
    """Shares of concepts whose removal lowers their own words beyond both controls, by subject and position."""
    images = {subject: subject_images(subject) for subject in subjects}
    table = ablation_over(lmm, {subject: (train, test[:N_TESTED]) for subject, (train, test) in images.items()}, layer)
    scores = {subject: {} for subject in subjects}
    for _, row in table.iterrows():
        counts = {name: float(row[name]) for name in ("tested", "n_excluded", "seeds")}
        scores[row["token"]][row["position"]] = {name: _ends(row, name) for name in MEASURES} | counts
    return scores


def truth_scores(lmm: LMM, subjects: Sequence[str], layer: Layer) -> dict:
    """The interventions of several subjects, and all checks of one; means over five seeds, but of states without the
    picture (ours)."""
    interventions = intervention_scores(lmm, [subject for subject in INTERVENED if subject in subjects], layer)
    if CHECKED not in interventions:
        return interventions
    checks = {position: _at(lmm, layer, position, interventions[CHECKED][position]) for position in POSITIONS}
    return checks["own"] | {"predicts": checks["predicts"]} | interventions


def ground_truth_table(scores: dict) -> str:
    """Factor recovery as text; intervals are in the file."""
    rows = {subject: {name: _first(value) for name, value in row.items()} for subject, row in scores.items()}
    return as_text(pd.DataFrame.from_dict(rows, orient="index"))


def truth_table(scores: dict) -> str:
    """The checks of truth as text; intervals are in the file."""
    single = {name: value for name, value in scores.items() if not isinstance(value, dict)}
    rows = {f"{CHECKED}, own": single, f"{CHECKED}, predicts": scores.get("predicts", {})} if single else {}
    checks = {
        name: {key: value for key, value in row.items() if not isinstance(value, dict)} for name, row in rows.items()
    }
    pushed = {
        (subject, position): {name: _first(value) for name, value in row.items()}
        for subject in INTERVENED
        for position, row in scores.get(subject, {}).items()
    }
    tables = pd.DataFrame(checks), pd.DataFrame.from_dict(pushed, orient="index")
    return "\n\n".join(map(as_text, tables))


def _systems(lmm: LMM, subject: str, layer: Layer, position: str) -> dict[str, list[SystemRecovery]]:
    """Factor recovery of all systems."""
    return recover_factors(
        lmm, *(extract(lmm, part, subject, layer, position) for part in subject_images(subject)), N_CONCEPTS
    )


def _at(lmm: LMM, layer: Layer, position: str, pushed: dict) -> dict:
    """All checks of one subject at one position."""
    train, test = subject_images(CHECKED)
    states, few = (extract(lmm, images, CHECKED, layer, position) for images in (train, test[:N_TESTED]))
    banks = [ConceptBank.learn(lmm, states, SemiNMF(N_CONCEPTS, random_state=seed, verbose=False)) for seed in SEEDS]
    random = [ConceptBank.learn(lmm, states, RandomDictionary(N_CONCEPTS, random_state=seed)) for seed in SEEDS]
    table = comparison(_systems(lmm, CHECKED, layer, position))
    controls = {name: _ends(row, "recovered") for name, row in table.iterrows()}
    means = {"covered": controls["semi_nmf"], "removal_share": pushed["own_step"]}
    means |= {"removal_minus_random": pushed["minus_random"]}
    means |= {f"removal_share_{name}": pushed[name] for name in ("later", "mentions")}
    edits = counterfactual_edits(lmm, banks[0], [int(id) for id in test.ids[:N_EDITED]])
    pages = pages_of(states.images.ids)
    selective, by_chance = _selectivity(edits, banks, pages), _selectivity(edits, random, pages)
    results = _without_picture(lmm, banks[0], few, position) | {"diagonal": selective["share"]}
    results |= {"diagonal_sure": selective["share_significant"], "diagonal_random": by_chance["share"]}
    results |= {"diagonal_sure_random": by_chance["share_significant"]}
    means |= {name: [mean.value, mean.low, mean.high] for name, mean in results.items()}
    scores = {name: value for name, (value, *_) in means.items()} | {"diagonal_chance": selective["chance"]}
    return scores | {"intervals": {name: ends for name, (_, *ends) in means.items()}, "controls": controls}


def _without_picture(lmm: LMM, bank: ConceptBank, few: States, position: str) -> dict[str, Mean]:
    """Known truth on blank pages and on noise, of the values that concepts tell on the pages they were learned from."""
    prefixes = words_before(lmm, [encode(lmm, caption) for caption in bank.captions], [CHECKED], position)
    values = best_values(bank.activations, prefixes, pages_of(bank.ids))
    results = visual_dependence(lmm, bank, few, NO_PICTURE, knockout_from=())
    table = recovery_without_picture(results, pages_of(results.ids), values).set_index("condition")
    return {f"{name}_auc": bootstrap_mean(table.loc[name, "auc"]) for name in NO_PICTURE}


def _selectivity(edits: Counterfactuals, banks: Sequence[ConceptBank], pages: Sequence[Factors]) -> dict:
    """Concepts that their own factor moves most: share, share_significant, and the share by chance."""
    runs = [selectivity(edits.of(bank), matched_values(bank.activations, pages)) for bank in banks]
    columns = {"share": "largest", "share_significant": "significant"}
    shares = {name: share_over_seeds([run.concepts[column] for run in runs]) for name, column in columns.items()}
    return shares | {"chance": float(np.mean([run.chance for run in runs]))}


def _ends(row: pd.Series, name: str) -> list[float]:
    """A mean of a table's row and the ends of its interval."""
    return [float(row[key]) for key in (name, f"{name}_low", f"{name}_high")]


def _first(value):
    """The value of one with an interval."""
    return value[0] if isinstance(value, list) else value
