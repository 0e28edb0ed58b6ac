"""Set what a picture's concepts are while the model writes: an edit that depends on each state (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..concepts import ConceptBank
from ..dictionaries import concept_change
from ..models import LMM, Layer


@dataclass(frozen=True, eq=False)
class ConceptEdit:
    """Gives some concepts of each state another activation, and leaves the others and the residual as they are.

    A state is written as sum_k v_k u_k and a residual; the edit adds sum_k (value_k - v_k) u_k over the concepts that
    are set. What the dictionary does not reconstruct stays, so that setting a concept to the activation that it has
    changes nothing.

    Attributes
    ----------
    bank : ConceptBank
    values : dict of int to float
        The activation of each concept that is set.
    """

    bank: ConceptBank
    values: dict[int, float]

    @property
    def layer(self) -> Layer:
        """The bank's."""
        return self.bank.layer

    @property
    def fingerprint(self) -> str:
        """The bank's."""
        return self.bank.fingerprint

    def check_model(self, lmm: LMM) -> None:
        """Refuse (ValueError) another model than the bank's."""
        self.bank.check_model(lmm)

    def change(self, states: Tensor) -> Tensor:
        """What is to be added to states, (..., width)."""
        return joint_change([self] * len(states), states)

    def __repr__(self) -> str:
        parts = ", ".join(f"{self.bank.title(k)!r} = {value:g}" for k, value in self.values.items())
        return f"ConceptEdit(layer {self.layer} of {self.bank.model_name}: {parts})"


def joint_change(edits: Sequence[ConceptEdit], states: Tensor) -> Tensor:
    """What several edits of one bank add to states, (edits, ..., width), each to its own: one projection for all."""
    bank, n = edits[0].bank, states[0].numel() // states.shape[-1]  # n states of each edit
    V = bank.project(states.flatten(0, -2).float().cpu())  # (edits x n, concepts)
    wanted = V.copy()
    for i, edit in enumerate(edits):
        wanted[i * n : (i + 1) * n, list(edit.values)] = list(edit.values.values())
    return concept_change(bank.dictionary, V, wanted).view(states.shape).to(states)


def set_concepts(bank: ConceptBank, values: Mapping[int, float]) -> ConceptEdit:
    """An edit that gives some concepts of every state these activations, for `steer` (ours).

    Parameters
    ----------
    bank : ConceptBank
    values : mapping of int to float
        Concepts, by number, and the activation that each is to have: 0 or more, but for a bank of PCA. As a unit, the
        activations of the pictures that it was learned from: `bank.activations[:, k].max()`.

    Returns
    -------
    ConceptEdit

    Raises
    ------
    IndexError
        If there is no such concept.
    ValueError
        If nothing is set, or to what no activation can be.
    """
    if not values:
        raise ValueError("no concept is to be set: give {number: activation}")
    for concept, value in values.items():
        if not 0 <= concept < len(bank):
            raise IndexError(f"there is no concept {concept}: the bank has 0 to {len(bank) - 1}")
        if not (float("-inf") < value < float("inf")) or (value < 0 and not bank.dictionary.signed):
            raise ValueError(f"concept {concept} cannot be {value:g}: activations are finite and not negative")
    return ConceptEdit(bank, {int(concept): float(value) for concept, value in values.items()})
