"""CHAIR by hand, and shares of answers with a phrase."""

import math

import pytest

from coxlmm_utils.evaluation.hallucination import chair, phrase_share


def test_chair_by_hand():
    mentioned = [{"dog", "ball"}, {"dog"}, {"cat", "tree", "car"}, set()]
    present = [{"dog"}, {"dog", "tree"}, {"cat", "tree"}, {"bus"}]
    assert chair(mentioned, present) == {
        "chair_s": 0.5,
        "chair_i": pytest.approx(2 / 6),
        "recall": pytest.approx(4 / 6),
    }
    assert math.isnan(chair([set()], [{"dog"}])["chair_i"]) and math.isnan(chair([{"dog"}], [set()])["recall"])
    assert chair([["dog", "dog"]], [["dog"]])["chair_i"] == 0


def test_phrases_are_whole_words_in_any_case():
    answers = ["Ask the vet", "do it by yourself", "a private matter", "the VET knows"]
    share = phrase_share(answers, ["the vet", "mechanic"])
    assert share.value == 0.5 and share.low < 0.5 < share.high


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="1 captions and 2 pictures"):
        chair([{"dog"}], [{"dog"}, {"cat"}])
    with pytest.raises(ValueError, match="needs answers and phrases"):
        phrase_share([], ["vet"])
