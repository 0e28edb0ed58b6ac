"""Every notebook but 07, which asks what only the book can answer, on other people's data: by its parameters alone.

11 asks questions: it is run on a miniature of POPE's file. 12 compares two models: it is run on a miniature of Visual
Genome's, and a tiny model with an adapter.

The book itself is in `test_run`. Here are a folder of 60 pictures with captions and one without, of which nothing but
`DATA` is told (and smaller numbers of what is repeated), and a tiny LLaVA and a tiny Qwen2.5-VL with pictures laid out
as COCO's.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import torch
from peft import LoraConfig, get_peft_model

from coxlmm_utils.files import folder_name
from coxlmm_utils.picturebook import page, page_numbers, references
from notebooks.run import NOTEBOOKS, execute, parameters_of
from tests.conftest import noise
from tests.evaluation.test_bertscore import PLACES, tiny_bert
from tests.evaluation.test_clipscore import tiny_clip
from tests.notebooks.coco import as_coco, favourite, noises, plain_lmm
from tests.tiny_lmms import tiny_llava, tiny_qwen

ASKED = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if path.name[:2] not in ("07", "11", "12")]
SPLITS = ["train"] * 40 + ["test"] * 20
QUICK = {
    "SEEDS": (0, 1),
    "N_CAPTIONED": 20,
    "N_PICTURES": 30,
    "N_TESTED": 20,
    "N_COMPARED": 5,
    "N_CURVES": 3,
    "N_CHECKED": 10,
    "N_CHOSEN": 4,
    "N_QUESTIONS": 16,
}
SYSTEMS = {"rnd_words", "noise_imgs", "simple", "semi_nmf", "gt_captions", "pca", "kmeans"}
TABLES = ["table1", "table1_all", "table1_union", "table2", "comparisons", "table1_numbers", "table2_numbers"]
CHECKED = ["ablation", "curves", "words_without_picture", "agreement", "repeats", "trust_card"]
DRAWN = ["dependence", "words", "curves", "agreement", "stability", "trust_card"]


def _judges(folder: Path) -> dict:
    """Tiny judges, since those of photographs are to be downloaded."""
    (folder / "clip").mkdir()
    bert = tiny_bert(folder / "bert", model_max_length=PLACES)
    return {"CLIP": str(tiny_clip(folder / "clip")), "BERT": str(bert), "BERT_LAYERS": 2}


def _dogs(folder: Path, captioned: bool) -> dict:
    """The bundled model with 60 pictures of dogs as files; nothing else is set."""
    pictures = folder / "pictures"
    pictures.mkdir()
    dogs = [number for number in page_numbers("train") if page(number).factors.kind == "dog"][:60]
    for number in dogs:
        page(number).picture.save(pictures / f"{number}.png")
    if captioned:
        rows = [(f"{number}.png", text) for number in dogs for text in references(number)]
        with open(pictures / "captions.csv", "w", newline="") as file:
            csv.writer(file).writerows([("file", "caption"), *rows])
    return {"DATA": f"folder:{pictures}"} | _judges(folder)


def _tiny(folder: Path, build: Callable[[Path], Path]) -> dict:
    """A tiny model, and 60 pictures about which it says one word, laid out as COCO's."""
    lmm = plain_lmm(folder / "model", build)
    token, paths = favourite(lmm, noises(folder, 300), len(SPLITS))
    assert len(paths) == len(SPLITS)
    words = {"TOKEN": token, "TOKENS": [token], "SHARED": [token], "N_CONCEPTS": 4}
    data = as_coco(folder / "coco", token, paths, SPLITS)
    return {"MODEL": str(folder / "model"), "DATA": data} | words | _judges(folder)


KINDS = {
    "folder": lambda folder: _dogs(folder, captioned=True),
    "folder without captions": lambda folder: _dogs(folder, captioned=False),
    "LLaVA on COCO": lambda folder: _tiny(folder, tiny_llava),
    "Qwen2.5-VL on COCO": lambda folder: _tiny(folder, tiny_qwen),
}


# What takes longest is run on two of these.
LONG = ("05_evaluation", "06_choosing_k_and_layer", "08_faithfulness", "09_depalm", "10_steering")
LONG_KINDS = ("folder without captions", "Qwen2.5-VL on COCO")


@pytest.fixture(scope="module", params=KINDS)
def settings(request, tmp_path_factory) -> dict:
    return KINDS[request.param](tmp_path_factory.mktemp("data"))


@pytest.mark.notebooks
@pytest.mark.parametrize("path", ASKED, ids=lambda path: path.stem)
def test_runs_on_other_data(path, settings, tmp_path, monkeypatch, session_cache, request):
    if path.stem in LONG and request.node.callspec.params["settings"] not in LONG_KINDS:
        pytest.skip("it takes long: without captions, and on COCO, it is run")
    monkeypatch.setenv("COXLMM_CACHE", str(session_cache))
    notebook = tmp_path / "notebooks" / path.name  # a copy, since it writes to ../build
    notebook.parent.mkdir()
    shutil.copy(path, notebook)
    known = parameters_of(nbformat.read(path, as_version=4), path.name)
    model = {"MODEL": "picturebook"} if path.name.startswith("09") else {}  # whose own takes too long here
    changed = {name: value for name, value in (QUICK | model | settings).items() if name in known}
    execute(notebook, changed)
    written = list(tmp_path.glob("build/*"))
    assert written or path.name.startswith("01")
    named = folder_name(changed.get("MODEL", "picturebook"), changed["DATA"])[:-6]  # but for the hash
    assert all(folder.name.startswith(named[:100]) for folder in written)
    if path.name[:2] in ("05", "08"):
        [folder] = tmp_path.glob("build/*/*")
        if path.name.startswith("05"):
            _check_evaluation(folder)
        else:
            _check_faithfulness(folder, enough="N_CONCEPTS" in settings)


@pytest.mark.notebooks
def test_learning_to_steer_on_popes_file(tmp_path, monkeypatch, session_cache):
    monkeypatch.setenv("COXLMM_CACHE", str(session_cache))
    plain_lmm(tmp_path / "model", tiny_llava)
    (tmp_path / "val2014").mkdir()
    lines = []
    for number in range(24):
        noise(number).save(tmp_path / "val2014" / f"{number}.jpg")
        text, label = f"Is there a {('dog', 'cat')[number % 2]}?", ("yes", "no")[number // 2 % 2]
        lines.append({"question_id": number, "image": f"{number}.jpg", "text": text, "label": label})
    (tmp_path / "coco_pope_random.json").write_text("\n".join(map(json.dumps, lines)))
    notebook = tmp_path / "notebooks" / "11_learning_to_steer.ipynb"
    notebook.parent.mkdir()
    shutil.copy(NOTEBOOKS / notebook.name, notebook)
    few = {"N_LEARNED": 12, "N_CHOSEN": 6, "N_TESTED": 6, "ALPHAS": (1.0, 8.0)}
    execute(notebook, {"MODEL": str(tmp_path / "model"), "QUESTIONS": f"pope:{tmp_path}"} | few)
    [methods] = tmp_path.glob("build/*/learned_steering/methods.csv")
    table = pd.read_csv(methods, index_col=0)
    assert len(table) == 7 and table[["yes", "no"]].stack().between(0, 1).all()
    assert (methods.parent / "network").is_dir() and (methods.parent / "alphas.png").exists()


@pytest.mark.notebooks
def test_concept_shift_on_visual_genome_with_an_adapter(tmp_path, monkeypatch, session_cache):
    monkeypatch.setenv("COXLMM_CACHE", str(session_cache))
    lmm = plain_lmm(tmp_path / "model", tiny_qwen)
    token, paths = favourite(lmm, noises(tmp_path, 300), 40)
    (tmp_path / "VG_100K").mkdir()
    (tmp_path / "VG_100K_2").mkdir()
    regions = []
    for number, path in enumerate(paths, start=1):
        shutil.copy(path, tmp_path / ("VG_100K", "VG_100K_2")[number % 2] / f"{number}.jpg")
        regions.append({"id": number, "regions": [{"region_id": number, "image_id": number, "phrase": f"a {token}"}]})
    (tmp_path / "region_descriptions.json").write_text(json.dumps(regions))
    _save_adapter(lmm.model, tmp_path / "adapter", tmp_path / "model")
    notebook = tmp_path / "notebooks" / "12_concept_shift.ipynb"
    notebook.parent.mkdir()
    shutil.copy(NOTEBOOKS / notebook.name, notebook)
    settings = {"MODEL": str(tmp_path / "model"), "ADAPTER": str(tmp_path / "adapter"), "NULL": None, "N_CONCEPTS": 3}
    execute(notebook, settings | {"DATA": f"visual_genome:{tmp_path}", "TOKEN": token})
    [folder] = tmp_path.glob("build/*/concept_shift")
    recovered = pd.read_csv(folder / "recovery.csv")
    assert (
        set(recovered["kind"]) == {"shifted", "unshifted", "random", "permuted"} and recovered["cosine"].notna().all()
    )
    assert {f"{name}.png" for name in ("changes", "before", "after", "recovery")} <= {p.name for p in folder.iterdir()}


def _save_adapter(model, folder: Path, base: Path) -> None:
    """A LoRA that changes states a little, and hardly a word."""
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=r".*(q|v)_proj"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=1e-3)
    adapted.save_pretrained(folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(base)}))


def _check_evaluation(folder: Path) -> None:
    """Every table and figure is there, with a number for every system that does not need captions."""
    names = {f"{name}.{ending}" for name in [*TABLES, "union_lengths"] for ending in ("csv", "tex")}
    assert {path.name for path in folder.iterdir()} == names | {"systems.pdf", "systems.png", "fig3.pdf", "fig3.png"}
    numbers = pd.read_csv(folder / "table1_numbers.csv")
    assert numbers["token"].nunique() == 1 and SYSTEMS - {"gt_captions"} < set(numbers["system"])
    clip = numbers[(numbers["metric"] == "clipscore") & (numbers["system"] != "gt_captions")]
    assert clip[["mean", "low", "high"]].notna().all(axis=None) and clip["n"].min() >= 2


def _check_faithfulness(folder: Path, enough: bool) -> None:
    """Its tables and figures are there, and the card says which questions were not asked.

    That the default of 20 concepts is found again, of some 50 samples, says nothing.
    """
    names = {f"{name}.csv" for name in CHECKED} | {f"{name}.{end}" for name in DRAWN for end in ("pdf", "png")}
    assert names <= {path.name for path in folder.iterdir()}
    card = pd.read_csv(folder / "trust_card.csv", index_col="check")
    asked = ~card["finding"].str.startswith("not measured")
    assert asked[["visual", "agrees"]].all() and not asked[["recovered", "selective"]].any()
    assert asked["stable"] == enough
    assert asked["causal"] == (folder / "ablation.png").exists()
