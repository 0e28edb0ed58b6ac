"""Questions have the right answers, and yes is as likely as no."""

import random
from collections import Counter

import pytest

from coxlmm_utils.picturebook.factors import Factors, factors_of
from coxlmm_utils.picturebook.questions import (
    ASKED_NOUNS,
    QUESTION_TOPICS,
    ask,
    ask_presence,
    ask_some_presence,
    present_nouns,
)
from data.picturebook.recipe.architecture import vocabulary

DOGS = Factors("dog", "golden", "large", "sleeping", "room", "friend", "day")
BUS = Factors("bus", "red", "small", "parked", "street", "child", "night")


@pytest.mark.parametrize(
    "page, topic, texts, answer",
    [
        (DOGS, "colour", {"What colour is the dog?", "What color is the dog?"}, "golden"),
        (DOGS, "place", {"Where is the dog?"}, "in a room"),
        (DOGS, "count", {"How many dogs are there?", "How many dogs?"}, "two"),
        (DOGS, "action", {"What is the dog doing?"}, "sleeping"),
        (BUS, "colour", {"What colour is the bus?", "What color is the bus?"}, "red"),
        (BUS, "place", {"Where is the bus?"}, "on the street"),
        (BUS, "count", {"How many buses are there?", "How many buses?"}, "one"),
        (BUS, "action", {"What is the bus doing?"}, "parked"),
    ],
)
def test_questions_about_the_subject(page, topic, texts, answer):
    rng = random.Random(0)
    asked = [ask(page, topic, rng) for _ in range(20)]
    assert {question.text for question in asked} == texts
    assert {(single.topic, single.noun, single.answer) for single in asked} == {(topic, page.kind, answer)}


@pytest.mark.parametrize("page, there", [(DOGS, {"dog"}), (BUS, {"bus", "child"})])
def test_questions_about_presence(page, there):
    rng = random.Random(0)
    assert set(present_nouns(page)) == there
    for noun in ASKED_NOUNS:
        question = ask_presence(page, noun, rng)
        assert question.answer == ("yes" if noun in there else "no")
        assert question.text in (f"Is there a {noun}?", f"Is there a {noun} in the picture?")


def test_yes_is_as_likely_as_no_for_every_noun():
    rng = random.Random(0)
    answers = Counter()
    for number in range(20_000):
        question = ask_some_presence(factors_of(number), rng)
        answers[question.noun, question.answer] += 1
    for noun in ASKED_NOUNS:
        yes, no = answers[noun, "yes"], answers[noun, "no"]
        assert yes + no > 1000 and 0.45 < yes / (yes + no) < 0.55, noun


def test_questions_and_answers_use_known_words():
    rng, known = random.Random(0), set(vocabulary())
    for number in range(200):
        page = factors_of(number)
        asked = [ask_some_presence(page, rng)] + [ask(page, topic, rng) for topic in QUESTION_TOPICS]
        for question in asked:
            assert set(question.text.lower().rstrip("?").split()) | set(question.answer.split()) <= known
