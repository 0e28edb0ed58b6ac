"""Steering vectors: differences of means (coarse), of concepts (fine-grained), and random ones (arXiv 2501.03012)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor

from ..concepts import ConceptBank
from ..extraction import StatePair, States, require_same
from ..models import LMM, Layer
from .saving import load_tensors, save_tensors

KIND, NAME = "direction", "direction"  # of what is saved, in words and as files
POSITIONS_READ = ("position", "prompt")  # what two sets of states must share, beside model and layer


@dataclass(frozen=True, eq=False)
class Direction:
    """A vector of one layer's residual stream that steers what a model writes (arXiv 2501.03012).

    Directions of one model and layer can be added and subtracted, and any can be multiplied by a number.

    Attributes
    ----------
    vector : Tensor
        (width,), float32, on the CPU. Its length counts: alpha multiplies it.
    layer : layer
    made : str
        How, in words: "mean of 210 'beach' states minus mean of 590 others".
    model : str
        The LMM's name, for others to read.
    fingerprint : str
        Of its weights.
    samples : tuple of int
        How many states each of its parts is made of.
    start : float or None
        Of a difference of means the coordinate, along it, of the mean that it leaves; else None. See `reach`.
    """

    vector: Tensor
    layer: Layer
    made: str
    model: str
    fingerprint: str
    samples: tuple[int, ...] = field(default=())
    start: float | None = None

    @property
    def norm(self) -> float:
        """Its length, in the unit of a state."""
        return self.vector.norm().item()

    def __add__(self, other: Direction) -> Direction:
        self._check_same(other)
        made, samples = f"{self.made} + {other.made}", self.samples + other.samples
        return replace(self, vector=self.vector + other.vector, made=made, samples=samples, start=None)

    def __sub__(self, other: Direction) -> Direction:
        self._check_same(other)
        made, samples = f"{self.made} - ({other.made})", self.samples + other.samples
        return replace(self, vector=self.vector - other.vector, made=made, samples=samples, start=None)

    def __mul__(self, factor: float) -> Direction:
        return replace(self, vector=self.vector * float(factor), made=f"{factor:g} x ({self.made})", start=None)

    __rmul__ = __mul__

    def __neg__(self) -> Direction:
        return self * -1

    def __repr__(self) -> str:
        return f"Direction(layer {self.layer} of {self.model}, norm {self.norm:.3g}: {self.made})"

    def change(self, states: Tensor) -> Tensor:
        """What is to be added to states, (..., width): the vector, whatever they are."""
        return self.vector.to(states).expand_as(states)

    def check_model(self, lmm: LMM) -> None:
        """Refuse (ValueError) another model than that of the states it was made of."""
        if self.fingerprint != lmm.fingerprint:
            raise ValueError(
                f"the direction is of {self.model} (weights {self.fingerprint}), not of {lmm.name} "
                f"({lmm.fingerprint}): make it anew with this model's states"
            )

    def save(self, folder: str | Path) -> Path:
        """Write the direction as safetensors and json, whole or not at all.

        Parameters
        ----------
        folder : str or Path
            New, empty or of an earlier direction.

        Returns
        -------
        Path
        """
        record = {name: value for name, value in asdict(self).items() if name != "vector"}
        return save_tensors(folder, KIND, NAME, {"vector": self.vector}, record)

    @classmethod
    def load(cls, folder: str | Path) -> Direction:
        """Read a saved direction.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If its files are damaged, or of a later version.
        """
        return load_tensors(folder, KIND, NAME, cls._of)

    @classmethod
    def _of(cls, record: dict, tensors: dict[str, Tensor]) -> Direction:
        """A direction of what its files hold."""
        vector = tensors["vector"]
        if vector.dim() != 1 or not vector.isfinite().all() or not isfinite(record["start"] or 0):
            raise ValueError("its numbers are none")
        texts = {name: record[name] for name in ("made", "model", "fingerprint")}
        if not all(isinstance(text, str) for text in texts.values()) or not isinstance(record["layer"], int | str):
            raise ValueError("its record cannot be understood")
        samples, start = tuple(map(int, record["samples"])), record["start"]
        return cls(vector.float(), record["layer"], samples=samples, start=start and float(start), **texts)

    def _check_same(self, other: Direction) -> None:
        """Refuse two of different models or layers."""
        for name in ("fingerprint", "layer"):
            a, b = getattr(self, name), getattr(other, name)
            if a != b:
                raise ValueError(f"two directions of different {name} ({a!r} and {b!r}) cannot be joined")


def mean_difference(away: States, towards: States, layer: Layer | None = None) -> Direction:
    """From the mean of some states to that of others: the coarse direction (arXiv 2501.03012).

    Parameters
    ----------
    away, towards : States
        Of one model, position and prompt; alpha 1 moves the mean of the first to that of the second.
    layer : layer, optional
        By default the states' own, if they have one.

    Returns
    -------
    Direction

    Raises
    ------
    ValueError
        If there are no states, or the two are not alike.
    """
    require_same(away, towards, "model", *POSITIONS_READ, names=("the states to leave", "the states to reach"))
    parts = [states if layer is None else states.at(layer) for states in (away, towards)]
    if parts[0].layer != parts[1].layer:
        raise ValueError(f"the states are of layers {parts[0].layer} and {parts[1].layer}: give layer=")
    if not all(map(len, parts)):
        raise ValueError("a mean of no states is nothing: give some of either kind")
    means = [part.Z.double().mean(dim=0) for part in parts]  # (width,) each
    made = f"mean of {len(towards):,} states minus mean of {len(away):,}"
    difference = means[1] - means[0]
    start = float(means[0] @ difference) / (float(difference.norm()) or 1.0)
    direction = _direction(difference.float(), parts[0], made, (len(away), len(towards)))
    return replace(direction, start=start)


def shift_direction(pair: StatePair, undo: bool = False) -> Direction:
    """What fine-tuning adds to states on average, as a direction of the model before (ours).

    Parameters
    ----------
    pair : StatePair
        States of the same samples before and after.
    undo : bool, default False
        The other way: a direction of the model after, away from what fine-tuning added.

    Returns
    -------
    Direction
    """
    states, others = (pair.after, pair.before) if undo else (pair.before, pair.after)
    made = f"mean move of {len(pair):,} states from {states.model_name} to {others.model_name}"
    moves = others.Z.double() - states.Z.double()  # (samples, width)
    return _direction(moves.mean(dim=0).float(), states, made, (len(pair),))


def concept_difference(bank: ConceptBank, away: int, towards: int) -> Direction:
    """From one concept to another: the fine-grained direction u_j - u_i (arXiv 2501.03012).

    Parameters
    ----------
    bank : ConceptBank
        Of K-Means the difference of two cluster centres, as in the paper; of a dictionary of unit concepts (Semi-NMF),
        which says nothing of lengths, each is as long as it is active on average where it is active (ours).
    away, towards : int
        Numbers of concepts.

    Returns
    -------
    Direction
    """
    difference = concept_direction(bank, towards) - concept_direction(bank, away)
    return replace(difference, made=f"concept {bank.title(towards)!r} minus {bank.title(away)!r}")


def concept_direction(bank: ConceptBank, concept: int) -> Direction:
    """One concept, as long as its mean activation where it is active; of K-Means and Simple as it is (ours).

    Parameters
    ----------
    bank : ConceptBank
    concept : int

    Returns
    -------
    Direction

    Raises
    ------
    IndexError
        If there is no such concept.
    """
    if not 0 <= concept < len(bank):
        raise IndexError(f"there is no concept {concept}: the bank has 0 to {len(bank) - 1}")
    active = bank.activations[:, concept]
    active = active[active != 0]
    length = active.mean() if bank.dictionary.additive and len(active) else float(len(active) > 0)
    vector = torch.as_tensor(bank.concepts[concept]).float() * float(length)
    return _direction(vector, bank, f"concept {bank.title(concept)!r}", (len(active),))


def random_direction(like: Direction, seed: int = 0) -> Direction:
    """A direction of the same length that means nothing: the control Norm-Rnd (arXiv 2508.12815).

    Parameters
    ----------
    like : Direction
        Whose model, layer and norm it has.
    seed : int, default 0

    Returns
    -------
    Direction
    """
    vector = torch.randn(len(like.vector), generator=torch.Generator().manual_seed(seed))
    return replace(
        like, vector=vector * (like.norm / vector.norm()), made=f"random, seed {seed}", samples=(), start=None
    )


def _direction(vector: Tensor, of: States | ConceptBank, made: str, samples: Sequence[int]) -> Direction:
    """A direction of the model and layer of some states or of a bank."""
    return Direction(vector, of.layer, made, of.model_name, of.fingerprint, tuple(samples))
