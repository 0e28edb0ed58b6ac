"""A page is found by its number, by its factors, or both."""

from dataclasses import asdict

import numpy as np
import pytest

from coxlmm_utils.picturebook.captions import references
from coxlmm_utils.picturebook.drawing import draw
from coxlmm_utils.picturebook.factors import Factors, allowed_values, factors_of
from coxlmm_utils.picturebook.page import page


def test_a_number_gives_that_page_of_the_book():
    result = page(2_000_003)
    assert (result.number, result.factors) == (2_000_003, factors_of(2_000_003))
    assert result.references == references(2_000_003)
    assert result.picture.tobytes() == draw(factors_of(2_000_003), 2_000_003).tobytes()


def test_factors_alone_leave_the_rest_at_its_first_value():
    white_dog = Factors("dog", "white", "small", "sitting", "grass", "none", "day")
    assert page(kind="dog", colour="white").factors == white_dog
    assert page(kind="boat").factors == Factors("boat", "red", "small", "anchored", "water", "none", "day")


@pytest.mark.parametrize("factor", ["colour", "size", "action", "place", "companion", "time"])
def test_one_changed_factor_keeps_all_else(factor):
    before = page(40)
    value = next(v for v in allowed_values("dog")[factor] if v != getattr(before.factors, factor))
    after = page(40, **{factor: value})
    assert asdict(after.factors) == asdict(before.factors) | {factor: value}
    assert after == before.with_(**{factor: value}) and after.number == before.number
    assert after.picture.tobytes() != before.picture.tobytes()


def test_a_page_of_another_kind_begins_anew_but_with_keeps_what_it_can():
    assert page(0, kind="car").factors == page(kind="car").factors
    assert page(kind="dog", colour="black").with_(kind="horse", action="running").factors == Factors(
        "horse", "black", "small", "running", "grass", "none", "day"
    )


def test_masks_show_what_is_there():
    masks = page(40, companion="none").masks
    assert masks["subject"].dtype == bool and masks["subject"].any() and not masks["companion"].any()
    assert np.any(page(40, companion="ball").masks["companion"])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kind": "cow"}, "no subject 'cow'; choose one of dog, cat"),
        ({"colour": "purple"}, "a dog page has no colour 'purple'; choose one of black, white, brown"),
        ({"color": "white"}, "a page has no factor 'color'; choose from kind, colour, size"),
    ],
)
def test_errors_list_what_is_allowed(change, message):
    with pytest.raises(ValueError, match=message):
        page(0, **change)
    with pytest.raises(ValueError, match=message):
        page(0).with_(**change)
