"""A bank as widgets: made once, of which only the text changes."""

from __future__ import annotations

import pytest

from coxlmm_utils.widgets.bank_view import BankView, OpenedPanel
from tests.widgets.browsed import Read, browsed_bank


@pytest.fixture
def clicked():
    return []


@pytest.fixture
def view(bank, tmp_path, clicked):
    return BankView(browsed_bank(bank, tmp_path), None, clicked.append)


def test_each_concept_has_a_box_and_a_button_that_says_its_number(view, clicked):
    assert len(view.boxes) == 4
    for number, box in enumerate(view.boxes):
        assert box.children[-1] is view.buttons[number] and view.buttons[number].description == f"Open {number}"
        view.buttons[number].click()
    assert clicked == [0, 1, 2, 3]


def test_a_search_marks_words_and_only_where_it_finds_some(view):
    before = [text.value for text in view.texts]
    assert view.shown("number", "sand") == [0]
    assert len(Read(view.texts[0].value).of_class("cox-hit")) == 1
    assert [text.value for text in view.texts[1:]] == before[1:]
    assert view.shown("number", "") == [0, 1, 2, 3]
    assert [text.value for text in view.texts] == before


def test_pictures_are_sent_once(view):
    sent = []
    for box in view.boxes:
        pictures = box.children[0].children[0]
        pictures.observe(sent.append, "value")
    view.shown("name", "beach")
    view.bank.rename(0, "Shore")
    view.renew()
    assert not sent


def test_a_new_name_is_shown(view):
    view.bank.rename(0, "Shore")
    view.renew()
    assert "Shore" in Read(view.texts[0].value).text and view.buttons[0].tooltip == "Open Shore"
    assert view.cards[0].title == "Shore" and "Shore" in view.details(0).card.title


def test_the_panel_calls_back(view, clicked):
    panel = OpenedPanel(lambda: clicked.append("save"), lambda: clicked.append("close"), clicked.append)
    panel.save.click()
    panel.close_button.click()
    panel.name._handle_custom_msg({"event": "submit"}, [])  # Enter, as the front end says it
    details = view.details(0)
    panel.show(details)
    panel.nearest[1].click()
    assert clicked == ["save", "close", "save", details.nearest[1][0].number]
    shown = [button.description for button in panel.nearest if button.layout.display != "none"]
    assert shown == [f"{card.number}: {card.title}" for card, _ in details.nearest] and len(shown) == 3
