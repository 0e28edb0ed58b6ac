"""One-to-one matching of concepts and factor values, on activations that are values themselves."""

import numpy as np
import pytest

from coxlmm_utils.ground_truth.factor_matching import aucs, factor_labels, match_values, matched_values, scorable_labels
from coxlmm_utils.picturebook.factors import factors_of

DOGS = [factors_of(number) for number in range(0, 3200, 8)]
LABELS = factor_labels(DOGS)


def showing(*values: tuple[str, str]) -> np.ndarray:
    """Activations of concepts that are 1 where a value is shown, else 0: (pages, concepts)."""
    return np.column_stack([LABELS[value] for value in values]).astype(float)


def test_concepts_that_are_values_get_these():
    values = [("place", "snow"), ("colour", "black"), ("time", "night")]
    assert matched_values(showing(*values), DOGS) == values
    matching = match_values(showing(*values), DOGS)
    assert matching.scores[0, matching.partners[0]] == 1 and (matching.sides == 1).all()


def test_no_value_is_matched_twice_and_the_sum_counts():
    clear, blurred = showing(("place", "snow"), ("place", "snow")).T
    blurred = blurred + 0.9 * (np.arange(len(DOGS)) % 2)  # tells snow, but less well
    first, second = matched_values(np.column_stack([clear, blurred]), DOGS)
    assert first == ("place", "snow") and second != first
    swapped = matched_values(np.column_stack([blurred, clear]), DOGS)
    assert swapped[1] == ("place", "snow") and swapped[0] != ("place", "snow")
    # a greedy choice would give snow to the concept that has something else to tell
    both = showing(("place", "snow"))[:, 0] + 0.5 * showing(("time", "night"))[:, 0]
    only = 1 - 0.99 * np.random.default_rng(0).random(len(DOGS)) * ~LABELS["place", "snow"]
    two = np.column_stack([both, only])
    scores = aucs(two, showing(("place", "snow"), ("time", "night")).astype(bool))
    assert scores[0, 0] + scores[1, 1] < scores[0, 1] + scores[1, 0]
    assert matched_values(two, DOGS) == [("time", "night"), ("place", "snow")]


def test_only_concepts_with_a_sign_tell_a_value_by_low_activations():
    low = 3 - showing(("colour", "golden"))
    matching = match_values(low, DOGS)
    assert matched_values(low, DOGS) != [("colour", "golden")] and (matching.sides == 1).all()
    signed = match_values(low - 3, DOGS)
    assert matched_values(low - 3, DOGS) == [("colour", "golden")]
    value = signed.partners[0]
    assert signed.sides[0, value] == -1 and signed.scores[0, value] == 1 and (signed.scores >= 0.5).all()


def test_a_concept_as_active_everywhere_has_no_value():
    results = matched_values(np.column_stack([np.zeros(400), showing(("size", "large")), np.full(400, 2.5)]), DOGS)
    assert results == [None, ("size", "large"), None]
    assert matched_values(np.zeros((400, 2)), DOGS) == [None, None]


def test_concepts_beyond_the_values_are_left_over():
    activations = np.random.default_rng(0).random((400, 30))
    results = matched_values(activations, DOGS)
    assert results.count(None) == 7 and len(set(results)) == 24


def test_values_of_few_pages_are_not_matched():
    rare = [page for page in DOGS if page.place != "snow"] + [page for page in DOGS if page.place == "snow"][:5]
    assert ("place", "snow") in scorable_labels(rare) and ("place", "snow") not in scorable_labels(rare[:-1])
    common = [page for page in DOGS if page.size == "small"][:30] + [page for page in DOGS if page.size == "large"][:4]
    assert ("size", "small") not in scorable_labels(common)
    with pytest.raises(ValueError, match="^no factor value is on at least 5 of the 1 pages"):
        match_values(np.ones((1, 2)), DOGS[:1] * 1)


def test_bad_activations_are_refused():
    broken = np.ones((400, 2))
    broken[3, 1] = np.nan
    for activations in (broken, np.ones((399, 2)), np.ones(400)):
        with pytest.raises(ValueError, match="for 400 pages: give each page a row of finite numbers"):
            match_values(activations, DOGS)
