"""A switch between what a model says and what it says when it is steered (ours)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ipywidgets as widgets
from PIL import Image

from ..images import load_images
from ..models import LMM
from ..steering import LearnedSteering, Steering, steer

UNSTEERED, STEERED = "unsteered", "steered"


class SteeringSwitch(widgets.ToggleButtons):
    """Unsteered or steered, by a direction, an edit or a learned network; hidden where there is nothing to steer by."""

    def __init__(self, steering: Steering | LearnedSteering | None, alpha: float) -> None:
        self.steering, self.alpha = steering, alpha
        tooltips = ("what the model says by itself", f"by {steering}, alpha {alpha:g}")
        super().__init__(options=(UNSTEERED, STEERED), tooltips=tooltips, style={"button_width": "auto"})
        self.layout.display = "none" if steering is None else None

    @property
    def on(self) -> bool:
        """Whether the model is to be steered."""
        return self.steering is not None and self.value == STEERED

    @contextmanager
    def applied(self, lmm: LMM, picture: Image.Image, prompt: str) -> Iterator[None]:
        """Steer the model inside the context, if the switch is on; a network reads the picture and the prompt first."""
        if not self.on:
            yield
            return
        edit = self.steering
        if isinstance(edit, LearnedSteering):
            edit = edit.vectors(lmm, load_images([picture]), prompt)
        with steer(lmm, edit, self.alpha):
            yield
