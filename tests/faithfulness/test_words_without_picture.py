"""The words that are still said without the picture, and how they are judged."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.concepts.grounding import Words
from coxlmm_utils.evaluation.judges import PictureScorer, load_judges
from coxlmm_utils.faithfulness.visual_dependence import (
    ANOTHER,
    ORIGINAL,
    VisualDependence,
    _others,
    means_by_condition,
    words_without_picture,
)
from tests.conftest import in_memory, noise

WORDS = [("dog", "grass"), ("grass", "beach", "snow"), (), ("night",)]
WITH = [[0.9, 0.5, 0, 0], [0, 0, 0.2, 0], [0, 0, 0, 0.4]]
BLANK = [[0, 0.3, 0, 0.1], [0.5, 0, 0, 0], [0, 0, 0, 0]]


@pytest.fixture(scope="module")
def judges():
    return load_judges("picturebook", device="cpu")


@pytest.fixture(scope="module")
def images():
    return in_memory([noise(seed) for seed in range(4)], ("a dog on grass", "a dog"))


@pytest.fixture
def result(bank, images):
    bank = replace(bank, words=[Words(words, ()) for words in WORDS])
    activations = {ORIGINAL: np.array(WITH), "blank": np.array(BLANK)}
    return VisualDependence(bank, [images.ids[row] for row in (3, 0, 2)], [], activations, ())


@pytest.fixture
def table(result, images, judges):
    return words_without_picture(result, images, *judges)


def test_the_words_that_stay(table):
    same = table.pivot(index="sample", columns="condition", values="same_words")
    assert same.loc["p3", ORIGINAL] == same.loc["p2", ORIGINAL] == 1
    assert same.loc["p3", "blank"] == 3 / 4  # grass, beach and snow of dog, grass, beach, snow
    assert np.isnan(same.loc["p0"]).all()  # its concept has no words
    assert same.loc["p2", "blank"] == 0


def test_a_row_for_each_condition_and_sample(table):
    assert list(table["condition"]) == [ORIGINAL] * 3 + ["blank"] * 3 + [ANOTHER] * 3
    assert list(table["sample"]) == ["p3", "p0", "p2"] * 3


def test_chance_is_what_another_sample_says(table):
    with_picture, dealt = (table[table["condition"] == name] for name in (ORIGINAL, ANOTHER))
    assert (with_picture["bertscore"].to_numpy() != dealt["bertscore"].to_numpy()).all()
    for n, seed in ((2, 0), (9, 1)):
        others = _others(n, seed)
        assert sorted(others) == list(range(n)) and (others != np.arange(n)).all()


def test_scores_are_means_over_the_concepts_and_with_the_true_picture(table, images, judges):
    judged = PictureScorer(images, *judges)
    expected = judged.clip_scores([3, 3], [WORDS[1], WORDS[3]]).mean()
    assert table["clipscore"][3] == pytest.approx(expected, abs=1e-6)
    expected = judged.bert_scores([3, 3], [WORDS[1], WORDS[3]]).mean()
    assert table["bertscore"][3] == pytest.approx(expected, abs=1e-6)
    assert table["bertscore"][5] == 0  # nothing is active: no words


def test_so_many_concepts_count(result, images, judges):
    single = words_without_picture(result, images, *judges, n_concepts=1)
    assert single["same_words"][3] == 1 / 2  # grass, of dog and grass


def test_means_have_intervals_and_leave_out_what_is_missing(table):
    means = means_by_condition(table, "same_words")
    assert list(means) == [ORIGINAL, "blank", ANOTHER]
    assert means["blank"].value == pytest.approx(3 / 8) and (means["blank"].n, means["blank"].n_missing) == (2, 1)
    assert means["blank"].low == 0 and means["blank"].high == 3 / 4


def test_a_mean_of_one_value_is_refused():
    with pytest.raises(ValueError, match="two"):
        means_by_condition(pd.DataFrame({"condition": ["blank"], "x": [1.0]}), "x")
