"""Concepts of errors in numbers: which tell a hallucination, and whether removing or steering them mends it (ours).

Of the book's biased model: among questions about companions that it answers with yes, those where there is none. Of
any model that captions the book: captions that name a wrong kind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..concepts import ConceptBank
from ..dictionaries import SemiNMF
from ..extraction import States
from ..faithfulness import ErrorDetection, auroc, error_detection
from ..models import LMM, Layer
from .error_inputs import AnsweredInputs, answered_questions, captioned_pages
from .error_mending import GROUPS, mending_scores, subset_of
from .model_scores import as_text

N_QUESTIONS = {"train": 600, "validation": 300, "test": 600}
N_PAGES = {"train": 200, "validation": 100, "test": 200}  # of each subject, for captions
CONFUSED = ("dog", "cat", "horse")  # kinds that captions confuse
CAPTION_LAYERS = 0.5, 0.8  # as shares of all layers: a DePALM has 30, and each is slow to steer
N_CONCEPTS = 20

Found = Mapping[Layer, tuple[ConceptBank, ErrorDetection]]


def error_scores(lmm: LMM) -> dict:
    """Hallucinated companions: which concepts tell them, and what mends them.

    Parameters
    ----------
    lmm : LMM
        One that answers the book's questions about companions in a sentence with yes or no, and is wrong at times:
        "picturebook-biased".

    Returns
    -------
    dict
        Of test questions that are answered with yes, [mean, low, high] each: auroc, of the telling concept's activation;
        direction, of the telling concept's product with the state; random and random_direction, of the best of as many
        random ones; probe; asked, of how often the same noun is wrong on pages of the same kind, which takes no look
        for it. typical: the same among questions about the noun that the kind is mostly seen with. layer, and layers,
        a row for each, on the questions learned from. mended and kept, by what is changed: see `mending_scores`.
    """
    parts = {split: answered_questions(lmm, split, n) for split, n in N_QUESTIONS.items()}
    layers = list(range(1, lmm.n_layers + 1))
    states = {split: part.states(lmm, layers) for split, part in parts.items()}
    found = found_at(lmm, parts, states, layers)
    scores = detection_scores(found, parts)
    typical = {split: part.claims & part.typical for split, part in parts.items()}
    bank, _ = found[scores["layer"]]
    scores["typical"] = _scores(detected(bank, parts, states, typical)) | _asked(parts, typical)
    return scores | mending_scores(lmm, found, parts, states)


def caption_error_scores(lmm: LMM, average: bool = False) -> dict:
    """Captions that name a wrong kind: which concepts tell them, and what mends them.

    Parameters
    ----------
    lmm : LMM
        Any that captions the book's pages and errs at times, such as "picturebook-depalm".
    average : bool, default False
        States averaged over the caption, in place of the one from which the kind is decided.

    Returns
    -------
    dict
        As that of `error_scores`, but for typical; asked is here how often captions that name the same kind are wrong,
        and edits are tried at `layer` alone.
    """
    parts = {split: captioned_pages(lmm, split, CONFUSED, n) for split, n in N_PAGES.items()}
    layers = sorted({max(1, round(share * lmm.n_layers)) for share in CAPTION_LAYERS} | {lmm.n_layers - 1})
    states = {split: part.states(lmm, layers, average) for split, part in parts.items()}
    found = found_at(lmm, parts, states, layers)
    scores = detection_scores(found, parts)
    return scores | mending_scores(lmm, {scores["layer"]: found[scores["layer"]]}, parts, states)


def found_at(
    lmm: LMM, parts: Mapping[str, AnsweredInputs], states: Mapping[str, States], layers: Sequence[Layer]
) -> Found:
    """At each layer the concepts of all train inputs' states, right and wrong, and how well they tell errors."""
    claims = {split: part.claims for split, part in parts.items()}
    found = {}
    for layer in layers:
        bank = ConceptBank.learn(lmm, states["train"].at(layer), SemiNMF(N_CONCEPTS, verbose=False))
        found[layer] = bank, detected(bank, parts, states, claims)
    return found


def detection_scores(found: Found, parts: Mapping[str, AnsweredInputs]) -> dict:
    """The scores of test inputs, at the layer whose best concept tells most on train inputs; and of all layers."""
    rows = [{"layer": layer, "auroc_train": _train(one)} | _scores(one) for layer, (_, one) in found.items()]
    layer = max(found, key=lambda layer: _train(found[layer][1]))
    claims = {split: part.claims for split, part in parts.items()}
    return {"layer": layer, **_scores(found[layer][1]), **_asked(parts, claims), "layers": rows}


def detected(
    bank: ConceptBank,
    parts: Mapping[str, AnsweredInputs],
    states: Mapping[str, States],
    chosen: Mapping[str, np.ndarray],
) -> ErrorDetection:
    """`error_detection` on some of the train and test inputs, at the bank's layer."""
    some = {split: subset_of(states[split].at(bank.layer), chosen[split]) for split in ("train", "test")}
    wrong = {split: parts[split].wrong[chosen[split]] for split in some}
    pages = np.array(parts["test"].pages)[chosen["test"]].tolist()
    return error_detection(bank, some["train"], wrong["train"], some["test"], wrong["test"], pages)


def _train(detection: ErrorDetection) -> float:
    """The AUROC that the best concept was chosen by."""
    return float(detection.table["auroc_train"].max())


def _scores(detection: ErrorDetection) -> dict:
    """Numbers of a detection; the best concept's AUROC under the name auroc."""
    means = {name: mean.ends for name, mean in detection.means.items()}
    return {
        "auroc": means.pop("concept"),
        **means,
        "concept": detection.best,
        "n": [*detection.n_train, *detection.n_test],
    }


def _asked(parts: Mapping[str, AnsweredInputs], chosen: Mapping[str, np.ndarray]) -> dict:
    """The AUROC of the share of errors among train inputs that are asked alike."""
    train, test = parts["train"], parts["test"]
    errors = defaultdict(list)
    for row in np.flatnonzero(chosen["train"]):
        errors[train.asked[row]].append(train.wrong[row])
    overall = float(train.wrong[chosen["train"]].mean())
    rows = np.flatnonzero(chosen["test"])
    shares = [np.mean(errors.get(test.asked[row], [overall])) for row in rows]
    return {"asked": auroc(shares, test.wrong[rows], [test.pages[row] for row in rows]).ends}


def error_table(scores: dict) -> str:
    """The scores as text: AUROCs of either set of questions, then what mends and what it costs."""
    names = ("auroc", "random", "direction", "random_direction", "probe", "asked")
    sets = {"all": scores} | ({"typical": scores["typical"]} if "typical" in scores else {})
    tables = [pd.DataFrame({name: {key: part[key][0] for key in names} for name, part in sets.items()}).T]
    ways = {way: {name: scores[name][way][0] for name in GROUPS if way in scores[name]} for way in scores["mended"]}
    settings = {way: scores["settings"][way] for way in ways}
    tables.append(pd.DataFrame.from_dict({way: ways[way] | settings[way] for way in ways}, orient="index"))
    return "\n\n".join(map(as_text, tables))
