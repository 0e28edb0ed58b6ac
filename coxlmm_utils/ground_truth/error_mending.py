"""Does removing or steering a telling concept mend errors, and what does it cost? (ours)"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..concepts import ConceptBank
from ..extraction import States
from ..faithfulness import ErrorDetection
from ..models import LMM, Layer, decode, encode, generate_batch
from ..statistics import share_of
from ..steering import Steering, concept_direction, mean_difference, random_direction, set_concepts, steer
from .error_inputs import AnsweredInputs
from .model_scores import BATCH_SIZE

ALPHAS = (1.0, 2.0, 4.0, 6.0)  # of a concept, by its mean activation, towards it and away
MEAN_ALPHAS = (0.5, 1.0, 2.0)  # from the mean state of errors to that of right answers
N_EDITED = {"validation": 30, "test": 100}  # inputs answered wrong, right claims, and other right answers, at most
WAYS = {
    "removed": "the telling concept removed",
    "steered": "along the telling concept, or against it",
    "random": "along a random direction as long, or against it",
    "means": "from the mean of errors to that of what would be right",
    "gated": "the same, only where the telling concept says that the answer is wrong",
}
GROUPS = ("mended", "kept", "others")


def mending_scores(
    lmm: LMM,
    found: Mapping[Layer, tuple[ConceptBank, ErrorDetection]],
    parts: Mapping[str, AnsweredInputs],
    states: Mapping[str, States],
) -> dict:
    """What edits do to answers of test inputs, each way at the layer and strength that validation inputs choose.

    Parameters
    ----------
    lmm : LMM
    found : mapping of layer to (ConceptBank, ErrorDetection)
        The concepts of each layer that is tried, and how well they tell errors.
    parts : mapping of str to AnsweredInputs
        "train", "validation" and "test".
    states : mapping of str to States
        Of all inputs, at all these layers.

    Returns
    -------
    dict
        mended, the share of errors that are right when edited; kept, of right claims that stay right; others, of right
        answers that claim nothing (left out where there are none): [mean, low, high] each, by way (`WAYS`). settings, by
        way: layer, alpha, and n, how many answers of each of the three.
    """
    tried, tested = (Edited(parts[split], few(parts[split], n)) for split, n in N_EDITED.items())
    tried.flagged, tested.flagged = flagged(found, parts["train"], states)
    best = {}  # by way: gain, edit, alpha
    for bank, telling in found.values():
        for way, edit, alphas in edits_of(bank, telling, parts["train"], states["train"].at(bank.layer)):
            for alpha in alphas:
                for name, shares in tried.shares(lmm, way, edit, alpha).items():
                    gain = sum(share.mean() for share in shares.values() if len(share))
                    if name not in best or gain > best[name][0]:
                        best[name] = gain, edit, alpha
    scores = {name: {} for name in (*GROUPS, "settings")}
    for way, (_, edit, alpha) in best.items():
        shares = tested.shares(lmm, way, edit, alpha)[way]
        scores["settings"][way] = {"layer": edit.layer, "alpha": alpha, "n": [len(share) for share in shares.values()]}
        for name, share in shares.items():
            scores[name] |= {way: share_of(share).ends} if len(share) else {}
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


def flagged(
    found: Mapping[Layer, tuple[ConceptBank, ErrorDetection]], inputs: AnsweredInputs, states: Mapping[str, States]
) -> list[np.ndarray]:
    """Which validation and test inputs the telling concept of the best layer takes for errors: bool (inputs,) each.

    Its threshold is the one of highest sensitivity plus specificity on the claims that were learned from.
    """
    bank, telling = max(found.values(), key=lambda pair: pair[1].table["auroc_train"].max())
    side = telling.table.loc[telling.best, "side"]
    scores = {split: side * bank.project(part.at(bank.layer).Z)[:, telling.best] for split, part in states.items()}
    claims, wrong = scores["train"][inputs.claims], inputs.wrong[inputs.claims]
    thresholds = np.unique(claims)
    gains = [(claims[wrong] >= level).mean() + (claims[~wrong] < level).mean() for level in thresholds]
    return [scores[split] >= thresholds[np.argmax(gains)] for split in N_EDITED]


@dataclass
class Edited:
    """Some rows of inputs, by group, to be answered by an edited model."""

    inputs: AnsweredInputs
    rows: Mapping[str, np.ndarray]
    flagged: np.ndarray | None = None  # (inputs,) bool

    def shares(self, lmm: LMM, way: str, edit: Steering, alpha: float) -> dict[str, dict[str, np.ndarray]]:
        """Whether each answer is right, bool (rows,) for each group, by way; of means also gated ones."""
        chosen = np.concatenate(list(self.rows.values())).tolist()
        answers = edited_answers(lmm, self.inputs, chosen, edit, alpha)
        ways = {way: answers}
        if way in ("means", "gated"):
            own = self.inputs.answers
            ways["means"] = answers
            ways["gated"] = [text if self.flagged[row] else own[row] for row, text in zip(chosen, answers)]
        return {name: self._by_group(chosen, texts) for name, texts in ways.items()}

    def _by_group(self, chosen: list[int], answers: Sequence[str]) -> dict[str, np.ndarray]:
        """Whether each answer is right, for each group."""
        right = np.array([self.inputs.is_right(row, answer) for row, answer in zip(chosen, answers)], dtype=bool)
        ends = np.cumsum([len(some) for some in self.rows.values()])[:-1]
        return dict(zip(self.rows, np.split(right, ends)))


def edited_answers(lmm: LMM, inputs: AnsweredInputs, rows: Sequence[int], edit: Steering, alpha: float) -> list[str]:
    """What a model answers that is edited in one state: the one from which the answer is decided.

    Edits of every state that predicts a word break the sentence: "no yes yes yes there is a tree".
    """
    beginning, answers = encode(lmm, inputs.beginning) if inputs.beginning else [], []
    for start in range(0, len(rows), BATCH_SIZE):
        batch = rows[start : start + BATCH_SIZE]
        pictures, prompts = [inputs.images.picture(row) for row in batch], [inputs.prompts[row] for row in batch]
        with steer(lmm, edit, alpha, "last_prompt"):
            made = generate_batch(lmm, pictures, (), prompts, inputs.max_new_tokens, beginning=beginning)
        answers += [decode(lmm, [*beginning, *ids]).strip() for ids in made.ids]
    return answers


def subset_of(states: States, chosen: np.ndarray) -> States:
    """Some of the states, by a bool for each."""
    return states.subset([id for id, kept in zip(states.images.ids, chosen) if kept])
