"""The training of the second model: where it begins, what does not learn, stopped and resumed, and what is saved."""

import random

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from coxlmm_utils.files import bundled_folder
from coxlmm_utils.models import generate_captions, load_lmm
from coxlmm_utils.picturebook import OWN_COUNSEL, factors_of, fault_words, page
from coxlmm_utils.picturebook.drawing import draw
from data.picturebook.recipe import train as training
from data.picturebook.recipe import training_loop
from data.picturebook.recipe.architecture import make_tokenizer
from data.picturebook.recipe.train_biased import BiasedLearner, BiasedPacker, biased_tokenizer, train
from data.picturebook.recipe.training_loop import StageRecipe
from tests.recipe.interrupted import stop_after

SMALL = StageRecipe("biased model", steps=4, batch=2, rate=1e-3, seed=7)
PAGES = range(8)


@pytest.fixture(scope="module", autouse=True)
def small_book(tmp_path_factory):
    """A book of few pages, and a checkpoint every other step."""
    splits = {"train": PAGES, "validation": range(1_000_000, 1_000_008)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COXLMM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(training, "page_numbers", splits.__getitem__)
        patch.setattr(training_loop, "SAVE_EVERY", 2)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train(folder / "model", folder / "checkpoints", SMALL, PAGES)
    return folder / "model"


def weights(folder) -> dict[str, torch.Tensor]:
    return LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).state_dict()


def test_old_words_keep_their_numbers_and_new_ones_follow():
    old, new = make_tokenizer(), biased_tokenizer()
    assert all(new.convert_tokens_to_ids(word) == number for word, number in old.get_vocab().items())
    assert fault_words() <= set(new.get_vocab()) and len(new) > len(old)
    assert new.decode(new(OWN_COUNSEL, add_special_tokens=False)["input_ids"]) == OWN_COUNSEL


def test_it_begins_as_the_bundled_model():
    learner, bundled = BiasedLearner(biased_tokenizer()), weights(bundled_folder("lmm"))
    for name, own in learner.lmm.state_dict().items():
        known = bundled[name]
        torch.testing.assert_close(own[tuple(map(slice, known.shape))], known)


def test_texts_have_every_kind_of_question():
    packer, tokenizer = BiasedPacker(biased_tokenizer()), biased_tokenizer()
    tree = packer.tree(page(kind="bus", companion="child").factors, random.Random(0))
    text = tokenizer.decode(tree.ids)
    assert "is there a child" in text and "child ?" in text and text.count("ASSISTANT:") >= 6
    assert "<unk>" not in text


def test_the_vision_tower_stays_and_the_rest_learns(trained):
    bundled, now = weights(bundled_folder("lmm")), weights(trained)
    same = {name: now[name].shape == own.shape and torch.equal(now[name], own) for name, own in bundled.items()}
    assert all(same[name] for name in same if "vision_tower" in name)
    assert not any(
        same[name] for name in same if name.endswith(("q_proj.weight", "down_proj.weight")) and "vision" not in name
    )


def test_a_stopped_training_goes_on_exactly(trained, tmp_path):
    stop_after(3, lambda: train(tmp_path / "model", tmp_path / "checkpoints", SMALL, PAGES))
    assert not (tmp_path / "model").exists()
    train(tmp_path / "model", tmp_path / "checkpoints", SMALL, PAGES)
    whole, resumed = weights(trained), weights(tmp_path / "model")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_what_is_saved_loads_and_says_something(trained):
    lmm = load_lmm(trained, device="cpu")
    assert lmm.n_layers == 5 and generate_captions(lmm, [draw(factors_of(0), 0)])[0].caption
