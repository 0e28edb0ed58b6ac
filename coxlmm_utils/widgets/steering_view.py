"""Steer what a model writes of several pictures with a slider, each caption beside the unsteered one (ours)."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as widgets

from ..images import CaptionedImages, load_images
from ..models import LMM, generate_captions
from ..picturebook import factors_of
from ..plots import ACCENT
from ..steering import Steering, steer
from .cell_view import CellView
from .explainer_html import notice
from .html import style
from .static_page import view_to_html
from .steered_html import SteeredCaption, steered_pictures

N_PICTURES = 8
MAX_ALPHA = 4.0
POSITIONS = (("generated", "generated"), ("all", "all"), ("last of the prompt", "last_prompt"))
TOOLTIPS = (
    "the last position of the prompt and every generated one",
    "image tokens and prompt, too, as by default in the paper's released code",
    "the last position of the prompt alone",
)


def steering(lmm: LMM, direction: Steering, images: CaptionedImages | None = None) -> SteeringView:
    """Steer what a model writes of several pictures, with a slider for alpha (ours).

    Parameters
    ----------
    lmm : LMM
    direction : Direction or edit
        What `steer` takes.
    images : CaptionedImages, optional
        The first eight that can be read are shown. Default: test pages of the picture book.

    Returns
    -------
    SteeringView
        A widget; a notebook shows it. Its `to_html` writes what it shows as a page.

    Raises
    ------
    ValueError
        If the direction is of another model, or no picture can be read.
    """
    direction.check_model(lmm)
    images = load_images("picturebook", split="test") if images is None else images
    return SteeringView(lmm, direction, images)


class SteeringView(CellView):
    """The widget that `steering` makes: each change captions the pictures once, all together."""

    def __init__(self, lmm: LMM, direction: Steering, images: CaptionedImages) -> None:
        self.lmm, self.direction = lmm, direction
        rows, self.pictures, problems = images.opened(range(min(N_PICTURES, len(images))))
        if not rows:
            raise ValueError("there is no picture to steer" + "".join(f"; {text}" for text in problems.values()))
        of_book = images.source == "picturebook"
        self._factors = [factors_of(int(images.ids[row])) if of_book else None for row in rows]
        self._unsteered = self._captions()
        self.alpha = widgets.FloatSlider(
            value=1.0,
            min=-MAX_ALPHA,
            max=MAX_ALPHA,
            step=0.05,
            description="Alpha",
            continuous_update=False,
            style={"handle_color": ACCENT},
            layout=widgets.Layout(width="auto", max_width="640px"),
        )
        self.positions = widgets.ToggleButtons(
            options=POSITIONS,
            tooltips=TOOLTIPS,
            description="Positions",
            style={"button_width": "auto"},
            layout=widgets.Layout(width="auto"),
        )
        self.status, self.answer = widgets.HTML(), widgets.HTML()
        hidden = widgets.HTML(str(style()), layout=widgets.Layout(display="none"))
        super().__init__([hidden, self.alpha, self.positions, self.status, self.answer])
        self.add_class("cox-ask")
        for control in (self.alpha, self.positions):
            control.observe(lambda _: self._write(), "value")
        self._write()

    def _write(self) -> None:
        """Caption the pictures as the controls are, and say what goes wrong."""
        self.status.value = notice("busy", "writing the captions …")
        problem = ""
        try:
            with steer(self.lmm, self.direction, self.alpha.value, self.positions.value):
                captions = self._captions()
            pairs = map(SteeredCaption.of, self._unsteered, captions, self._factors)
            settings = str(self.direction), self.alpha.value, self.positions.label
            self.answer.value = steered_pictures(self.pictures, list(pairs), *settings)
        except (ValueError, OSError) as error:
            problem = notice("problem", str(error))
        finally:
            self.status.value = problem

    def _captions(self) -> list[str]:
        """What the model writes of the pictures now."""
        return [generated.caption for generated in generate_captions(self.lmm, self.pictures)]

    def to_html(self, path: str | Path) -> Path:
        """Write what is shown as one page, whole or not at all; it needs neither Python nor a network.

        Raises
        ------
        FileExistsError
            If there is a file that is not such a page.
        """
        return view_to_html(path, "Steered captions", [self.answer.value])
