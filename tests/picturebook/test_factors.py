"""The factors of a page are fixed by its number, even, and independent of each other."""

from itertools import combinations

import numpy as np
import pytest

from coxlmm_utils.picturebook.factors import SUBJECTS, Factors, allowed_values, factors_of, page_numbers


def test_splits_are_apart_and_every_subject_has_its_share():
    train, validation, test = (page_numbers(split) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (24_000, 1_600, 1_600)
    assert not set(train) & set(validation) and not set(train) & set(test) and not set(validation) & set(test)
    kinds = [factors_of(number).kind for number in test]
    assert {subject: kinds.count(subject) for subject in SUBJECTS} == dict.fromkeys(SUBJECTS, 200)


@pytest.mark.parametrize(
    "number, values",
    [
        (0, "dog grey small running room none day"),
        (1, "cat white small sitting street tree night"),
        (2, "bird blue small flying snow tree day"),
        (23_999, "boat green small anchored water tree night"),
        (1_000_000, "dog black small running snow friend night"),
        (2_000_003, "horse brown large running street child day"),
    ],
)
def test_pages_never_change(number, values):
    assert factors_of(number) == Factors(*values.split())


def test_factors_are_even_and_independent_within_each_subject():
    pages = [factors_of(number) for number in page_numbers("train")]
    for subject in SUBJECTS:
        own = [page for page in pages if page.kind == subject]
        values = {name: allowed for name, allowed in allowed_values(subject).items() if name != "kind"}
        shown = {  # per factor (pages, values)
            name: np.array([[getattr(page, name) == value for value in allowed] for page in own], dtype=float)
            for name, allowed in values.items()
        }
        for single, other in combinations(values, 2):
            pairs = shown[single].T @ shown[other]  # (values, values)
            expected = len(own) / pairs.size
            assert abs(pairs - expected).max() < 5 * expected**0.5, (subject, single, other)


def test_a_friend_makes_two():
    assert Factors("dog", "brown", "large", "sitting", "grass", "friend", "day").count == 2
    assert Factors("dog", "brown", "large", "sitting", "grass", "child", "day").count == 1


def test_errors_list_what_is_allowed():
    with pytest.raises(ValueError, match="a cat page has no colour 'brown'; choose one of black, white"):
        Factors("cat", "brown", "large", "sitting", "grass", "none", "day")
    with pytest.raises(ValueError, match="no subject 'cow'; choose one of dog, cat, bird, horse"):
        allowed_values("cow")
    with pytest.raises(ValueError, match="no split 'testing'; choose one of train, validation, test"):
        page_numbers("testing")
