"""Steered captions beside unsteered ones: what is marked, what is said to be false, and which pictures are alike."""

from dataclasses import replace

import numpy as np
import pytest

from coxlmm_utils.explanation.explain import explain
from coxlmm_utils.picturebook.page import page
from coxlmm_utils.widgets.html import Thumbnails
from coxlmm_utils.widgets.steered_html import (
    SteeredCaption,
    false_facts,
    most_alike,
    rewritten_html,
    scale_of,
    steered_pictures,
)

ATTACK = "<img src=x onerror=alert(1)>"


@pytest.fixture
def explained(llava, bank, states):
    return explain(llava, bank, states.images.picture(0))


def test_a_page_says_what_a_caption_has_wrong():
    factors = page(kind="dog", colour="white", place="snow", companion="none").factors
    assert false_facts("a white dog in the snow", factors) == ()
    assert false_facts("a black dog on the beach next to another dog on the sand", factors) == (
        ("colour", "black", "white"),
        ("place", "beach", "snow"),
        ("companion", "another dog", "alone"),
    )
    assert false_facts("a cat", factors) == (("kind", "cat", "dog"),) and false_facts(ATTACK, factors) == ()


def test_pictures_are_alike_by_the_direction_of_their_activations(bank):
    bank = replace(bank, activations=np.array([[1.0, 0, 0], [0, 5, 0], [0, 1, 1], [0, 0, 0], [0, 3, 0.1]]))
    assert most_alike(bank, np.array([0, 1.0, 0]), 3) == [1, 4, 2]
    assert most_alike(bank, np.array([0, 0.1, 0]), 9) == [1, 4, 2]  # the first two have nothing in common with it
    assert most_alike(bank, np.zeros(3), 3) == []


def test_the_unit_is_the_pictures_largest_activation(explained):
    assert scale_of(explained) == pytest.approx(np.abs(explained.activations).max())
    none = replace(explained, activations=np.zeros_like(explained.activations))
    assert scale_of(none) == pytest.approx(explained.bank.activations.max())


def test_what_is_set_both_captions_and_alike_pictures_are_shown_and_escaped(explained):
    bank = replace(explained.bank, activations=explained.bank.activations + 0.5)  # all samples are somewhat alike
    explained = replace(explained, bank=bank, caption="a grey thing")
    factors = page(kind="dog", place="snow").factors
    html = rewritten_html(explained, {1: 0.0}, f"a {ATTACK} grey beach", Thumbnails(explained.bank), factors)
    assert ATTACK not in html and "&lt;img src=x onerror=alert(1)&gt;" in html
    assert "a <mark>&lt;img" in html and "<del>thing</del>" in html and "place beach (it shows snow)" in html
    assert html.count("<figure>") == 4 and "→ 0.00" in html
    assert "False of this page" not in rewritten_html(explained, {1: 0.0}, "beach", Thumbnails(explained.bank))


def test_a_caption_of_nothing_is_said_to_be_nothing(explained):
    html = rewritten_html(explained, {0: 2.0}, "", Thumbnails(explained.bank))
    assert "steered</span> <span>“<i>nothing</i>”</span>" in html


def test_several_pictures_have_their_captions_beside_them(explained):
    pairs = [SteeredCaption.of("a dog", "a dog"), SteeredCaption.of("a dog", ATTACK)]
    html = steered_pictures([explained.picture] * 2, pairs, ATTACK, 1.5, "all")
    assert "alpha 1.5, positions: all. 1 of 2 captions change." in html and ATTACK not in html
    assert html.count("cox-steered-picture") == 2 and html.count("<mark>") == 1
