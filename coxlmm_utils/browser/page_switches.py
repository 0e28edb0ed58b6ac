"""Switches for the known factors of a picture-book page, each of which draws the page anew."""

from __future__ import annotations

from dataclasses import asdict

import ipywidgets as widgets

from ..picturebook.factors import allowed_values
from ..picturebook.page import Page

FACTORS = ("colour", "size", "action", "place", "companion", "time")  # all but the kind


class PageSwitches(widgets.HBox):
    """A dropdown for each factor of one page; hidden where there is no page (ours).

    Attributes
    ----------
    page : Page or None
        The page as last shown.
    dropdowns : dict of str to ipywidgets.Dropdown
        By the factor's name.
    """

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
            options = tuple((_in_words(value, page.factors.kind), value) for value in allowed[name])
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


def _in_words(value: str, kind: str) -> str:
    """A factor's value as people say it."""
    return {"none": "alone", "friend": f"another {kind}"}.get(value, value)
