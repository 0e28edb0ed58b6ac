"""Notebook 08 on COCO and another model: all of it that needs no ground truth."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

from notebooks.run import NOTEBOOKS, execute
from tests.evaluation.test_bertscore import PLACES, tiny_bert
from tests.evaluation.test_clipscore import tiny_clip
from tests.notebooks.test_evaluation_on_coco import as_coco, favourite, noises, plain_llava

TABLES = {
    "ablation",
    "ablation_over",
    "ablation_earlier",
    "curves",
    "words_without_picture",
    "agreement",
    "repeats",
    "trust_card",
}
FIGURES = {"dependence", "words", "ablation", "curves", "agreement", "stability", "trust_card"}


@pytest.mark.notebooks
def test_the_checks_run_on_coco_by_parameters_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("COXLMM_CACHE", str(tmp_path / "cache"))
    lmm = plain_llava(tmp_path / "llava")
    splits = ["train"] * 40 + ["test"] * 30
    token, paths = favourite(lmm, noises(tmp_path, 300), len(splits))
    assert len(paths) == len(splits)
    notebook = tmp_path / "notebooks" / "08_faithfulness.ipynb"  # a copy, since it exports to ../build
    notebook.parent.mkdir()
    shutil.copy(NOTEBOOKS / notebook.name, notebook)
    (tmp_path / "clip").mkdir()
    changed = {"MODEL": str(tmp_path / "llava"), "DATA": as_coco(tmp_path / "coco", token, paths, splits)}
    tiny = {"TOKEN": token, "N_CONCEPTS": 6, "N_CURVES": 3, "CLIP": str(tiny_clip(tmp_path / "clip"))}
    tiny |= {"BERT": str(tiny_bert(tmp_path / "bert", model_max_length=PLACES)), "BERT_LAYERS": 2}
    execute(notebook, changed | tiny)
    build = tmp_path / "build" / "faithfulness"
    names = {f"{name}.csv" for name in TABLES} | {f"{name}.{end}" for name in FIGURES for end in ("pdf", "png")}
    assert {path.name for path in build.iterdir()} == names
    card = pd.read_csv(build / "trust_card.csv", index_col="check")
    assert card["finding"].str.startswith("not measured").to_dict() == {
        "recovered": True,
        "visual": False,
        "causal": False,
        "selective": True,
        "agrees": False,
        "stable": False,
    }
