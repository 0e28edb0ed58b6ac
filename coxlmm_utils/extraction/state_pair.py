"""The same samples in two models, such as one before and after fine-tuning: what concept shift compares (ours)."""

from __future__ import annotations

from dataclasses import dataclass

from .provenance import require_same
from .states import States


@dataclass(frozen=True)
class StatePair:
    """States of the same samples, in the same order, at the same layer and position of two models.

    A bank refuses another model's states, since its concepts mean nothing there; a pair compares two models on purpose.
    Samples are matched by picture; the captions, each model's own, may differ.

    Parameters
    ----------
    before, after : States
        Of one token, position, prompt and kind of samples; each at one layer.

    Raises
    ------
    ValueError
        If they differ in one of these or in their pictures; `StatePair.of` keeps the samples that both have.
    """

    before: States
    after: States

    def __post_init__(self) -> None:
        require_same(
            self.before, self.after, "token", "position", "prompt", "layer", "samples", names=("before", "after")
        )
        if self.before.images.ids != self.after.images.ids:
            raise ValueError("before and after have not the same samples in the same order: pair them by StatePair.of")

    def __len__(self) -> int:
        return len(self.before)

    @classmethod
    def of(cls, before: States, after: States) -> StatePair:
        """The samples that both have, by picture id, in the order of `before`; ValueError if there are none."""
        ids = set(after.images.ids)
        shared = [id for id in before.images.ids if id in ids]
        if not shared:
            raise ValueError("before and after have no sample in common: extract both from the same pictures")
        return cls(before.subset(shared), after.subset(shared))
