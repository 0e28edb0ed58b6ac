"""The paper's overlap of words."""

import numpy as np
import pytest

from coxlmm_utils.concepts.grounding import Words
from coxlmm_utils.concepts.measures import overlaps


def words(*lists):
    return [Words(tuple(kept.split()), ()) for kept in lists]


def test_by_hand():
    result = overlaps(words("dog brown", "dog cat bird fish", "red"))
    assert result == pytest.approx([(1 / 2) / 2, (1 / 4) / 2, 0])


def test_a_repeated_word_counts_once():
    assert overlaps(words("dog dog", "dog cat")) == pytest.approx([1, 0.5])


def test_same_words_overlap_wholly():
    assert overlaps(words("dog cat", "cat dog", "dog cat")) == pytest.approx([1, 1, 1])


def test_no_words_is_no_number():
    result = overlaps(words("", "dog"))
    assert np.isnan(result[0]) and result[1] == 0


def test_a_single_concept_overlaps_with_none():
    assert np.isnan(overlaps(words("dog"))).all()
