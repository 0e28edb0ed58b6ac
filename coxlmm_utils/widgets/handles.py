"""Sliders of concepts: what they are set to, the model's states have while it writes the caption anew (ours)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as widgets
import numpy as np

from ..explanation import Explanation
from ..models import LMM, generate_captions
from ..plots import ACCENT
from ..steering import set_concepts, steer
from .steered_html import scale_of

HEADING = """<div class="cox-answer"><p class="cox-handles-heading">Turn concepts up or down, and the caption is written anew</p>
<p class="cox-answer-quiet">In the bars' unit: the picture's most active concept is 1.</p></div>"""
NATURAL = {"description_width": "initial"}
BEYOND = 1.5  # times the largest activation: as far as concepts had to be set for most captions to follow (notebook 10)
CHOOSE = ("another concept …", -1)  # None would choose nothing


class Handles(widgets.VBox):
    """A slider for each concept that has a bar, and for any other that is added; hidden where nothing is explained.

    They are in the bars' unit: the picture's largest activation is 1. A slider that is where it was changes nothing.
    """

    def __init__(self, moved: Callable[[object], None]) -> None:
        self.explained: Explanation | None = None
        self.sliders: dict[int, widgets.FloatSlider] = {}
        self._moved, self._rows = moved, widgets.VBox()
        self.more = widgets.Dropdown(description="Add", options=[CHOOSE], style=NATURAL)
        self.reset = widgets.Button(description="Reset", tooltip="all concepts as they are in the picture")
        self.more.observe(self._add, "value")
        self.reset.on_click(self._put_back)
        below = widgets.HBox([self.more, self.reset], layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([widgets.HTML(HEADING), self._rows, below])
        self.add_class("cox-handles")

    def show(self, explained: Explanation | None, concepts: Sequence[int]) -> None:
        """A slider for each of these concepts, as active as it is; none without an explanation."""
        for slider in self.sliders.values():
            slider.close()
        self.explained, self.sliders = explained, {}
        self.layout.display = "none" if explained is None else None
        if explained is not None:
            self._put(concepts)

    def _add(self, _: object) -> None:
        """A slider for the concept that is chosen in the list."""
        if self.more.value != CHOOSE[1]:
            self._put([self.more.value])

    def _put_back(self, _: object) -> None:
        """All sliders where the picture has its concepts."""
        self.show(self.explained, list(self.sliders))
        self._moved(None)

    @property
    def values(self) -> dict[int, float]:
        """The activation of each concept whose slider has been moved."""
        if self.explained is None:
            return {}
        scale = scale_of(self.explained)
        return {k: slider.value * scale for k, slider in self.sliders.items() if slider.value != self._start(k)}

    def _put(self, concepts: Sequence[int]) -> None:
        """Put sliders for some concepts below those that are there, and the other concepts in the list."""
        self.sliders |= {concept: self._slider(concept) for concept in concepts}
        self._rows.children = tuple(self.sliders.values())
        others = [k for k in range(len(self.explained.bank)) if k not in self.sliders]
        self.more.options = [CHOOSE, *((f"{k}: {self.explained.title(k)}", k) for k in others)]

    def _slider(self, concept: int) -> widgets.FloatSlider:
        """From zero (of PCA: from as far below) to somewhat above the largest activation of all samples, or of this picture."""
        largest = float(np.abs(self.explained.bank.activations[:, concept]).max()) / scale_of(self.explained)
        most = round(BEYOND * max(1.0, largest), 2)
        slider = widgets.FloatSlider(
            value=self._start(concept),
            min=-most if self.explained.bank.dictionary.signed else 0.0,
            max=most,
            step=0.01,
            description=f"{self.explained.title(concept)} ({concept})",
            continuous_update=False,
            style={"description_width": "14em", "handle_color": ACCENT},
            layout=widgets.Layout(width="auto"),
        )
        slider.observe(self._moved, "value")
        return slider

    def _start(self, concept: int) -> float:
        """Where a slider is that nobody has moved."""
        return round(float(self.explained.activations[concept]) / scale_of(self.explained), 2)


def caption_with(lmm: LMM, explained: Explanation, values: dict[int, float]) -> str:
    """What the model writes of the explained picture with some concepts set at every state that it generates from."""
    bank = explained.bank
    with steer(lmm, set_concepts(bank, values)):
        [generated] = generate_captions(
            lmm, [explained.picture], prompt=bank.prompt, max_new_tokens=bank.provenance["max_new_tokens"]
        )
    return generated.caption
