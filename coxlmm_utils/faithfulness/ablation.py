"""Does the model use a concept: ablate it in the state, or put it back, and see which words change (ours).

A state z is patched with z + reconstruct(v') - reconstruct(v): the residual, which the dictionary does not reconstruct,
stays as it is, and v' = v changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..concepts import ConceptBank, ground_pictures
from ..dictionaries import concept_change, random_changes
from ..extraction import States, require_same
from ..models import LMM
from .answers import bank_key
from .edited_forward import Effects, TeacherForcedCaption, can_branch, effects, token_ids

MEASURES = ("own_step", "others_step", "own_later", "others_later", "own_mentions", "others_mentions", "target", "rest")
BEFORE = ("own_before", "target_before")
MIN_SAMPLES = 10  # per concept; with fewer the bootstrap's intervals are too narrow


def remove_concepts(
    lmm: LMM,
    bank: ConceptBank,
    states: States,
    concepts: int = 3,
    controls: int = 2,
    seed: int = 0,
    batch_size: int = 32,
) -> pd.DataFrame:
    """Take each sample's most active concepts out of its state, one at a time, with its own caption teacher-forced
    (ours).

    A concept that is seldom among the most active ones would go untested, and such concepts may be of one kind. So each
    is also taken out of the ten samples on which it is most active itself.

    The state is patched at the bank's layer and position only. At position "predicts" the target itself can change, and
    after the last block nothing else; at "own", below the last block, the words that follow it.

    The target is among the words of most concepts at "predicts", and more probable there than all their other words
    together: the probability of a set with it would say what happens to the target. So the words that ground a concept
    are taken without it; what happens to it is the column `target`.

    Parameters
    ----------
    lmm : LMM
        The model that the bank was learned on.
    bank : ConceptBank
    states : States
        Samples at the bank's layer and position; better not those that it was learned from.
    concepts : int, default 3
        How many concepts of each sample, of those that are active.
    controls : int, default 2
        Random directions for each of them, of the same norm as what is removed.
    seed : int, default 0
        Of the random directions.
    batch_size : int, default 32
        Runs of the model at once.

    Returns
    -------
    pandas.DataFrame
        Two rows for each sample and concept removed: edit "concept", and "random", the mean over the controls. Columns
        sample (picture id), concept, activation, edit, bank (its key), n_concepts (of the bank), and changes in
        log-probability, in nats; see `Effects`:

        - own_step: of the words that ground the concept, but the target, at the step that the patched state itself
          predicts; NaN if there are none
        - own_later: the mean over the later steps
        - own_mentions: of how often they are expected
        - others_step, others_later, others_mentions: how far the words of the other concepts active on the sample
          move, without those that the two share: the mean magnitude over these concepts and the steps, so that rises
          and falls do not cancel; NaN if there are none
        - target, rest: of the target word, and of the caption's words after it

        and before any change own_before, target_before: log-probabilities of the same words at the state's own step,
        and of the target.

    Raises
    ------
    ValueError
        If model, bank and states do not belong together (says how), or a number is below 1.
    """
    return _edited(lmm, bank, states, -1.0, concepts, controls, seed, batch_size)


def add_concepts(
    lmm: LMM,
    bank: ConceptBank,
    states: States,
    scale: float = 1.0,
    concepts: int = 3,
    controls: int = 2,
    seed: int = 0,
    batch_size: int = 32,
) -> pd.DataFrame:
    """As `remove_concepts`, but add each concept's part once more, times a scale (ours).

    Parameters
    ----------
    scale : float, default 1.0
        1 doubles the activation, 0 changes nothing, -1 removes.
    lmm, bank, states, concepts, controls, seed, batch_size
        As in `remove_concepts`.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    ValueError
        As `remove_concepts`.
    """
    return _edited(lmm, bank, states, scale, concepts, controls, seed, batch_size)


def curves(
    lmm: LMM, bank: ConceptBank, states: States, controls: int = 2, seed: int = 0, batch_size: int = 32
) -> pd.DataFrame:
    """Deletion and insertion: the teacher-forced caption's log-probability as concepts are removed, or put back, in
    order (ours).

    Deletion begins with the state as it is. Insertion begins with no concept, only with what the dictionary does not
    reconstruct. The order is that of activation, largest first, or random; both over the sample's active concepts only.

    Parameters
    ----------
    states : States
        Of the bank's model, token, layer and position.
    controls : int, default 2
        Random orders per sample.
    seed : int, default 0
    batch_size : int, default 32

    Returns
    -------
    pandas.DataFrame
        A row for each sample, curve, order and number of concepts.
    """
    _check(lmm, bank, states, controls=controls)
    rows, branching = [], can_branch(lmm, TeacherForcedCaption.of(lmm, states, 0), bank.layer)
    for row, V, active in _samples(bank, bank.project(states.at(bank.layer).Z)):
        rng = np.random.default_rng([seed, row])
        orders = [active, *(rng.permutation(active).tolist() for _ in range(controls))]
        paths = np.concatenate([_path(order, V) for order in orders])  # (points, concepts)
        changes = concept_change(bank.dictionary, np.broadcast_to(V, paths.shape), paths)
        forced = TeacherForcedCaption.of(lmm, states, row)
        effect = effects(lmm, forced, bank.layer, changes, [], batch_size, branching)
        by_order = zip(effect.target.chunk(len(orders)), effect.rest.chunk(len(orders)))
        for number, (target, rest) in enumerate(by_order):
            order = {"order": "random", "draw": number - 1} if number else {"order": "activation", "draw": 0}
            points = _points(active, target, rest)
            rows += [{"sample": states.images.ids[row], **order, **point} for point in points]
    return pd.DataFrame(rows, columns=["sample", "curve", "order", "draw", "n_concepts", "share", "target", "caption"])


def _edited(
    lmm: LMM, bank: ConceptBank, states: States, scale: float, concepts: int, controls: int, seed: int, batch_size: int
) -> pd.DataFrame:
    """The table of `remove_concepts`, for any scale."""
    _check(lmm, bank, states, concepts=concepts, controls=controls)
    grounded = {sign: _other_than_target(lmm, bank, states, sign) for sign in bank.sides}
    rows, key = [], bank_key(bank.activations)
    branching = can_branch(lmm, TeacherForcedCaption.of(lmm, states, 0), bank.layer)
    activations = bank.project(states.at(bank.layer).Z)  # (samples, concepts)
    strongest = ground_pictures(activations, MIN_SAMPLES)  # (concepts, samples)
    for row, V, active in _samples(bank, activations):
        removed = [k for rank, k in enumerate(active) if rank < concepts or row in strongest[k]]
        changes, words = [], []
        spoken = [grounded[-1 if v < 0 else 1][k] for k, v in enumerate(V)]  # by the side that is active
        for concept in removed:
            rng = np.random.default_rng([seed, row, concept])
            change = concept_change(bank.dictionary, V[None], _scaled(V, concept, scale))  # (1, width)
            changes += [change, random_changes(change[0], controls, rng)]
            words.append(_own_and_others(spoken, concept, active))
        forced = TeacherForcedCaption.of(lmm, states, row)
        effect = effects(lmm, forced, bank.layer, torch.cat(changes), sum(words, []), batch_size, branching)
        first = np.cumsum([0, *map(len, words)])  # of the sets, where each concept's own is
        for concept, column, measures in zip(removed, first, _by_concept(effect, words)):  # (1 + controls, measures)
            sample = {"sample": states.images.ids[row], "concept": concept, "activation": V[concept]}
            sample |= {"bank": key, "n_concepts": len(bank)} | dict(zip(BEFORE, effect.before[[column, -1]].tolist()))
            for edit, values in (("concept", measures[0]), ("random", measures[1:].mean(dim=0))):
                rows.append(sample | {"edit": edit} | dict(zip(MEASURES, values.tolist())))
    columns = ["sample", "concept", "activation", "bank", "n_concepts", "edit", *MEASURES, *BEFORE]
    return pd.DataFrame(rows, columns=columns)


def _other_than_target(lmm: LMM, bank: ConceptBank, states: States, sign: int) -> list[list[int]]:
    """The tokens that ground each concept on one side, without those of the target."""
    [target, *grounded] = token_ids(lmm, [states.spellings, *(bank.words_of(k, sign).kept for k in range(len(bank)))])
    return [sorted(set(ids) - set(target)) for ids in grounded]


def _scaled(V: np.ndarray, concept: int, scale: float) -> np.ndarray:
    """Activations with one concept's part added once more, times a scale: (1, concepts)."""
    V = V[None].copy()
    V[0, concept] += scale * V[0, concept]
    return V


def _own_and_others(grounded: list[list[int]], concept: int, active: list[int]) -> list[list[int]]:
    """The tokens of a concept, then those of each other active concept that are not the first one's."""
    others = [sorted(set(grounded[other]) - set(grounded[concept])) for other in active if other != concept]
    return [grounded[concept], *(ids for ids in others if ids)]


def _by_concept(effect: Effects, words: Sequence[list]) -> Iterator[Tensor]:
    """The measures of each concept's changes: (1 + controls, measures)."""
    size, column = len(effect.rest) // len(words), 0
    for number, sets in enumerate(words):
        rows, columns = slice(number * size, (number + 1) * size), slice(column, column + len(sets))
        measures = []
        # Steps apart; magnitudes before any mean, or the rises and falls of others' words would cancel.
        mentions = effect.mentions[..., None]
        for values in (effect.words[..., :1], effect.words[..., 1:], mentions):  # (changes, sets, steps)
            values = values[rows, columns]
            measures += [values[:, 0].mean(dim=-1), values[:, 1:].abs().mean(dim=(1, 2))]
        yield torch.stack([*measures, effect.target[rows], effect.rest[rows]], dim=1)
        column += len(sets)


def _path(order: Sequence[int], V: np.ndarray) -> np.ndarray:
    """Activations as concepts are removed in order, then as they are put back: (2 (concepts in order + 1), concepts)."""
    kept = np.repeat(V[None], len(order) + 1, axis=0)
    for step, concept in enumerate(order):
        kept[step + 1 :, concept] = 0
    return np.concatenate([kept, V - kept])


def _points(active: Sequence[int], target: Tensor, rest: Tensor) -> list[dict]:
    """Table rows of one order's two curves, from the effects of its path."""
    n_steps = len(active) + 1
    return [
        {
            "curve": ("deletion", "insertion")[point // n_steps],
            "n_concepts": point % n_steps,
            "share": point % n_steps / len(active),
            "target": float(of_target),
            "caption": float(of_target + of_rest),
        }
        for point, (of_target, of_rest) in enumerate(zip(target, rest))
    ]


def _samples(bank: ConceptBank, activations: np.ndarray) -> Iterator[tuple[int, np.ndarray, list[int]]]:
    """Each sample with an active concept: its row, activations, and active concepts by magnitude, largest first."""
    for row, V in enumerate(tqdm(activations, desc=f"patching {bank.token!r}", unit="samples")):
        active = [int(concept) for concept in np.argsort(-np.abs(V), kind="stable") if V[concept] != 0]
        if active:
            yield row, V, active


def _check(lmm: LMM, bank: ConceptBank, states: States, **counts: int) -> None:
    """Refuse states that the bank's concepts cannot be read from, and counts below 1."""
    bank.check_model(lmm)
    require_same(bank, states, "fingerprint", "position", names=("the bank", "the states"))
    if "tokens" in states.provenance:
        raise ValueError(f"the states are of {', '.join(states.provenance['tokens'])}: give those of one token")
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count} leaves nothing to compare: give at least 1.")
