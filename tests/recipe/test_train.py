"""A stopped training goes on as if nothing had been, and its model loads like any other."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from coxlmm_utils.picturebook.captions import SENTENCE_PROMPT
from data.picturebook.recipe import train
from data.picturebook.recipe.architecture import make_tokenizer
from data.picturebook.recipe.learner import Learner
from data.picturebook.recipe.packing import Packer
from data.picturebook.recipe.train import Recipe
from tests.recipe.interrupted import stop_after

TINY = Recipe(eyes_steps=2, eyes_batch=4, words_steps=2, words_batch=4)


@pytest.fixture(scope="module", autouse=True)
def sixteen_pages(tmp_path_factory):
    """A book of sixteen pages, and a checkpoint every other step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COXLMM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(train, "page_numbers", lambda split: range(16))
        patch.setattr(train, "SAVE_EVERY", 2)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder with the `model` and the `checkpoints` of a whole run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    train.train(folder / "model", folder / "checkpoints", TINY)
    return folder


@pytest.fixture
def stopped(tmp_path):
    """A folder with the `checkpoints` of a run that was stopped in its third step."""
    stop_after(2, lambda: train.train(tmp_path / "model", tmp_path / "checkpoints", TINY), train)
    return tmp_path


def weights_in(folder):
    """All weights of the last checkpoint, with those that only the training needs."""
    return torch.load(folder / "checkpoints/checkpoint.pt", weights_only=True)["learner"]


def test_a_stopped_run_goes_on_bit_for_bit(stopped, undisturbed):
    assert not (stopped / "model").exists()
    train.train(stopped / "model", stopped / "checkpoints", TINY)
    torch.testing.assert_close(weights_in(stopped), weights_in(undisturbed), rtol=0, atol=0)
    saved = [folder / "model/model.safetensors" for folder in (stopped, undisturbed)]
    assert saved[0].read_bytes() == saved[1].read_bytes()


def test_another_recipe_does_not_go_on_with_a_stopped_run(undisturbed, tmp_path):
    other = Recipe(eyes_steps=2, eyes_batch=4, words_steps=2, words_batch=4, seed=1)
    with pytest.raises(ValueError, match="another recipe; delete it or give another --checkpoints"):
        train.train(tmp_path / "model", undisturbed / "checkpoints", other)
    assert not (tmp_path / "model").exists()


def test_what_is_saved_loads_like_any_other_model(undisturbed):
    folder = undisturbed / "model"
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    assert isinstance(model, LlavaForConditionalGeneration) and isinstance(processor, LlavaProcessor)
    content = [{"type": "image"}, {"type": "text", "text": SENTENCE_PROMPT}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor(images=[Image.new("RGB", (144, 144))], text=[text], return_tensors="pt")
    written = model.float().generate(**inputs, max_new_tokens=2, do_sample=False)
    assert written.shape[1] - inputs["input_ids"].shape[1] in (1, 2)
    trained = weights_in(undisturbed)["lmm.lm_head.weight"]
    torch.testing.assert_close(model.lm_head.weight.data, trained.half().float(), rtol=0, atol=0)


def test_weights_are_saved_in_half_precision_and_small(undisturbed):
    path = undisturbed / "model/model.safetensors"
    assert {weight.dtype for weight in load_file(path).values()} == {torch.float16}
    assert path.stat().st_size < 8e6


def test_each_stage_and_helper_has_its_losses():
    tokenizer = make_tokenizer()
    learner = Learner(tokenizer)
    lesson = train.Lesson(TINY, Packer(tokenizer))
    assert list(lesson.losses(learner, 1)) == ["factors"]
    assert list(lesson.losses(learner, 2)) == ["text", "factors", "look-ahead"]
    again = lesson.losses(learner, 2)
    assert {name: loss.item() for name, loss in lesson.losses(learner, 2).items()} == {
        name: loss.item() for name, loss in again.items()
    }
    lesson.recipe = Recipe(eyes_steps=2, words_batch=4, look_ahead_weight=0)
    without = lesson.losses(learner, 2)
    assert list(without) == ["text", "factors"] and without["text"].item() == again["text"].item()


def test_the_rate_rises_and_falls_in_each_stage():
    recipe = Recipe(eyes_steps=1000, words_steps=2000, words_horizon=3000, words_cooling=500)
    rates = np.array([recipe.rate(step) for step in range(recipe.steps)])
    for stage, top in ((rates[:1000], recipe.eyes_rate), (rates[1000:], recipe.words_rate)):
        peak = stage.argmax()
        assert 0.9 * top < stage[peak] <= top and 100 < peak < 200
        assert (np.diff(stage[:peak]) > 0).all() and (np.diff(stage[peak:]) < 0).all()
    assert 0.03 * recipe.eyes_rate < rates[999] < 0.031 * recipe.eyes_rate


def test_the_words_end_by_a_cool_down():
    cooled = Recipe(eyes_steps=0, words_steps=2000, words_horizon=3000, words_cooling=500)
    longer = Recipe(eyes_steps=0, words_steps=3000, words_horizon=3000, words_cooling=500)
    assert all(cooled.rate(step) == longer.rate(step) for step in range(1500))  # the same run until it is cut short
    assert cooled.rate(1750) == pytest.approx(longer.rate(1750) / 2)
    assert cooled.rate(1999) == pytest.approx(longer.rate(1999) / 500)


def test_the_vision_tower_learns_more_slowly_once_it_can_see():
    recipe = Recipe(eyes_steps=1000, words_steps=2000, eyes_share=0.25)
    assert recipe.rates(10) == (recipe.rate(10), recipe.rate(10))
    assert recipe.rates(1500) == (0.25 * recipe.rate(1500), recipe.rate(1500))


def test_the_command_line_sets_the_recipe_and_prints_the_table(monkeypatch, capsys):
    given = []
    monkeypatch.setattr(train, "train", lambda *args: given.extend(args))
    monkeypatch.setattr(train, "load_lmm", lambda folder: f"the LMM in {folder}")
    monkeypatch.setattr(train, "model_scores", lambda lmm: {"of": lmm})
    monkeypatch.setattr(train, "model_table", str)
    line = "train --out model --checkpoints states --words-steps 7 --look-ahead-weight 0 --words-rate 0.01"
    monkeypatch.setattr(sys, "argv", line.split())
    train.main()
    recipe = Recipe(words_steps=7, look_ahead_weight=0.0, words_rate=0.01)
    assert given == [Path("model"), Path("states"), recipe]
    assert "the LMM in model" in capsys.readouterr().out
