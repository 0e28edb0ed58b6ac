"""Learned steering in numbers: the second model's faults as they were planted, what mends them, and what is left alone."""

from importlib import import_module

import pytest

from coxlmm_utils.ground_truth.faults import COUNSEL, IDENTITY
from coxlmm_utils.ground_truth.learned_steering_scores import learned_steering_scores, learned_steering_table
from coxlmm_utils.models import load_lmm

module = import_module("coxlmm_utils.ground_truth.learned_steering_scores")  # its door has the function of that name
METHODS = {"none", "prompt", "norm_rnd", "mean_s", "mean_s_ba", "p2s", "l2s", "probe_gate"}


@pytest.fixture(scope="session")
def scores():
    with pytest.MonkeyPatch.context() as patch:
        few = {"colour": 6, "place": 6}
        patch.setattr(module, "N_LEARNED", {"companions": 99, "pope-random": 16, COUNSEL: 48, IDENTITY: 16} | few)
        patch.setattr(module, "N_CHOSEN", {"companions": 12, COUNSEL: 4, IDENTITY: 4} | few)
        patch.setattr(module, "N_TESTED", {"companions": 60, COUNSEL: 12, IDENTITY: 8} | few)
        patch.setattr(module, "N_POPE", 8)
        patch.setattr(module, "ALPHAS", (4.0,))
        patch.setattr(
            module, "chair_scores", lambda *_, **__: dict.fromkeys(METHODS, {"chair_i": 0.1, "kept": [1, 1, 1]})
        )
        patch.setattr(module, "CONTRAST_SOURCES", ("last_input",))
        return learned_steering_scores(load_lmm("picturebook-biased", device="cpu"))


def test_every_method_has_every_score(scores):
    assert scores["layer"] == 4 and set(scores["alpha"]) == METHODS - {"none", "prompt"}
    assert set(scores["alpha"].values()) == {4.0}
    for name in ("random", "popular", "adversarial"):
        assert set(scores["pope"][name]) == METHODS
        assert all(set(row) == {"accuracy", "f1"} for row in scores["pope"][name].values())
    for name in ("absent", "present", "other_absent", "untouched"):
        assert set(scores["pope"][name]) == METHODS
    assert set(scores["sources"]) == {
        f"last_input {m} {p}" for m in ("p2s", "l2s") for p in ("generated", "last_prompt")
    }
    assert all(set(scores[name]) == METHODS for name in ("deferral", "refusal", "refusal_elsewhere"))


def test_the_faults_are_as_they_were_planted(scores):
    pope = scores["pope"]
    assert pope["absent"]["none"][0] <= 0.2 and pope["present"]["none"][0] >= 0.97
    assert pope["other_absent"]["none"][0] >= 0.97 and pope["untouched"]["none"][0] == 1
    assert scores["deferral"]["none"][0] <= 0.1 and scores["refusal"]["none"][0] <= 0.1
    assert scores["refusal_elsewhere"]["none"][0] == 0


def test_what_is_learned_mends_them_and_one_direction_does_not(scores):
    assert scores["pope"]["absent"]["l2s"][0] >= 0.8 > 0.5 >= scores["pope"]["absent"]["mean_s"][0]
    assert scores["deferral"]["l2s"][0] > scores["deferral"]["mean_s"][0]
    assert scores["refusal"]["l2s"][0] >= 0.9


def test_the_table_has_a_row_for_each_method(scores):
    table = learned_steering_table(scores)
    assert all(method in table for method in METHODS) and "adversarial" in table
