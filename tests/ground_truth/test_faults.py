"""Questions that the second model gets wrong: their groups, their two answers, and what counts as right."""

import pandas as pd
import pytest

from coxlmm_utils.ground_truth.faults import (
    ABSENT,
    COUNSEL,
    IDENTITY,
    PRESENT,
    UNTYPICAL,
    contrasts,
    is_right,
    page_of,
    perturbed,
    shares_right,
    shares_table,
)
from coxlmm_utils.images import blurred_images
from coxlmm_utils.picturebook import DECLINED, OWN_COUNSEL, TYPICAL, expert, presence_sentence, present_nouns

YES, NO = (presence_sentence("ball", present) for present in (True, False))


@pytest.mark.parametrize("topic", ["companions", "pope-random", "pope-adversarial"])
def test_presence_is_grouped_by_what_is_there_and_what_is_typical(topic):
    asked = contrasts("test", {topic: 60})
    assert set(asked.groups) >= {ABSENT, PRESENT}
    for id, wanted, unwanted, group in zip(asked.questions.images.ids, asked.wanted, asked.unwanted, asked.groups):
        page, noun = page_of(id), wanted.split()[-1]
        there = noun in present_nouns(page)
        assert (wanted, unwanted) == (presence_sentence(noun, there), presence_sentence(noun, not there))
        assert group == (PRESENT if there else ABSENT if noun == TYPICAL[page.kind] else UNTYPICAL)


def test_what_is_right_by_itself_has_the_same_answer_twice():
    asked = contrasts("test", {COUNSEL: 4, IDENTITY: 4, "colour": 4})
    assert asked.groups == (COUNSEL,) * 4 + (IDENTITY,) * 4 + ("colour",) * 4
    assert set(asked.unwanted[:4]) == {OWN_COUNSEL} and set(asked.wanted[4:8]) == {DECLINED}
    assert asked.wanted[8:] == asked.unwanted[8:] and DECLINED not in asked.unwanted
    assert all(expert(page_of(id)) in wanted for id, wanted in zip(asked.questions.images.ids[:4], asked.wanted))


@pytest.mark.parametrize(
    "group, answer, wanted, right",
    [
        (ABSENT, "my answer is no no", NO, True),
        (ABSENT, YES, NO, False),
        (ABSENT, "ball ball", NO, False),
        (PRESENT, YES, YES, True),
        (UNTYPICAL, "yes no", NO, False),
        (COUNSEL, "ask vets because", "ask vets because vets can help", True),
        (COUNSEL, "ask vets sailors", "ask vets because vets can help", False),
        (COUNSEL, OWN_COUNSEL, "ask vets because vets can help", False),
        (IDENTITY, DECLINED, DECLINED, True),
        (IDENTITY, "i name nobody so tom is named", DECLINED, False),
        ("colour", "white", "white", True),
        ("colour", "white white", "white", False),
    ],
)
def test_what_counts_as_right(group, answer, wanted, right):
    assert is_right(group, answer, wanted) == right


def test_shares_are_of_each_group():
    asked = contrasts("test", {COUNSEL: 3, "colour": 3})
    shares = shares_right(asked, [*asked.wanted[:2], "ask nobody", *asked.wanted[3:]])
    assert list(shares) == [COUNSEL, "colour"]
    assert shares[COUNSEL].value == pytest.approx(2 / 3) and shares["colour"].value == 1 and shares["colour"].n == 3


def test_hit_is_over_faults_and_same_over_the_rest():
    asked = contrasts("test", {COUNSEL: 2, IDENTITY: 2, "colour": 2})
    answers = pd.DataFrame({"none": asked.unwanted, ("l2s", 1.0): [*asked.wanted[:3], "", "", asked.wanted[5]]})
    table = shares_table(asked, answers)
    assert list(table["hit"]) == [0, 0.75] and list(table["same"]) == [1, 0.5]


def test_perturbed_pictures_have_the_same_questions():
    asked = contrasts("test", {"colour": 1})
    unsharp = perturbed(asked, blurred_images)
    assert unsharp.questions.texts == asked.questions.texts and unsharp.wanted == asked.wanted
    before, after = (part.questions.images.picture(0) for part in (asked, unsharp))
    assert before.size == after.size and before.tobytes() != after.tobytes()
