"""Does removing or steering a telling concept mend errors, and what does it cost? (ours)"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..concepts import ConceptBank
from ..extraction import States
from ..faithfulness import ErrorDetection
from ..models import LMM, Layer, decode, encode, generate_batch
from ..statistics import share_of
from ..steering import Steering, concept_direction, mean_difference, random_direction, set_concepts, steer
from .error_inputs import AnsweredInputs
from .model_scores import BATCH_SIZE

ALPHAS = (1.0, 2.0, 3.0, 4.0, 6.0)  # of a concept, by its mean activation, towards it and away
MEAN_ALPHAS = (0.5, 1.0, 1.5, 2.0)  # from the mean state of errors to that of right answers
N_EDITED = {"validation": 40, "test": 100}  # inputs answered wrong, right claims, and other right answers, at most
WAYS = {
    "removed": "the telling concept removed",
    "steered": "along the telling concept, or against it",
    "random": "along a random direction as long, or against it",
    "means": "from the mean of errors to that of what would be right",
}
GROUPS = ("mended", "kept", "others")


def mending_scores(
    lmm: LMM,
    found: Mapping[Layer, tuple[ConceptBank, ErrorDetection]],
    parts: Mapping[str, AnsweredInputs],
    states: States,
) -> dict:
    """What edits do to answers of test inputs, each way at the layer and strength that validation inputs choose.

    Parameters
    ----------
    lmm : LMM
    found : mapping of layer to (ConceptBank, ErrorDetection)
        The concepts of each layer that is tried, and how well they tell errors.
    parts : mapping of str to AnsweredInputs
        "train", "validation" and "test".
    states : States
        Of the train inputs, at all these layers.

    Returns
    -------
    dict
        mended, the share of errors that are right when edited; kept, of right claims that stay right; others, of right
        answers that claim nothing (NaN where there are none): [mean, low, high] each, by way (`WAYS`). settings, by
        way: layer, alpha, and n, how many answers of each of the three.
    """
    tried, tested = ((parts[split], few(parts[split], n)) for split, n in N_EDITED.items())
    best = {}  # by way: gain, edit, alpha
    for bank, telling in found.values():
        for way, edit, alphas in edits_of(bank, telling, parts["train"], states.at(bank.layer)):
            for alpha, shares in edited_shares(lmm, *tried, edit, alphas).items():
                gain = sum(share.mean() for share in shares.values() if len(share))
                if way not in best or gain > best[way][0]:
                    best[way] = gain, edit, alpha
    scores = {name: {} for name in (*GROUPS, "settings")}
    for way, (_, edit, alpha) in best.items():
        shares = edited_shares(lmm, *tested, edit, [alpha])[alpha]
        scores["settings"][way] = {"layer": edit.layer, "alpha": alpha, "n": [len(share) for share in shares.values()]}
        for name, share in shares.items():
            scores[name][way] = share_of(share).ends if len(share) else [float("nan")] * 3
    return scores


def few(inputs: AnsweredInputs, n: int) -> dict[str, np.ndarray]:
    """Rows of n errors, right claims, and other right answers, at most."""
    right = ~inputs.wrong
    masks = (inputs.claims & inputs.wrong, inputs.claims & right, ~inputs.claims & right)
    return {name: np.flatnonzero(mask)[:n] for name, mask in zip(GROUPS, masks)}


def edits_of(
    bank: ConceptBank, telling: ErrorDetection, inputs: AnsweredInputs, states: States
) -> Iterator[tuple[str, Steering, list[float]]]:
    """Every way, edit and strength that is tried at a bank's layer."""
    if removable := telling.telling(1, side=1):  # high in errors: what is removed from these
        yield "removed", set_concepts(bank, {removable[0]: 0.0}), [1.0]
    direction, both = concept_direction(bank, telling.best), [*ALPHAS, *(-alpha for alpha in ALPHAS)]
    if direction.norm:
        yield "steered", direction, both
        yield "random", random_direction(direction), both
    errors, right = inputs.claims & inputs.wrong, ~inputs.wrong
    wanted = right & ~inputs.claims if (right & ~inputs.claims).any() else right
    yield "means", mean_difference(*(subset_of(states, some) for some in (errors, wanted))), list(MEAN_ALPHAS)


def edited_shares(
    lmm: LMM, inputs: AnsweredInputs, rows: Mapping[str, np.ndarray], edit: Steering, alphas: Sequence[float]
) -> dict[float, dict[str, np.ndarray]]:
    """By strength whether each answer of the edited model is right: bool (rows,) for each group of rows."""
    chosen, shares = np.concatenate(list(rows.values())).tolist(), {}
    edited = edited_answers(lmm, inputs, chosen, edit, alphas)
    ends = np.cumsum([len(some) for some in rows.values()])[:-1]
    for alpha in alphas:
        right = np.array([inputs.is_right(row, answer) for row, answer in zip(chosen, edited[alpha])], dtype=bool)
        shares[alpha] = dict(zip(rows, np.split(right, ends)))
    return shares


def edited_answers(
    lmm: LMM, inputs: AnsweredInputs, rows: Sequence[int], edit: Steering, alphas: Sequence[float]
) -> dict[float, list[str]]:
    """By strength the answers of a model that is edited in one state: the one from which the answer is decided.

    Edits of every state that predicts a word break the sentence: "no yes yes yes there is a tree".
    """
    beginning, answers = encode(lmm, inputs.beginning) if inputs.beginning else [], {alpha: [] for alpha in alphas}
    for start in range(0, len(rows), BATCH_SIZE):
        batch = rows[start : start + BATCH_SIZE]
        pictures, prompts = [inputs.images.picture(row) for row in batch], [inputs.prompts[row] for row in batch]
        for alpha in alphas:
            with steer(lmm, edit, alpha, "last_prompt"):
                made = generate_batch(lmm, pictures, (), prompts, inputs.max_new_tokens, beginning=beginning)
            answers[alpha] += [decode(lmm, [*beginning, *ids]).strip() for ids in made.ids]
    return answers


def subset_of(states: States, chosen: np.ndarray) -> States:
    """Some of the states, by a bool for each."""
    return states.subset([id for id, kept in zip(states.images.ids, chosen) if kept])
