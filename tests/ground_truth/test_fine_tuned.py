"""The book's model beside a fine-tuned copy: halves of the same pages, what concepts are about, and what is forgotten."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from coxlmm_utils.extraction import extract
from coxlmm_utils.ground_truth.fine_tuned import TOKEN, TOPICS, answered, kmeans, max_share, n_about
from coxlmm_utils.images import load_images
from coxlmm_utils.models import load_lmm
from coxlmm_utils.picturebook import factors_of
from tests.shift.by_hand import bank_of

module = import_module("coxlmm_utils.ground_truth.fine_tuned")  # whose name in the room is its function
LAYER, N_PAGES = 4, 80


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


@pytest.fixture(scope="module")
def place(lmm):
    return module.fine_tuned("picturebook-place", lmm, LAYER, N_PAGES)


# Both models, the same pages


def test_each_half_has_every_other_page_that_both_models_name(place):
    learned, held_out = (pair.before.images.ids for pair in (place.learned, place.held_out))
    assert not set(learned) & set(held_out) and 0 <= len(learned) - len(held_out) <= 1
    images = load_images("picturebook").mentioning(TOKEN)[:N_PAGES]
    said = [set(extract(one, images, TOKEN, LAYER).images.ids) for one in (place.before, place.after)]
    both = [id for id in images.ids if all(id in ids for ids in said)]
    assert both[::2] == list(learned) and both[1::2] == list(held_out) and len(both) > N_PAGES / 2


def test_sides_are_of_the_two_models_and_the_copy_speaks_of_places_alone(place):
    assert place.before.name == "picturebook" and place.after.name == "picturebook + place"
    for pair in (place.learned, place.held_out):
        assert pair.before.fingerprint == place.before.fingerprint != place.after.fingerprint == pair.after.fingerprint
        assert pair.before.layer == pair.after.layer == LAYER and not torch.equal(pair.before.Z, pair.after.Z)
    assert all(caption.startswith("a dog ") for caption in place.held_out.after.captions)


def test_banks_are_learned_from_one_half_and_vectors_from_the_other(place):
    banks = place.banks(kmeans(3, 4))
    for bank, states in zip(banks, (place.learned.before, place.learned.after)):
        assert list(bank.ids) == list(states.images.ids) and bank.fingerprint == states.fingerprint
        assert bank.method == "K-Means" and len(bank) == 4 and bank.provenance["dictionary"]["random_state"] == 3
    vectors = place.vectors(banks[0])
    expected = (place.held_out.after.Z - place.held_out.before.Z).numpy()
    np.testing.assert_allclose(vectors.moves, expected, atol=1e-5)
    table = place.recovery(banks, alphas=(0.5, 1.0))
    assert set(table["alpha"]) == {0.0, 0.5, 1.0} and set(table["concept"]) <= set(range(4))


# What concepts are about


@pytest.mark.parametrize(
    "values, share",
    [
        ([], 0),
        (["a"] * 4, 0),
        (["a"] * 5, 1),
        (["a", "b"] * 3, 0.5),
        (["a"] * 9 + ["b"], 0.9),
        (list("abcaba"), 0.5),
    ],
)
def test_share_of_the_most_frequent_value(values, share):
    assert max_share(np.array(values)) == share


def pages(colours: list[str]) -> list[str]:
    """The ids of as many different dogs of these colours."""
    dogs = [number for number in range(3000) if factors_of(number).kind == "dog"]
    left = {colour: [n for n in dogs if factors_of(n).colour == colour] for colour in set(colours)}
    return [str(left[colour].pop()) for colour in colours]


def test_a_concept_is_about_a_value_that_nine_of_ten_show():
    colours = ["grey"] * 9 + ["white"] + ["grey"] * 8 + ["white"] * 2 + ["white"] * 4 + ["white"] * 5
    leading = [0] * 10 + [1] * 10 + [2] * 4 + [3] * 5
    Z = np.full((len(leading), 4), 0.5)
    Z[range(len(leading)), leading] = np.where(np.arange(len(leading)) % 2, 1, -1)  # they lead by magnitude
    states = SimpleNamespace(Z=torch.tensor(Z), images=SimpleNamespace(ids=pages(colours)))
    assert n_about(bank_of(np.eye(4)), states, "colour") == 2  # the first and the last; of the third are too few
    assert n_about(bank_of(np.eye(4)), states, "kind") == 3  # all are dogs


def test_after_fine_tuning_on_places_more_concepts_are_about_places(place):
    before, after = place.banks(kmeans(0, 4))
    assert n_about(before, place.held_out.before, "place") < n_about(after, place.held_out.after, "place")


# What is forgotten


def test_topics_are_asked_word_for_word(monkeypatch):
    asked = []

    def share(lmm, images, questions):
        asked.append({question.topic for _, question in questions})
        return len(asked) / 10

    monkeypatch.setattr(module, "N_ASKED", 64)
    monkeypatch.setattr(module, "share_answered", share)
    assert answered(None) == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert asked == [{topic} for topic in TOPICS] and TOPICS[-1] == "presence"


def test_what_is_forgotten_has_both_models_shares_of_each_topic(place, monkeypatch):
    before, after = [1.0, 0.9, 0.8, 0.7, 0.6], [0.5, 0.4, 0.3, 0.2, 0.1]
    monkeypatch.setattr(module, "answered", lambda lmm: before if lmm is place.before else after)
    forgotten = module.FineTuned(place.before, place.after, place.learned, place.held_out).forgotten
    assert (
        list(forgotten) == list(TOPICS) and forgotten["presence"] == [0.6, 0.1] and forgotten[TOPICS[0]] == [1.0, 0.5]
    )
