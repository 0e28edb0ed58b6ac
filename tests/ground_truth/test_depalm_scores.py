"""The DePALM's scores: every part is asked of the right states, and without its language model they are left out."""

import json

import pandas as pd
import pytest

from coxlmm_utils.ground_truth import depalm_scores as module
from coxlmm_utils.ground_truth.depalm_scores import SYSTEMS, depalm_scores, depalm_table
from coxlmm_utils.models import load_lmm
from coxlmm_utils.picturebook import factors_of

PAGES = range(2_000_000, 2_000_016)


@pytest.fixture(scope="module")
def measured():
    """Of the bundled LLaVA in the DePALM's place, on few pages."""
    lmm = load_lmm("picturebook", device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        few = module.subject_images("dog")
        patch.setattr(module, "subject_images", lambda subject: tuple(images[:48] for images in few))
        captions = ["a dog with red paint running on the grass"] * len(PAGES), [factors_of(number) for number in PAGES]
        patch.setattr(module, "captions_of_test_pages", lambda lmm: captions)
        patch.setattr(module, "N_CONCEPTS", 4)
        return lmm, depalm_scores(lmm)


def test_all_that_is_promised_is_there(measured):
    lmm, values = measured
    assert {"noun", "colour", "place", "action"} < set(values) and values["noun"] == 2 / 16
    assert [row["layer"] for row in values["layers"]] == [1, 2, 3, 4, 5] and values["at"] == lmm.n_layers - 1
    assert all({"clipscore", "recovered", "n_values", "mean_share"} < set(row) for row in values["layers"])
    assert values["mean_share"] == values["layers"][3]["mean_share"]
    assert set(SYSTEMS) - {"semi_nmf"} < set(values["dog"])
    for name in ("recovered", "probe_auc", "rotated"):
        mean, low, high = values["dog"][name]
        assert low <= mean <= high
    assert values["dog"]["k"] == 4 and values["dog"]["n_values"] == values["layers"][0]["n_values"]
    assert json.loads(json.dumps(values)) == values


def test_the_table_has_layers_and_captions(measured):
    text = depalm_table(measured[1])
    assert "clipscore" in text and "noun" in text and len(pd.DataFrame(measured[1]["layers"])) == 5


def test_without_the_language_model_the_scores_say_so(monkeypatch, capsys):
    def load(name):
        assert name == "picturebook-depalm"
        raise FileNotFoundError("it is not here")

    monkeypatch.setattr(module, "load_lmm", load)
    assert module.loaded_depalm() is None
    assert capsys.readouterr().out == "The scores of the DePALM are left out: it is not here\n"
