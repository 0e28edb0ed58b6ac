"""One bank as widgets: a box per concept, made once, and the concept that is open."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from ..concepts import MAX_NAME
from ..images import CaptionedImages
from .cards import Card, card_pictures_html, card_text_html, in_order, make_cards, matching
from .concept_details import N_NEAREST, ConceptDetails, concept_details, details_html
from .html import Thumbnails


class BankView:
    """The cards of a bank as widgets."""

    def __init__(self, bank, images: CaptionedImages | None, on_open: Callable[[int], None], trust=None):
        self.bank, self.thumbnails, self.trust = bank, Thumbnails(bank, images), trust
        self.cards = make_cards(bank, self.thumbnails, trust)
        self._searched = [""] * len(bank)
        self.texts = [widgets.HTML(card_text_html(card)) for card in self.cards]
        self.buttons = [_open_button(card, on_open) for card in self.cards]
        self.boxes = [self._box(number) for number in range(len(bank))]

    def shown(self, order: str, text: str) -> list[int]:
        """The numbers of the concepts that say a text, in an order; their words are marked."""
        numbers = [card.number for card in in_order(matching(self.cards, text), order)]
        for number in numbers:
            if self._searched[number] != text:
                self._searched[number] = text
                self.texts[number].value = card_text_html(self.cards[number], text)
        return numbers

    def renew(self) -> None:
        """Show the concepts' names as they are now."""
        for number, card in enumerate(make_cards(self.bank, self.thumbnails, self.trust)):
            if card != self.cards[number]:
                self.cards[number] = card
                self.texts[number].value = card_text_html(card, self._searched[number])
                self.buttons[number].tooltip = f"Open {card.title}"

    def details(self, number: int) -> ConceptDetails:
        """All that is known of one concept."""
        return concept_details(self.bank, self.thumbnails, self.cards, number)

    def _box(self, number: int) -> widgets.VBox:
        """A card: pictures, text and button, of which only the text ever changes."""
        pictures = widgets.HTML(card_pictures_html(self.cards[number]))
        box = widgets.VBox([widgets.VBox([pictures, self.texts[number]]), self.buttons[number]])
        box.add_class("cox-box")
        return box


class OpenedPanel(widgets.VBox):
    """The concept that is open, with a box for its name, and buttons that open the nearest ones."""

    def __init__(self, on_save: Callable[[], None], on_close: Callable[[], None], on_open: Callable[[int], None]):
        self.html = widgets.HTML()
        self.name = widgets.Text(description="Your name for it", placeholder=f"at most {MAX_NAME} characters")
        self.name.style.description_width = "initial"
        self.save = widgets.Button(description="Save name")
        self.close_button = widgets.Button(description="Close")
        self.message = widgets.HTML()
        self.save.on_click(lambda _: on_save())
        self.name.on_msg(lambda _, content, __: on_save() if content.get("event") == "submit" else None)  # Enter
        self.close_button.on_click(lambda _: on_close())
        row = widgets.HBox([self.name, self.save, self.close_button, self.message])
        row.layout.flex_flow = "row wrap"
        self.nearest = [widgets.Button(layout=widgets.Layout(width="auto")) for _ in range(N_NEAREST)]
        for rank, button in enumerate(self.nearest):
            button.on_click(lambda _, rank=rank: on_open(self._nearest[rank]))
        others = widgets.HBox([widgets.HTML("Open a nearest concept:"), *self.nearest])
        others.layout.flex_flow = "row wrap"
        super().__init__([row, self.html, others])
        self.add_class("cox-box")
        self.add_class("cox-opened-box")

    def show(self, details: ConceptDetails) -> None:
        """Show a concept."""
        self.html.value = details_html(details)
        self._nearest = [card.number for card, _ in details.nearest]
        for rank, button in enumerate(self.nearest):
            button.layout.display = None if rank < len(self._nearest) else "none"
        for button, (card, _) in zip(self.nearest, details.nearest):
            button.description = f"{card.number}: {card.title}"


def _open_button(card: Card, on_open: Callable[[int], None]) -> widgets.Button:
    """A card's button."""
    button = widgets.Button(description=f"Open {card.number}", tooltip=f"Open {card.title}")
    button.on_click(lambda _: on_open(card.number))
    return button
