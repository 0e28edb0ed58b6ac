"""Scores of answers and captions by hand."""

import math

import numpy as np
import pytest

from coxlmm_utils.evaluation.answers import (
    answer_counts,
    answer_table,
    cider,
    normalised_answer,
    pope_scores,
    vqa_accuracy,
)


@pytest.mark.parametrize(
    "answer, normal",
    [
        ("The Dog.", "dog"),
        ("two", "2"),
        ("none", "0"),
        ("dont know", "don't know"),
        ("1,000", "1000"),
        ("red/blue", "red blue"),
        ("yes, it is", "yes it is"),
        ("3.5", "3.5"),
        ("  a\nball\t", "ball"),
        ("", ""),
    ],
)
def test_answers_are_compared_as_vqav2_does(answer, normal):
    assert normalised_answer(answer) == normal


@pytest.mark.parametrize("n_same, accuracy", [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)])
def test_an_answer_is_right_as_far_as_other_people_gave_it(n_same, accuracy):
    given = ["red"] * n_same + [f"other {i}" for i in range(10 - n_same)]
    assert vqa_accuracy("Red.", given) == pytest.approx(accuracy)


def test_people_s_answers_are_normalised_too_unless_they_agree():
    assert vqa_accuracy("2", ["two"] * 9 + ["3"]) == pytest.approx(1)
    assert vqa_accuracy("2", ["two"] * 10) == 0  # as the official code: answers that all agree are left as they are
    assert vqa_accuracy("two", ["two"]) == 1 and vqa_accuracy("one", ["two"]) == 0


def test_without_a_right_answer_there_is_no_accuracy():
    assert math.isnan(vqa_accuracy("no", ()))
    table = answer_table(["yes", "no"], [["yes"], []], ["yes/no", "10-Legal_Opinion"])
    assert table["all"] == table["yes/no"] == 1 and math.isnan(table["10-Legal_Opinion"])


def test_accuracy_by_kind_of_answer():
    table = answer_table(["yes", "no", "2"], [["yes"], ["yes"], ["two"]], ["yes/no", "yes/no", "number"])
    assert table.to_dict() == {"yes/no": 0.5, "number": 1.0, "all": pytest.approx(2 / 3)}
    with pytest.raises(ValueError):
        answer_table(["yes"], [["yes"], ["no"]], ["yes/no"])


def test_answers_are_counted_as_they_are_compared():
    assert answer_counts(["Yes.", "yes", "No"]) == {"yes": 2, "no": 1}


def test_pope_by_hand():
    scores = pope_scores(["Yes, there is.", "No.", "yes", "there is not"], ["yes", "yes", "no", "no"])
    assert scores["accuracy"] == scores["precision"] == scores["recall"] == scores["f1"] == 0.5
    assert scores["yes_share"] == 0.5 and scores["f1_released"] == pytest.approx(2 * 0.5 / 1.5)
    never = pope_scores(["no", "no", "no"], ["yes", "no", "no"])
    assert (never["accuracy"], never["f1"], never["yes_share"]) == (pytest.approx(2 / 3), 0, 0)
    assert never["f1_released"] == pytest.approx(0.8)
    with pytest.raises(ValueError, match="1 answers to 0 questions"):
        pope_scores(["yes"], [])


def test_cider_by_hand():
    references = [["a dog"], ["the cat"], ["one bird"]]
    # Of a caption that is its reference all cosines are 1 where there are runs of that length: 1 and 2 of 4.
    assert cider(["a dog", "the cat", "one bird"], references) == pytest.approx([5, 5, 5])
    # "dog" alone: of the unigrams the cosine is 1 / sqrt(2), and the caption is one word shorter.
    assert cider(["dog", "cow", ""], references) == pytest.approx([10 / 4 / math.sqrt(2) * math.exp(-1 / 72), 0, 0])


def test_a_word_said_again_and_again_gains_nothing():
    references = [["a brown dog on the grass"], ["a white cat in the snow"], ["two red birds in a tree"]]
    plain, repeated = (
        cider([text, "x", "x"], references)[0] for text in ("a brown dog", "a brown dog dog dog dog dog")
    )
    assert repeated < plain


def test_each_caption_needs_references():
    with pytest.raises(ValueError, match="give one or more for each"):
        cider(["a dog"], [[]])
    with pytest.raises(ValueError, match="give one or more for each"):
        cider(["a dog"], [])
    assert np.isfinite(cider(["a dog"], [["a dog"]])).all()
