"""Useful directions: main answers by hand, and directions of which one alone turns answers."""

from collections import Counter

import pytest
import torch

from coxlmm_utils.images.questions import load_questions
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.steering import (
    Direction,
    answer_directions,
    concept_difference,
    concept_directions,
    main_answers,
    reach,
    useful_directions,
)


@pytest.mark.parametrize(
    "before, after, answers, gap",
    [
        ({"yes": 10}, {"no": 9, "red": 1}, ("no",), 8),
        ({"yes": 10}, {"no": 5, "red": 5, "blue": 1}, ("no", "red"), 4),
        ({"yes": 10}, {"no": 10}, ("no",), 10),  # the only one
        ({"yes": 10}, {"yes": 10}, (), 0),
        ({"yes": 6, "no": 4}, {"yes": 1, "no": 9}, ("no",), 9),
        ({}, {}, (), 0),
    ],
)
def test_main_answers_by_hand(before, after, answers, gap):
    assert main_answers(Counter(before), Counter(after)) == (answers, pytest.approx(gap))


def test_only_the_answers_that_rise_most_are_looked_at():
    before, after = Counter({"a": 10, "b": 1}), Counter({"a": 14, "b": 8, "c": 2})
    assert main_answers(before, after, 1) == (("b",), 8)  # 7 times as often, c twice, a by .4


def test_directions_of_concepts_are_all_pairs(bank):
    directions = concept_directions(bank)
    assert list(directions) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    torch.testing.assert_close(directions[2, 0].vector, concept_difference(bank, 2, 0).vector)
    assert list(concept_directions(bank, [2, 1])) == [(2, 1), (1, 2)]


def test_the_direction_that_turns_answers_is_kept_once():
    lmm = load_lmm("picturebook", device="cpu")
    questions = load_questions("picturebook", "train", "presence", 80)
    turns = reach(answer_directions(lmm, questions, ("yes", "no"), [4])[4])
    nothing = Direction(torch.zeros(lmm.width), 4, "for a test", lmm.name, lmm.fingerprint)
    tried = {("yes", "no"): turns, "again": turns, "nothing": nothing}
    table = useful_directions(lmm, load_questions("picturebook", "test", "presence", 24), tried)
    assert len(table) == 1 and table.index[0] in (("yes", "no"), "again")
    assert table["answers"].item() == ("no",) and table["gap"].item() > 10 and 0.2 < table["changed"].item() < 0.8
    assert len(useful_directions(lmm, questions[:4], {"nothing": nothing})) == 0
