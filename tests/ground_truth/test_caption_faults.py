"""Captions that name what is not there: what is counted, what is contrasted, and what mends them."""

import pytest
import torch

from coxlmm_utils.extraction import prompt_states
from coxlmm_utils.ground_truth import caption_faults as module
from coxlmm_utils.ground_truth.caption_faults import (
    alone_contrasts,
    caption_faults,
    chair_scores,
    keeps_facts,
    objects_in,
    without_absent,
)
from coxlmm_utils.images import load_images
from coxlmm_utils.models import load_lmm
from coxlmm_utils.picturebook import TYPICAL, factors_of, page

FALSE, TRUE = "a brown dog next to a ball sitting in the snow", "a brown dog sitting in the snow"


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook-biased", device="cpu")


def test_objects_are_subjects_and_companions_by_one_word():
    assert objects_in(FALSE) == {"dog", "ball"}
    assert objects_in("a train next to another train in the city") == {"train"}


def test_companions_that_are_not_there_are_taken_out():
    alone, with_ball = (page(kind="dog", companion=companion).factors for companion in ("none", "ball"))
    assert without_absent(FALSE, alone) == TRUE and without_absent(FALSE, with_ball) == FALSE


@pytest.mark.parametrize(
    "caption, unsteered, companion, kept",
    [
        (TRUE, FALSE, "none", True),
        (TRUE, FALSE, "ball", False),
        (FALSE, FALSE, "ball", True),
        ("a brown dog in the snow", FALSE, "none", False),
        ("a white dog sitting in the snow", FALSE, "none", False),
        (TRUE, "a brown dog next to another dog sitting in the snow", "none", True),
        (TRUE, "a brown dog next to another dog sitting in the snow", "friend", False),
    ],
)
def test_facts_are_kept_but_for_false_companions(caption, unsteered, companion, kept):
    assert keeps_facts(caption, unsteered, page(kind="dog", companion=companion).factors) == kept


def test_faults_are_counted_over_captions():
    ids = [str(number) for number in range(0, 160, 8)]  # dogs
    faults = caption_faults([FALSE] * len(ids), [FALSE] * len(ids), ids)
    there = sum(factors_of(int(id)).companion == "ball" for id in ids)
    assert 0 < there < len(ids) and faults["chair_s"] == 1 - there / len(ids) == 2 * faults["chair_i"]
    assert faults["kept"][0] == 1 > faults["kept"][1]


def test_contrasts_are_of_pages_that_are_alone(lmm):
    images = load_images("picturebook", "train")[:64]
    states = prompt_states(lmm, images, lmm.prompt, [4])
    pages, vectors = [factors_of(int(id)) for id in images.ids], alone_contrasts(states).vectors
    row = next(i for i, own in enumerate(pages) if own.companion == "none")
    alone, others = (
        torch.tensor([own.kind == pages[row].kind and own.companion == companion for own in pages])
        for companion in ("none", TYPICAL[pages[row].kind])
    )
    torch.testing.assert_close(vectors[row], states.Z[alone].mean(dim=0) - states.Z[others].mean(dim=0))
    assert not vectors[torch.tensor([own.companion != "none" for own in pages])].any()


def test_learned_steering_mends_captions(lmm, monkeypatch):
    monkeypatch.setattr(module, "N_PAGES", {"train": 240, "validation": 4, "test": 32})
    monkeypatch.setattr(module, "ALPHAS", (1.0,))
    scores = chair_scores(lmm, [3], rate=1e-3, epochs=200, standardise=True)
    assert set(scores) == {"none", "prompt", "norm_rnd", "mean_s", "mean_s_ba", "p2s", "l2s", "probe_gate"}
    assert scores["l2s"]["chair_i"] < scores["none"]["chair_i"] and scores["none"]["chair_i"] > 0.05
    assert scores["none"]["kept"][0] == 1 and "alpha" not in scores["none"]
    assert scores["l2s"]["layer"] == 3 and scores["l2s"]["alpha"] == 1
