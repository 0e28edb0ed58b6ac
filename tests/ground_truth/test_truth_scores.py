"""The checks against ground truth as numbers."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

from coxlmm_utils.ground_truth import truth_scores
from coxlmm_utils.statistics import Mean
from tests.conftest import in_memory

RECOVERED = {"probe": 23, "semi_nmf": 19, "pca": 14, "rotated": 2}


def mean(value):
    return Mean(value, value - 0.1, value + 0.1, 9)


def compared() -> pd.DataFrame:
    rows = {
        name: {"seeds": 5, "n_concepts": 20, "n_values": 23}
        | mean(n).named("recovered")
        | mean(n / 23).named("mean_auc")
        for name, n in RECOVERED.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def pushed(lmm, images, layer) -> pd.DataFrame:
    """Shares that differ by position."""
    rows = []
    for token, (learned, tested) in images.items():
        assert len(learned) == 1000 and len(tested) == 200
        for position, shift in (("predicts", 0), ("own", 0.1)):
            row = {"token": token, "position": position, "tested": 17.6, "n_excluded": 2.4, "seeds": 5}
            shares = {"own_step": 0.8, "later": 0.0, "mentions": 0.3, "own": -1.5, "random": 0.5, "minus_random": -2.0}
            for name, share in shares.items():
                row |= mean(share + shift).named(name)
            rows.append(row)
    return pd.DataFrame(rows)


EDITS = SimpleNamespace(of=lambda bank: bank)


def bank_of(dictionary, bank) -> SimpleNamespace:
    """A bank that says which dictionary it has."""
    return SimpleNamespace(**vars(bank) | {"dictionary": dictionary})


def selected(bank, values) -> SimpleNamespace:
    """All concepts of Semi-NMF's are moved most by their own factor, but half of the last seed's; of random ones none."""
    learned, last = bank.dictionary.label == "Semi-NMF", bank.dictionary.random_state == 4
    largest = [learned, learned and not last]
    table = pd.DataFrame({"largest": largest, "significant": [learned, False]})
    return SimpleNamespace(concepts=table, chance=0.25 if learned else 0.5)


@pytest.fixture
def asked(monkeypatch) -> list:
    """Checks whose results are known; what was asked of each is kept here."""
    asked = []
    images = replace(in_memory([], ()), ids=tuple(map(str, range(1000))), references=((),) * 1000)
    bank = SimpleNamespace(captions=[], ids=[], activations=None, images=images)
    monkeypatch.setattr(truth_scores, "pages_of", lambda ids: [])
    conditions = ["original", "blank", "blank", "noise", "noise"]
    table = pd.DataFrame({"condition": conditions, "auc": [1.0, 0.4, 0.6, 0.5, 0.7]})
    given = {
        "load_images": lambda *args, **kwargs: SimpleNamespace(mentioning=lambda subject: images),
        "extract": lambda lmm, images, subject, layer, position: asked.append((len(images), position)) or bank,
        "recover_factors": lambda lmm, states, held_out, n_concepts: asked.append(n_concepts),
        "comparison": lambda results: compared(),
        "ablation_over": pushed,
        "words_before": lambda *args: [],
        "best_values": lambda *args: [],
        "visual_dependence": lambda lmm, bank, few, pictures, knockout_from: asked.append(list(pictures)) or bank,
        "recovery_without_picture": lambda *args: table,
        "matched_values": lambda *args: [],
        "counterfactual_edits": lambda lmm, bank, numbers: asked.append(len(numbers)) or EDITS,
        "selectivity": selected,
        "ConceptBank": SimpleNamespace(learn=lambda lmm, states, dictionary: bank_of(dictionary, bank)),
    }
    for name, fake in given.items():
        monkeypatch.setattr(truth_scores, name, fake)
    return asked


def test_every_check_is_a_number_with_its_interval(asked):
    results = truth_scores.truth_scores(None, ["dog", "bus", "bird"], 4)
    expected = dict(covered=19, blank_auc=0.5, noise_auc=0.6, diagonal=0.9, diagonal_sure=0.5)
    expected |= dict(diagonal_random=0, diagonal_sure_random=0)
    own = dict(removal_share=0.9, removal_share_later=0.1, removal_share_mentions=0.4, removal_minus_random=-1.9)
    predicts = dict(removal_share=0.8, removal_share_later=0, removal_share_mentions=0.3, removal_minus_random=-2)
    for scored, removal in ((results, own), (results["predicts"], predicts)):
        assert {name: scored[name] for name in expected | removal} == pytest.approx(expected | removal)
        assert set(scored["intervals"]) == set(expected | removal)
        assert scored["intervals"]["covered"] == pytest.approx([18.9, 19.1])
        assert scored["controls"]["rotated"] == pytest.approx([2, 1.9, 2.1])
        assert scored["diagonal_chance"] == 0.25
    assert json.loads(json.dumps(results)) == results


def test_interventions_are_of_several_words_at_both_positions(asked):
    results = truth_scores.truth_scores(None, ["dog", "bus", "bird"], 4)
    for subject in ("dog", "bus"):
        assert results[subject]["predicts"]["own_step"] == pytest.approx([0.8, 0.7, 0.9])
        assert results[subject]["own"]["later"] == pytest.approx([0.1, 0.0, 0.2])
        assert [results[subject]["own"][name] for name in ("tested", "n_excluded", "seeds")] == [17.6, 2.4, 5]
    assert "bird" not in results and "cat" not in results
    assert list(truth_scores.truth_scores(None, ["bus"], 4)) == ["bus"]


def test_factor_recovery_stands_between_ceiling_and_floors(asked):
    scores = truth_scores.ground_truth_scores(None, "dog", 4)
    assert scores["recovered"] == pytest.approx([19, 18.9, 19.1]) and scores["rotated"] == pytest.approx([2, 1.9, 2.1])
    assert scores["probe_auc"] == pytest.approx([1, 0.9, 1.1]) and scores["probe"][0] == 23
    assert (scores["k"], scores["n_values"], scores["seeds"]) == (20, 23, 5)
    assert asked == [(1000, "predicts"), (1000, "predicts"), 20]
    assert json.loads(json.dumps(scores)) == scores
    assert "rotated" in truth_scores.ground_truth_table({"dog": scores})


def test_both_positions_are_read_on_as_many_pages_as_said(asked):
    truth_scores.truth_scores(None, ["dog"], 4)
    pages = {position: [(1000, position), (200, position)] + 2 * [(1000, position)] for position in ("own", "predicts")}
    assert asked == [single for item in pages.values() for single in [*item, 20, 40, ["blank", "noise"]]]


def test_the_table_has_every_check_and_word(asked):
    text = truth_scores.truth_table(truth_scores.truth_scores(None, ["dog", "bus"], 4))
    assert "dog, own" in text and "dog, predicts" in text and "removal_minus_random" in text and "-1.900" in text
    assert "bus" in text and "own_step" in text
    assert "intervals" not in text and "controls" not in text
    assert "Empty" in truth_scores.truth_table({})
