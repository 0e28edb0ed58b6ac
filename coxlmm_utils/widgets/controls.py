"""Controls of the explainer: pictures to choose by their thumbnails, and switches for the factors of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from uuid import uuid4

import ipywidgets as widgets

from ..images import CaptionedImages
from ..picturebook import Page, allowed_values
from .explainer_html import strip_style
from .html import data_uri

AT_ONCE = 12  # thumbnails
THUMB_SIDE = 144  # pixels


class PictureChoice(widgets.VBox):
    """A strip of thumbnails that are buttons, and a button for the next ones (ours)."""

    def __init__(self, images: CaptionedImages | None) -> None:
        self.images = images
        self.first = 0
        self._scope = f"cox-strip-{uuid4().hex}"  # so that two strips in one notebook do not share pictures
        self._style = widgets.HTML(layout=widgets.Layout(display="none"))
        self.buttons = widgets.ToggleButtons(options=[])
        self.more = widgets.Button(description="More pictures")
        super().__init__([self._style, self.buttons])
        for name in ("cox-ask-strip", self._scope):
            self.add_class(name)
        n = len(images) if images else 0
        self.layout.display = None if n else "none"
        self.more.layout.display = None if n > AT_ONCE else "none"
        if n:
            self._show()
            self.choose(0)

    def show_more(self) -> None:
        """Go on to the next pictures, and from the last to the first; none of them is chosen."""
        self.first = self.first + AT_ONCE if self.first + AT_ONCE < len(self.images) else 0
        self._show()
        self.choose(None)

    def choose(self, row: int | None) -> None:
        """Mark a picture as chosen, if it is among those shown."""
        shown = range(self.first, self.first + AT_ONCE)
        self.buttons.value = row if row in shown else None

    def _show(self) -> None:
        """Put the pictures from `first` on the buttons; one that cannot be read is a button with a name only."""
        rows = range(len(self.images))[self.first : self.first + AT_ONCE]
        readable, pictures, problems = self.images.opened(rows)
        thumbs = {row: data_uri(picture, THUMB_SIDE) for row, picture in zip(readable, pictures)}
        self._style.value = strip_style(self._scope, [thumbs.get(row) for row in rows])
        self.buttons.tooltips = [problems.get(self.images.ids[row], self._name(row)) for row in rows]
        self.buttons.options = [(self._name(row), row) for row in rows]

    def _name(self, row: int) -> str:
        """What a picture is called: its file or id, and what its first reference caption says."""
        return ": ".join([self.images.ids[row], *self.images.references[row][:1]])


FACTORS = ("colour", "size", "action", "place", "companion", "time")  # all but the kind


class PageSwitches(widgets.HBox):
    """A dropdown for each factor of one page; hidden where there is no page (ours)."""

    def __init__(self) -> None:
        self.page: Page | None = None
        self.dropdowns = {name: _dropdown(name) for name in FACTORS}
        super().__init__(list(self.dropdowns.values()), layout=widgets.Layout(display="none", flex_flow="row wrap"))

    def show(self, page: Page | None) -> None:
        """Set the switches as the page has its factors, or hide them."""
        self.page = page
        self.layout.display = "none" if page is None else None
        if page is None:
            return
        allowed, factors = allowed_values(page.factors.kind), asdict(page.factors)
        for name, dropdown in self.dropdowns.items():
            options = tuple((in_words(value, page.factors.kind), value) for value in allowed[name])
            if dropdown.options != options:
                dropdown.options = options
            dropdown.value = factors[name]

    def changed(self) -> Page:
        """The page as the switches now are; of the same number, so all else is equal."""
        return self.page.with_(**{name: dropdown.value for name, dropdown in self.dropdowns.items()})


def _dropdown(name: str) -> widgets.Dropdown:
    """A switch without values."""
    layout = widgets.Layout(width="auto", margin="2px 14px 2px 2px")
    return widgets.Dropdown(description=name.capitalize(), layout=layout, style={"description_width": "initial"})


def in_words(value: str, kind: str) -> str:
    """A factor's value in plain words."""
    return {"none": "alone", "friend": f"another {kind}"}.get(value, value)


def in_a_row(controls: Sequence[widgets.Widget]) -> widgets.HBox:
    """Controls in a row that wraps, with a layout of its own: hiding one row leaves the others."""
    return widgets.HBox(controls, layout=widgets.Layout(flex_flow="row wrap", align_items="center"))
