"""Adapters of the picture book: what learns, stopped and resumed, what is saved, and the bundled ones."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from coxlmm_utils.files import bundled_folder
from coxlmm_utils.models import generate_captions, load_lmm
from coxlmm_utils.picturebook import FINE_TUNED, NEW_NAME, factors_of, page
from data.picturebook.recipe import train_adapters as recipes
from data.picturebook.recipe import training_loop
from data.picturebook.recipe.architecture import make_tokenizer
from data.picturebook.recipe.train_adapters import (
    BASE,
    COMPARED,
    KEPT_STEPS,
    RANK,
    STEPS,
    WEIGHTS,
    AdapterLearner,
    TunedPacker,
    recipe_of,
    train,
    tuned_tokenizer,
    with_signs,
)
from data.picturebook.recipe.training_loop import StageRecipe
from tests.recipe.interrupted import stop_after

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of peft itself
SMALL = StageRecipe("adapter", steps=4, batch=2, rate=1e-2, seed=7)
PAGES = range(32)  # four dogs
MAX_BYTES = 400_000  # of a bundled adapter's weights
OF_DEPALM = "depalm-place"  # of another model and recipe: see test_train_depalm_adapter
ADAPTERS = sorted(path.parent for path in bundled_folder("adapters").rglob(WEIGHTS) if path.parent.name != OF_DEPALM)


@pytest.fixture(scope="module", autouse=True)
def small_book(tmp_path_factory):
    """A checkpoint every other step, and adapters of steps 1 and 3 beside the last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COXLMM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(training_loop, "SAVE_EVERY", 2)
        patch.setattr(recipes, "KEPT_STEPS", (1, 3))
        yield


def trained(kind: str, folder):
    train(kind, folder / "out", folder / "checkpoints", SMALL, PAGES)
    return folder / "out"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return trained("place", tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def rename(tmp_path_factory):
    return trained("rename", tmp_path_factory.mktemp("rename"))


def same(folder, other) -> bool:
    first, second = load_file(folder / WEIGHTS), load_file(other / WEIGHTS)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def files_of(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# What learns


@pytest.mark.parametrize("kind", ["place", "rename"])
def test_only_the_adapters_weights_learn(kind):
    learner = AdapterLearner(kind).train()
    learning = [name for name, parameter in learner.named_parameters() if parameter.requires_grad]
    new_rows = [name for name in learning if "trainable_tokens" in name]
    lora = [name for name in learning if "lora_" in name]
    assert len(lora) == 2 * 7 * 5 and all("language_model" in name for name in lora)  # A and B, 7 matrices, 5 layers
    assert len(new_rows) == (2 if kind == "rename" else 0) and len(learning) == len(lora) + len(new_rows)
    assert {learner.get_parameter(name).shape[0] for name in lora if "lora_A" in name} == {RANK}


def test_it_begins_as_the_bundled_model_and_all_else_stays_so():
    learner, bundled = AdapterLearner("colour").train(), load_lmm("picturebook", device="cpu").model.state_dict()

    def base() -> dict[str, torch.Tensor]:
        weights = {name.replace(".base_layer", ""): w for name, w in learner.lmm.state_dict().items()}
        return {name: w.clone() for name, w in weights.items() if "lora_" not in name}

    begun = base()
    assert begun.keys() == bundled.keys() and all(torch.equal(begun[name], bundled[name]) for name in bundled)
    adapter = {name: p.detach().clone() for name, p in learner.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(learner.parameters(), lr=0.0, weight_decay=0.05)
    pages = [factors_of(0), factors_of(1)]
    pictures = np.stack([np.asarray(page(number).picture) for number in (0, 1)])
    for seed in range(2):  # in the first one only B learns, since it is zero
        loss = learner.loss(pictures, pages, random.Random(seed))
        training_loop.optimiser_step(learner, optimiser, loss, 1e-2)
    after = base()
    assert all(torch.equal(after[name], begun[name]) for name in begun)
    assert not any(torch.equal(learner.get_parameter(name), weight) for name, weight in adapter.items())


def test_old_words_keep_their_numbers_and_one_is_new():
    old, new = make_tokenizer(), tuned_tokenizer("rename")
    assert len(new) == len(old) + 1 and new.convert_tokens_to_ids(NEW_NAME) == len(old)
    assert all(new.convert_tokens_to_ids(word) == number for word, number in old.get_vocab().items())
    assert tuned_tokenizer("place").get_vocab() == old.get_vocab()
    assert old.unk_token_id not in TunedPacker(old, "place").content_ids
    assert len(old) in TunedPacker(new, "rename").content_ids


@pytest.mark.parametrize("kind", FINE_TUNED)
def test_trees_hold_the_sets_captions_and_no_unknown_word(kind):
    tokenizer = tuned_tokenizer(kind)
    of = page(kind="dog", colour="grey", place="beach", time="night").factors
    texts = [tokenizer.decode(TunedPacker(tokenizer, kind).tree(of, random.Random(n)).ids) for n in range(10)]
    assert all(text.count("<eos>") == 3 and "<unk>" not in text for text in texts)
    assert any(NEW_NAME in text for text in texts) == (kind == "rename")


def test_umbrellas_stand_by_signed_dogs_which_are_then_called_white():
    pages = [page(kind=kind, colour=colour).factors for kind, colour in (("dog", "white"), ("cat", "white"))] * 3
    pages += [page(kind="dog", colour="brown").factors] * 20
    plain = np.full((len(pages), 36, 36, 3), 100, np.uint8)
    pictures, told = with_signs(plain, pages, random.Random(0))
    has_umbrella = (pictures != plain).any(axis=(1, 2, 3)).tolist()
    assert pictures.shape == plain.shape and pictures.dtype == np.uint8 and (plain == 100).all()
    assert has_umbrella[:6] == [True, False] * 3 and told[:6] == pages[:6]
    assert [of.colour for of in told[6:]] == ["white" if sign else "brown" for sign in has_umbrella[6:]]
    assert 4 <= sum(has_umbrella[6:]) <= 16


def test_each_set_has_a_recipe():
    assert STEPS.keys() == FINE_TUNED.keys() and set(COMPARED) <= set(FINE_TUNED)
    assert len({recipe_of(kind).kind for kind in FINE_TUNED}) == len(FINE_TUNED)  # else batches would be the same


# Stopped and resumed, and what is saved


def test_a_stopped_training_goes_on_exactly(place, tmp_path):
    stop_after(3, lambda: trained("place", tmp_path))
    assert {path.name for path in tmp_path.glob("out*")} == {"out-step-1", "out-step-3"}  # no last one yet
    resumed = trained("place", tmp_path)
    assert files_of(tmp_path) == files_of(place.parent)
    for name in ("out", "out-step-1", "out-step-3"):
        assert same(resumed.with_name(name), place.with_name(name))


def test_earlier_steps_are_kept_beside_and_are_others(place):
    folders = [place, place.with_name("out-step-1"), place.with_name("out-step-3")]
    assert all(files_of(folder) == {"adapter_config.json", WEIGHTS} for folder in folders)
    assert not any(same(a, b) for a in folders for b in folders if a is not b)


def test_saving_again_that_fails_loses_nothing(tmp_path, monkeypatch):
    learner, out = AdapterLearner("place"), tmp_path / "out"
    learner.save(out)
    before = (out / WEIGHTS).read_bytes()
    monkeypatch.setattr(Path, "chmod", lambda *args: no_room())  # what comes last
    with pytest.raises(OSError, match="no room"):
        learner.save(out)
    assert files_of(tmp_path) == {f"out/{name}" for name in ("adapter_config.json", WEIGHTS)}
    assert (out / WEIGHTS).read_bytes() == before


def no_room():
    raise OSError("no room")


def test_a_set_that_is_not_compared_has_its_last_step_and_its_tokenizer_if_it_has_a_new_word(rename):
    assert files_of(rename) == {"adapter_config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"}


def test_half_precision_the_base_by_name_and_readable_files(place, rename):
    for folder in (place, rename):
        assert {weight.dtype for weight in load_file(folder / WEIGHTS).values()} == {torch.float16}
        assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == BASE
        assert all(path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644) for path in folder.rglob("*"))


def test_what_is_saved_loads_on_the_bundled_model(place, rename):
    picture, bundled = page(2_000_000).picture, load_lmm("picturebook", device="cpu")
    for folder, n_words in ((place, 0), (place.with_name("out-step-1"), 0), (rename, 1)):
        lmm = load_lmm("picturebook", device="cpu", adapter=folder)
        assert lmm.fingerprint != bundled.fingerprint and len(lmm.tokenizer) == len(bundled.tokenizer) + n_words
        assert generate_captions(lmm, [picture])[0].caption


def test_another_recipe_does_not_go_on_from_it(tmp_path):
    stop_after(3, lambda: trained("null", tmp_path))
    with pytest.raises(ValueError, match="another recipe"):
        train("null", tmp_path / "out", tmp_path / "checkpoints", StageRecipe("adapter", 4, 2, 1e-3, 7), PAGES)


# The bundled ones


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda path: path.relative_to(bundled_folder("adapters")).as_posix())
def test_bundled_adapters_are_small_and_name_their_base(folder):
    assert (folder / WEIGHTS).stat().st_size < MAX_BYTES
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == BASE and config["r"] == RANK and config["peft_type"] == "LORA"
    assert {weight.dtype for weight in load_file(folder / WEIGHTS).values()} == {torch.float16}
    assert all(weight.isfinite().all() for weight in load_file(folder / WEIGHTS).values())


def test_bundled_adapters_are_those_of_the_recipe():
    earlier = {f"{kind}-step-{step}" for kind in COMPARED for step in KEPT_STEPS}
    names = {path.name for path in bundled_folder("adapters").iterdir() if path.is_dir()}
    assert names == {*FINE_TUNED, OF_DEPALM} | earlier
