"""The concepts of a bank as one page that opens anywhere: the browser's static twin."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from ..files import atomic_write
from ..images import CaptionedImages
from .cards import card_pictures_html, card_text_html, in_order, make_cards, orders
from .concept_details import concept_details
from .html import Thumbnails, render, style

SIDE = 120  # pixels of a picture's longer side: 24 pictures of each of 20 concepts stay under 5 MB


def to_html(bank, path: str | Path, images: CaptionedImages | None = None) -> None:
    """Write the concepts of a bank as one page, whole or not at all.

    It needs neither Python nor a network: pictures, style and the few lines of script are inside, and the page forbids
    itself any other script and any request.

    Parameters
    ----------
    bank : ConceptBank
    path : str or Path
        Such as "gallery.html".
    images : CaptionedImages, optional
        Where the pictures are that are not in the bank; see `Thumbnails`.
    """
    text = page_html(bank, images)
    atomic_write(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def page_html(bank, images: CaptionedImages | None = None) -> str:
    """The page that `to_html` writes."""
    thumbnails = Thumbnails(bank, images, SIDE)
    cards = make_cards(bank, thumbnails)
    ranks = {order: {card.number: rank for rank, card in enumerate(in_order(cards, order))} for order in orders(bank)}
    concepts = [
        {
            "card": card,
            "pictures": card_pictures_html(card),
            "text": card_text_html(card),
            "details": concept_details(bank, thumbnails, cards, card.number),
            "ranks": " ".join(str(ranks[order][card.number]) for order in ranks),
        }
        for card in in_order(cards, orders(bank)[0])
    ]
    script = render("page.js")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return render("page.html", bank=bank, concepts=concepts, orders=list(ranks), style=style(), allowed=allowed)
