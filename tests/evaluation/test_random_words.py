"""Random words and noise pictures."""

from dataclasses import replace
from importlib import import_module
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from coxlmm_utils.concepts.grounding import Words, ground_words
from coxlmm_utils.concepts.measures import overlaps
from coxlmm_utils.concepts.word_filter import WordFilter
from coxlmm_utils.evaluation.random_words import MAX_DRAWS, N_DECODED, SOURCES, random_words
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.images.perturbed import noise_images
from tests.conftest import MAX_NEW_TOKENS, in_memory
from tests.tiny_lmms import WIDTH, WORDS

baselines = import_module("coxlmm_utils.evaluation.random_words")  # its room has a function of that name
ANIMALS = frozenset({"dog", "cat", "bird", "horse", "dogs"})
ONLY_ANIMALS = WordFilter(drop_words=frozenset(WORDS) - ANIMALS)


def of_sizes(*sizes):
    return [Words(tuple("abcdefghij"[:size]), (("the", "function word"),)) for size in sizes]


def kept(words):
    return [concept.kept for concept in words]


@pytest.mark.parametrize("source", SOURCES)
def test_as_many_words_as_each_concept_has_and_all_pass(llava, source):
    result = random_words(llava, of_sizes(3, 0, 1, 5), 2, source)
    assert list(map(len, kept(result))) == [3, 0, 1, 5]
    assert result[1] == Words((), ())
    assert all(len(set(own)) == len(own) for own in kept(result))
    assert all(word in WORDS and WordFilter().judge(word) == "" for own in kept(result) for word in own)


@pytest.mark.parametrize("source", SOURCES)
def test_the_filter_decides(llava, source):
    result = random_words(llava, of_sizes(5, 2), 2, source, ONLY_ANIMALS)
    assert set(result[0].kept) == ANIMALS and set(result[1].kept) < ANIMALS


@pytest.mark.parametrize("source", SOURCES)
def test_words_depend_on_seed_and_place_only(llava, source):
    result = kept(random_words(llava, of_sizes(3, 3, 3), 2, source, seed=4))
    assert kept(random_words(llava, of_sizes(1, 3), 2, source, seed=4))[1] == result[1]
    assert kept(random_words(llava, of_sizes(3, 3, 3), 2, source, seed=5)) != result
    assert len(set(result)) > 1


@pytest.mark.parametrize("source, mean, deviation", [("uniform", 1 / 2, 12**-0.5), ("gaussian", 0, 1)])
def test_how_directions_are_drawn_and_decoded(llava, monkeypatch, source, mean, deviation):
    asked = []

    def noting(lmm, concepts, layer, **options):
        asked.append((concepts, layer, options))
        return ground_words(lmm, concepts, layer, **options)

    monkeypatch.setattr(baselines, "ground_words", noting)
    random_words(llava, of_sizes(*[2] * 30), "norm", source)
    directions = np.concatenate([concepts for concepts, _, _ in asked])
    assert directions.shape == (30, WIDTH)
    assert (directions.mean(), directions.std()) == pytest.approx((mean, deviation), abs=0.05)
    assert (0 <= directions.min() and directions.max() < 1) == (source == "uniform")
    assert {layer for _, layer, _ in asked} == {"norm"}
    assert all(options["n_decoded"] == 2 * N_DECODED and options["n_kept"] == 2 for _, _, options in asked)


def test_uniform_directions_resemble_each_other(llava):
    """The weakness of the released code's null: its directions all lie near the diagonal, and so do their words."""

    def alike(source):
        return overlaps(random_words(llava, of_sizes(*[3] * 20), "norm", source)).mean()

    assert alike("uniform") > 2 * alike("gaussian")


def test_words_of_the_vocabulary_are_equally_likely(llava):
    drawn = kept(random_words(llava, of_sizes(*[1] * 1000), 2, "vocabulary", ONLY_ANIMALS))
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == len(ANIMALS) and counts.min() > 150 and counts.max() < 250


def test_a_direction_with_too_few_words_is_drawn_again(llava, monkeypatch):
    short, enough = [Words(("cat",), ())], [Words(("cat", "dog"), ())]
    answers, seen = iter([short] * (MAX_DRAWS - 1) + [enough]), []

    def answer(lmm, concepts, layer, **options):
        seen.append(concepts)
        return next(answers)

    monkeypatch.setattr(baselines, "ground_words", answer)
    assert random_words(llava, of_sizes(2), 2) == enough
    assert not any(np.array_equal(single, other) for single, other in combinations(seen, 2))


@pytest.mark.parametrize(
    "source, message",
    [
        ("uniform", f"{MAX_DRAWS} random directions of .* gave at most 5 of the 6 words"),
        ("gaussian", "gave at most 5 of the 6 words"),
        ("vocabulary", "only 5 words of the vocabulary pass the filter, and a concept has 6"),
    ],
)
def test_too_few_words_in_all(llava, source, message):
    with pytest.raises(ValueError, match=message):
        random_words(llava, of_sizes(6), 2, source, ONLY_ANIMALS)


def test_what_is_not_there(llava):
    with pytest.raises(ValueError, match="no source 'normal'.* uniform, gaussian, vocabulary"):
        random_words(llava, of_sizes(1), 2, "normal")
    for source in SOURCES:
        with pytest.raises(ValueError, match="has no layer 99"):
            random_words(llava, of_sizes(1), 99, source)


def test_random_words_for_a_bank(llava, bank):
    result = random_words(llava, bank.words, bank.layer, word_filter=WordFilter(min_length=2))
    assert list(map(len, kept(result))) == list(map(len, kept(bank.words))) and any(kept(result))


def test_noise_has_the_same_ids_references_and_sizes(pictures):
    images = in_memory(pictures[:3], [("a dog",), (), ("a cat", "cats")])
    noise = noise_images(images)
    assert (noise.ids, noise.references, noise.split) == (images.ids, images.references, images.split)
    assert [noise.picture(row).size for row in range(3)] == [picture.size for picture in pictures[:3]]
    assert noise.source == "" == noise_images(replace(images, source="picturebook")).source


def test_noise_is_uniform_and_independent():
    images = in_memory([Image.new("L", (200, 100))] * 2, ())
    first, second = (np.asarray(noise_images(images).picture(row), dtype=float) for row in range(2))
    counts = np.bincount(first.astype(int).ravel(), minlength=256)
    assert first.shape == (100, 200, 3) and counts.min() > 150 and counts.max() < 330  # of 234 each
    assert abs(np.corrcoef(first.reshape(-1, 3).T)[np.triu_indices(3, 1)]).max() < 0.03
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.03


def test_noise_depends_on_seed_and_id_only(pictures):
    images = in_memory(pictures[:4], ())
    pixels = np.asarray(noise_images(images, 1).picture(2))
    assert np.array_equal(np.asarray(noise_images(images[[2]], np.int64(1)).picture(0)), pixels)
    assert np.array_equal(np.asarray(noise_images(images, 1)[2:].picture(0)), pixels)
    assert not np.array_equal(np.asarray(noise_images(images, 2).picture(2)), pixels)


def test_noise_has_a_version_where_the_pictures_have_one(pictures):
    images = in_memory(pictures[:2], ())
    assert noise_images(images).version is None
    versioned = replace(images, version={"p0": "old", "p1": "new"}.__getitem__)
    assert noise_images(versioned, 3).version("p1") == "noise-3 new"
    versions = {pages.version("p0") for pages in (versioned, noise_images(versioned), noise_images(versioned, 1))}
    assert len(versions) == 3


def test_noise_for_an_unreadable_picture_is_the_same_error(pictures):
    def missing(id):
        raise OSError(f"{id} is gone")

    noise = noise_images(replace(in_memory(pictures[:1], ()), open=missing))
    with pytest.raises(OSError, match="p0 is gone"):
        noise.picture(0)


def test_states_of_noise_where_the_token_stands_in_the_true_captions(llava, pictures, states, token):
    captions = dict(zip(states.images.ids, states.captions))
    images = noise_images(in_memory(pictures, ("all grey",)))
    options = {"max_new_tokens": MAX_NEW_TOKENS, "cache": False}
    result = extract(llava, images, token, 2, captions=captions, **options)
    assert result.images.ids == states.images.ids and result.captions == states.captions
    assert not np.allclose(result.Z, states.Z)
