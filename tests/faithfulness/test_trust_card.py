"""What was measured of a bank, gathered on one page."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.faithfulness.agreement import Agreement
from coxlmm_utils.faithfulness.answers import Answers, by_concept
from coxlmm_utils.faithfulness.trust_card import MIN_COSINE
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


@dataclass
class Result:
    """A result of ground truth, which brings its own answers."""

    table: pd.DataFrame
    finding: str

    def answers(self, bank):
        values, holds = by_concept(bank, self.table, "value", "holds")
        return Answers(values, holds, self.finding)


def recovery(aucs=(0.95, 0.7, NAN)):
    table = pd.DataFrame({"value": aucs, "holds": [auc > 0.9 for auc in aucs]})
    return Result(table, "1 [0, 2] of 23 factor values recovered")


def visual(bank):
    original = np.array([[1.0, 1, 0], [1, 1, 0]])
    return VisualDependence(bank, ["a", "b"], [], {ORIGINAL: original, "blank": original * [0.25, 0.9, 1]}, ())


def ablation(numbers=(0, 1)):
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


def selectivity():
    return Result(pd.DataFrame({"value": [0.8, 0.1], "holds": [1, 0]}), "by chance 0.5 of 2")


def agreement():
    table = pd.DataFrame({"rank": [0.9, 0.5, NAN], "above": [1.0, 0.4, NAN]})
    means = dict.fromkeys(("rank_margin", "shared", "shared_others", "shared_margin"), Mean(0, 0, 0, 2))
    means |= {"rank": Mean(0.7, 0.6, 0.8, 2), "rank_others": Mean(0.5, 0.4, 0.6, 2)}
    return Agreement(table, **means, shared_chance=0.5, p=1.0, n_excluded=1)


@pytest.fixture
def card(bank):
    bank = replace(bank, measures={"stability": np.array([MIN_COSINE, 0.5, NAN])})
    results = dict(
        recovery=recovery(), visual=visual(bank), ablation=ablation(), selectivity=selectivity(), agreement=agreement()
    )
    return bank.trust_card(**results)


ANSWERS = {
    "recovered": [1, 0, NAN],
    "visual": [1, 0, NAN],
    "causal": [1, 0, NAN],
    "selective": [1, 0, NAN],
    "agrees": [1, 0, NAN],
    "stable": [1, 0, NAN],
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_check_is_answered_for_every_concept(card, name):
    check = next(check for check in card.checks if check.name == name)
    np.testing.assert_array_equal(check.answers.holds, ANSWERS[name])
    assert (check.n_yes, check.n_evaluated) == (1, 2)


def test_numbers_stand_behind_the_answers(card):
    table = card.table
    assert table["recovered"].tolist()[:2] == [0.95, 0.7]
    assert table["visual"].tolist()[:2] == pytest.approx([0.25, 0.9])
    assert table["causal"].tolist()[:2] == [-0.5, -0.2]
    assert table["samples"].tolist() == [len(card.bank.ids)] * 2 + [0]


def test_the_summary_has_intervals_and_controls(card):
    findings = card.summary["finding"]
    assert "1 [0, 2] of 23" in findings["recovered"]
    assert "-0.350 [-0.350, -0.350] nats" in findings["causal"]
    assert "2 pass by how often the words are expected, 0 without the step" in findings["causal"]
    assert "by chance 0.5 of 2" in findings["selective"]
    assert "others' at 0.500" in findings["agrees"]
    assert "the lowest 0.50" in findings["stable"]


def test_what_was_not_measured_is_said(bank):
    card = bank.trust_card()
    assert all(check.answers is None and (check.n_yes, check.n_evaluated) == (0, 0) for check in card.checks)
    assert card.summary["finding"].str.startswith("not measured: ").all()
    assert list(card.table) == ["title", "samples"]
    assert repr(card).count("not measured") == 6


def test_the_bank_is_counted(card, bank):
    assert "1 never active, 0 without words" in card.facts["unusable"]
    assert f"{len(bank.ids):,} from" in card.facts["samples"]
    assert "3 concepts, 2.0 active per sample" in card.facts["method"]


def test_what_is_of_another_bank_is_refused(bank):
    with pytest.raises(ValueError, match="concepts up to 7, but the bank has 3"):
        bank.trust_card(ablation=ablation([0, 7]))
    other = replace(visual(bank), bank=replace(bank, dictionary=SemiNMF.from_components(np.eye(3), 0.1)))
    with pytest.raises(ValueError, match="visual is of another bank"):
        bank.trust_card(visual=other)
    with pytest.raises(ValueError, match="concepts up to 3, but the bank has 3"):
        bank.trust_card(recovery=recovery([0.9] * 4))


def texts(figure):
    return [text.get_text() for text in figure.texts]


def test_all_of_it_is_on_the_page(card):
    shown = texts(card.figure())
    for check in card.checks:
        assert check.question in shown and check.name in shown
        assert f"{check.n_yes} of {check.n_evaluated}" in shown
    assert {card.bank.title(k) for k in range(3)} <= set(shown)
    assert shown.count("–") == 6  # the last concept
    assert (shown.count("●"), shown.count("○")) == (6, 6)


def test_nothing_overlaps_or_leaves_the_page(card, bank):
    for figure in (card.figure(), bank.trust_card().figure()):
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.texts if text.get_text().strip()]
        width, height = figure.get_size_inches() * figure.dpi
        assert all(0 <= box.x0 and box.x1 <= width and 0 <= box.y0 and box.y1 <= height for box in boxes)
        pairs = [(box, other) for index, box in enumerate(boxes) for other in boxes[:index]]
        assert not any(box.shrunk(0.95, 0.8).overlaps(other.shrunk(0.95, 0.8)) for box, other in pairs)


def test_a_title_is_shown_literally(bank):
    named = replace(bank, names={0: "$x_1$ <b>"})
    assert "$x_1$ <b>" in texts(named.trust_card().figure())


def test_jupyter_shows_it(card):
    assert list(card._repr_mimebundle_()) == list(card.figure()._repr_mimebundle_())
