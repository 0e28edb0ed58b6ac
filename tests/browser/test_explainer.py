"""Notebook 04 as a person uses it: choose a picture, move a switch, ask where, upload, and be told what goes wrong."""

import pytest
from PIL import Image

from coxlmm_utils.picturebook.page import page as page_of
from tests.browser.accessibility import faults
from tests.browser.page import Page
from tests.browser.test_harness import write

pytestmark = pytest.mark.notebooks
BARS = ".cox-answer-concepts"
CATS_FIRST = """
from coxlmm_utils import ConceptBank, SemiNMF, ask, extract, load_images, load_lmm
from coxlmm_utils.widgets.cell_view import CellView, live_widgets

lmm, train, test = load_lmm("picturebook"), load_images("picturebook"), load_images("picturebook", split="test")
bank = ConceptBank.learn(lmm, extract(lmm, train.mentioning("dog")[:60], "dog", 4), SemiNMF(8))
explainer = ask(lmm, bank, test.mentioning("cat")[:3])
print(f"{sum(isinstance(widget, CellView) for widget in live_widgets.values())} explainer")
explainer
"""
STEERING = """
from coxlmm_utils import extract, load_images, load_lmm
from coxlmm_utils.steering import mean_difference
from coxlmm_utils.widgets import steering

lmm, train = load_lmm("picturebook"), load_images("picturebook").mentioning("dog")[:120]
states = extract(lmm, train, "dog", 4)
places = [" ".join(references) for references in states.images.references]
beach, snow = ([id for id, text in zip(states.images.ids, places) if word in text] for word in ("beach", "snow"))
steering(lmm, mean_difference(states.subset(beach), states.subset(snow)))
"""
SWITCH = STEERING.replace(
    "steering(lmm, mean_difference(states.subset(beach), states.subset(snow)))",
    """from coxlmm_utils import ConceptBank, SemiNMF, ask

bank = ConceptBank.learn(lmm, states, SemiNMF(8))
ask(lmm, bank, load_images("picturebook", split="test").mentioning("dog")[:3], steering=mean_difference(states.subset(beach), states.subset(snow)))""",
)


@pytest.fixture
def explainer(notebook) -> Page:
    notebook.open("04_image_explanation.ipynb")
    notebook.run_all()
    notebook.outputs.locator(BARS).wait_for()
    return notebook


def changed(page: Page, before: str) -> str:
    """The bars, once they are others than before."""
    page.tab.wait_for_function(
        "([css, before]) => { const bars = document.querySelector(css); return bars && bars.innerHTML !== before; }",
        arg=[BARS, before],
    )
    return page.html_of(BARS)


def test_a_switch_moves_the_bars_and_a_map_says_where(explainer):
    explainer.press("projection")
    explainer.outputs.locator(".cox-answer-map").wait_for()
    explainer.screenshot("explainer_where", ".cox-ask")
    enlarged_by_key_and_click(explainer)
    explainer.press("no map")
    explainer.outputs.locator(".cox-answer-map").wait_for(state="detached")
    before = explainer.html_of(BARS)
    label = explainer.outputs.get_by_label("Place", exact=True)
    now = label.locator("option:checked").inner_text()
    other = next(text for text in label.locator("option").all_inner_texts() if text != now)
    explainer.select("Place", other)
    after = changed(explainer, before)
    assert "was" in after and "cox-bar-before" in after
    explainer.screenshot("explainer", ".cox-ask")
    explainer.outputs.get_by_label("Words that may follow").check()
    explainer.outputs.locator(".cox-following-word").nth(4).wait_for()
    explainer.press("gradient times input")
    explainer.outputs.locator(".cox-answer-map").wait_for()
    explainer.screenshot("explainer_map", ".cox-ask")
    assert faults(explainer.tab, ".cox-ask") == []
    explainer.dark_theme()
    explainer.screenshot("explainer_dark", ".cox-ask")
    assert faults(explainer.tab, ".cox-ask") == []
    assert explainer.console_errors == explainer.kernel_errors == []


def enlarged_by_key_and_click(page: Page) -> None:
    """Enter enlarges the picture that is explained; a click on another picture shows that one instead."""
    pictures, enlarged = page.outputs.locator(".cox-answer summary"), page.outputs.locator(".cox-zoom[open] img")
    pictures.first.focus()
    page.tab.keyboard.press("Enter")
    assert enlarged.bounding_box()["width"] > 600
    page.screenshot("explainer_enlarged", ".cox-ask")
    example = page.outputs.locator(".cox-answer-examples summary").first
    small = example.locator("img").bounding_box()["width"]
    example.click()
    assert enlarged.bounding_box()["width"] > 3 * small
    enlarged.click()
    assert enlarged.count() == 0


def test_handles_write_the_caption_anew(explainer):
    label = explainer.outputs.locator(".cox-handles .widget-slider .widget-label").first.text_content()
    explainer.slider(label, 0)
    rewritten = explainer.outputs.locator(".cox-rewritten")
    rewritten.wait_for()
    assert "→ 0.00" in rewritten.inner_text() and rewritten.locator(".cox-steered-captions > span").count() == 4
    added = explainer.outputs.get_by_label("Add", exact=True).locator("option", has_text="snow").text_content()
    explainer.select("Add", added)
    number, title = added.replace("\xa0", " ").split(": ", 1)  # ipywidgets writes spaces that do not break
    explainer.slider(f"{title} ({number})", 1.2)
    explainer.wait_for_text("→ 1.20")
    explainer.screenshot("handles", ".cox-ask")
    assert faults(explainer.tab, ".cox-ask") == []
    explainer.dark_theme()
    explainer.screenshot("handles_dark", ".cox-ask")
    assert faults(explainer.tab, ".cox-ask") == []
    explainer.press("Reset")
    rewritten.wait_for(state="detached")
    assert explainer.console_errors == explainer.kernel_errors == []


def test_a_slider_steers_several_pictures(lab, notebook):
    write(lab, "steering.ipynb", STEERING)
    notebook.open("steering.ipynb")
    notebook.run_all()
    notebook.wait_for_text("alpha 1, positions: generated")
    notebook.slider("Alpha", 2.5)
    notebook.wait_for_text("alpha 2.5, positions: generated")
    notebook.screenshot("steering", ".cox-ask")
    notebook.press("all")
    notebook.wait_for_text("alpha 2.5, positions: all")
    assert faults(notebook.tab, ".cox-ask") == []
    notebook.slider("Alpha", 0)
    notebook.wait_for_text("0 of 8 captions change")
    assert notebook.console_errors == notebook.kernel_errors == []


def test_uploads_good_and_bad(explainer, tmp_path):
    before = explainer.html_of(BARS)
    good, bad = tmp_path / "my dog.png", tmp_path / "<img src=x onerror=alert(1)>.png"
    page_of(kind="dog", colour="white", place="snow").picture.save(good)
    explainer.upload(good)
    kept = changed(explainer, before)
    bad.write_bytes(b"no picture at all")
    explainer.upload(bad)
    explainer.wait_for_text("<img src=x onerror=alert(1)>.png")
    assert explainer.html_of(BARS) == kept
    Image.new("RGB", (12_000, 9_000), "white").save(tmp_path / "large.jpg")
    explainer.upload(tmp_path / "large.jpg")
    explainer.outputs.locator(".cox-ask-status .cox-notice-busy").wait_for(state="hidden")
    explainer.screenshot("explainer_large", ".cox-ask")
    assert explainer.console_errors == explainer.kernel_errors == []


def test_a_first_picture_without_the_word_then_an_own_one_twice_in_a_cell_that_ran_twice(lab, notebook, tmp_path):
    write(lab, "cats.ipynb", CATS_FIRST)
    notebook.open("cats.ipynb")
    for _ in range(2):
        notebook.run_all()
        notebook.wait_for_text("1 explainer")
    notebook.wait_for_text("The model did not write dog about this picture")
    page_of(kind="dog", colour="white", place="snow").picture.save(tmp_path / "my dog.png")
    for _ in range(2):
        notebook.upload(tmp_path / "my dog.png")
        notebook.outputs.locator(BARS).wait_for()
        notebook.outputs.get_by_role("button", name="Your own picture (1)").wait_for()
        notebook.outputs.locator(".cox-ask-strip button").nth(1).click()
        notebook.wait_for_text("The model did not write dog about this picture")
        notebook.outputs.get_by_role("button", name="Your own picture (0)").wait_for()
    notebook.upload(tmp_path / "my dog.png")
    notebook.outputs.locator(BARS).wait_for()
    legible_in_the_dark_without_the_hosts_colours(notebook)
    assert notebook.console_errors == notebook.kernel_errors == []


def legible_in_the_dark_without_the_hosts_colours(page: Page) -> None:
    page.without_colours()
    page.screenshot("explainer_bare", ".cox-ask")
    heading = page.outputs.locator(".cox-answer-heading").first
    assert heading.evaluate("heading => getComputedStyle(heading).color") == "rgb(212, 212, 212)"
    assert faults(page.tab, ".cox-answer") == []


def test_a_switch_shows_the_steered_caption_and_its_concepts(lab, notebook):
    write(lab, "switch.ipynb", SWITCH)
    notebook.open("switch.ipynb")
    notebook.run_all()
    notebook.outputs.locator(BARS).wait_for()
    before, unsteered = notebook.html_of(BARS), notebook.outputs.inner_text()
    notebook.screenshot("switch_unsteered", ".cox-ask")
    notebook.press("steered")
    changed(notebook, before)
    notebook.screenshot("switch_steered", ".cox-ask")
    assert notebook.outputs.inner_text() != unsteered and faults(notebook.tab, ".cox-ask") == []
    assert notebook.console_errors == notebook.kernel_errors == []
