"""Success of steering beside ablation: concepts are paired rightly, and the correlation is that of ranks."""

from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.faithfulness import remove_concepts
from coxlmm_utils.ground_truth.steering_and_ablation import (
    ABLATION_MEASURES,
    rank_correlations,
    steered_beside_ablated,
)

module = import_module("coxlmm_utils.ground_truth.steering_and_ablation")


class Summary:
    def __init__(self, measure: str) -> None:
        falls = {0: -3.0, 1: -2.0, 3: -1.0} if measure != "later" else {0: -0.3, 1: -0.2, 3: 0.1}
        self.concepts = pd.DataFrame({"minus_random": falls})


def test_a_concept_is_paired_with_the_pages_that_are_steered_to_its_value(monkeypatch):
    monkeypatch.setattr(module, "ablation_summary", lambda _, measure: Summary(measure))
    rows = pd.DataFrame({"wanted": ["beach", "beach", "snow", "grass"], "hit": [True, False, True, False]})
    names = [("place", "snow"), ("place", "beach"), ("place", "grass"), None, ("colour", "white")]
    table = steered_beside_ablated({"place": rows}, names, None)
    assert table.index.tolist() == [0, 1]  # of 2 nothing was removed, 3 is of no value, colours were not steered
    assert table["hit"].tolist() == [1, 0.5] and table["own_step"].tolist() == [3, 2]
    assert table["later"].tolist() == [0.3, 0.2] and table["value"].tolist() == ["snow", "beach"]


def test_the_correlation_is_of_ranks_with_its_interval():
    hit = np.linspace(0, 1, 30)
    table = pd.DataFrame({"hit": hit, "own_step": hit**3, "later": -np.exp(hit), "mentions": 1.0})
    means = rank_correlations(table)
    assert means["own_step"].value == pytest.approx(1) and means["later"].value == pytest.approx(-1)
    assert means["own_step"].low == pytest.approx(1) and np.isnan(means["mentions"].value)
    noise = table.assign(own_step=np.random.default_rng(0).standard_normal(30))
    assert rank_correlations(noise)["own_step"].low < 0 < rank_correlations(noise)["own_step"].high


def test_it_takes_what_remove_concepts_makes(llava, bank, states):
    try:
        removed = remove_concepts(llava, bank, states)
        table = steered_beside_ablated({"place": pd.DataFrame(columns=["wanted", "hit"])}, [None] * len(bank), removed)
    except ValueError as error:  # six samples are too few for a summary
        assert "at least 10 samples" in str(error)
    else:
        assert table.empty and set(ABLATION_MEASURES) <= set(table)
