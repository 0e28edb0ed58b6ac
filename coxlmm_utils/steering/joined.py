"""Edits made of others: another for each picture of a batch, or several one after another (ours)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..models import LMM, Layer
from .set_concepts import ConceptEdit, joint_change


class Steering(Protocol):
    """What can steer: a `Direction`, or an edit of `set_concepts` or `reach`, or `PerPicture`."""

    layer: Layer
    fingerprint: str  # of the model's weights

    def check_model(self, lmm: LMM) -> None:
        """Refuse (ValueError) another model."""

    def change(self, states: Tensor) -> Tensor:
        """What is to be added to states, (batch, positions, width)."""


@runtime_checkable
class OfEachInput(Steering, Protocol):
    """An edit with a part for each input: `PerPicture`, or `InputVectors`."""

    def __len__(self) -> int: ...

    def subset(self, rows: Sequence[int]) -> OfEachInput:
        """The edit of some inputs, by number."""


@dataclass(frozen=True, eq=False)
class _Edits:
    """Some edits of one layer and model.

    Attributes
    ----------
    edits : sequence of Direction, ConceptEdit or Reach
        Of one layer; some may be the same.
    """

    edits: Sequence[Steering]

    def __post_init__(self) -> None:
        if len(layers := {edit.layer for edit in self.edits}) != 1:
            raise ValueError(f"the edits are of layers {sorted(map(str, layers))}: give some, all of one layer")

    @property
    def layer(self) -> Layer:
        """Of all edits."""
        return self.edits[0].layer

    @property
    def fingerprint(self) -> str:
        """Of the first edit's model; `check_model` looks at all."""
        return self.edits[0].fingerprint

    def check_model(self, lmm: LMM) -> None:
        """Refuse (ValueError) another model."""
        for edit in {edit.fingerprint: edit for edit in self.edits}.values():  # a checksum of all weights each
            edit.check_model(lmm)


class PerPicture(_Edits):
    """An edit for each picture of a batch, in its order: such as a direction that depends on the input."""

    def __len__(self) -> int:
        return len(self.edits)

    def subset(self, rows: Sequence[int]) -> PerPicture:
        """Those of some pictures, by number."""
        return PerPicture([self.edits[row] for row in rows])

    def change(self, states: Tensor) -> Tensor:
        """What is to be added to states, (batch, positions, width)."""
        if len(states) != len(self.edits):
            raise ValueError(f"{len(self.edits)} edits do not fit a batch of {len(states)}: give one for each picture")
        rows_of = defaultdict(list)  # edits of one bank are made together: a projection is the slow part
        for row, edit in enumerate(self.edits):
            rows_of[id(edit.bank if isinstance(edit, ConceptEdit) else edit)].append(row)
        change = torch.empty_like(states)
        for rows in rows_of.values():
            edits = [self.edits[row] for row in rows]
            same = isinstance(edits[0], ConceptEdit)
            change[rows] = joint_change(edits, states[rows]) if same else edits[0].change(states[rows])
        return change


class InTurn(_Edits):
    """Several edits of the same states, each of what the one before it has made."""

    def change(self, states: Tensor) -> Tensor:
        """What is to be added to states, (batch, positions, width)."""
        edited = states
        for edit in self.edits:
            edited = edited + edit.change(edited)
        return edited - states
