"""The checks against ground truth as numbers."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

from coxlmm_utils.ground_truth import scores
from coxlmm_utils.ground_truth import scores as truth_scores
from coxlmm_utils.statistics import Mean
from tests.conftest import in_memory


def mean(value):
    return Mean(value, value - 0.1, value + 0.1, 9)


@pytest.fixture
def results(monkeypatch):
    """Scores of checks whose results are known; what was asked of each is kept in `asked`."""
    asked = []
    images = replace(in_memory([], ()), ids=tuple(map(str, range(1000))), references=((),) * 1000)
    bank = SimpleNamespace(captions=[], ids=[], activations=None)
    conditions = ["original", "blank", "blank", "noise", "noise"]
    table = pd.DataFrame({"condition": conditions, "auc": [1.0, 0.4, 0.6, 0.5, 0.7]})
    shares = {"words": 0.9, "later": 0.6, "mentions": 0.3}
    recovered = {
        name: SimpleNamespace(recovery=SimpleNamespace(recovered=mean(n))) for name, n in (("semi_nmf", 14), ("pca", 9))
    }
    given = {
        "load_images": lambda *args, **kwargs: SimpleNamespace(mentioning=lambda subject: images),
        "extract": lambda lmm, images, subject, layer, position: asked.append((len(images), position)) or bank,
        "recover_factors": lambda *args: recovered,
        "remove_concepts": lambda *args: "table",
        "ablation_summary": lambda table, measure="words": SimpleNamespace(
            share=mean(shares[measure]), minus_random=mean(-0.2 if measure == "words" else -0.1)
        ),
        "words_before": lambda *args: [],
        "best_values": lambda *args: [],
        "visual_dependence": lambda lmm, bank, few, pictures, knockout_from: asked.append(list(pictures)) or bank,
        "recovery_without_picture": lambda *args: table,
        "matched_values": lambda *args: [],
        "counterfactual_edits": lambda lmm, bank, numbers: asked.append(len(numbers)),
        "selectivity": lambda *args: SimpleNamespace(share=mean(0.8), share_significant=mean(0.7)),
    }
    for name, fake in given.items():
        monkeypatch.setattr(truth_scores, name, fake)
    monkeypatch.setattr(truth_scores, "ConceptBank", SimpleNamespace(learn=lambda *args: bank))
    return truth_scores.truth_scores(None, "dog", 4), asked


def test_every_check_is_a_number_with_its_interval(results):
    results, _ = results
    expected = dict(covered=14, removal_share=0.9, removal_minus_random=-0.2, removal_share_mentions=0.3)
    expected |= dict(removal_share_later=0.6, blank_auc=0.5, noise_auc=0.6, diagonal=0.8, diagonal_sure=0.7)
    for scored in (results, results["predicts"]):
        assert {name: scored[name] for name in expected} == pytest.approx(expected)
        assert set(scored["intervals"]) == set(expected)
        assert scored["intervals"]["covered"] == pytest.approx([13.9, 14.1])
        assert scored["controls"]["pca"] == pytest.approx([9, 8.9, 9.1])
    assert json.loads(json.dumps(results)) == results


def test_both_positions_are_read_on_as_many_pages_as_said(results):
    _, asked = results
    pages = {position: [(1000, position), (1000, position), (200, position)] for position in ("own", "predicts")}
    assert asked == [single for item in pages.values() for single in [*item, ["blank", "noise"], 40]]


def test_the_table_has_a_column_for_each_position(results):
    text = scores.truth_table(results[0])
    assert "own" in text and "predicts" in text and "removal_minus_random" in text and "-0.200" in text
    assert "intervals" not in text and "controls" not in text
    assert "Empty" in scores.truth_table({})
