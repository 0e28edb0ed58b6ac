"""What was measured of a bank, gathered on one page."""

from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.faithfulness.agreement import Agreement
from coxlmm_utils.faithfulness.answers import Answers, bank_key, by_concept
from coxlmm_utils.faithfulness.trust_card import MIN_COSINE
from coxlmm_utils.faithfulness.visual_dependence import ORIGINAL, VisualDependence
from coxlmm_utils.statistics import Mean

NAN = np.nan
MODULE = import_module("coxlmm_utils.faithfulness.trust_card")  # whose name a function has, too


@pytest.fixture
def bank(bank):
    """Three concepts, the last of which is never active."""
    activations = bank.activations.copy()
    activations[:, 2] = 0
    activations[:, :2] += 0.1
    return replace(bank, activations=activations)


@pytest.fixture(autouse=True)
def _enough(monkeypatch):
    """The bank of these tests has two samples for each concept."""
    monkeypatch.setattr(MODULE, "MIN_PER_CONCEPT", 2)


@dataclass
class Result:
    """A result of ground truth, which brings its own answers."""

    table: pd.DataFrame
    finding: str
    bank_key: str

    def answers(self, bank):
        values, holds = by_concept(bank, self.table, "value", "holds")
        return Answers(values, holds, self.finding)


def recovery(bank, aucs=(0.95, 0.7, NAN)):
    table = pd.DataFrame({"value": aucs, "holds": [auc > 0.9 for auc in aucs]})
    return Result(table, "1 [0, 2] of 23 factor values recovered", bank_key(bank.activations))


def visual(bank):
    original = np.array([[1.0, 1, 0], [1, 1, 0]])
    return VisualDependence(bank, ["a", "b"], [], {ORIGINAL: original, "blank": original * [0.25, 0.9, 1]}, ())


def ablation(bank):
    """Ten samples each: both concepts lower their own words at once and as mentions, the first also later."""
    rows = [
        {
            "sample": f"s{n}",
            "concept": k,
            "edit": edit,
            "own_step": step if edit == "concept" else 0.0,
            "own_later": later if edit == "concept" else 0.0,
        }
        for k, (step, later) in enumerate(((-0.5, -0.1), (-0.2, 0.1)))
        for edit in ("concept", "random")
        for n in range(10)
    ]
    table = pd.DataFrame(rows).assign(bank=bank_key(bank.activations), others_step=0.1, others_later=0.05, n_concepts=3)
    return table.assign(own_mentions=table["own_step"], others_mentions=0.1, target=0.0, rest=0.0)


def selectivity(bank):
    table = pd.DataFrame({"value": [0.8, 0.1], "holds": [1, 0]})
    return Result(table, "by chance 0.5 of 2", bank_key(bank.activations))


def agreement(bank):
    table = pd.DataFrame({"rank": [0.9, 0.5, NAN], "above": [1.0, 0.4, NAN]})
    means = dict.fromkeys(("rank_margin", "shared", "shared_others", "shared_margin"), Mean(0, 0, 0, 2))
    means |= {"rank": Mean(0.7, 0.6, 0.8, 2), "rank_others": Mean(0.5, 0.4, 0.6, 2)}
    return Agreement(table, **means, shared_chance=0.5, p=1.0, n_excluded=1, bank_key=bank_key(bank.activations))


RESULTS = dict(recovery=recovery, visual=visual, ablation=ablation, selectivity=selectivity, agreement=agreement)


@pytest.fixture
def card(bank):
    bank = replace(bank, measures={"stability": np.array([MIN_COSINE, 0.5, NAN])})
    return bank.trust_card(**{name: result(bank) for name, result in RESULTS.items()})


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
    assert table["causal"].tolist()[:2] == pytest.approx([-0.5, -0.2])  # at the state's own step
    assert table["samples"].tolist() == [len(card.bank.ids)] * 2 + [0]


def test_the_summary_has_intervals_and_controls(card):
    findings = card.summary["finding"]
    assert "1 [0, 2] of 23" in findings["recovered"]
    assert "another page: 1.000 [1.000, 1.000]" in findings["visual"]  # both samples are alike
    assert findings["causal"].startswith("at later steps, the strictest of three; ")
    assert "2 in expected mentions, 2 at the state's own step; " in findings["causal"]
    assert "-0.350 [-0.350, -0.350] nats; 1 not tested" in findings["causal"]
    assert "by chance 0.5 of 2" in findings["selective"]
    assert "others' at 0.500" in findings["agrees"]
    assert "the lowest 0.50" in findings["stable"]


def test_what_was_not_measured_is_said(bank):
    card = bank.trust_card()
    assert all(check.answers is None and (check.n_yes, check.n_evaluated) == (0, 0) for check in card.checks)
    assert card.summary["finding"].str.startswith("not measured: ").all()
    assert list(card.table) == ["title", "samples"]
    assert repr(card).count("not measured") == 6


def test_that_a_bank_of_few_samples_is_found_again_says_nothing(bank, monkeypatch):
    monkeypatch.setattr(MODULE, "MIN_PER_CONCEPT", 3)
    card = replace(bank, measures={"stability": np.ones(len(bank))}).trust_card()
    assert card.checks[-1].name == "stable" and card.checks[-1].answers is None
    assert card.facts["samples"].endswith(f", too few for {len(bank)} concepts")


def test_the_bank_is_counted(card, bank):
    assert "1 never active, 0 without words" in card.facts["unusable"]
    assert f"{len(bank.ids):,} from" in card.facts["samples"]
    folder = replace(bank, provenance={**bank.provenance, "data": {"source": "folder:/far/away/pets", "split": "all"}})
    assert folder.trust_card().facts["samples"] == f"{len(bank.ids):,} from folder:pets"


@pytest.mark.parametrize(
    "name, shown",
    [
        ("llava-hf/llava-1.5-7b-hf", "llava-hf/llava-1.5-7b-hf"),
        ("picturebook, untrained 0", "picturebook, untrained 0"),
        ("/far/away/models/llava", "llava"),
        ("models/ann/llava", "llava"),
        ("~/llava", "llava"),
        ("./llava", "llava"),
    ],
)
def test_a_card_does_not_tell_where_a_model_lies(bank, name, shown):
    model = bank.provenance["model"] | {"name": name}
    card = replace(bank, provenance=bank.provenance | {"model": model}).trust_card()
    assert card.facts["model"] == f"{shown}, {bank.where}"
    assert "3 concepts, 2.0 active per sample" in card.facts["method"]


@pytest.mark.parametrize("name", RESULTS)
def test_what_is_of_another_bank_is_refused(bank, name):
    other = replace(bank, activations=bank.activations[:, [1, 0, 2]])  # as many concepts, in another order
    with pytest.raises(ValueError, match=f"^{name} is of another bank than this card: give what was measured of Con"):
        bank.trust_card(**{name: RESULTS[name](other)})


def test_a_result_is_of_its_bank_after_saving_and_loading(bank, tmp_path):
    saved = replace(bank, names={})
    saved.save_pretrained(tmp_path / "bank")
    again = ConceptBank.from_pretrained(tmp_path / "bank")
    card = again.trust_card(visual=visual(bank))
    assert card.checks[1].n_evaluated == 2 and card.facts["residual"] == "unknown of a saved bank"


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
    assert card._repr_mimebundle_()[1] == card.figure()._repr_mimebundle_()[1]
