"""Words of concepts checked on pages whose facts are known."""

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.concepts.grounding import Words
from coxlmm_utils.ground_truth.word_accuracy import mean_of_known, word_accuracy
from coxlmm_utils.picturebook.page import page
from coxlmm_utils.statistics import nested_bootstrap

SNOW = page(kind="dog", colour="brown", place="snow", action="sleeping", time="day").factors
BEACH = page(kind="dog", colour="black", place="beach", action="running", time="day").factors
PAGES = [SNOW, SNOW, BEACH, BEACH]


def words(*kept: str) -> Words:
    return Words(kept, ())


def test_words_are_checked_on_the_most_active_pages_and_on_all():
    activations = np.array([[3, 0], [2, 1], [1, 3], [0.5, 2]])
    results = word_accuracy(
        [words("winter", "snowy", "with"), words("sand", "brown")], activations, PAGES, n_pictures=2
    )
    first, second = results.table.to_dict("records")
    assert first == {"concept": 0, "words": ("winter", "snowy"), "true": 1, "chance": 0.5, "margin": 0.5}
    assert second == {"concept": 1, "words": ("sand", "brown"), "true": 0.5, "chance": 0.5, "margin": 0}
    assert (results.true.value, results.chance.value, results.margin.value) == (0.75, 0.5, 0.25)
    assert str(results).startswith("0.750 [0.500, 1.000] of words true")


def test_synonyms_count_and_the_noun_is_true_everywhere():
    results = word_accuracy([words("napping"), words("puppy", "cat")], np.ones((4, 2)), PAGES)
    assert results.table["true"].tolist() == results.table["chance"].tolist() == [0.5, 0.5]


def test_only_pages_of_the_positive_direction_count():
    activations = np.array([[0, 0.1, -1], [0, 0, -1], [1, 0, -3], [0, -2.0, 0]])
    results = word_accuracy([words("beach")] * 3, activations, PAGES, n_pictures=3)
    np.testing.assert_array_equal(results.table["true"], [1, 0, np.nan])
    signed = word_accuracy([words("beach")], np.array([[-3.0], [-2], [0.5], [0.1]]), PAGES, n_pictures=2)
    assert signed.table["true"].tolist() == [1]  # though the others are larger


def test_concepts_without_an_answer_are_counted():
    activations = np.column_stack([np.ones(4), np.ones(4), np.zeros(4), np.ones(4)])
    results = word_accuracy([words("beach"), words("with", "by"), words("beach"), words()], activations, PAGES)
    assert results.table["true"].isna().tolist() == [False, True, True, True]
    assert (results.true.value, results.true.n, results.true.n_missing) == (0.5, 1, 3)
    assert np.isnan([results.true.low, results.margin.high]).all()
    three = word_accuracy([words("beach"), words("day"), words()], np.ones((4, 3)), PAGES)
    assert (three.true.value, three.true.n, three.true.n_missing) == (0.75, 2, 1)


def test_over_seeds_a_single_value_is_a_mean_without_an_interval():
    lone = mean_of_known([pd.Series([0.25, np.nan]), pd.Series([np.nan])])
    assert (lone.value, lone.n, lone.n_missing) == (0.25, 1, 2) and np.isnan([lone.low, lone.high]).all()
    several = [pd.Series([0.25, np.nan, 1.0]), pd.Series([0.5])]
    assert mean_of_known(several) == nested_bootstrap(several)


def test_words_pages_and_activations_must_fit():
    with pytest.raises(ValueError, match=r"shape \(4, 2\) are not of 4 pages and the words of 1 concepts"):
        word_accuracy([words("beach")], np.ones((4, 2)), PAGES)
