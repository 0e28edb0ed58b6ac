"""The concepts of a bank, or what a widget shows, as one page that opens anywhere: the widgets' static twins."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from markupsafe import Markup

from ..files import atomic_write
from ..images import CaptionedImages
from .cards import card_pictures_html, card_text_html, in_order, make_cards, orders
from .concept_details import concept_details
from .html import Thumbnails, render, style
from .trust import card_of, check_cards, trust_html

SIDE = 120  # pixels of a picture's longer side: 24 pictures of each of 20 concepts stay under 5 MB
HEAD = 2**17  # bytes, in which the page's body begins


def to_html(bank, path: str | Path, images: CaptionedImages | None = None, card=None) -> Path:
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
    card : TrustCard, optional
        What was measured of the bank's concepts; see `browse`.

    Returns
    -------
    Path
        Where the page is.

    Raises
    ------
    ValueError
        If the trust card is of another bank.
    FileExistsError
        If there is a file that is not such a page.
    """
    return _write(path, lambda: page_html(bank, images, card))


def view_to_html(path: str | Path, title: str, views: Sequence[str]) -> Path:
    """Write what a widget shows, made by templates, as one page of the same kind, without any script."""
    page = {"title": title, "views": [Markup(view) for view in views if view], "style": style()}
    return _write(path, lambda: render("view_page.html", **page))


def _write(path: str | Path, make: Callable[[], str]) -> Path:
    """Write a page in the place of none, or of another page."""
    path = Path(path).expanduser()
    if path.exists() and not _is_ours(path):
        raise FileExistsError(f"{path} is there and is no page of concepts: give another name, or delete it")
    text = make()
    return atomic_write(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def _is_ours(path: Path) -> bool:
    """Whether a file is a page that `to_html` wrote, or empty."""
    start = path.read_bytes()[:HEAD] if path.is_file() else b"a folder"
    return not start or (start.startswith(b"<!doctype html>") and b'<body class="cox-page' in start)


def page_html(bank, images: CaptionedImages | None = None, card=None) -> str:
    """The page that `to_html` writes."""
    trust = card_of(bank, check_cards(card, [bank]))
    thumbnails = Thumbnails(bank, images, SIDE)
    cards = make_cards(bank, thumbnails, trust)
    ranks = {order: {shown.number: rank for rank, shown in enumerate(in_order(cards, order))} for order in orders(bank)}
    concepts = [
        {
            "card": shown,
            "pictures": card_pictures_html(shown),
            "text": card_text_html(shown),
            "details": concept_details(bank, thumbnails, cards, shown.number),
            "ranks": " ".join(str(ranks[order][shown.number]) for order in ranks),
        }
        for shown in in_order(cards, orders(bank)[0])
    ]
    script = render("page.js")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {"orders": list(ranks), "style": style(), "allowed": allowed, "trust": trust_html(trust)}
    return render("page.html", bank=bank, concepts=concepts, **parts)
