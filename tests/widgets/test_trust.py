"""A trust card in the browser and on the static page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.faithfulness.answers import Answers
from coxlmm_utils.faithfulness.trust_card import Check, TrustCard, trust_card
from coxlmm_utils.widgets.browser import browse
from coxlmm_utils.widgets.static_page import page_html, to_html
from coxlmm_utils.widgets.trust import answers_of, card_of, check_cards
from tests.widgets.browsed import NASTY, K, Read, browsed_bank, check_harmless


@pytest.fixture(scope="module")
def browsed(bank, tmp_path_factory):
    return browsed_bank(bank, tmp_path_factory.mktemp("browsed"))


@pytest.fixture(scope="module")
def card(browsed) -> TrustCard:
    answers = Answers(np.array([0.25, 0.5, np.nan, 0.75]), np.array([1, 0, 0, 1]), f"on average {NASTY}")
    checks = (
        Check("visual", "Does it come from the picture?", "a rule", "visual_dependence", answers),
        Check("stable", "Is it found again?", "another rule", "bank.measured(others=banks)", None),
    )
    return TrustCard(browsed, {"samples": "40"}, checks)


def test_what_it_says_of_one_concept(card):
    said = [[(answer.text, answer.value) for answer in answers_of(card, k)] for k in range(K)]
    unmeasured = ("not measured", None)
    assert said == [
        [("yes", 0.25), unmeasured],
        [("no", 0.5), unmeasured],
        [("not evaluated", None), unmeasured],
        [("yes", 0.75), unmeasured],
    ]
    assert answers_of(None, 0) == ()


def test_a_card_is_found_by_its_bank_after_saving_and_naming(browsed, card, tmp_path):
    browsed.save_pretrained(tmp_path / "bank")
    loaded = ConceptBank.from_pretrained(tmp_path / "bank")
    loaded.rename(0, "shore")
    other = replace(browsed, provenance={**browsed.provenance, "model": {"name": "other", "fingerprint": "f"}})
    assert card_of(loaded, [card]) is card and card_of(other, [card]) is None and card_of(loaded, []) is None
    assert check_cards(None, [loaded]) == [] and check_cards(card, [other, loaded]) == [card]
    with pytest.raises(ValueError, match="the trust card is of ConceptBank.* not shown here: give one of a bank shown"):
        check_cards([card], [other])


def test_the_browser_shows_the_counts_above_the_cards_and_the_answers_of_an_opened_concept(browsed, card):
    browser = browse(browsed, card=card)
    head = Read(browser.head.value)
    assert (
        "Does it come from the picture? 2 of 3 concepts" in head.text and NASTY in head.text and "a rule" in head.text
    )
    assert "Is it found again? not measured measured by: bank.measured(others=banks)" in head.text
    browser.view.buttons[1].click()
    assert (
        "Does it come from the picture? no 0.50 Is it found again? not measured" in Read(browser.panel.html.value).text
    )
    marks = [Read(text.value).text for text in browser.view.texts]
    assert ["✓ visual : yes – stable : not measured" in said for said in marks] == [True, False, False, True]
    assert "✗ visual : no" in marks[1] and "○ visual : not evaluated" in marks[2]
    assert "✓ yes, ✗ no, ○ not evaluated, – not measured" in head.text
    check_harmless(browser.head.value)
    check_harmless(browser.panel.html.value)
    without = browse(browsed)
    without.view.buttons[1].click()
    assert "trust" not in Read(without.head.value).text + Read(without.panel.html.value).text
    assert not Read(without.view.texts[0].value).of_class("cox-mark")


def test_the_page_shows_the_same(browsed, card, tmp_path):
    browsed.to_html(tmp_path / "page.html", card=card)
    html = (tmp_path / "page.html").read_text()
    seen = Read(html)
    assert "Does it come from the picture? 2 of 3" in seen.text and seen.text.count("How far to trust it") == K
    assert "How far" not in Read(page_html(browsed)).text
    check_harmless(html)
    with pytest.raises(ValueError, match="the trust card is of"):
        to_html(
            replace(browsed, provenance={**browsed.provenance, "model": {"name": "", "fingerprint": ""}}),
            "x",
            card=card,
        )


def test_a_true_card_fits(browsed):
    assert (
        "not measured" in Read(page_html(browsed, card=trust_card(replace(browsed, dictionary=fitted(browsed))))).text
    )


def fitted(bank):
    """Its dictionary, with the error that fitting leaves."""
    bank.dictionary.reconstruction_error_ = 0.5
    return bank.dictionary
