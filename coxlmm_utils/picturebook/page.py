"""One page of the picture book: its factors, picture and reference captions."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
from PIL import Image

from .captions import references_for
from .drawing import draw_layers
from .factors import Factors, allowed_values, factors_of


@dataclass(frozen=True)
class Page:
    """A page (ours).

    Attributes
    ----------
    number : int
        Decides all that the factors leave open: where things stand, the clouds, the wording of the captions.
    factors : Factors
        What the page shows.
    """

    number: int
    factors: Factors

    @cached_property
    def picture(self) -> Image.Image:
        """The drawn page, 144 x 144 RGB."""
        return self._layers[0]

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Where "subject" and "companion" are seen: bool (144, 144) each."""
        return self._layers[1]

    @property
    def references(self) -> tuple[str, ...]:
        """Five reference captions."""
        return references_for(self.factors, self.number)

    def with_(self, **changes: str) -> Page:
        """The same page with some factors changed and all else equal.

        Raises
        ------
        ValueError
            If there is no such factor or value; the message lists what there is.
        """
        return page(self.number, **(asdict(self.factors) | changes))

    @cached_property
    def _layers(self) -> tuple[Image.Image, dict[str, np.ndarray]]:
        """The picture and the masks, drawn together."""
        return draw_layers(self.factors, self.number)


def page(number: int | None = None, **factors: str) -> Page:
    """A page by its number, by its factors, or both (ours).

    Parameters
    ----------
    number : int, optional
        Page number. Default: 0.
    **factors : str
        kind, colour, size, action, place, companion, time: those given are set. The rest is as the page of
        that number has it, or, where the kind changes or no number is given, the first value of the kind.

    Returns
    -------
    Page

    Raises
    ------
    ValueError
        If there is no such factor or value; the message lists what there is.

    Examples
    --------
    >>> page(kind="dog", colour="white").factors.colour
    'white'
    """
    own = factors_of(number or 0)
    kind = factors.get("kind", own.kind)
    allowed = allowed_values(kind)
    unknown = set(factors) - set(allowed)
    if unknown:
        raise ValueError(f"a page has no factor {sorted(unknown)[0]!r}; choose from {', '.join(allowed)}")
    if number is None or kind != own.kind:
        first = {name: values[0] for name, values in allowed.items()}
        own = Factors(**{**first, "kind": kind})
    return Page(number or 0, replace(own, **factors))
