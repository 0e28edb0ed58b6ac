"""`notebooks/reproduce.py` from end to end: forty pictures laid out as COCO's, a tiny LLaVA, tiny judges."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections import Counter
from contextlib import contextmanager, redirect_stdout
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.evaluation.paper import FIG6_LAYERS
from coxlmm_utils.extraction import blocks
from coxlmm_utils.models.loading import load_lmm
from notebooks import paper_figures, reproduce
from notebooks.run import NOTEBOOKS
from tests.evaluation.test_bertscore import PLACES, tiny_bert
from tests.evaluation.test_clipscore import tiny_clip
from tests.notebooks.coco import as_coco, noises
from tests.tiny_lmms import tiny_llava

SAID = "dog cat bus train beach snow".split()  # all that the model says: dog mostly, cat of five pictures
HOSTILE = "<img src=x onerror=alert(1)>"
FIGURES = "fig2 fig3 fig4 fig5_1 fig5_2 fig6 fig7 fig11".split()
TABLES = "table1 table1_numbers table2 table2_numbers fig3 fig3_dots fig5 fig6 fig6_paper fig6_numbers fig7_words fig11".split()
FILES = {f"{name}.{end}" for name in FIGURES for end in ("pdf", "png")}
FILES |= {f"{name}.{end}" for name in TABLES for end in ("csv", "tex")} | {
    f"{name}.json" for name in paper_figures.ITEMS
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder of a model, pictures, judges, the cache and the results."""
    folder = tmp_path_factory.mktemp("reproduce")
    lmm = load_lmm(tiny_llava(folder / "llava"), device="cpu")
    plain = set(lmm.tokenizer.convert_tokens_to_ids(SAID))
    lmm.model.generation_config.suppress_tokens = [i for i in range(len(lmm.tokenizer)) if i not in plain]
    lmm.model.generation_config.save_pretrained(folder / "llava")
    as_coco(folder / "coco", "dog", noises(folder, 40), ["train"] * 18 + ["restval"] * 4 + ["test"] * 18)
    (folder / "clip").mkdir()
    tiny_clip(folder / "clip")
    tiny_bert(folder / "bert", model_max_length=PLACES)
    return folder


@pytest.fixture(autouse=True, scope="module")
def one_process():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", 4)
        for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
            patch.delenv(name, raising=False)
        yield


@contextmanager
def counting():
    """How often each block is written."""
    counts, write = Counter(), blocks.BlockFolder.write

    def counted(folder, number, block):
        counts[folder.folder, folder.names[number]] += 1
        write(folder, number, block)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks.BlockFolder, "write", counted)
        yield counts


def run(place, out="out", tokens=("dog", "cat", "bus", HOSTILE), **more) -> None:
    given = {"model": place / "llava", "data": f"coco:{place / 'coco'}", "clip": place / "clip", "bert": place / "bert"}
    given |= {"bert-layers": 2, "n-concepts": 4, "n-seeds": 2, "max-new-tokens": 8, "out": place / out} | more
    options = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COXLMM_CACHE", str(place / "cache"))
        reproduce.main([*options, "--layers", "1", "norm", "--ks", "2", "4", "--tokens", *tokens])


@pytest.fixture(scope="module")
def made(place):
    """The results of two processes, the second first: what each wrote of blocks and said, and the results' folder."""
    told, wrote = [], []
    for rank in ("1", "0"):
        with pytest.MonkeyPatch.context() as patch, counting() as counts, redirect_stdout(StringIO()) as said:
            patch.setenv("RANK", rank)
            patch.setenv("WORLD_SIZE", "2")
            run(place)
        told.append(said.getvalue())
        wrote.append(counts)
        assert (place / "out").exists() == (rank == "0")
    return wrote, told, place / "out"


def test_two_processes_extract_each_block_once_and_the_first_writes(made):
    wrote, told, out = made
    assert set((wrote[0] + wrote[1]).values()) == {1} and len(wrote[0]) > 3
    assert {path.name for path in out.iterdir()} == FILES | {"index.html"}
    assert not told[0] and "Fig 11" in told[1]
    assert re.search(r"“cat” is left out.*: \d samples to learn from and \d to test are too few", told[1])


def test_numbers_are_there_and_finite(made):
    *_, out = made
    numbers = pd.read_csv(out / "table1_numbers.csv")
    assert set(numbers["token"]) == {"dog", "bus"} and (numbers["n"] > 1).all()
    assert np.isfinite(numbers[["mean", "low", "high", "std"]]).all(axis=None)
    table1 = pd.read_csv(out / "table1.csv")
    rows = table1[table1["token"] == "dog"].set_index(["metric", "whose"])["Semi-NMF"]
    assert rows["CLIPScore", "paper"] == "0.610 ± 0.09" and rows["BERTScore", "paper"] == "0.405 ± 0.07"
    dog = numbers.query("token == 'dog' and system == 'semi_nmf'").set_index("metric")["mean"]
    assert rows["CLIPScore", "ours"].startswith(f"{dog['clipscore']:z.3f} ±")
    layers = pd.read_csv(out / "fig6_numbers.csv")
    assert set(layers["layer"]) == {"1", "norm"} and np.isfinite(layers["clipscore"]).all()
    errors = pd.read_csv(out / "fig11.csv", index_col="token")
    assert (errors["K = 4"] < errors["K = 2"]).all() and ((errors > 0) & (errors < 1)).all(axis=None)


def test_the_page_says_whose_numbers_these_are(made):
    page = (made[-1] / "index.html").read_text()
    for name in paper_figures.ITEMS:
        assert f'<section id="{name}">' in page
    assert page.count("<dt>paper</dt>") == page.count("<dt>ours</dt>") == len(paper_figures.ITEMS)
    assert "0.610 ± 0.09" in page and "not the paper&#39;s OpenAI ViT-B/32" in page and "is not certain" in page
    assert {name for name in re.findall(r'(?:src|href)="([\w.]+)"', page)} == FILES - {
        name for name in FILES if ".json" in name
    }
    assert "cat” is left out" in page and "onerror" in page and "<img src=x" not in page


def test_what_is_there_is_not_made_again(place, made, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in made[-1].iterdir() if path.name != "index.html"}
    for name in ("evaluate", "sweep", "explain", "grounding_quality"):
        monkeypatch.setattr(paper_figures, name, lambda *_, **__: pytest.fail("made again"))
    with counting() as counts:
        run(place)
    assert not counts and before == {path: path.stat().st_mtime_ns for path in before}


def test_stopped_between_two_items_it_goes_on_there(place, made, monkeypatch):
    def stopped(study):
        raise KeyboardInterrupt

    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setitem(reproduce.ITEMS, "fig3", stopped)
        run(place, "stopped")
    page = (place / "stopped" / "index.html").read_text()
    assert 'id="fig2"' in page and 'id="fig3"' not in page
    monkeypatch.setattr(paper_figures, "evaluate", lambda *_: pytest.fail("made again"))
    with counting() as counts:
        run(place, "stopped")
    assert not counts and {path.name for path in (place / "stopped").iterdir()} == FILES | {"index.html"}


def test_other_settings_make_it_anew(place, made):
    out = place / "anew"
    shutil.copytree(made[-1], out)
    run(place, "anew", tokens=["dog"], lam=0.5)
    before, after = (json.loads((folder / "fig11.json").read_text())["key"] for folder in (made[-1], out))
    assert not (out / "fig5_2.png").exists()  # of "bus"
    assert before != after and set(pd.read_csv(out / "fig11.csv")["token"]) == {"dog"}


@pytest.mark.parametrize(
    "more, message",
    [
        ({"data": "flickr:/pictures"}, "unknown source of images 'flickr:/pictures'"),
        ({"data": "coco:/nowhere"}, "there is no dataset_coco.json in /nowhere"),
        ({"n-concepts": 0}, "n_concepts must be at least 1"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"lam": -1}, "--lam is -1"),
        ({"bert": "/nowhere"}, "/nowhere"),
        ({"layer": 9}, "has no layer 9: give 0"),
        ({"tokens": ["zebra"]}, "No token is left"),
        ({"n-concepts": 30}, "No token is left"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(place, more, message):
    with pytest.raises(SystemExit, match=message):
        run(place, "none", **more)
    assert not (place / "none").exists()


def test_it_waits_while_blocks_come_and_no_longer(monkeypatch):
    class Blocks:
        left = [0, 1, 2]

        def missing(self):
            return self.left

    some = Blocks()
    timer = threading.Timer(0.2, some.left.clear)
    timer.start()
    reproduce._wait_for(some)
    assert not some.left
    some.left, begin = [0], time.monotonic()
    monkeypatch.setattr(reproduce, "PATIENCE", 0.3)
    reproduce._wait_for(some)
    assert time.monotonic() - begin < 3


def test_layers_of_fig_6_are_the_papers_where_there_are_as_many():
    assert reproduce._layers(32) == [*FIG6_LAYERS, 32, "norm"]  # with the other readings of L = 31
    assert list(dict.fromkeys(reproduce._layers(5))) == [1, 2, 3, 4, 5, "norm"]
    layers = reproduce._layers(80)
    assert (layers[0], layers[-2], layers[-1]) == (1, 80, "norm") and len(layers) == len(FIG6_LAYERS) + 1


def test_the_command_is_in_the_makefile():
    recipe = (NOTEBOOKS.parent / "Makefile").read_text().partition("\nreproduce:")[2].partition("\n\n")[0]
    assert set(re.findall(r"--([a-z]+) ", recipe)) == {"model", "data", "tokens", "standalone"}
