"""The scores of captions and questions, on captions whose faults are known."""

import json
from collections import Counter

import pandas as pd
import pytest

from coxlmm_utils.evaluation.evaluate import Evaluation
from coxlmm_utils.ground_truth import scores
from coxlmm_utils.ground_truth.model_scores import caption_scores, model_table, topic_questions, yes_no_questions
from coxlmm_utils.ground_truth.scores import dictionary_table
from coxlmm_utils.picturebook.factors import factors_of, page_numbers
from coxlmm_utils.picturebook.page import page
from coxlmm_utils.picturebook.questions import ASKED_NOUNS
from tests.conftest import in_memory

DOG = page(kind="dog", colour="brown", place="beach", action="sleeping", companion="none").factors
CAT = page(kind="cat", colour="orange", place="room", action="running").factors
PAGES = [factors_of(number) for number in page_numbers("test")]


def test_caption_scores():
    captions = [
        "a puppy napping on the sand with brown fur",  # all true, in synonyms
        "a dog sitting on the beach",  # the action is wrong, the colour not named
        "a horse sleeping",  # the noun is wrong
        "an orange cat at home",
        "sleeping at home",  # no noun, and both wrong
    ]
    scores = caption_scores(captions, [DOG, DOG, DOG, CAT, CAT])
    assert scores["noun"] == 3 / 5
    assert scores["noun_by_subject"] == {"dog": pytest.approx(2 / 3), "cat": 1 / 2}
    assert scores["colour"] == 1 and scores["names_colour"] == 2 / 5
    assert scores["place"] == 1 and scores["names_place"] == 4 / 5
    assert scores["action"] == pytest.approx(2 / 4) and scores["names_action"] == 4 / 5
    assert scores["caption_true"] == 2 / 5 and scores["names_noun"] == 4 / 5


def test_yes_and_no_are_balanced_within_each_noun():
    asked = yes_no_questions(PAGES)
    answers = Counter((question.noun, question.answer) for _, question in asked)
    assert {noun for noun, _ in answers} == set(ASKED_NOUNS)
    assert all(answers[noun, "yes"] == answers[noun, "no"] > 50 for noun in ASKED_NOUNS)
    row, question = asked[0]
    assert question.answer == "yes" and PAGES[row].kind == question.noun


def test_topics_are_asked_equally_often():
    topics = Counter(question.topic for _, question in topic_questions(PAGES))
    assert topics == {topic: 400 for topic in ("colour", "place", "count", "action")}


def test_tables_show_every_score():
    model = model_table(caption_scores(["a dog"], [DOG]) | {"yes_no": 0.25})
    assert "0.250" in model and "names_place" in model and "dog" in model
    dictionary = dictionary_table({"dog": {"own": {"mean_auc": 0.5, "above_0_9": 3}}})
    assert "dog" in dictionary and "own" in dictionary and "0.500" in dictionary


COLUMNS = [metric + top for metric in ("clipscore", "bertscore") for top in ("", "_top3", "_union")]


def test_every_system_has_its_intervals_or_null(monkeypatch):
    rows = [
        {"system": name, "seed": 0, "picture": str(row), **{column: place + row for column in COLUMNS}}
        for place, name in enumerate(scores.EVALUATED_SYSTEMS)
        for row in range(4)
    ]
    concepts = [
        {"system": name, "seed": 0, "concept": k, "words": 2, "overlap": 0.25 * k}
        for name in scores.EVALUATED_SYSTEMS[:-1]
        for k in range(3)
    ]
    results = Evaluation("dog", pd.DataFrame(rows), pd.DataFrame(concepts), {})
    for name, given in (
        ("load_images", in_memory([], ())),
        ("load_judges", ()),
        ("extract", None),
        ("evaluate", results),
    ):
        monkeypatch.setattr(scores, name, lambda *args, given=given, **kwargs: given)
    results = scores.evaluation_scores(None, "dog")
    assert list(results) == list(scores.EVALUATED_SYSTEMS)
    mean, low, high = results["noise_imgs"]["bertscore"]
    assert mean == 3.5 and 2 <= low < mean < high <= 5
    assert results["noise_imgs"]["union_clipscore"] == [mean, low, high]
    assert results["simple"]["overlap"][0] == 0.25 and results["gt_captions"]["overlap"] is None
    assert json.loads(json.dumps(results)) == results
    assert "NaN" in scores.evaluation_table({"dog": results}) and "3.500" in scores.evaluation_table({"dog": results})
