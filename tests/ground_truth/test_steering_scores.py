"""Steering's scores: the whole of them on a few pages, and that nothing of the test pages decides."""

from importlib import import_module

import numpy as np
import pytest

from coxlmm_utils.ground_truth.steering_effects import effect_means
from coxlmm_utils.models.loading import load_lmm

module = import_module("coxlmm_utils.ground_truth.steering_scores")  # whose name in the room is its function
METHODS, OF_MEANS = module.METHODS, module.OF_MEANS
FEW = {"N_LEARNED": 60, "N_CHOSEN": 4, "N_TESTED": 12, "ALPHAS": (1.0, 1.5), "N_CONCEPTS": 6}
FEW |= {"STEERED_FACTORS": ("action",), "N_QUESTIONS": {"train": 60, "validation": 12, "test": 16}}


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


@pytest.fixture(scope="module")
def scores(lmm):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FEW.items():
            patch.setattr(module, name, value)
        return module.steering_scores(lmm, ["boat"])


def test_every_method_has_its_numbers(lmm, scores):
    assert set(scores) == {"action", "questions", "interchange", "causal"} and {*OF_MEANS} <= {*scores["action"]} <= {
        *METHODS
    }
    for method, row in scores["action"].items():
        assert row["layer"] in range(2, lmm.n_layers) and row["alpha"] in FEW["ALPHAS"]
        assert ("random_hit" in row) == (method in OF_MEANS)
        for name in ("hit", "same", "added"):
            value, low, high = row[name]
            assert np.isnan(value) or 0 <= low <= value <= high <= 1
    assert scores["causal"]["concepts"] >= 0 and set(scores["causal"]) <= {"concepts", "own_step", "later", "mentions"}
    assert 0 <= scores["questions"]["yes_no"] <= 1 and scores["questions"]["untargeted_drop"] <= 1
    assert "mean_difference" in module.steering_table(scores | {"colour": scores["action"], "place": scores["action"]})


def test_random_directions_change_little(lmm):
    states, pages = module.learned_states(lmm, [4], ["boat"]), module.subject_pages("test", 8, ["boat"])
    banks = {"boat": module.learned_bank(lmm, states["boat"].at(4))}
    rows = module.effects_over(lmm, states, banks, pages, "action", module.means, [(4, 1.0)], random=True)
    assert set(rows["subject"]) == {"boat"} and effect_means(rows)["hit"].value < 0.5
