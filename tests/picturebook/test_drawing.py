"""A page shows its factors, the same way each time, and a factor changes only what it must."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from coxlmm_utils.picturebook.drawing import PICTURE_SIDE, draw, draw_layers
from coxlmm_utils.picturebook.factors import COMPANIONS, SUBJECTS, Factors, allowed_values, factors_of

DOG = Factors("dog", "brown", "large", "sitting", "grass", "none", "day")


def changed_pixels(before, after):
    """Where two pages differ by more than rounding."""
    difference = np.abs(np.asarray(before, dtype=int) - np.asarray(after, dtype=int))
    return difference.max(axis=2) > 2  # (side, side)


def grown(mask, by):
    """A mask with all pixels at most `by` rows and columns away."""
    return np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(2 * by + 1))) > 0


def touches_the_edge(mask):
    """Whether a mask reaches the frame of the page, and so may be cut off there."""
    return mask[[0, -1]].any() or mask[:, [0, -1]].any()


def first_page(subject):
    """The page with the first value of every factor."""
    values = {name: allowed[0] for name, allowed in allowed_values(subject).items()}
    return Factors(**values | {"kind": subject})


def pages_of(subject):
    """A page for every colour, action and place; sizes, companions and times take turns."""
    values = allowed_values(subject)
    combinations = [(c, a, p) for c in values["colour"] for a in values["action"] for p in values["place"]]
    for number, (colour, action, place) in enumerate(combinations):
        size, time = ("small", "large")[number % 2], ("day", "night", "day")[number % 3]
        yield Factors(subject, colour, size, action, place, COMPANIONS[number % 5], time), number


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_page_can_be_drawn_and_shows_its_objects_whole(subject):
    for factors, seed in pages_of(subject):
        picture, masks = draw_layers(factors, seed)
        assert (picture.mode, picture.size) == ("RGB", (PICTURE_SIDE, PICTURE_SIDE))
        assert masks["subject"].dtype == bool and masks["subject"].shape == (PICTURE_SIDE, PICTURE_SIDE)
        assert masks["subject"].sum() > 800, factors
        assert masks["companion"].any() == (factors.companion != "none"), factors
        assert not any(touches_the_edge(mask) for mask in masks.values()), factors


def test_the_same_page_has_the_same_pixels():
    for number in range(16):
        factors = factors_of(number)
        assert draw(factors, number).tobytes() == draw(factors, number).tobytes()


def test_another_seed_gives_another_page():
    assert draw(DOG, 0).tobytes() != draw(DOG, 1).tobytes()


def test_draw_is_the_picture_of_draw_layers():
    assert draw(DOG, 3).tobytes() == draw_layers(DOG, 3)[0].tobytes()


@pytest.mark.parametrize("subject", SUBJECTS)
def test_colour_changes_only_the_subject_and_its_friend(subject):
    page = replace(first_page(subject), companion="friend")
    before, masks = draw_layers(page, 5)
    allowed = grown(masks["subject"] | masks["companion"], 1)
    for colour in allowed_values(subject)["colour"][1:]:
        changed = changed_pixels(before, draw(replace(page, colour=colour), 5))
        assert changed.any() and not (changed & ~allowed).any()


@pytest.mark.parametrize("companion", COMPANIONS[1:])
@pytest.mark.parametrize("place", allowed_values("dog")["place"])
def test_a_companion_changes_only_its_neighbourhood(companion, place):
    alone = replace(DOG, place=place)
    picture, masks = draw_layers(replace(alone, companion=companion), 7)
    changed = changed_pixels(draw(alone, 7), picture)
    near = grown(masks["companion"], 12)  # its shadow or ripples
    assert changed.any() and not (changed & ~near).any()


def test_the_companion_stays_where_it_is_when_other_factors_change():
    page = replace(DOG, companion="ball")
    _, masks = draw_layers(page, 11)
    for factor, value in (("colour", "black"), ("size", "small"), ("action", "running"), ("time", "night")):
        _, changed = draw_layers(replace(page, **{factor: value}), 11)
        np.testing.assert_array_equal(changed["companion"], masks["companion"])


def test_the_subject_stays_where_it_is_when_other_factors_change():
    _, masks = draw_layers(DOG, 11)
    for factor, value in (("colour", "black"), ("place", "snow"), ("time", "night"), ("companion", "tree")):
        _, changed = draw_layers(replace(DOG, **{factor: value}), 11)
        np.testing.assert_array_equal(changed["subject"], masks["subject"])


def test_large_subjects_are_larger():
    for subject in SUBJECTS:
        pages = [replace(first_page(subject), size=size) for size in ("small", "large")]
        areas = [draw_layers(page, 2)[1]["subject"].sum() for page in pages]
        assert areas[1] > 1.6 * areas[0]


def test_night_is_darker():
    for place in allowed_values("dog")["place"]:
        pages = [replace(DOG, place=place, time=time) for time in ("day", "night")]
        day, night = (np.asarray(draw(page, 4)).mean() for page in pages)
        assert night < 0.8 * day


@pytest.mark.parametrize("subject", SUBJECTS)
def test_paints_can_be_told_apart_even_at_night(subject):
    page = replace(first_page(subject), time="night")
    means = []
    for colour in allowed_values(subject)["colour"]:
        picture, masks = draw_layers(replace(page, colour=colour), 6)
        means.append(np.asarray(picture)[masks["subject"]].mean(axis=0))  # (3,)
    distances = [np.linalg.norm(a - b) for i, a in enumerate(means) for b in means[:i]]
    assert min(distances) > 25
