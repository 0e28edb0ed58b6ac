"""The DePALM's steering scores, with the small LLaVA in its place: what they are made of, and that they are in bounds."""

from importlib import import_module

import pytest
import torch

from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.loading import load_lmm

module = import_module("coxlmm_utils.ground_truth.depalm_steering")
FEW = {"LAYERS": (3, 4), "ALPHAS": (1.0, 1.5), "N_LEARNED": 60, "N_CHOSEN": 3, "N_TESTED": 4}


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


@pytest.fixture(scope="module")
def scores(lmm):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (FEW | {"STEERED_FACTORS": ("place",)}).items():
            patch.setattr(module, name, value)
        return module.depalm_steering_scores(lmm)


def test_every_source_method_layer_and_alpha_has_a_row(scores):
    settings = {(row["source"], row["method"], row["layer"], row["alpha"]) for row in scores["grid"]}
    assert len(settings) == len(scores["grid"]) == 2 * 2 * 2 * 2
    assert all(0 <= row[name] <= 1 for row in scores["grid"] for name in ("hit", "same", "added"))
    assert "caption" in module.depalm_steering_table(scores)


def test_the_best_is_reported_of_test_pages(scores):
    assert set(scores["tested"]) == {f"{source}_{method}" for source in module.SOURCES for method in module.OF_MEANS}
    for row in scores["tested"].values():
        assert row["layer"] in FEW["LAYERS"] and row["alpha"] in FEW["ALPHAS"] and len(row["place"]["hit"]) == 3


def test_caption_states_are_means_over_the_models_own_captions(lmm):
    images = load_images("picturebook").mentioning("dog")[:3]
    states = module.caption_states(lmm, images, [4])
    assert states.position == "completion_mean" and len(states) == 3 and torch.isfinite(states.Z).all()
    assert "dog" in states.captions[0]
