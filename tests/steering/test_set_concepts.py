"""Setting concepts: exact in each state, all else untouched."""

import numpy as np
import pytest
import torch

from coxlmm_utils.models import capture
from coxlmm_utils.steering import set_concepts, steer


def test_only_the_concepts_that_are_set_change_and_the_residual_stays(bank, states):
    edit, Z = set_concepts(bank, {0: 3.0, 2: 0.0}), states.Z
    moved = Z + edit.change(Z)
    V = bank.project(Z)
    wanted = V.copy()
    wanted[:, [0, 2]] = [3.0, 0.0]
    residual = Z.numpy() - V @ bank.concepts
    np.testing.assert_allclose(moved.numpy(), wanted @ bank.concepts + residual, rtol=1e-4, atol=1e-4)


def test_to_set_a_concept_to_what_it_is_changes_nothing(bank, states):
    z = states.Z[:1]
    active = bank.project(z)[0]
    change = set_concepts(bank, {k: float(value) for k, value in enumerate(active)}).change(z)
    np.testing.assert_allclose(change.numpy(), 0, atol=1e-5)


def test_while_the_model_runs_each_row_gets_its_own_change(bank, llava, pictures):
    inputs, edit = llava.inputs(pictures[:4]), set_concepts(bank, {1: 5.0})
    with capture(llava, [bank.layer]) as plain, torch.inference_mode():
        llava.model(**inputs)
    with steer(llava, edit), capture(llava, [bank.layer]) as moved, torch.inference_mode():
        llava.model(**inputs)
    before = plain[bank.layer][0]
    torch.testing.assert_close(moved[bank.layer][0], before + edit.change(before))
    assert len({tuple(row) for row in edit.change(before).tolist()}) == 4


@pytest.mark.parametrize(
    "values, error, message",
    [
        ({}, ValueError, "no concept is to be set"),
        ({3: 1.0}, IndexError, "there is no concept 3"),
        ({0: -1.0}, ValueError, "concept 0 cannot be -1"),
        ({0: float("nan")}, ValueError, "concept 0 cannot be nan"),
    ],
)
def test_what_cannot_be_set_is_said(bank, values, error, message):
    with pytest.raises(error, match=message):
        set_concepts(bank, values)


def test_another_model_is_refused(bank, qwen):
    with pytest.raises(ValueError), steer(qwen, set_concepts(bank, {0: 1.0})):
        pass
