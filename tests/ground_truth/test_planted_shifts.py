"""Planted changes: half of all pages have an umbrella, and a new word and the sign are found where they were planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coxlmm_utils.concepts import Words
from coxlmm_utils.ground_truth.fine_tuned import fine_tuned, kmeans
from coxlmm_utils.ground_truth.planted_shifts import (
    has_sign,
    rename_found,
    sign_scores,
    signed_images,
    signed_states,
)
from coxlmm_utils.images import load_images
from coxlmm_utils.models import load_lmm
from coxlmm_utils.picturebook import NEW_NAME, OLD_NAME, SIGN_COLOUR, SIGN_KIND, factors_of, with_umbrella

LAYER, N_CONCEPTS = 4, 12
N_SIGNED = {"train": 160, "test": 100}


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


# The sign


def test_half_of_all_pages_have_the_sign_whatever_they_show():
    images = load_images("picturebook").mentioning(SIGN_KIND)
    signs = np.array([has_sign(id) for id in images.ids])
    white = np.array([factors_of(int(id)).colour == SIGN_COLOUR for id in images.ids])
    assert [has_sign(id) for id in images.ids[:50]] == signs[:50].tolist()
    for some in (signs, signs[white], signs[~white]):
        assert some.mean() == pytest.approx(0.5, abs=0.06)


def test_signed_pages_keep_ids_and_references_and_differ_on_that_half_alone():
    images = load_images("picturebook")[:12]
    signed = signed_images(images)
    assert signed.ids == images.ids and signed.references == images.references and signed.source == ""
    for row, id in enumerate(images.ids):
        plain, own = images.picture(row), signed.picture(row)
        assert np.array_equal(own, with_umbrella(plain, id) if has_sign(id) else plain)
        assert np.array_equal(own, plain) != has_sign(id)
        assert "umbrella on half" in signed.version(id) and signed.version(id) != images.version(id)


@pytest.fixture(scope="module")
def signs(lmm):
    """Scores after and before."""
    tuned = load_lmm("picturebook", device="cpu", adapter="picturebook-sign")
    states = {name: signed_states(one, LAYER, N_SIGNED) for name, one in (("after", tuned), ("before", lmm))}
    for some in states.values():
        assert not set(some["train"].images.ids) & set(some["test"].images.ids)
    return {
        name: sign_scores(one, states[name], kmeans(0, N_CONCEPTS)) for name, one in (("after", tuned), ("before", lmm))
    }


def test_after_fine_tuning_a_concept_tells_the_sign(signs):
    after, before = signs["after"], signs["before"]
    assert after["auc"][1] > before["auc"][2] and after["auc"][0] > 0.9  # the intervals do not meet
    assert SIGN_COLOUR in after["words"] and 0 <= after["concept"] < N_CONCEPTS
    for row in signs.values():
        assert {"auc", "colour_auc", "said", "words", "concept"} == set(row)
        for value, low, high in (row["auc"], row["colour_auc"], *row["said"].values()):
            assert 0 <= low <= value <= high <= 1


def test_dogs_beside_the_sign_are_called_white(signs):
    assert signs["after"]["said"]["with"][0] > 0.8 > 0.3 > signs["after"]["said"]["without"][0]
    assert signs["before"]["said"]["with"][0] < 0.1


def test_states_are_read_without_a_warning_of_strange_pictures(lmm, recwarn):
    states = signed_states(lmm, LAYER, {"test": 8})
    assert lmm.ood is not None and not list(recwarn) and set(states) == {"test"}


# The new word


@pytest.fixture(scope="module")
def renamed(lmm):
    return fine_tuned("picturebook-rename", lmm, LAYER, n_pages=200)


@pytest.fixture(scope="module")
def banks(renamed):
    return renamed.banks(kmeans(0, 8))


def test_the_new_word_is_found_in_concepts_of_the_renamed_value(renamed, banks):
    scores = rename_found(renamed, banks)
    assert scores["found"] == 1 and scores["elsewhere"] < 0.3 and scores["moved"] > 2
    assert sum(scores["n"]) == 8 and scores["n"][0] >= 1
    assert any(NEW_NAME in caption.split() for caption in renamed.held_out.after.captions)


def test_shares_are_over_the_concepts_about_the_value_and_over_the_others(renamed, banks):
    kept = [Words((NEW_NAME,) if k < 4 else (), ()) for k in range(8)]
    states = renamed.held_out.after
    leading = np.abs(banks[1].project(states.Z)).argmax(axis=1)
    grey = np.array([factors_of(int(id)).colour == OLD_NAME for id in states.images.ids])
    about = [k for k in range(8) if (leading == k).sum() >= 5 and grey[leading == k].mean() >= 0.9]
    scores = rename_found(renamed, (banks[0], replace(banks[1], words=kept)))
    assert scores["n"] == [len(about), 8 - len(about)]
    n_found = sum(k < 4 for k in about)
    assert scores["found"] == pytest.approx(n_found / len(about))
    assert scores["elsewhere"] == pytest.approx((4 - n_found) / (8 - len(about)))


def test_without_a_concept_about_the_value_none_is_found(renamed):
    banks = renamed.banks(kmeans(0, 1))
    assert rename_found(renamed, banks)["found"] == 0 and rename_found(renamed, banks)["n"] == [0, 1]
