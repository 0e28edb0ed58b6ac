"""Ways to steer from one value to another: what kind of edits they are, and the setting that pages choose."""

import pytest

from coxlmm_utils.ground_truth.steering_methods import METHODS, chosen_setting
from coxlmm_utils.ground_truth.steering_scores import learned_bank, learned_states, subject_pages
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.steering import ConceptEdit, Direction, InTurn, Reach


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


@pytest.fixture(scope="module")
def states(lmm):
    return learned_states(lmm, [4], ["boat"])["boat"]


@pytest.fixture(scope="module")
def bank(lmm, states):
    return learned_bank(lmm, states.at(4))


def test_edits_are_of_the_kind_that_their_method_says(states, bank):
    kinds = {"mean_difference": Direction, "reach": Reach, "concept_difference": Direction, "set_concepts": ConceptEdit}
    kinds |= {"combined": InTurn}
    for method, kind in kinds.items():
        edits = METHODS[method](states.at(4), bank, "colour")
        assert edits and all(isinstance(edit, kind) and a != b for (a, b), edit in edits.items())


def test_the_setting_is_chosen_among_those_given(lmm, states, bank):
    pages = subject_pages("validation", 3, ["boat"])
    given = lmm, {"boat": states}, {"boat": bank}, pages
    assert chosen_setting(*given, "action", "reach", [1.0]) == (4, 1.0)
    assert chosen_setting(*given, "kind", "set_concepts", [1.0]) is None  # of which no concept is
