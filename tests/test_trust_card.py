"""What was measured of a bank, gathered on one page."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.statistics import Mean
from coxlmm_utils.trust_card import STABLE
from coxlmm_utils.visual_dependence import ORIGINAL, VisualDependence

NAN = np.nan


@pytest.fixture
def bank(bank):
    """Three concepts, the last of which is never active."""
    activations = bank.activations.copy()
    activations[:, 2] = 0
    activations[:, :2] += 0.1
    return replace(bank, activations=activations)


def known(aucs=(0.95, 0.7, NAN)):
    table = pd.DataFrame({"concept": range(len(aucs)), "auc": aucs})
    return SimpleNamespace(table=table, covered=Mean(1, 0, 2, 40), n_values=23, mean_auc=Mean(0.8, 0.7, 0.9, 40))


def visual(bank):
    original = np.array([[1.0, 1, 0], [1, 1, 0]])
    return VisualDependence(bank, ["a", "b"], [], {ORIGINAL: original, "blank": original * [0.25, 0.9, 1]}, ())


def removal(numbers=(1,)):
    table = pd.DataFrame({"minus_random": -0.5, "sure": [True] * len(numbers)}, pd.Index(numbers, name="concept"))
    return SimpleNamespace(concepts=table, minus_random=Mean(-0.4, -0.5, -0.3, 9))


def redrawn():
    table = pd.DataFrame(
        {"difference": [0.8, 0.1], "largest": True, "sure": [True, False]}, pd.Index([0, 1], name="concept")
    )
    return SimpleNamespace(concepts=table, chance=0.25)


def agreement():
    table = pd.DataFrame({"rank": [0.9, 0.5, NAN], "rank_beyond": [0.4, -0.1, NAN]})
    return SimpleNamespace(concepts=table, rank=Mean(0.7, 0.6, 0.8, 2), rank_others=Mean(0.5, 0.4, 0.6, 2))


@pytest.fixture
def card(bank):
    bank = replace(bank, measures={"stability": np.array([STABLE, 0.5, NAN])})
    found = dict(known=known(), visual=visual(bank), removal=removal(), redrawn=redrawn(), agreement=agreement())
    return bank.trust_card(**found)


ANSWERS = {
    "told": [1, 0, NAN],
    "seen": [1, 0, NAN],
    "used": [NAN, 1, NAN],
    "moves": [1, 0, NAN],
    "agrees": [1, 0, NAN],
    "found again": [1, 0, NAN],
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_check_is_answered_for_every_concept(card, name):
    check = next(each for each in card.checks if each.name == name)
    np.testing.assert_array_equal(check.holds, ANSWERS[name])
    assert (check.yes, check.judged) == (1, 1 if name == "used" else 2)


def test_numbers_stand_behind_the_answers(card):
    table = card.table
    assert table["told"].tolist()[:2] == [0.95, 0.7]
    assert table["seen"].tolist()[:2] == pytest.approx([0.25, 0.9])
    assert table["used"].tolist()[1] == -0.5 and np.isnan(table["used"][0])
    assert table["samples"].tolist() == [len(card.bank.ids)] * 2 + [0]


def test_the_summary_has_intervals_and_controls(card):
    findings = card.summary["finding"]
    assert "1 [0, 2] of 23" in findings["told"] and "0.800 [0.700, 0.900]" in findings["told"]
    assert "-0.400 [-0.500, -0.300]" in findings["used"]
    assert "by chance 0.5 of 2" in findings["moves"]
    assert "others' at 0.500" in findings["agrees"]
    assert "the lowest 0.50" in findings["found again"]


def test_what_was_not_measured_is_said(bank):
    card = bank.trust_card()
    assert all(each.values is None and (each.yes, each.judged) == (0, 0) for each in card.checks)
    assert card.summary["finding"].str.startswith("not measured: ").all()
    assert list(card.table) == ["title", "samples"]
    assert repr(card).count("not measured") == 6


def test_the_bank_is_counted(card, bank):
    assert "1 never active, 0 without words" in card.facts["unusable"]
    assert f"{len(bank.ids):,} from" in card.facts["samples"]
    assert "3 concepts, 2.0 active on a sample" in card.facts["method"]


def test_what_is_of_a_larger_bank_is_refused(bank):
    with pytest.raises(ValueError, match="concepts up to 7, but this bank has 3"):
        bank.trust_card(removal=removal([0, 7]))
    with pytest.raises(ValueError, match="concepts up to 3, but this bank has 3"):
        bank.trust_card(known=known([0.9] * 4))


def texts(figure):
    return [text.get_text() for text in figure.texts]


def test_all_of_it_is_on_the_page(card):
    shown = texts(card.figure())
    for each in card.checks:
        assert each.question in shown and each.name in shown
        assert f"{each.yes} of {each.judged}" in shown
    assert {card.bank.title(k) for k in range(3)} <= set(shown)
    assert shown.count("–") == 1 + 6  # used of the first, all of the last
    assert (shown.count("●"), shown.count("○")) == (6, 5)


def test_nothing_overlaps_or_leaves_the_page(card, bank):
    for figure in (card.figure(), bank.trust_card().figure()):
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.texts if text.get_text().strip()]
        width, height = figure.get_size_inches() * figure.dpi
        assert all(0 <= box.x0 and box.x1 <= width and 0 <= box.y0 and box.y1 <= height for box in boxes)
        pairs = [(one, other) for place, one in enumerate(boxes) for other in boxes[:place]]
        assert not any(one.shrunk(0.95, 0.8).overlaps(other.shrunk(0.95, 0.8)) for one, other in pairs)


def test_a_title_is_shown_literally(bank):
    named = replace(bank, names={0: "$x_1$ <b>"})
    assert "$x_1$ <b>" in texts(named.trust_card().figure())


def test_jupyter_shows_it(card):
    assert card._repr_png_()[1:4] == b"PNG" and card._repr_jpeg_() is None  # a chart, but for small pictures
