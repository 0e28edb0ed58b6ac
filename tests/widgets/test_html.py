"""Templates: every text from outside is escaped in every view, and every name that a template needs is given."""

from __future__ import annotations

import re

import ipywidgets as widgets
import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from coxlmm_utils.widgets.browser import browse
from coxlmm_utils.widgets.cards import card_pictures_html, card_text_html, make_cards
from coxlmm_utils.widgets.comparison import compare_banks, comparison_html
from coxlmm_utils.widgets.concept_details import concept_details, details_html
from coxlmm_utils.widgets.html import FOLDER, Thumbnails, render, style
from coxlmm_utils.widgets.static_page import page_html
from tests.widgets.browsed import NASTY, Read, browsed_bank, check_harmless


@pytest.fixture(scope="module")
def browsed(bank, tmp_path_factory):
    """Its token, its model and the folder of its pictures have odd names, too; half of the pictures are gone."""
    folder = tmp_path_factory.mktemp("browsed") / NASTY
    browsed = browsed_bank(bank, folder)
    for path in sorted(folder.iterdir())[::2]:
        path.unlink()
    browsed.provenance.update(token=[NASTY], model={**browsed.provenance["model"], "name": NASTY})
    return browsed


@pytest.fixture(scope="module")
def views(browsed):
    thumbnails = Thumbnails(browsed)
    cards = make_cards(browsed, thumbnails)
    return {
        "pictures": card_pictures_html(cards[1]),
        "text": card_text_html(cards[1], "img"),
        "opened": details_html(concept_details(browsed, thumbnails, cards, 1)),
        "comparison": comparison_html(compare_banks(browsed, browsed, cards, cards), NASTY, NASTY),
        "page": page_html(browsed),
        "head": render("browser_head.html", bank=browsed, trust=""),
        "status": render("browser_status.html", n=0, of=4, text=NASTY),
        "named": render("browser_named.html", name=NASTY, folder=None),
        "busy": render("browser_busy.html", work=NASTY),
        "problem": render("problem.html", problem=NASTY),
    }


VIEWS = ["pictures", "text", "opened", "comparison", "page", "head", "status", "named", "busy", "problem"]


@pytest.mark.parametrize("view", VIEWS)
def test_text_from_outside_is_text_in_every_view(views, view):
    check_harmless(views[view])
    seen = Read(views[view])
    shown = [seen.text, *(str(value) for _, attributes in seen.tags for value in attributes.values())]
    assert any(NASTY in text for text in shown)


def test_what_stands_where_a_picture_is_missing_is_text(views):
    missing = Read(views["opened"]).of_class("cox-missing")
    assert missing and all(NASTY in attributes["title"] for attributes in missing)


def test_a_browser_of_odd_text_is_harmless_in_all_that_it_shows(browsed):
    browser = browse([browsed, browsed])
    browser.search.value = NASTY
    browser.search.value = ""
    browser.view.buttons[1].click()
    browser.panel.name.value = "x" * 61
    browser.panel.save.click()
    browser.other.value = 1
    seen = [*all_widgets(browser), *all_widgets(browser.grid)]
    html = [widget.value for widget in seen if isinstance(widget, widgets.HTML)]
    assert len(html) == 4 + 2 * 4 + 3  # above, with the comparison; of cards; of the opened one
    for value in html:
        check_harmless(value)
    for widget in all_widgets(browser):
        assert not getattr(widget, "description_allow_html", False)


def all_widgets(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from all_widgets(child)


def test_a_template_is_given_all_that_it_names():
    with pytest.raises(UndefinedError):
        render("problem.html")


def test_templates_never_trust_text():
    for path in FOLDER.glob("*.html"):
        assert not re.search(r"\|\s*safe|autoescape|=\s*{{", path.read_text()), path.name


def test_one_style_holds_all_and_every_class_is_ours():
    assert isinstance(style(), Markup) and style().count("<style>") == 1 == style().count("</style>")
    assert ".cox-card" in style() and "http" not in style() and "@import" not in style() and "url(" not in style()
    for path in FOLDER.glob("*.html"):
        names = re.findall(r'class="([^"{]*)', path.read_text())
        assert all(name.startswith("cox-") for text in names for name in text.split()), path.name
