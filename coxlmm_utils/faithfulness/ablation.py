"""Does the model use a concept: take it out of the state, or put it back, and see which words change (ours).

The paper (arXiv 2406.08074) reads concepts and changes nothing. A state z is changed by what the dictionary rebuilds of
it, z + rebuilt(v') - rebuilt(v), so that what it does not rebuild stays as it is, and v' = v changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..concepts import ConceptBank
from ..dictionaries import concept_change, random_changes
from ..extraction import States
from ..models import LMM
from .edited_forward import Effects, ForcedCaption, effects, token_ids

MEASURES = ("own", "others", "own_later", "others_later", "own_mentions", "others_mentions", "target", "rest")


def remove_concepts(
    lmm: LMM,
    bank: ConceptBank,
    states: States,
    concepts: int = 3,
    controls: int = 2,
    seed: int = 0,
    batch_size: int = 32,
) -> pd.DataFrame:
    """Take each sample's most active concepts out of its state, one at a time, with its own caption forced (ours).

    The state is changed at the bank's layer and position only. At position "predicts" the target itself can change, and
    after the last block nothing else; at "own", below the last block, the words that follow it.

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
        Random directions for each of them, as long as what is removed.
    seed : int, default 0
        Of the random directions.
    batch_size : int, default 32
        Runs of the model at once.

    Returns
    -------
    pandas.DataFrame
        Two rows for each sample and concept removed: edit "concept", and "random", the mean over the controls. Columns
        sample (picture id), concept, activation, edit, and changes in log-probability, in nats; see `Effects`:

        - own: of the words that ground the concept; NaN if there are none
        - others: of the words of each other concept active on the sample, without those that the two share; the mean
          over those concepts, NaN if there are none
        - own_later, others_later: the same without the step that the changed state itself writes
        - own_mentions, others_mentions: the same of how often the words are expected
        - target, rest: of the target word, and of the caption's words after it

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
    """Deletion and insertion: the forced caption's log-probability as concepts are removed, or put back, in order (ours).

    Deletion begins with the state as it is. Insertion begins with no concept, only with what the dictionary does not
    rebuild. The order is that of activation, largest first, or random; both over the sample's active concepts only.

    Parameters
    ----------
    lmm, bank, states, seed, batch_size
        As in `remove_concepts`.
    controls : int, default 2
        Random orders of each sample.

    Returns
    -------
    pandas.DataFrame
        A row for each point: sample, curve ("deletion" or "insertion"), order ("activation" or "random"), draw (of the
        order), edited (concepts so far), share (of the active ones, 0 to 1), and changes from the run without an edit in
        nats: target, and caption, which is the target and all that follows it. A sample without an active concept has
        no rows.

    Raises
    ------
    ValueError
        As `remove_concepts`.
    """
    _check(lmm, bank, states, controls=controls)
    rows = []
    for row, V, active in _samples(bank, states):
        rng = np.random.default_rng([seed, row])
        orders = [active, *(rng.permutation(active).tolist() for _ in range(controls))]
        paths = np.concatenate([_path(order, V) for order in orders])  # (points, concepts)
        changes = concept_change(bank.dictionary, np.broadcast_to(V, paths.shape), paths)
        found = effects(lmm, ForcedCaption.of(lmm, states, row), bank.layer, changes, [], batch_size)
        each = zip(found.target.chunk(len(orders)), found.rest.chunk(len(orders)))
        for place, (target, rest) in enumerate(each):
            order = {"order": "random", "draw": place - 1} if place else {"order": "activation", "draw": 0}
            points = _points(active, target, rest)
            rows += [{"sample": states.images.ids[row], **order, **point} for point in points]
    return pd.DataFrame(rows, columns=["sample", "curve", "order", "draw", "edited", "share", "target", "caption"])


def _edited(
    lmm: LMM, bank: ConceptBank, states: States, scale: float, concepts: int, controls: int, seed: int, batch_size: int
) -> pd.DataFrame:
    """The table of `remove_concepts`, for any scale."""
    _check(lmm, bank, states, concepts=concepts, controls=controls)
    grounded = token_ids(lmm, [words.kept for words in bank.words])
    rows = []
    for row, V, active in _samples(bank, states):
        changes, words = [], []
        for concept in active[:concepts]:
            rng = np.random.default_rng([seed, row, concept])
            change = concept_change(bank.dictionary, V[None], _scaled(V, concept, scale))  # (1, width)
            changes += [change, random_changes(change[0], controls, rng)]
            words.append(_own_and_others(grounded, concept, active))
        forced = ForcedCaption.of(lmm, states, row)
        found = effects(lmm, forced, bank.layer, torch.cat(changes), sum(words, []), batch_size)
        for concept, mine in zip(active, _of_each(found, words)):  # (1 + controls, measures)
            sample = {"sample": states.images.ids[row], "concept": concept, "activation": V[concept]}
            for edit, values in (("concept", mine[0]), ("random", mine[1:].mean(dim=0))):
                rows.append(sample | {"edit": edit} | dict(zip(MEASURES, values.tolist())))
    return pd.DataFrame(rows, columns=["sample", "concept", "activation", "edit", *MEASURES])


def _scaled(V: np.ndarray, concept: int, scale: float) -> np.ndarray:
    """Activations with one concept's part added once more, times a scale: (1, concepts)."""
    V = V[None].copy()
    V[0, concept] += scale * V[0, concept]
    return V


def _own_and_others(grounded: list[list[int]], concept: int, active: list[int]) -> list[list[int]]:
    """The tokens of a concept, then those of each other active concept that are not the first one's."""
    others = [sorted(set(grounded[other]) - set(grounded[concept])) for other in active if other != concept]
    return [grounded[concept], *(ids for ids in others if ids)]


def _of_each(found: Effects, words: Sequence[list]) -> Iterator[Tensor]:
    """The measures of each concept's changes: (1 + controls, measures)."""
    size, column = len(found.rest) // len(words), 0
    for place, sets in enumerate(words):
        rows, columns = slice(place * size, (place + 1) * size), slice(column, column + len(sets))
        measures = []
        for values in (found.words, found.later, found.mentions):  # (1 + controls, sets)
            values = values[rows, columns]
            measures += [values[:, 0], values[:, 1:].mean(dim=1)]
        yield torch.stack([*measures, found.target[rows], found.rest[rows]], dim=1)
        column += len(sets)


def _path(order: Sequence[int], V: np.ndarray) -> np.ndarray:
    """Activations as concepts are removed in order, then as they are put back: (2 (concepts in order + 1), concepts)."""
    kept = np.repeat(V[None], len(order) + 1, axis=0)
    for place, concept in enumerate(order):
        kept[place + 1 :, concept] = 0
    return np.concatenate([kept, V - kept])


def _points(active: Sequence[int], target: Tensor, rest: Tensor) -> list[dict]:
    """Table rows of one order's two curves, from the effects of its path."""
    steps = len(active) + 1
    return [
        {
            "curve": ("deletion", "insertion")[place // steps],
            "edited": place % steps,
            "share": place % steps / len(active),
            "target": float(one),
            "caption": float(one + other),
        }
        for place, (one, other) in enumerate(zip(target, rest))
    ]


def _samples(bank: ConceptBank, states: States) -> Iterator[tuple[int, np.ndarray, list[int]]]:
    """Each sample with an active concept: its row, activations, and active concepts by magnitude, largest first."""
    activations = bank.project(states.at(bank.layer).Z)  # (samples, concepts)
    for row, V in enumerate(tqdm(activations, desc=f"editing {bank.token!r}", unit="samples")):
        active = [int(concept) for concept in np.argsort(-np.abs(V), kind="stable") if V[concept] != 0]
        if active:
            yield row, V, active


def _check(lmm: LMM, bank: ConceptBank, states: States, **counts: int) -> None:
    """Refuse states that the bank's concepts cannot be read from, and counts below 1."""
    bank.check_model(lmm)
    for name, own, given in (
        ("model", bank.fingerprint, states.fingerprint),
        ("position", bank.position, states.position),
    ):
        if own != given:
            raise ValueError(
                f"the bank is of {name} {own!r}, but the states are of {name} {given!r}: extract them alike"
            )
    if "tokens" in states.provenance:
        raise ValueError(f"the states are of {', '.join(states.provenance['tokens'])}: give those of one token")
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count} leaves nothing to compare: give at least 1.")
