"""The training of the picture book's DePALM: what learns and what does not, stopped and resumed, what is saved."""

import json
import random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from coxlmm_utils.models import load_lmm
from coxlmm_utils.models.depalm import DePALMForConditionalGeneration
from coxlmm_utils.models.depalm.picturebook import join
from coxlmm_utils.picturebook import factors_of, references, sentence
from coxlmm_utils.picturebook.drawing import draw
from data.picturebook.recipe import train_depalm, training_loop
from data.picturebook.recipe.connector import ConnectorLearner
from data.picturebook.recipe.tower import TowerLearner, rows_by_word
from data.picturebook.recipe.train_depalm import SIZES, Round, save_bundle, train
from data.picturebook.recipe.training_loop import StageRecipe, augmented
from tests.recipe.interrupted import stop_after
from tests.tiny_lmms.parts import make_tokenizer, save, text_sizes

SPLITS = {"train": range(16), "validation": range(1_000_000, 1_000_016)}
ROUNDS = (
    Round(StageRecipe("tower", 2, 4, 1e-3, 5), StageRecipe("connector", 2, 2, 1e-3, 6), on_like=False),
    Round(StageRecipe("tower again", 2, 3, 1e-3, 7), StageRecipe("connector again", 2, 2, 1e-3, 8), on_like=True),
)


@pytest.fixture(scope="module", autouse=True)
def small_book(tmp_path_factory):
    """A book of sixteen pages, and a checkpoint every other step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COXLMM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(train_depalm, "page_numbers", SPLITS.__getitem__)
        patch.setattr(training_loop, "SAVE_EVERY", 2)
        yield


def language_model():
    """A tiny one, and its tokenizer; the same at every call."""
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**text_sizes(tokenizer, "llama"))).eval(), tokenizer


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The language model that was spoken through, as it is after an undisturbed training, tower and connector."""
    model, tokenizer = language_model()
    return model, *train(model, tokenizer, tmp_path_factory.mktemp("whole"), ROUNDS)


@pytest.fixture(scope="module")
def tower(trained):
    return trained[1]


@pytest.mark.parametrize("n_steps", [1, 3, 4, 7])  # of the first tower, the first connector, the second of either
def test_a_stopped_training_goes_on_bit_for_bit(trained, tmp_path, n_steps):
    stop_after(n_steps, lambda: train(*language_model(), tmp_path, ROUNDS))
    torch.rand(3)  # whatever else was drawn in between
    for again, whole in zip(train(*language_model(), tmp_path, ROUNDS), trained[1:]):
        weights = again.state_dict()
        assert all(torch.equal(weights[name], weight) for name, weight in whole.state_dict().items())


def test_the_language_model_stays_as_it_is(trained):
    before, _ = language_model()
    after = trained[0].state_dict()
    assert all(torch.equal(after[name], weight.bfloat16()) for name, weight in before.state_dict().items())


def test_the_second_round_goes_on_from_the_first(trained, tmp_path):
    first, _ = train(*language_model(), tmp_path, ROUNDS[:1])
    moved = [(a - b).abs().max() for a, b in zip(first.parameters(), trained[1].parameters())]
    assert 0 < max(moved) < 0.01, "two steps at a rate of .001 from where the first round ended"


def test_the_tower_learns_by_contrast_alone():
    torch.manual_seed(0)
    learner, pages = TowerLearner(), [factors_of(number) for number in range(3)]
    pictures = np.stack([np.asarray(draw(page, number)) for number, page in enumerate(pages)])
    loss = learner.loss(pictures, pages, random.Random(3))
    rng = random.Random(3)
    captions = [sentence(page, rng) for page in pages]
    batch = learner.tokenizer(captions, padding=True, padding_side="right", return_tensors="pt")
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    logits = learner.clip(**inputs, pixel_values=augmented(pictures, rng)).logits_per_image
    own = torch.arange(3)
    torch.testing.assert_close(loss, (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2)


def test_like_pages_are_those_whose_captions_share_a_word():
    captions = ["a red dog", "a red cat", "a blue dog", "a dog runs", "a bus", "a car"]
    assert rows_by_word(captions, 2) == [[0, 2, 3], [0, 1]]  # of "dog" and "red"; "a" is in most, the others too rare
    numbers = range(48)
    groups = rows_by_word([references(number)[0] for number in numbers], 3)
    assert groups and all(3 <= len(rows) <= 24 for rows in groups)


@pytest.fixture
def learner(tower) -> ConnectorLearner:
    torch.manual_seed(1)
    model, tokenizer = language_model()
    return ConnectorLearner(DePALMForConditionalGeneration.from_parts(tower, model, **SIZES), tokenizer)


def test_the_loss_is_of_captions_alone_and_padding_counts_for_nothing(learner):
    model, _ = learner.frozen
    model.language_model.float()  # so that batched and single differ by rounding alone
    features, rows = torch.randn(2, 65, 128), [[5, 6, 7, 2], [8, 2]]
    both = learner.loss(features, rows)
    losses = []
    for row, feature in zip(rows, features):
        vectors = model.connector(feature[None])
        embedded = torch.cat([vectors, model.get_input_embeddings()(torch.tensor([row]))], dim=1)
        logits = model.language_model(inputs_embeds=embedded).logits[0, 9:-1]  # the last vector predicts the first word
        losses.append(F.cross_entropy(logits, torch.tensor(row), reduction="sum"))
    torch.testing.assert_close(both, sum(losses) / 6)


def test_vectors_begin_as_long_as_words(learner):
    features = torch.randn(8, 65, 128)
    learner.start_as_words(features)
    words = learner.frozen[0].get_input_embeddings().weight.float().std()
    torch.testing.assert_close(learner.connector(features).std(), words, rtol=0.02, atol=0)


def test_batches_are_of_like_lengths_and_follow_from_the_step_alone(learner):
    pages = [factors_of(number) for number in range(64)]
    batches = [learner.batch(pages, 4, "seed", step) for step in range(8)]
    assert batches == [learner.batch(pages, 4, "seed", step) for step in range(8)]
    chosen = [page for numbers, _ in batches for page in numbers]
    assert len(set(chosen)) == 32, "eight batches share no page"
    lengths = [sorted(map(len, rows)) for _, rows in batches]
    ordered = sorted(lengths)
    assert all(left[-1] <= right[0] for left, right in zip(ordered, ordered[1:])) and lengths != ordered
    assert learner.batch(pages, 4, "seed", 8) != batches[0]


def test_what_is_saved_is_joined_with_its_language_model(trained, tower, tmp_path):
    connector, (_, tokenizer) = trained[2], language_model()
    save_bundle(tmp_path / "bundle", tower, connector)
    assert json.loads((tmp_path / "bundle" / "config.json").read_text())["num_query_tokens"] == 10
    save(tmp_path / "language_model", language_model()[0], tokenizer)
    join(tmp_path / "bundle", tmp_path / "language_model", tmp_path / "joined")
    lmm = load_lmm(tmp_path / "joined", device="cpu")
    for name, part in (("connector", connector), ("vision_tower", tower)):
        saved, joined = load_file(tmp_path / "bundle" / f"{name}.safetensors"), getattr(lmm.model, name).state_dict()
        for key, weight in part.state_dict().items():
            assert torch.equal(saved[key], weight.half()) and torch.equal(joined[key], weight.half().float())
