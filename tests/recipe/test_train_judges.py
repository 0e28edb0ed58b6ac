"""A stopped training of a judge goes on as if nothing had been, and its judge loads like any other."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from coxlmm_utils.evaluation.bertscore import BASELINE_FILE, load_bert_judge
from coxlmm_utils.evaluation.clipscore import load_clip_judge
from coxlmm_utils.picturebook.captions import references
from coxlmm_utils.picturebook.drawing import draw
from coxlmm_utils.picturebook.factors import factors_of
from data.picturebook.recipe import bert, train_judges, training_loop
from data.picturebook.recipe.train_judges import RECIPES, train_judge
from data.picturebook.recipe.training_loop import StageRecipe
from tests.recipe.interrupted import stop_after

TINY = {kind: StageRecipe(kind, steps=4, batch=4, rate=1e-3, seed=5) for kind in ("clip", "bert")}
SPLITS = {"train": range(16), "test": range(2_000_000, 2_000_030)}  # no other split is asked for
WEIGHTS = {"clip": "open_clip_model.safetensors", "bert": "model.safetensors"}


@pytest.fixture(scope="module", autouse=True)
def small_book(tmp_path_factory):
    """A book of sixteen pages, a few more to measure on, and a checkpoint every other step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COXLMM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(train_judges, "page_numbers", SPLITS.__getitem__)
        patch.setattr(training_loop, "SAVE_EVERY", 2)
        patch.setattr(bert, "BASELINE_PAIRS", 20)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder with the `judge` and the `checkpoints` of a whole run, for each kind, and the shares it measured."""
    runs = {}
    for kind, recipe in TINY.items():
        folder = tmp_path_factory.mktemp("undisturbed")
        runs[kind] = folder, train_judge(folder / "judge", folder / "checkpoints", recipe)
    return runs


def weights_in(folder):
    """All weights of the last checkpoint."""
    return torch.load(folder / "checkpoints/checkpoint.pt", weights_only=True)["learner"]


@pytest.mark.parametrize("kind", TINY)
def test_a_stopped_run_goes_on_bit_for_bit(kind, undisturbed, tmp_path):
    whole, shares = undisturbed[kind]
    stop_after(2, lambda: train_judge(tmp_path / "judge", tmp_path / "checkpoints", TINY[kind]))
    assert not (tmp_path / "judge").exists()
    torch.rand(3)  # whatever else was drawn in between
    assert train_judge(tmp_path / "judge", tmp_path / "checkpoints", TINY[kind]) == shares
    torch.testing.assert_close(weights_in(tmp_path), weights_in(whole), rtol=0, atol=0)
    saved = [folder / "judge" / WEIGHTS[kind] for folder in (tmp_path, whole)]
    assert saved[0].read_bytes() == saved[1].read_bytes()


@pytest.mark.parametrize("kind", TINY)
def test_another_recipe_does_not_go_on_with_a_stopped_run(kind, undisturbed, tmp_path):
    checkpoints = undisturbed[kind][0] / "checkpoints"
    with pytest.raises(ValueError, match="another recipe; delete it or give another --checkpoints"):
        train_judge(tmp_path / "judge", checkpoints, replace(TINY[kind], seed=6))
    assert not (tmp_path / "judge").exists()


def test_another_seed_gives_another_judge(undisturbed, tmp_path):
    train_judge(tmp_path / "judge", tmp_path / "checkpoints", replace(TINY["bert"], seed=6))
    saved = [folder / "judge" / WEIGHTS["bert"] for folder in (tmp_path, undisturbed["bert"][0])]
    assert saved[0].read_bytes() != saved[1].read_bytes()


def test_what_is_saved_loads_like_any_other_judge(undisturbed):
    clip = load_clip_judge(undisturbed["clip"][0] / "judge", device="cpu")
    folder = undisturbed["bert"][0] / "judge"
    words = load_bert_judge(folder, num_layers=1, baseline_path=folder / BASELINE_FILE, device="cpu")
    assert clip.encode_pictures([draw(factors_of(0), 0)]).shape == clip.encode_texts(["a dog"]).shape
    assert words.f1(["a dog"], [["a dog"]]) == pytest.approx([1], abs=1e-5)


def test_shares_are_shares(undisturbed):
    names = {kind: list(shares) for kind, (_, shares) in undisturbed.items()}
    assert names == {
        "clip": ["picture_to_text_1_of_100", "text_to_picture_1_of_100"],
        "bert": ["masked_word", "masked_word_by_the_commonest"]
        + [f"true_above_false_layer_{layer}" for layer in (1, 2)],
    }
    assert all(0 <= share <= 1 for _, shares in undisturbed.values() for share in shares.values())


def test_a_judge_is_measured_on_the_first_reference_of_each_test_page(tmp_path):
    class Learner:
        def quality(self, pictures, sentences):
            return {"pictures": pictures, "sentences": sentences}

    given = train_judges.measure(Learner(), tmp_path)
    assert given["sentences"] == [references(number)[0] for number in SPLITS["test"]]
    first = SPLITS["test"].start
    assert len(given["pictures"]) == 30
    np.testing.assert_array_equal(given["pictures"][0], np.asarray(draw(factors_of(first), first)))


def test_the_judges_differ_in_their_seeds_from_each_other_and_the_lmm():
    assert all(recipe.kind == kind for kind, recipe in RECIPES.items())
    assert len({recipe.seed for recipe in RECIPES.values()} | {0}) == 3


def run_main(monkeypatch, line):
    """The command line, without training; returns what it would have trained."""
    given = []
    monkeypatch.setattr(train_judges, "train_judge", lambda *args: given.append(args) or {"share": 0.12345})
    monkeypatch.setattr(sys, "argv", ["train_judges", *line.split()])
    train_judges.main()
    return given


def test_the_command_line_trains_both_and_prints_shares(monkeypatch, capsys):
    given = run_main(monkeypatch, "--out judges --checkpoints states")
    assert given == [(Path("judges") / kind, Path("states") / kind, RECIPES[kind]) for kind in ("clip", "bert")]
    assert capsys.readouterr().out == "clip\n  share 0.123\nbert\n  share 0.123\n"


def test_the_command_line_trains_one(monkeypatch, capsys):
    given = run_main(monkeypatch, "--out judges --checkpoints states --judges bert")
    assert given == [(Path("judges/bert"), Path("states/bert"), RECIPES["bert"])]


def test_a_judge_that_nobody_knows_is_refused(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run_main(monkeypatch, "--out judges --judges gpt")
    assert "invalid choice: 'gpt'" in capsys.readouterr().err
