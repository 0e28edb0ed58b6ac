"""What was measured of a bank, gathered on one page."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.faithfulness.trust_card import STABLE
from coxlmm_utils.faithfulness.visual_dependence import ORIGINAL, VisualDependence
from coxlmm_utils.statistics import Mean

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


def removal(numbers=(0, 1)):
    """Ten samples each: the first concept lowers its own words, the second others' as much; neither is felt later."""
    rows = [
        {
            "sample": f"s{n}",
            "concept": k,
            "edit": edit,
            "own": own if edit == "concept" else 0.0,
            "others": others,
            "own_later": 0.1,
            "others_later": 0,
        }
        for k, (own, others) in zip(numbers, ((-0.5, 0.1), (-0.2, 0.4)))
        for edit in ("concept", "random")
        for n in range(10)
    ]
    table = pd.DataFrame(rows)
    return table.assign(own_mentions=table["own"], others_mentions=0.0, target=0.0, rest=0.0)


def redrawn(by="factor"):
    table = pd.DataFrame(
        {"difference": [0.8, 0.1], "largest": True, "sure": [True, False]}, pd.Index([0, 1], name="concept")
    )
    return SimpleNamespace(by=by, concepts=table, chance=0.25)


def agreement():
    table = pd.DataFrame({"rank": [0.9, 0.5, NAN], "above": [1.0, 0.4, NAN]})
    return SimpleNamespace(concepts=table, rank=Mean(0.7, 0.6, 0.8, 2), rank_others=Mean(0.5, 0.4, 0.6, 2))


@pytest.fixture
def card(bank):
    bank = replace(bank, measures={"stability": np.array([STABLE, 0.5, NAN])})
    found = dict(known=known(), visual=visual(bank), removal=removal(), redrawn=redrawn(), agreement=agreement())
    return bank.trust_card(**found)


ANSWERS = {
    "told": [1, 0, NAN],
    "seen": [1, 0, NAN],
    "pushed": [1, 0, NAN],
    "moves": [1, 0, NAN],
    "agrees": [1, 0, NAN],
    "found again": [1, 0, NAN],
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_check_is_answered_for_every_concept(card, name):
    check = next(each for each in card.checks if each.name == name)
    np.testing.assert_array_equal(check.holds, ANSWERS[name])
    assert (check.yes, check.judged) == (1, 2)


def test_numbers_stand_behind_the_answers(card):
    table = card.table
    assert table["told"].tolist()[:2] == [0.95, 0.7]
    assert table["seen"].tolist()[:2] == pytest.approx([0.25, 0.9])
    assert table["pushed"].tolist()[:2] == [-0.5, -0.2]
    assert table["samples"].tolist() == [len(card.bank.ids)] * 2 + [0]


def test_the_summary_has_intervals_and_controls(card):
    findings = card.summary["finding"]
    assert "1 [0, 2] of 23" in findings["told"] and "0.800 [0.700, 0.900]" in findings["told"]
    assert "-0.350 [-0.350, -0.350] nats" in findings["pushed"]
    assert "2 pass by how often the words are expected, 0 without the step" in findings["pushed"]
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


def test_what_is_of_another_bank_is_refused(bank):
    with pytest.raises(ValueError, match="concepts up to 7, but this bank has 3"):
        bank.trust_card(removal=removal([0, 7]))
    with pytest.raises(ValueError, match="by 'value': give the one by \"factor\""):
        bank.trust_card(redrawn=redrawn("value"))
    other = replace(visual(bank), bank=replace(bank, dictionary=SemiNMF.from_components(np.eye(3), 0.1)))
    with pytest.raises(ValueError, match="visual is of another bank"):
        bank.trust_card(visual=other)
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
    assert shown.count("–") == 6  # the last concept
    assert (shown.count("●"), shown.count("○")) == (6, 6)


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
    assert list(card._repr_mimebundle_()) == list(card.figure()._repr_mimebundle_())
