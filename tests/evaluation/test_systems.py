"""The systems that are compared: what they say of a picture, and where their words and activations come from."""

from __future__ import annotations

import warnings
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from coxlmm_utils.concepts.grounding import Words, ground_words
from coxlmm_utils.concepts.word_filter import WordFilter
from coxlmm_utils.dictionaries.baselines import PCA, KMeans, Simple
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.evaluation.random_words import random_words
from coxlmm_utils.evaluation.systems import NAMES, OURS, RANDOM, System, heading, learn_systems, make_systems
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.images.perturbed import noise_images
from tests.conftest import in_memory

again = import_module("coxlmm_utils.extraction.extract")  # its room has a function of that name

FILTER = WordFilter(min_length=2, drop_words=frozenset({"dog", "grey"}))
PROMPT = "Describe this picture."
SEEDS = (0, 4)
K = 3


def with_words(*words: tuple[str, ...]) -> list[Words]:
    return [Words(first, ()) for first in words]


def given(lmm, images, **options):
    """States of a word in captions that are given, so that every picture is a sample."""
    starts = ("a", "a small", "the blue", "dog on")
    captions = {id: f"{starts[row % 4]} grey dog sits" for row, id in enumerate(images.ids)}
    return extract(lmm, images, "grey", 2, captions=captions, cache=False, **options)


@pytest.fixture(scope="module")
def states(llava, pictures):
    images = in_memory(pictures, ("all grey",))
    own = {"position": "own", "references": "substring", "prompt": PROMPT, "max_new_tokens": 7}
    return given(llava, images[:12], **own), given(llava, images[12:18], **own)


@pytest.fixture(scope="module")
def dictionary() -> SemiNMF:
    return SemiNMF(K, relative_lam=0.02, random_state=9)


@pytest.fixture(scope="module")
def made(llava, states, dictionary) -> dict[tuple[str, int], System]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        systems = make_systems(llava, *states, dictionary, SEEDS, FILTER)
    assert len(systems) == 3 + 7 * len(SEEDS)
    return {(system.name, system.seed): system for system in systems}


# What they say


def test_the_most_active_concepts_speak_first():
    activations = np.array([[0.1, 0.4, 0.2, 0.3], [0, 2, 0, 2], [1, 3, 0, 2], [0, 0, 0, 0]])
    words = with_words(("dog", "brown"), ("bus",), ("snow",), ())
    system = System("semi_nmf", 0, words, activations)
    dog, bus, snow, none = (concept.kept for concept in words)
    assert system.explanations() == [[bus, none, snow], [bus, none], [bus, none, dog], [()]]
    assert system.explanations(1) == [[bus], [bus], [bus], [()]]


def test_a_concept_without_words_says_nothing_in_its_place():
    system = System("simple", 0, with_words((), ("bus",)), np.array([[2.0, 1.0], [2.0, 0.0]]))
    assert system.explanations() == [[(), ("bus",)], [()]]


def test_a_signed_concept_speaks_with_the_side_that_is_active_and_by_the_released_rule_with_the_other():
    scores = np.array([[1, -3], [2, 1]])  # (pictures, concepts)
    axes = PCA(2)  # fitting has no part in this
    plus, minus = with_words(("snow",), ("day",)), with_words(("beach",), ("night",))
    active = System("pca", 0, [*plus, *minus], axes.side_activations(scores))
    assert active.explanations() == [[("night",), ("snow",)], [("snow",), ("day",)]]
    released = System("pca_released", 0, plus, scores)
    assert released.explanations() == [[("snow",), ("day",)], [("snow",), ("day",)]]


def test_the_words_of_several_concepts_become_one_list_without_repeats():
    words = with_words(("dog", "brown"), ("bus", "dog"), (), ("snow",))
    system = System("kmeans", 0, words, np.array([[3, 4, 2, 1], [0, 0, 1, 2], [0, 0, 0, 0]]))
    assert system.union_words() == [("bus", "dog", "brown"), ("snow",), ()]
    assert system.union_words(1) == [("bus", "dog"), ("snow",), ()]
    assert system.union_words(4)[0] == ("bus", "dog", "brown", "snow")


# What they are


def test_each_system_by_name_and_seed(made):
    once = {("simple", 0), ("pca", 0), ("pca_released", 0)}
    seeded = [name for name in NAMES if name not in ("simple", "pca", "pca_released", "gt_captions")]
    assert set(made) == once | {(name, seed) for name in seeded for seed in SEEDS}
    for name, seed in made:
        n_sides = 2 * K if name == "pca" else K
        assert made[name, seed].activations.shape == (6, n_sides) and len(made[name, seed].words) == n_sides
    assert set(OURS) < set(NAMES) and set(RANDOM) < set(NAMES)


def test_what_is_ours_says_so():
    assert heading("pca") == System("pca", 0, [], np.zeros((0, 0))).heading == "PCA, active side (ours)"
    assert (heading("pca_released"), heading("kmeans")) == ("PCA, words of +u only", "K-Means")


def test_the_dictionaries_alone_are_those_of_all_systems(llava, states, dictionary, made):
    learned = learn_systems(llava, *states, dictionary, SEEDS[:1], FILTER)
    assert [system.name for system in learned] == ["simple", "pca", "pca_released", "kmeans", "semi_nmf"]
    for system in learned:
        same = made[system.name, SEEDS[0]]
        assert system.words == same.words and np.array_equal(system.activations, same.activations)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["semi_nmf", "kmeans", "simple", "pca"])
def test_dictionaries_are_learned_from_the_one_and_applied_to_the_other(llava, states, made, name, seed):
    dictionaries = {
        "semi_nmf": SemiNMF(K, relative_lam=0.02, random_state=seed, verbose=False),
        "kmeans": KMeans(K, random_state=seed),
        "simple": Simple(K),
        "pca": PCA(K),
    }
    learned = dictionaries[name].fit(states[0].Z)
    system = made[name, seed if name in ("semi_nmf", "kmeans") else 0]
    V, U = learned.transform(states[1].Z), learned.components_
    if name == "pca":
        released = made["pca_released", 0]
        assert np.array_equal(released.activations, V) and released.words == system.words[:K]
        V, U = np.hstack([np.maximum(V, 0), np.maximum(-V, 0)]), np.vstack([U, -U])
    assert np.array_equal(system.activations, V)
    assert system.words == ground_words(llava, U, 2, word_filter=FILTER)


def test_the_given_dictionary_is_only_read(made, dictionary):
    assert not hasattr(dictionary, "components_") and dictionary.random_state == 9


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", RANDOM)
def test_random_words_are_as_many_and_nothing_else_changes(llava, made, name, seed):
    ours, random = made["semi_nmf", seed], made[name, seed]
    assert random.activations is ours.activations
    assert [len(words.kept) for words in random.words] == [len(words.kept) for words in ours.words]
    assert random.words == random_words(llava, ours.words, 2, RANDOM[name], FILTER, seed) != ours.words


@pytest.mark.parametrize("seed", SEEDS)
def test_words_of_another_picture_are_those_of_the_one_before_by_id(states, made, seed):
    own, other = made["semi_nmf", seed], made["semi_nmf_other", seed]
    ids = list(states[1].images.ids)
    before = [ids.index(sorted(ids)[sorted(ids).index(id) - 1]) for id in ids]
    assert sorted(before) == list(range(6)) and all(row != other for row, other in enumerate(before))
    assert np.array_equal(other.activations, own.activations[before]) and other.words is own.words


def test_seeds_differ(made):
    for name in ("rnd_words", "rnd_words_gaussian", "rnd_words_vocabulary"):
        assert made[name, 0].words != made[name, 4].words


def test_the_filter_holds_for_all(made):
    mentioned = {word for system in made.values() for concept in system.words for word in concept.kept}
    assert mentioned and not mentioned & {"dog", "grey"}
    assert min(map(len, mentioned)) >= 2


def test_no_more_words_than_the_model_has_words_kept(llava, states, dictionary):
    systems = make_systems(replace(llava, words_kept=2), *states, dictionary, (0,), FILTER)
    assert {len(words.kept) for system in systems for words in system.words} == {2}


def test_the_default_filter_is_the_concepts_own(llava, states, dictionary, made):
    systems = make_systems(llava, *states, dictionary, (0,))
    mentioned = {word for system in systems for concept in system.words for word in concept.kept}
    assert "dog" in mentioned and min(map(len, mentioned)) >= 3


# Noise


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_is_learned_and_tested_where_the_true_captions_have_the_word(llava, states, made, seed):
    noise = []
    for true in states:
        captions = dict(zip(true.images.ids, true.captions))
        own = {"position": "own", "references": "substring", "prompt": PROMPT, "max_new_tokens": 7}
        images = noise_images(true.images)
        noise.append(extract(llava, images, "grey", 2, captions=captions, cache=False, **own))
        assert noise[-1].images.ids == true.images.ids and not np.allclose(noise[-1].Z, true.Z)
    learned = SemiNMF(K, relative_lam=0.02, random_state=seed, verbose=False).fit(noise[0].Z)
    system = made["noise_imgs", seed]
    assert system.activations == pytest.approx(learned.transform(noise[1].Z), abs=1e-5)
    assert system.words == ground_words(llava, learned.components_, 2, word_filter=FILTER)


def test_noise_is_read_at_the_same_word_with_the_same_settings(llava, states, dictionary, monkeypatch):
    asked, extract_all = [], again._extract

    def noting(lmm, images, targets, settings, *options):
        asked.append((images.ids, targets, settings))
        return extract_all(lmm, images, targets, settings, *options)

    monkeypatch.setattr(again, "_extract", noting)
    make_systems(llava, *states, dictionary, (0,), FILTER)
    for true, (ids, targets, settings) in zip(states, asked, strict=True):
        assert (ids, targets, settings.layers) == (true.images.ids, {"grey": ["grey"]}, [2])
        assert settings.captions == dict(zip(true.images.ids, true.captions))
        assert (settings.positions, settings.references) == (["own"], "substring")
        assert (settings.prompt, settings.max_new_tokens) == (PROMPT, 7)
