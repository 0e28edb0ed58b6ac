"""Layer by layer: the measures of states by hand, and a run with the bundled model against its parts."""

import numpy as np
import pytest
import torch

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF, largest_useful_lam
from coxlmm_utils.evaluation.clipscore import load_clip_judge
from coxlmm_utils.evaluation.grounding_quality import grounding_quality
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.ground_truth.factor_recovery import score_against_factors
from coxlmm_utils.ground_truth.layers import layer_scores, mean_and_peak
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.picturebook.factors import factors_of

LAYERS = [1, 4, "norm"]
K, LAM = 4, 2.0


def test_the_mean_state_and_the_largest_dimension_by_hand():
    Z = torch.tensor([[3.0, 4.0, 0.0], [3.0, -4.0, 0.0]])  # the mean is (3, 0, 0), every norm 5
    assert mean_and_peak(Z) == pytest.approx({"norm": 5, "mean_share": 9 / 25, "peak": 4 / 3})
    same = torch.tensor([[1.0, 2.0, 8.0]] * 4)
    assert mean_and_peak(same) == pytest.approx({"norm": 69**0.5, "mean_share": 1, "peak": 4})
    assert mean_and_peak(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))["mean_share"] == 0


def test_a_large_mean_is_not_lost_to_rounding():
    Z = torch.full((10, 2), 4096.0, dtype=torch.float16) + torch.tensor([[8.0], [-8.0]] * 5, dtype=torch.float16)
    assert mean_and_peak(Z)["mean_share"] == pytest.approx(4096**2 / (4096**2 + 64), rel=1e-12)


@pytest.fixture(scope="module")
def parts():
    """The model, the judge, and states of dogs to learn from and to test."""
    lmm = load_lmm("picturebook", device="cpu")
    states = extract(lmm, load_images("picturebook").mentioning("dog")[:60], "dog", LAYERS, cache=False)
    half = len(states) // 2
    halves = (states.subset(states.images.ids[:half]), states.subset(states.images.ids[half:]))
    return lmm, load_clip_judge("picturebook", device="cpu"), *halves


@pytest.fixture(scope="module")
def table(parts):
    lmm, clip, states, held_out = parts
    return layer_scores(lmm, states, clip, 4, SemiNMF(K, lam=LAM), held_out)


def test_every_layer_has_its_row(table):
    assert table["layer"].tolist() == LAYERS and set(table["token"]) == {"dog"}
    assert table.notna().all(axis=None) and (table["clipscore_low"] <= table["clipscore_high"]).all()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_row_is_what_its_parts_measure(parts, table, layer):
    lmm, clip, states, held_out = parts
    relative = LAM / largest_useful_lam(states.at(4).Z)
    dictionary = SemiNMF(K, relative_lam=relative, verbose=False)
    row = table.set_index("layer").loc[layer]
    quality = grounding_quality(lmm, states.at(layer), clip, None, dictionary)
    assert row[["clipscore", "clipscore_random"]].tolist() == pytest.approx(
        [quality["clipscore"].mean(), quality["clipscore_random"].mean()]
    )
    bank = ConceptBank.learn(lmm, states.at(layer), dictionary)
    pages = [[factors_of(int(id)) for id in part.images.ids] for part in (states, held_out)]
    scores = score_against_factors(bank.activations, pages[0], bank.project(held_out.at(layer).Z), pages[1])
    assert (row["recovered"], row["auc"]) == pytest.approx((scores.recovered.value, scores.mean_auc.value))
    assert row["n_words"] == np.mean([len(words.kept) for words in bank.words])
    assert row["mean_share"] == mean_and_peak(states.at(layer).Z)["mean_share"]


def test_without_known_pages_the_rest_is_measured(parts):
    lmm, clip, states, _ = parts
    table = layer_scores(lmm, states, clip, "norm", SemiNMF(K, centre=True), layers=["norm"])
    assert table["layer"].tolist() == ["norm"] and "recovered" not in table
    assert np.isfinite(table[["clipscore", "mentioned", "norm"]].to_numpy(float)).all()
