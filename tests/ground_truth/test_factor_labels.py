"""Concepts against known factors."""

import numpy as np
import pytest

from coxlmm_utils.ground_truth.factor_matching import best_aucs, factor_labels, shuffled_auc
from coxlmm_utils.picturebook.factors import factors_of

DOGS = [factors_of(number) for number in range(0, 3200, 8)]


def test_labels_are_the_values_that_some_pages_have_and_some_have_not():
    labels = factor_labels(DOGS)
    assert len(labels) == 23 and not any(factor == "kind" for factor, _ in labels)
    assert labels["place", "beach"].tolist() == [page.place == "beach" for page in DOGS]
    assert ("size", "small") not in factor_labels([page for page in DOGS if page.size == "small"])


def test_pages_of_two_subjects_are_refused():
    with pytest.raises(ValueError, match="'cat', 'dog'"):
        factor_labels([factors_of(0), factors_of(1)])


def test_a_concept_that_is_a_factor_value_is_told_perfectly():
    labels = factor_labels(DOGS)
    activations = np.column_stack([2.5 * labels["colour", "golden"], np.arange(len(DOGS)) % 7])
    (auc, factor, value), (other, _, _) = best_aucs(activations, DOGS)
    assert (auc, factor, value) == (1.0, "colour", "golden")
    assert other < 0.65


def test_shuffling_leaves_only_the_luck_of_the_best_of_many():
    activations = np.column_stack(list(factor_labels(DOGS).values())[:6]).astype(float)
    assert 0.5 < shuffled_auc(activations, DOGS) < 0.6
    assert shuffled_auc(activations, DOGS, seed=1) != shuffled_auc(activations, DOGS, seed=0)
