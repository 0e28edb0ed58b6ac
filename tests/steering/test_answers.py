"""Steered answers: directions between answers, and the table of what turns and what stays."""

import numpy as np
import pytest
import torch

from coxlmm_utils.extraction.prompt_states import prompt_states
from coxlmm_utils.images.questions import load_questions
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.steering import Direction, answer_directions, answer_effects, reach

LAYERS = [3, 4]


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


@pytest.fixture(scope="module")
def questions():
    return load_questions("picturebook", "train", "presence", 120)


def test_a_direction_leads_from_one_answer_s_mean_to_the_other_s(lmm, questions):
    directions = answer_directions(lmm, questions, ("yes", "no"), LAYERS)
    means = []
    for answer in ("yes", "no"):
        part = questions.answered(answer)
        means.append(prompt_states(lmm, part.images, part.texts, [4]).Z.mean(0))
    torch.testing.assert_close(directions[4].vector, means[1] - means[0], rtol=1e-4, atol=1e-4)
    assert list(directions) == LAYERS and sum(directions[3].samples) == len(questions)
    with pytest.raises(ValueError, match="no question has the answer 'maybe'"):
        answer_directions(lmm, questions, ("yes", "maybe"), LAYERS)


def test_the_table_has_unsteered_answers_first(lmm, questions):
    nothing = Direction(torch.zeros(lmm.width), 4, "for a test", lmm.name, lmm.fingerprint)
    table = answer_effects(lmm, questions[:20], nothing, ("yes", "no"), (1.0,), max_new_tokens=6)
    assert table.index.tolist() == [0.0, 1.0] and (table.loc[0.0] == table.loc[1.0]).all()
    assert table.loc[0.0, "turned"] == 0 and table["presence"].equals(table["all"].rename("presence"))
    assert table.loc[0.0, ["'yes'", "'no'"]].sum() == 20


def test_yes_turns_to_no_and_the_accuracy_follows(lmm, questions):
    direction = answer_directions(lmm, questions, ("yes", "no"), [4])[4]
    tested = load_questions("picturebook", "test", "presence", 40)
    table = answer_effects(lmm, tested, reach(direction), ("yes", "no"), (1.0,), max_new_tokens=6)
    n_yes = sum(answers == ("yes",) for answers in tested.answers)
    assert table.loc[1.0, "turned"] > 0.9 and table.loc[1.0, "'no'"] > table.loc[0.0, "'no'"]
    assert table.loc[1.0, "all"] < 1 - 0.8 * n_yes / len(tested)


def test_where_no_question_is_answered_the_first_way_nothing_can_turn(lmm, questions):
    nothing = Direction(torch.zeros(lmm.width), 4, "for a test", lmm.name, lmm.fingerprint)
    table = answer_effects(lmm, questions[:4], nothing, ("seven", "no"), (1.0,), max_new_tokens=6)
    assert np.isnan(table["turned"]).all() and (table["'seven'"] == 0).all()
