"""Notebook 03 as a person uses it: sort, search, open, name, compare, and the page for those without Python."""

import pytest

from tests.browser.page import Page

pytestmark = pytest.mark.notebooks
CARDS = ".cox-grid > .cox-box:not(.cox-opened-box)"


@pytest.fixture
def gallery(notebook) -> Page:
    notebook.open("03_concept_gallery.ipynb")
    notebook.run_all()
    notebook.outputs.locator(CARDS).nth(19).wait_for()
    return notebook


def first_card(page: Page) -> str:
    return page.outputs.locator(CARDS).first.inner_text()


def test_search_open_name_sort_and_compare(gallery):
    cards = gallery.outputs.locator(CARDS)
    assert cards.count() == 20
    gallery.screenshot("browser", ".cox-root")
    gallery.type_into("Search words", "beach")
    gallery.wait_for_text("of 20 concepts")
    assert 0 < cards.count() < 20 and "beach" in first_card(gallery)
    number = cards.first.get_by_role("button").inner_text().split()[-1]
    gallery.press(f"Open {number}")
    gallery.type_into("Your name for it", "seaside dogs")
    gallery.press("Save name")
    gallery.wait_for_text("It is called “seaside dogs” now")
    assert "seaside dogs" in first_card(gallery)
    gallery.screenshot("browser_opened", ".cox-root")
    gallery.press("Close")
    gallery.type_into("Search words", "")
    cards.nth(19).wait_for()
    gallery.select("Sort by", "name")
    gallery.select("Compare with", gallery.outputs.get_by_label("Compare with").locator("option").nth(1).inner_text())
    gallery.outputs.locator(".cox-comparison").first.wait_for()
    gallery.screenshot("browser_compared", ".cox-root")
    gallery.dark_theme()
    gallery.screenshot("browser_dark", ".cox-root")
    assert gallery.console_errors == gallery.kernel_errors == []


def test_the_page_opens_by_itself(gallery, lab, chromium):
    page = lab.folder.parent / "build" / "gallery.html"
    assert page.stat().st_size < 5_000_000
    tab = chromium.new_page(viewport={"width": 1200, "height": 1500})
    errors = []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: errors.append(request.url) if request.url.startswith("http") else None)
    tab.goto(page.as_uri())
    assert tab.locator("article:visible").count() == 20
    tab.get_by_label("Search words").fill("beach")
    assert 0 < tab.locator("article:visible").count() < 20
    tab.locator("article:visible button").first.click()
    assert tab.locator("section svg").filter(visible=True).count() == 1
    tab.screenshot(path=gallery.screenshot("page").with_name("page.png"))
    tab.close()
    assert errors == []
