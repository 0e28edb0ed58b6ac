"""The scores of errors, whole, on few questions: errors are planted in what counts as right."""

import json
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.ground_truth.error_inputs import answered_questions
from coxlmm_utils.ground_truth.error_mending import GROUPS, Edited, few, flagged
from coxlmm_utils.ground_truth.error_scores import error_table
from coxlmm_utils.models import load_lmm
from coxlmm_utils.picturebook import factors_of

scores_module = import_module("coxlmm_utils.ground_truth.error_scores")
mending = import_module("coxlmm_utils.ground_truth.error_mending")


def night_is_wrong(lmm, split, n):
    """The book's questions, where the right answer of pages at night is "no"."""
    inputs = answered_questions(lmm, split, n)
    night = np.array([factors_of(int(page)).time == "night" for page in inputs.pages])
    kind = tuple(("dog", noun) for _, noun in inputs.asked)  # each kind has pages by night and by day
    there = inputs.claims & ~night
    return replace(
        inputs,
        wrong=inputs.claims & night,
        asked=kind,
        is_right=lambda row, answer: answer.startswith("yes") == there[row],
    )


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


@pytest.fixture(scope="module")
def scores(lmm):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores_module, "answered_questions", night_is_wrong)
        patch.setattr(scores_module, "N_QUESTIONS", {"train": 120, "validation": 45, "test": 120})
        patch.setattr(scores_module, "N_CONCEPTS", 5)
        patch.setattr(mending, "ALPHAS", (2.0,))
        patch.setattr(mending, "MEAN_ALPHAS", (1.0, 2.0))
        patch.setattr(mending, "N_EDITED", {"validation": 6, "test": 8})
        return scores_module.error_scores(lmm)


def test_all_that_is_promised_is_there(scores, lmm):
    for part in (scores, scores["typical"]):
        for name in ("auroc", "random", "direction", "random_direction", "probe", "asked"):
            mean, low, high = part[name]
            assert 0 <= low <= mean <= high <= 1
    assert scores["probe"][0] > 0.9  # night and day are in the state
    assert [row["layer"] for row in scores["layers"]] == list(range(1, lmm.n_layers + 1))
    best = max(scores["layers"], key=lambda row: row["auroc_train"])
    assert (scores["layer"], scores["auroc"]) == (best["layer"], best["auroc"])
    assert (
        {"steered", "random", "means", "gated"}
        <= set(scores["mended"])
        == set(scores["kept"])
        == set(scores["settings"])
    )
    assert json.loads(json.dumps(scores)) == scores


def test_the_table_has_both_sets_and_every_way(scores):
    text = error_table(scores)
    assert "typical" in text and "random_direction" in text and "means" in text and "mended" in text


def test_shares_are_of_each_group_and_tell_an_edit_that_turns_every_answer(lmm):
    inputs = night_is_wrong(lmm, "test", 60)
    rows = few(inputs, 5)
    assert (
        all(inputs.wrong[rows["mended"]])
        and all(inputs.claims[rows["kept"]])
        and not any(inputs.claims[rows["others"]])
    )
    edited = Edited(inputs, rows, np.zeros(len(inputs), bool))
    same = edited.shares(lmm, "steered", _yes_to_no(lmm, inputs), 0.0)["steered"]
    assert {name: share.mean() for name, share in same.items()} == {"mended": 0, "kept": 1, "others": 1}
    turned = edited.shares(lmm, "means", _yes_to_no(lmm, inputs), 4.0)
    assert turned["means"]["mended"].mean() > 0.5 > turned["means"]["kept"].mean() and list(same) == list(GROUPS)
    assert turned["gated"]["mended"].mean() == 0 and turned["gated"]["kept"].all()  # nothing is flagged


def test_what_the_telling_concept_takes_for_errors_is_flagged():
    V = np.array([[0, 1], [0, 2], [0, 8], [0, 9], [9, 3]], dtype=np.float32)
    part = SimpleNamespace(at=lambda layer: SimpleNamespace(Z=V))
    bank = SimpleNamespace(layer=2, project=lambda Z: Z)
    telling = SimpleNamespace(best=1, table=pd.DataFrame({"side": [1, 1], "auroc_train": [0.5, 1.0]}))
    inputs = SimpleNamespace(claims=np.array([1, 1, 1, 1, 0], bool), wrong=np.array([0, 0, 1, 1, 0], bool))
    states = dict.fromkeys(("train", "validation", "test"), part)
    for side, expected in ((1, [0, 0, 1, 1, 0]), (-1, [1, 1, 0, 0, 0])):
        telling.table["side"] = side
        inputs.wrong[:4] = [side < 0, side < 0, side > 0, side > 0]
        assert [flags.tolist() for flags in flagged({2: (bank, telling)}, inputs, states)] == [expected] * 2


def _yes_to_no(lmm, inputs):
    """From the states of yes to those of no."""
    states = inputs.states(lmm, [4])
    parts = (mending.subset_of(states, chosen) for chosen in (inputs.claims, ~inputs.claims))
    return mending.mean_difference(*parts)
