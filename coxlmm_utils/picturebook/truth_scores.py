"""Do the concepts tell the truth: the checks of notebook 07 as numbers, for `make scores` (ours)."""

from __future__ import annotations

from ..altered_images import blank_images
from ..baselines import noise_images
from ..concept_bank import ConceptBank
from ..datasets import load_images
from ..extraction import extract
from ..intervention_summary import removal_summary
from ..interventions import remove_concepts
from ..lmm import LMM, Layer
from ..semi_nmf import SemiNMF
from ..states import States
from ..statistics import Mean, bootstrap_mean
from ..visual_dependence import visual_dependence, words_before
from .controls import known_answers
from .factor_changes import diagonal, factor_changes
from .factors import Factors, factors_of
from .truth_without_picture import best_values, known_truth
from .value_matching import matched_values

N_CONCEPTS = 16
N_TRAIN, N_TESTED, N_REDRAWN = 1200, 200, 40  # pages to learn from; pages not learned from, for single checks
POSITIONS = ("own", "predicts")  # the first one's scores are the main result
NO_PICTURE = {"blank": blank_images, "noise": noise_images}


def truth_scores(lmm: LMM, subject: str, layer: Layer) -> dict:
    """The checks of one subject's concepts, on pages of the validation and test splits (ours).

    Parameters
    ----------
    lmm : LMM
    subject : str
    layer : layer

    Returns
    -------
    dict
        At position "own":

        - as numbers: covered (factor values told at held-out AUC above .9); removal_share (of concepts that the model
          uses, see `removal_summary`), removal_minus_random (nats), removal_share_later and removal_share_mentions (by
          the other measures); blank_auc and noise_auc (mean known-truth AUC over concepts with such a picture in the
          place of the page); diagonal (share of matched concepts whose own factor moves them most) and diagonal_sure
          (by more than its interval);
        - intervals: [low, high] of each; controls: what each of `SYSTEMS` covers, [value, low, high];
        - predicts: all of it at that position.
    """
    scores = {position: _at(lmm, subject, layer, position) for position in POSITIONS}
    return scores["own"] | {"predicts": scores["predicts"]}


def _at(lmm: LMM, subject: str, layer: Layer, position: str) -> dict:
    """The scores at one position."""
    train = load_images("picturebook").mentioning(subject)[:N_TRAIN]
    test = load_images("picturebook", split="validation+test").mentioning(subject)
    states, held_out, few = (
        extract(lmm, images, subject, layer, position) for images in (train, test, test[:N_TESTED])
    )
    bank = ConceptBank.learn(lmm, states, SemiNMF(N_CONCEPTS, verbose=False))
    covered = {name: found.known.covered for name, found in known_answers(lmm, states, held_out, N_CONCEPTS).items()}
    means = {"covered": covered["semi_nmf"]} | _used(lmm, bank, few)
    means |= _without_picture(lmm, bank, few, subject, position) | _redrawn(lmm, bank, test.ids[:N_REDRAWN])
    scores = {name: mean.value for name, mean in means.items()}
    scores["intervals"] = {name: [mean.low, mean.high] for name, mean in means.items()}
    return scores | {"controls": {name: [mean.value, mean.low, mean.high] for name, mean in covered.items()}}


def _used(lmm: LMM, bank: ConceptBank, few: States) -> dict[str, Mean]:
    """Concepts whose removal lowers their own words."""
    table = remove_concepts(lmm, bank, few)
    words = removal_summary(table)
    found = {"removal_share": words.share, "removal_minus_random": words.minus_random}
    others = {f"removal_share_{name}": removal_summary(table, name).share for name in ("later", "mentions")}
    return found | others


def _without_picture(lmm: LMM, bank: ConceptBank, few: States, subject: str, position: str) -> dict[str, Mean]:
    """Known truth on blank pages and on noise, of the values that concepts tell on the pages they were learned from."""
    prefixes = words_before(lmm, bank.captions, [subject], position)
    values = best_values(bank.activations, prefixes, _pages(bank.ids))
    found = visual_dependence(lmm, bank, few, NO_PICTURE, cut_from=())
    table = known_truth(found, _pages(found.ids), values).set_index("condition")
    return {f"{name}_auc": bootstrap_mean(table.loc[name, "auc"]) for name in NO_PICTURE}


def _redrawn(lmm: LMM, bank: ConceptBank, ids) -> dict[str, Mean]:
    """Concepts that their own factor moves most."""
    values = matched_values(bank.activations, _pages(bank.ids))
    found = diagonal(factor_changes(lmm, bank, [int(id) for id in ids]), values)
    return {"diagonal": found.share, "diagonal_sure": found.share_sure}


def _pages(ids) -> list[Factors]:
    """What is on pages of the book."""
    return [factors_of(int(id)) for id in ids]
