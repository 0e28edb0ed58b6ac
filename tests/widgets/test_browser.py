"""The browser as a person uses it, with its controls set in Python."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.shift import DIMINISHED, EMERGED, UNCHANGED, ConceptShift, Cuts, compare
from coxlmm_utils.widgets.browser import ALONE, browse
from tests.widgets.browsed import Read, browsed_bank


@pytest.fixture
def browsed(bank, tmp_path):
    browsed_bank(bank, tmp_path / "pictures").save_pretrained(tmp_path / "bank")
    return ConceptBank.from_pretrained(tmp_path / "bank")


@pytest.fixture
def browser(browsed):
    return browse(browsed)


@pytest.fixture(autouse=True)
def _errors_are_not_lost(caplog):
    """ipywidgets only logs what a callback raises."""
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def shown(browser) -> list[int]:
    """The numbers of the cards that are there, in order."""
    return [browser.view.boxes.index(box) for box in browser.grid.children if box is not browser.panel]


def visible(browser) -> list[str]:
    controls = [*browser.facets.values(), browser.other, browser.order, browser.search]
    return [control.description for control in controls if control.layout.display != "none"]


def text_of(html) -> str:
    return Read(html.value).text


def seed(bank, number):
    dictionary = {**bank.provenance["dictionary"], "random_state": number}
    components = np.random.default_rng(number).normal(size=(4, 6))
    return replace(
        bank,
        dictionary=SemiNMF.from_components(components),
        provenance={**bank.provenance, "dictionary": dictionary},
        names={},
        folder=None,
    )


def test_one_bank_is_shown_with_what_can_be_chosen(browser, browsed):
    assert browser.children[-1] is browser.grid
    assert shown(browser) == np.argsort(-browsed.activations.sum(0)).tolist()
    assert visible(browser) == ["Sort by", "Search words"]
    assert text_of(browser.status) == "4 concepts" and "Concepts behind “dog”" in text_of(browser.head)


def test_sorting_and_searching(browser):
    browser.order.value = "number"
    assert shown(browser) == [0, 1, 2, 3]
    browser.search.value = "beach"
    assert shown(browser) == [0, 1] and text_of(browser.status) == "2 of 4 concepts"
    browser.search.value = "zebra"
    assert shown(browser) == [] and text_of(browser.status) == "none of the 4 concepts says “zebra”"
    browser.search.value = ""
    assert shown(browser) == [0, 1, 2, 3]


def test_opening_and_closing(browser):
    browser.order.value = "number"
    browser.view.buttons[1].click()
    assert browser.grid.children.index(browser.panel) == 2  # after its card
    assert "Nearest concepts" in text_of(browser.panel.html) and browser.panel.name.value == browser.view.bank.names[1]
    browser.view.buttons[2].click()
    assert browser.grid.children.index(browser.panel) == 3 and browser.panel.name.value == ""
    browser.search.value = "snow"
    assert shown(browser) == [3] and browser.panel not in browser.grid.children
    browser.search.value = ""
    assert browser.panel in browser.grid.children
    browser.panel.close_button.click()
    assert browser.panel not in browser.grid.children and shown(browser) == [0, 1, 2, 3]


def test_a_nearest_concept_is_opened_from_the_panel_also_if_a_search_hides_it(browser):
    browser.search.value = "snow"
    browser.view.buttons[3].click()
    nearest = browser.view.details(3).nearest[0][0].number
    browser.panel.nearest[0].click()
    assert browser.opened == nearest and browser.search.value == ""
    assert browser.grid.children.index(browser.panel) == browser.grid.children.index(browser.view.boxes[nearest]) + 1


def test_a_name_is_saved_with_the_bank_and_shown_everywhere(browser, browsed, tmp_path):
    browser.view.buttons[0].click()
    browser.panel.name.value = " Shore "
    browser.panel.save.click()
    assert text_of(browser.panel.message) == "It is called “Shore” now; saved with the bank."
    assert ConceptBank.from_pretrained(tmp_path / "bank").title(0) == browsed.title(0) == "Shore"
    assert "Shore" in text_of(browser.panel.html) and "Shore" in text_of(browser.view.texts[0])
    browser.search.value = "shore"
    assert shown(browser) == [0]
    browser.panel.name.value = ""
    browser.panel.save.click()
    assert "no name of yours" in text_of(browser.panel.message) and 0 not in browsed.names


def test_a_name_that_cannot_be_is_said_and_changes_nothing(browser, browsed):
    browser.view.buttons[0].click()
    browser.panel.name.value = "x" * 61
    browser.panel.save.click()
    assert "at most 60" in text_of(browser.panel.message) and 0 not in browsed.names
    browser.view.buttons[1].click()
    assert text_of(browser.panel.message) == ""


def test_a_name_that_cannot_be_written_is_said(browser, browsed, tmp_path):
    (tmp_path / "bank").rename(tmp_path / "moved")
    browser.view.buttons[0].click()
    browser.panel.name.value = "Shore"
    browser.panel.save.click()
    assert "no longer in" in text_of(browser.panel.message) and 0 not in browsed.names


def test_a_bank_that_was_never_saved_says_how_to_keep_names(browsed):
    browser = browse(seed(browsed, 1))
    browser.view.buttons[0].click()
    browser.panel.name.value = "Shore"
    browser.panel.save.click()
    assert "bank.save_pretrained(folder)" in text_of(browser.panel.message)


def test_choosing_another_bank(browsed):
    cats = replace(seed(browsed, 3), provenance={**browsed.provenance, "token": ["cat"], "layer": 1})
    browser = browse([browsed, seed(browsed, 1), replace(cats, measures={"clipscore": np.ones(4)})])
    assert visible(browser) == ["Word", "Seed", "Compare with", "Sort by", "Search words"]
    browser.view.buttons[0].click()
    browser.order.value = "number"
    browser.search.value = "beach"
    browser.facets["Seed"].value = "1"
    assert browser.number == 1 and browser.panel not in browser.grid.children
    assert shown(browser) == [0, 1] and browser.order.value == "number"  # sort and search stay
    browser.facets["Word"].value = "cat"
    assert browser.number == 2 and "“cat”" in text_of(browser.head) and "layer 1" in text_of(browser.head)
    assert visible(browser) == ["Word", "Compare with", "Sort by", "Search words"]
    browser.order.value = "CLIPScore"
    browser.facets["Word"].value = "dog"
    assert browser.number == 0 and browser.order.value == "most active overall"  # it has no scores


def test_comparing_two_banks(browsed):
    browser = browse([browsed, seed(browsed, 1)])
    assert browser.other.options == (ALONE, ("seed 1", 1))
    browser.other.value = 1
    assert browser.children[-1] is browser.comparison and "seed 0" in text_of(browser.comparison)
    assert len(Read(browser.comparison.value).of_class("cox-cosine")) == 4
    assert visible(browser) == ["Seed", "Compare with"]
    browser.facets["Seed"].value = "1"  # what it is compared with is not offered for itself
    assert browser.other.value == ALONE[1] and browser.children[-1] is browser.grid
    assert [value for _, value in browser.other.options] == [ALONE[1], 0]
    assert visible(browser) == ["Seed", "Compare with", "Sort by", "Search words"]


def test_banks_that_cannot_be_compared_say_why(browsed):
    wide = replace(seed(browsed, 1), dictionary=SemiNMF.from_components(np.ones((4, 9))))
    browser = browse([browsed, wide])
    browser.other.value = 1
    assert "cannot be compared" in text_of(browser.comparison)


@pytest.fixture
def shift(browsed) -> ConceptShift:
    """The fine-tuned model's last concept is another than that before."""
    model = {"name": "tuned", "fingerprint": "t" * 16}
    concepts = np.concatenate([browsed.concepts[:3], -browsed.concepts[3:]])
    after = replace(
        browsed,
        dictionary=SemiNMF.from_components(concepts),
        provenance={**browsed.provenance, "model": model},
        names={},
        folder=None,
    )
    return compare(browsed, after, Cuts(0.99, 101.0))


def test_a_shift_is_shown_as_both_banks_at_once_with_what_became_of_each_concept(shift):
    browser = browse(shift)
    assert browser.children[-1] is browser.comparison and browser.other.value == 1
    seen, text = Read(browser.comparison.value), text_of(browser.comparison)
    assert len(seen.of_class("cox-noted")) == 1 and len(seen.of_class("cox-cosine")) == 4 + 1
    notes = [text.count(change) for change in (UNCHANGED, DIMINISHED, EMERGED)]
    assert notes == [3, 1, 1]
    assert text.index(DIMINISHED) < text.index(UNCHANGED) < text.index(EMERGED)  # the most changed first
    assert "tuned" in text and "two different models" not in text
    assert visible(browser) == ["Model", "Compare with"] and text_of(browser.status) == ""


def test_a_shifts_cards_are_there_when_no_other_bank_is_chosen(shift):
    browser = browse(shift)
    browser.other.value = ALONE[1]
    assert browser.children[-1] is browser.grid and sorted(shown(browser)) == [0, 1, 2, 3]
    assert visible(browser) == ["Model", "Compare with", "Sort by", "Search words"]
    assert text_of(browser.status) == "4 concepts"
    browser.view.buttons[0].click()
    assert browser.panel in browser.grid.children
    browser.other.value = 1
    assert browser.children[-1] is browser.comparison and UNCHANGED in text_of(browser.comparison)


def test_of_a_shift_the_bank_after_can_be_chosen_and_compared_as_any_other(shift):
    browser = browse(shift)
    browser.facets["Model"].value = "tuned"
    assert browser.view.bank is shift.after and browser.children[-1] is browser.grid
    browser.other.value = 0
    assert UNCHANGED not in text_of(browser.comparison) and "two different models" not in text_of(browser.comparison)


def test_widgets_and_thumbnails_are_made_once(browsed, monkeypatch):
    browser = browse([browsed, seed(browsed, 1)])
    browser.facets["Seed"].value = "1"
    boxes = list(browser.view.boxes)
    for button in browser.view.buttons:
        button.click()
    monkeypatch.setattr("coxlmm_utils.widgets.html.data_uri", lambda *_: pytest.fail("made again"))
    for button in browser.view.buttons:
        button.click()
    browser.facets["Seed"].value = "0"
    browser.facets["Seed"].value = "1"
    assert browser.view.boxes == boxes


def test_two_browsers_are_independent(browsed):
    first, second = browse(browsed), browse(browsed)
    first.search.value = "snow"
    first.view.buttons[3].click()
    assert shown(first) == [3] and len(shown(second)) == 4 and second.opened is None
    assert not {box.model_id for box in first.view.boxes} & {box.model_id for box in second.view.boxes}


def test_it_says_that_it_is_busy_and_then_no_more(browser, monkeypatch):
    texts_meanwhile = []
    real = browser.view.details
    meanwhile = lambda number: texts_meanwhile.append(text_of(browser.status)) or real(number)  # noqa: E731
    monkeypatch.setattr(browser.view, "details", meanwhile)
    browser.view.buttons[0].click()
    assert texts_meanwhile == ["opening …"] and text_of(browser.status) == "4 concepts"
