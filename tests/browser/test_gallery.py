"""Notebook 03 as a person uses it: sort, search, open, name, compare, and the page for those without Python."""

import pytest

from tests.browser.accessibility import faults
from tests.browser.page import Page

pytestmark = pytest.mark.notebooks
CARDS = ".cox-grid > .cox-box:not(.cox-opened-box)"


@pytest.fixture
def gallery(notebook) -> Page:
    notebook.open("03_concept_gallery.ipynb")
    run(notebook)
    return notebook


def run(page: Page) -> None:
    page.run_all()
    page.outputs.locator(CARDS).nth(19).wait_for()


def first_card(page: Page) -> str:
    return page.outputs.locator(CARDS).first.inner_text()


def test_search_open_name_sort_and_compare_and_the_name_stays(gallery):
    cards = gallery.outputs.locator(CARDS)
    assert cards.count() == 20
    gallery.screenshot("browser", ".cox-root")
    gallery.type_into("Search words", "beach")
    gallery.wait_for_text("of 20 concepts")
    assert 0 < cards.count() < 20 and "beach" in first_card(gallery)
    number = cards.first.get_by_role("button").inner_text().split()[-1]
    gallery.press(f"Open {number}")
    gallery.type_into("Your name for it", "seaside dogs")  # and Enter
    gallery.wait_for_text("It is called “seaside dogs” now")
    assert "seaside dogs" in first_card(gallery)
    gallery.screenshot("browser_opened", ".cox-root")
    assert faults(gallery.tab, ".cox-root") == []
    gallery.press("Close")
    gallery.type_into("Search words", "")
    cards.nth(19).wait_for()
    gallery.select("Sort by", "name")
    opening_moves_no_card(gallery)
    gallery.select("Compare with", gallery.outputs.get_by_label("Compare with").locator("option").nth(1).inner_text())
    gallery.outputs.locator(".cox-comparison").first.wait_for()
    gallery.screenshot("browser_compared", ".cox-root")
    gallery.dark_theme()
    gallery.screenshot("browser_dark", ".cox-root")
    assert faults(gallery.tab, ".cox-root") == []
    assert gallery.console_errors == gallery.kernel_errors == []
    gallery.restart()
    run(gallery)
    assert gallery.outputs.locator(CARDS).filter(has_text="seaside dogs").count() == 1
    gallery.without_colours()
    title = gallery.outputs.locator(".cox-title")
    assert title.evaluate("title => getComputedStyle(title).color") == "rgb(212, 212, 212)"
    assert faults(gallery.tab, ".cox-card") == []
    assert gallery.kernel_errors == []


def opening_moves_no_card(page: Page) -> None:
    """The cards beside an opened one stay where they are; a nearest concept opens from there."""
    cards = page.outputs.locator(CARDS)
    panel = page.outputs.locator(".cox-opened-box")
    before = [page.box_of(cards.nth(k)) for k in range(3)]
    assert len({box["y"] for box in before}) == 1 and panel.count() == 0
    cards.first.get_by_role("button").click()
    panel.wait_for()
    moved = before[0]["y"] - page.box_of(cards.first)["y"]  # the window may have scrolled
    after = [cards.nth(k).bounding_box() for k in range(3)]
    assert [{**box, "y": box["y"] + moved} for box in after] == before
    heading = panel.locator(".cox-opened").inner_text()
    panel.locator("button", has_text=":").first.click()
    page.tab.wait_for_function("old => document.querySelector('.cox-opened').innerText !== old", arg=heading)
    page.press("Close")


def test_the_page_opens_by_itself(gallery, lab, chromium):
    [page] = (lab.folder.parent / "build").rglob("gallery.html")
    assert page.stat().st_size < 5_000_000
    tab = chromium.new_page(viewport={"width": 1200, "height": 1500})
    errors = []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: errors.append(request.url) if request.url.startswith("http") else None)
    tab.goto(page.as_uri())
    opened_searched_and_followed(tab)
    tab.screenshot(path=gallery.screenshot("page").with_name("page.png"))
    enlarged_by_key_and_click(tab)
    printed(tab)
    tab.close()
    assert errors == []


def opened_searched_and_followed(tab) -> None:
    """Opening a card moves none beside it; a link to a nearest concept opens it, also if a search has hidden it."""
    cards = tab.locator("article:visible")
    assert cards.count() == 20
    before = [cards.nth(k).bounding_box() for k in range(3)]
    opened = tab.locator("section:visible")
    cards.nth(1).get_by_role("button").click()
    assert opened.locator("svg").count() == 1
    assert [cards.nth(k).bounding_box() for k in range(3)] == before
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        assert faults(tab) == []
    tab.get_by_label("Search words").fill("beach")
    assert 0 < cards.count() < 20
    cards.first.get_by_role("button").click()
    link = opened.get_by_role("link").last
    link.click()
    assert cards.count() == 20 and tab.locator(f"{link.get_attribute('href')} button[aria-expanded=true]").count() == 1


def enlarged_by_key_and_click(tab) -> None:
    picture, enlarged = tab.locator("article .cox-zoom summary").nth(1), tab.locator(".cox-zoom[open] img")
    small = picture.locator("img").bounding_box()["width"]
    picture.focus()
    tab.keyboard.press("Enter")
    assert enlarged.bounding_box()["width"] > 2 * small
    tab.locator("article .cox-zoom summary").nth(7).click()
    assert enlarged.count() == 1  # the other has closed
    tab.keyboard.press("Escape")
    assert enlarged.count() == 0


def printed(tab) -> None:
    """No page of paper splits a card, and bars are printed."""
    tab.emulate_media(media="print")
    style = "([css, name]) => getComputedStyle(document.querySelector(css)).getPropertyValue(name)"
    assert tab.evaluate(style, ["article", "break-inside"]) == "avoid"
    assert tab.evaluate(style, [".cox-share span", "print-color-adjust"]) == "exact"
    assert tab.locator("article button").filter(visible=True).count() == 0
