"""Move a state along a direction only as far as is missing: an edit that depends on each state (ours)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..models import LMM, Layer
from .directions import Direction


@dataclass(frozen=True, eq=False)
class Reach:
    """Raises each state's coordinate along a direction to that of the mean to be reached; larger ones stay.

    A fixed vector moves every state by as much, also those that are there already, again with every token that is
    generated, and until the text breaks. This moves a state by what it lacks.

    Attributes
    ----------
    direction : Direction
        With a `start`: a difference of means has one.
    """

    direction: Direction

    @property
    def layer(self) -> Layer:
        """The direction's."""
        return self.direction.layer

    @property
    def fingerprint(self) -> str:
        """The direction's."""
        return self.direction.fingerprint

    def check_model(self, lmm: LMM) -> None:
        """Refuse (ValueError) another model than the direction's."""
        self.direction.check_model(lmm)

    def change(self, states: Tensor) -> Tensor:
        """What is to be added to states, (..., width)."""
        norm = self.direction.norm
        unit = (self.direction.vector / norm).to(states.device)
        lacking = self.direction.start + norm - states.float() @ unit  # (...)
        return (lacking.clamp(min=0)[..., None] * unit).to(states.dtype)

    def __repr__(self) -> str:
        return f"Reach({self.direction!r})"


def reach(direction: Direction) -> Reach:
    """An edit that moves states to the mean that a direction leads to, along it, for `steer` (ours).

    Parameters
    ----------
    direction : Direction
        Of `mean_difference`.

    Returns
    -------
    Reach

    Raises
    ------
    ValueError
        If the direction has no start, as a sum, a concept or a random one has not, or no length.
    """
    if direction.start is None or not direction.norm:
        raise ValueError(f"{direction!r} has no mean to reach: give a difference of two different means")
    return Reach(direction)
