"""Notebook 05 on COCO and another model, tried out: ten pictures laid out as COCO's, a tiny LLaVA, tiny judges."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from coxlmm_utils.concepts.word_filter import WordFilter
from coxlmm_utils.images.pictures import open_picture
from coxlmm_utils.models.captioning import generate_captions
from coxlmm_utils.models.lmm import LMM
from coxlmm_utils.models.loading import load_lmm
from notebooks.run import NOTEBOOKS, execute
from tests.conftest import in_plain_words, noise
from tests.evaluation.test_bertscore import PLACES, tiny_bert
from tests.evaluation.test_clipscore import tiny_clip
from tests.images.test_sources import coco_entry
from tests.tiny_lmms import tiny_llava

SPLITS = ["train"] * 4 + ["restval"] * 2 + ["test"] * 4
PLACE = {"train": "train2014", "restval": "val2014", "test": "val2014"}
SYSTEMS = {"rnd_words", "noise_imgs", "simple", "semi_nmf", "gt_captions", "pca", "kmeans"}
EXPORTED = {
    "table1",
    "table1_all",
    "table1_union",
    "table2",
    "comparisons",
    "table1_numbers",
    "table2_numbers",
    "union_lengths",
}


def as_coco(folder: Path, token: str, paths: list[Path], splits: list[str] = SPLITS) -> str:
    """Pictures in the folders of COCO, with five captions each in Karpathy's file."""
    raws = [f"A {token} dog.", "a red bus in the snow", f"the {token} street at night ", "cat", "A small bird."]
    entries = [coco_entry(n, PLACE[split], 100 + n, split, raws) for n, split in enumerate(splits)]
    for entry, path in zip(entries, paths, strict=True):
        (folder / entry["filepath"]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / entry["filepath"] / entry["filename"])
    (folder / "dataset_coco.json").write_text(json.dumps({"images": entries, "dataset": "coco"}))
    return f"coco:{folder}"


def plain_llava(folder: Path) -> LMM:
    """A tiny LLaVA that writes plain words wherever it is loaded."""
    lmm = in_plain_words(load_lmm(tiny_llava(folder), device="cpu"))
    lmm.model.generation_config.save_pretrained(folder)
    return lmm


def favourite(lmm: LMM, paths: list[Path], n: int = 10) -> tuple[str, list[Path]]:
    """The word that the model writes about most pictures, of those that may ground a concept, and some of these."""
    captions = [written.caption.split() for written in generate_captions(lmm, [open_picture(path) for path in paths])]
    words = WordFilter().split(sorted({word for caption in captions for word in caption}))[0]
    word = max(words, key=lambda word: sum(word in caption for caption in captions))
    return word, [path for path, caption in zip(paths, captions) if word in caption][:n]


def noises(folder: Path, n: int) -> list[Path]:
    """Coloured noises of different sizes, as files."""
    paths = [folder / f"{number}.jpg" for number in range(n)]
    for number, path in enumerate(paths):
        noise(number).save(path)
    return paths


@pytest.mark.notebooks
def test_the_evaluation_runs_on_coco_by_its_parameters_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("COXLMM_CACHE", str(tmp_path / "cache"))
    lmm = plain_llava(tmp_path / "llava")
    token, ten = favourite(lmm, noises(tmp_path, 40))
    notebook = tmp_path / "notebooks" / "05_evaluation.ipynb"  # a copy, since it exports to ../build
    notebook.parent.mkdir()
    shutil.copy(NOTEBOOKS / notebook.name, notebook)
    (tmp_path / "clip").mkdir()
    changed = {"MODEL": str(tmp_path / "llava"), "DATA": as_coco(tmp_path / "coco", token, ten)}
    tiny = {"TOKENS": [token], "N_CONCEPTS": 2, "SEEDS": (0,), "CLIP": str(tiny_clip(tmp_path / "clip"))}
    tiny |= {"BERT": str(tiny_bert(tmp_path / "bert", model_max_length=PLACES)), "BERT_LAYERS": 2}
    ran = execute(notebook, changed | tiny)
    shown = "".join(cell.outputs[0].get("text", "") for cell in ran.cells if cell.get("outputs"))
    assert f"CLIPScore by {tiny['CLIP']}, BERTScore by {tiny['BERT']}, layer 2" in shown
    _check_exports(tmp_path / "build" / "evaluation", token)


def _check_exports(folder: Path, token: str) -> None:
    """Every table and figure is there, with a number for every system."""
    names = {f"{name}.{ending}" for name in EXPORTED for ending in ("csv", "tex")}
    assert {path.name for path in folder.iterdir()} == names | {"systems.pdf", "systems.png", "fig3.pdf", "fig3.png"}
    numbers = pd.read_csv(folder / "table1_numbers.csv")
    assert set(numbers["token"]) == {token} and SYSTEMS < set(numbers["system"])
    assert numbers[["mean", "low", "high"]].notna().all(axis=None)
    assert 2 <= numbers["n"].min() == numbers["n"].max() <= 4 and not numbers["n_missing"].any()
    compared = pd.read_csv(folder / "comparisons.csv", index_col=["score", "token", "metric", "other"])
    assert (
        len(compared) == 3 * 2 * (numbers["system"].nunique() - 1) and compared["p_wilcoxon_holm"].between(0, 1).all()
    )
