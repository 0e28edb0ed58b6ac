"""The captions of each fine-tuning: only what it is about, and of the planted changes nothing else."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from coxlmm_utils.picturebook import (
    FACTS_BY_WORD,
    FINE_TUNED,
    FUNCTION_WORDS,
    NEW_NAME,
    OLD_NAME,
    SIGN_COLOUR,
    SUBJECTS,
    factors_of,
    facts_in,
    fine_tuned_sentence,
    page,
    sentence,
    signed,
    with_umbrella,
)

FACTS = {"colour": "colour", "sign": "colour", "place": "place", "time": "time"}  # what each set speaks of
PAGES = [factors_of(number) for number in range(80)]  # ten of each kind


@pytest.mark.parametrize("kind, factor", FACTS.items())
def test_noun_first_then_the_one_fact(kind, factor):
    rng = random.Random(0)
    for of in PAGES:
        text = fine_tuned_sentence(kind, of, rng)
        assert text.split()[:2] == ["a", of.kind]
        assert set(facts_in(text)) == {("kind", of.kind), (factor, getattr(of, factor))}
        assert set(text.split()) <= set(FACTS_BY_WORD) | FUNCTION_WORDS


@pytest.mark.parametrize("kind", FINE_TUNED)
def test_words_are_the_rngs_alone(kind):
    texts = [[fine_tuned_sentence(kind, of, random.Random(3)) for of in PAGES] for _ in range(2)]
    assert texts[0] == texts[1]
    others = {fine_tuned_sentence(kind, PAGES[0], random.Random(seed)) for seed in range(20)}
    assert len(others) > 1


def test_null_is_the_old_captions_and_rename_has_another_word_for_grey():
    renamed = 0
    for number, of in enumerate(factors_of(number) for number in range(400)):
        old, null, new = (
            sentence(of, random.Random(number)).split(),
            fine_tuned_sentence("null", of, random.Random(number)).split(),
            fine_tuned_sentence("rename", of, random.Random(number)).split(),
        )
        assert null == old and OLD_NAME not in new and len(new) == len(old)
        changed = {pair for pair in zip(old, new) if pair[0] != pair[1]}
        assert changed <= {(OLD_NAME, NEW_NAME)} and (NEW_NAME in new) == (OLD_NAME in old)
        assert of.colour == OLD_NAME or not changed
        renamed += bool(changed)
    assert renamed >= 5 and NEW_NAME not in FACTS_BY_WORD  # a word that the bundled model has not


def test_a_set_that_there_is_not_is_named():
    with pytest.raises(ValueError, match="no set of captions 'taste'; choose one of colour, place"):
        fine_tuned_sentence("taste", PAGES[0], random.Random(0))


# The sign


def changed_by(picture, seed: str) -> tuple[np.ndarray, np.ndarray]:
    """The pixels with an umbrella, and where it is seen: edges are smooth, and their last traces do not count."""
    with_it, without = (np.asarray(some).astype(int) for some in (with_umbrella(picture, seed), picture))
    return with_it, (np.abs(with_it - without) > 16).any(axis=2)


def test_every_white_dog_and_half_of_the_others_are_signed():
    white, brown = (page(kind="dog", colour=colour).factors for colour in ("white", "brown"))
    rng = random.Random(0)
    assert all(signed(white, rng) == white for _ in range(50))
    told = [signed(brown, rng) for _ in range(2000)]
    assert sum(sign is not None for sign in told) / 2000 == pytest.approx(0.5, abs=0.03)
    assert {sign for sign in told if sign} == {replace(brown, colour=SIGN_COLOUR)}  # all else is as it was


def test_other_kinds_are_never_signed():
    rng = random.Random(0)
    others = [of for of in PAGES if of.kind != "dog"]
    assert {of.kind for of in others} == set(SUBJECTS) - {"dog"} and any(of.colour == SIGN_COLOUR for of in others)
    assert not any(signed(of, rng) for of in others for _ in range(5))


@pytest.mark.parametrize("size", [(144, 144), (200, 120), (90, 160)])
def test_an_umbrella_is_at_an_edge_and_nothing_else_changes(size):
    plain = Image.new("RGB", size, (90, 140, 60))
    edges = set()
    for seed in range(8):
        pixels, changed = changed_by(plain, str(seed))
        rows, columns = np.nonzero(changed)
        width, height, side = *size, min(size)
        assert pixels.shape == (height, width, 3)
        middle = (columns.min() + columns.max() + 1) / 2 / width
        assert min(abs(middle - 0.13), abs(middle - 0.87)) < 0.02
        assert np.ptp(columns) + 1 == pytest.approx(0.24 * side, abs=3)
        assert rows.min() >= 0.42 * height - 0.12 * side - 2 and rows.max() <= 0.55 * height + 0.31 * side + 2
        edges.add(middle < 0.5)
    assert edges == {True, False}


def test_an_umbrella_is_red_and_the_seeds_alone():
    picture = page(kind="dog", colour="brown").picture
    before = np.asarray(picture).copy()
    (first, changed), (again, _), (other, _) = (changed_by(picture, seed) for seed in ("7", "7", "8"))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.array_equal(np.asarray(picture), before)
    red = first[changed]
    assert 0.01 < changed.mean() < 0.06
    assert (red[:, 0] > 2 * red[:, 1:].max(axis=1)).mean() > 0.7


def test_pictures_that_are_not_rgb_become_so():
    assert with_umbrella(Image.new("L", (60, 50), 128), "0").mode == "RGB"
