"""The concept browser: cards of concepts to sort, search, open, name and compare, as widgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets

from ..concepts import ConceptBank
from ..images import CaptionedImages
from ..shift import ConceptShift
from .bank_choice import FACETS, BankCollection
from .bank_view import BankView, OpenedPanel
from .cards import orders
from .cell_view import CellView
from .comparison import compare_banks, compare_shift, comparison_html
from .html import render, style
from .trust import card_of, check_cards, trust_html

ALONE = ("no other bank", -1)  # in the dropdown of banks to compare with


def browse(
    banks: ConceptBank | ConceptShift | str | Path | Sequence[ConceptBank | str | Path],
    images: CaptionedImages | None = None,
    card=None,
) -> Browser:
    """Browse concepts in a notebook.

    Parameters
    ----------
    banks : ConceptBank, path, or sequence of these; or ConceptShift
        A path is a folder of a saved bank, or one whose folders are saved banks. The two banks of a `ConceptShift` are
        shown beside each other, each concept with what became of it, those that changed most first.
    images : CaptionedImages, optional
        Where the pictures are that are not in the banks. Default: where they came from.
    card : TrustCard or sequence of TrustCard, optional
        Of the banks, or of some: what was measured of a bank's concepts is shown above them, and in each one's details.

    Returns
    -------
    Browser
        A widget; the last line of a cell shows it.

    Raises
    ------
    FileNotFoundError
        If a folder holds no bank.
    ValueError
        If there is no bank at all, a saved one is damaged, or a trust card is of none of them.
    """
    shift = banks if isinstance(banks, ConceptShift) else None
    collection = BankCollection(banks if shift is None else [shift.before, shift.after])
    return Browser(collection, images, check_cards(card, collection.banks), shift)


class Browser(CellView):
    """Concepts as cards; see `browse`."""

    def __init__(
        self, collection: BankCollection, images: CaptionedImages | None, trust_cards: Sequence = (), shift=None
    ):
        self.collection, self.images, self.trust_cards, self.shift = collection, images, trust_cards, shift
        self.views: dict[int, BankView] = {}
        self.number = self.opened = None  # of the bank, and of the concept, that are shown
        self._setting = False
        self._make_controls()
        self.panel = OpenedPanel(self._save_name, self._close, self._go_to)
        self.grid = widgets.GridBox(
            layout=widgets.Layout(
                grid_template_columns="repeat(auto-fill, minmax(min(320px, 100%), 1fr))",
                grid_gap="14px",
                grid_auto_flow="row dense",
                overflow="visible",
            )
        )
        self.grid.add_class("cox-grid")
        self.comparison = widgets.HTML()
        choosing = _row([*self.facets.values(), self.other])
        searching = _row([self.search, self.order, self.status])
        super().__init__([widgets.HTML(style()), self.head, choosing, searching, self.grid])
        self.add_class("cox-root")
        self._choose_bank()
        if shift is not None:
            self.other.value = 1

    def _make_controls(self) -> None:
        """Everything above the cards."""
        self.head, self.status = widgets.HTML(), widgets.HTML()
        self.facets = {name: _dropdown(name) for name in FACETS}
        self.other = _dropdown("Compare with")
        self.order = _dropdown("Sort by")
        self.search = widgets.Text(description="Search words", placeholder="such as beach")
        self.search.style.description_width = "initial"
        for dropdown in self.facets.values():
            dropdown.observe(self._on(self._choose_bank), "value")
        for control in (self.order, self.search, self.other):
            control.observe(self._on(self._show), "value")

    def hidden(self) -> list[widgets.Widget]:
        """Its widgets that are in none of those shown."""
        return [self.grid, self.comparison, self.panel, *(box for view in self.views.values() for box in view.boxes)]

    @property
    def view(self) -> BankView:
        """The bank that is shown."""
        return self._view(self.number)

    def _view(self, number: int) -> BankView:
        """A bank as widgets, made when it is first shown."""
        if number not in self.views:
            bank = self.collection.banks[number]
            self.views[number] = BankView(bank, self.images, self._open, card_of(bank, self.trust_cards))
        return self.views[number]

    def _on(self, update):
        """What a control does when a person, not this class, changes it."""

        def changed(_) -> None:
            if not self._setting:
                update()

        return changed

    @contextmanager
    def _setting_controls(self) -> Iterator[None]:
        """Change controls without reacting to their change."""
        self._setting = True
        try:
            yield
        finally:
            self._setting = False

    def _choose_bank(self) -> None:
        """Show the bank that the dropdowns choose."""
        wanted = {name: dropdown.value for name, dropdown in self.facets.items()}
        number, choices = self.collection.choose(wanted)
        if number != self.number:
            self.opened = None
        self.number = number
        labels, has = self.collection.labels(), self.collection.facets(number)
        others = [(label, other) for other, label in enumerate(labels) if other != number]
        with self._setting_controls():
            for name, dropdown in self.facets.items():
                _offer(dropdown, choices[name], has[name])
            _offer(self.order, orders(self.view.bank), self.order.value)
            _offer(self.other, [ALONE, *others], self.other.value)
        with self._busy("making the cards"):
            trust = trust_html(self.view.trust)
            self.head.value = render("browser_head.html", bank=self.view.bank, trust=trust)
        self._show()

    def _show(self) -> None:
        """Show cards, or the comparison with another bank, which is neither searched nor sorted."""
        alone = self.other.value == ALONE[1]
        self.search.layout.display = self.order.layout.display = None if alone else "none"
        if alone:
            self._show_cards()
        else:
            self._show_comparison(self.other.value)

    def _show_cards(self) -> None:
        """Show the cards that say what is searched for, in order, and the opened concept after its own."""
        numbers = self.view.shown(self.order.value, self.search.value)
        boxes = [self.view.boxes[number] for number in numbers]
        if self.opened in numbers:
            boxes.insert(numbers.index(self.opened) + 1, self.panel)
        self.grid.children = boxes
        self._put(self.grid)
        self.status.value = render(
            "browser_status.html", n=len(numbers), of=len(self.view.cards), text=self.search.value
        )

    def _show_comparison(self, other: int) -> None:
        """Show the bank beside another."""
        with self._busy("comparing"):
            view, other_view, labels = self.view, self._view(other), self.collection.labels()
            try:
                if self.shift is not None and self.number == 0:
                    comparison = compare_shift(self.shift, view.cards, other_view.cards)
                else:
                    comparison = compare_banks(view.bank, other_view.bank, view.cards, other_view.cards)
                    comparison = replace(comparison, same_space=comparison.same_space or self.shift is not None)
                html = comparison_html(comparison, labels[self.number], labels[other])
            except ValueError as error:
                html = render("problem.html", problem=str(error))
            self.comparison.value = html
        self._put(self.comparison)

    def _open(self, number: int) -> None:
        """Open a concept."""
        with self._busy("opening"):
            self.panel.show(self.view.details(number))
        self.panel.name.value, self.panel.message.value = self.view.bank.names.get(number, ""), ""
        self.opened = number
        self._show_cards()

    def _go_to(self, number: int) -> None:
        """Open a concept that may be far from where one is, or hidden by the search."""
        self._open(number)
        if self.panel not in self.grid.children:
            self.search.value = ""
        self.view.buttons[number].focus()

    def _close(self) -> None:
        """Close the opened concept, and go back to its card."""
        number, self.opened = self.opened, None
        self._show_cards()
        self.view.buttons[number].focus()

    def _save_name(self) -> None:
        """Name the opened concept as its box says."""
        bank = self.view.bank
        try:
            bank.rename(self.opened, self.panel.name.value)
        except (ValueError, OSError) as error:
            self.panel.message.value = render("problem.html", problem=str(error))
            return
        self.view.renew()
        self.panel.show(self.view.details(self.opened))
        self.panel.message.value = render(
            "browser_named.html", name=bank.names.get(self.opened, ""), folder=bank.folder
        )

    def _put(self, shown: widgets.Widget) -> None:
        """Place the cards or the comparison below the controls; both widgets are kept."""
        *above, last = self.children
        if last is not shown:
            self.children = (*above, shown)

    @contextmanager
    def _busy(self, work: str) -> Iterator[None]:
        """Show what is being done meanwhile."""
        self.status.value = render("browser_busy.html", work=work)
        try:
            yield
        finally:
            self.status.value = ""


def _dropdown(description: str) -> widgets.Dropdown:
    """An empty dropdown as wide as what is in it."""
    dropdown = widgets.Dropdown(description=description, layout=widgets.Layout(width="auto", max_width="100%"))
    dropdown.style.description_width = "initial"
    return dropdown


def _offer(dropdown: widgets.Dropdown, options: Sequence, value) -> None:
    """Offer other options, and keep the value if it is among them; a dropdown with a single option is hidden."""
    values = [option[1] if isinstance(option, tuple) else option for option in options]
    value = value if value in values else values[0]
    if dropdown.options != tuple(options):
        dropdown.options = options
    dropdown.value = value
    dropdown.layout.display = None if len(values) > 1 else "none"


def _row(controls: Sequence[widgets.Widget]) -> widgets.HBox:
    """Controls in a row that wraps."""
    layout = widgets.Layout(flex_flow="row wrap", grid_gap="4px 18px", align_items="center", overflow="visible")
    return widgets.HBox(controls, layout=layout)
