"""The DePALM's scores of concept shift, with the small LLaVA and its adapter in its place: which are there."""

from importlib import import_module

import pytest

from coxlmm_utils.models import load_lmm
from coxlmm_utils.models.adapters import WEIGHTS, adapter_folder
from tests.ground_truth.test_shift_scores import LABELS

module = import_module("coxlmm_utils.ground_truth.depalm_shift")
FEW = {"ADAPTER": "picturebook-place", "N_PAGES": 60, "N_CONCEPTS": 4, "SEEDS": range(2)}


@pytest.fixture(scope="module")
def scores():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FEW.items():
            patch.setattr(module, name, value)
        return module.depalm_shift_scores(load_lmm("picturebook", device="cpu"))


def test_all_but_what_needs_a_null_is_there(scores):
    assert set(LABELS["shift_sets"]) - set(scores) == {"changed"} and "counts" not in scores
    assert scores["layer"] == 4 and set(scores["about"]) >= {"place"}  # of five
    assert 15 < scores["n"] <= 30 and scores["cosine_after"][0] > scores["cosine_before"][0]


def test_its_adapter_is_bundled():
    assert (adapter_folder(module.ADAPTER) / WEIGHTS).is_file()
