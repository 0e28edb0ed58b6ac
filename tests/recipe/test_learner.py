"""The losses of the learning LMM."""

import math
import random

import pytest
import torch
from torch.nn import functional as F

from coxlmm_utils.picturebook.factors import factors_of
from data.picturebook.recipe.architecture import make_tokenizer
from data.picturebook.recipe.learner import FACTOR_VALUES, Learner, factor_indices
from data.picturebook.recipe.packing import Packer

PAGES = [factors_of(number) for number in (0, 5)]


@pytest.fixture(scope="module")
def learner():
    torch.manual_seed(0)
    return Learner(make_tokenizer()).eval()


@pytest.fixture(scope="module")
def packed():
    return Packer(make_tokenizer()).pack(PAGES, random.Random(0))


@pytest.fixture(scope="module")
def states(learner, packed):
    with torch.no_grad():
        return learner.read(learner.see(torch.randn(2, 3, 144, 144)), packed)


def test_factor_indices_lead_back_to_the_values():
    for page, row in zip(PAGES, factor_indices(PAGES).tolist()):
        assert [values[i] for values, i in zip(FACTOR_VALUES.values(), row)] == [
            getattr(page, name) for name in FACTOR_VALUES
        ]


def test_factor_loss_is_the_mean_over_the_factors(learner):
    patches, values = torch.randn(2, 64, 128), factor_indices(PAGES)
    pooled = learner.norm(patches.mean(1))
    logits = [learner.heads[name](pooled) for name in FACTOR_VALUES]
    by_hand = sum(F.cross_entropy(single, values[:, i]) for i, single in enumerate(logits)) / 7
    torch.testing.assert_close(learner.factor_loss(patches, values), by_hand)


def test_read_gives_the_state_after_the_last_block_but_one_and_the_normed_one(learner, packed):
    decoder, passed = learner.lmm.model.language_model, []
    parts = decoder.layers[-2], decoder.norm
    hooks = [part.register_forward_hook(lambda *call: passed.append(call[2])) for part in parts]
    with torch.no_grad():
        last_but_one, normed = learner.read(learner.see(torch.randn(2, 3, 144, 144)), packed)
    for hook in hooks:
        hook.remove()
    assert last_but_one.shape == normed.shape == (*packed.ids.shape, 160)
    assert torch.equal(last_but_one, passed[0]) and torch.equal(normed, passed[1])


def test_text_loss_counts_the_answer_tokens_alone(learner, packed, states):
    normed = states[1]
    log_p = learner.lmm.lm_head(normed).log_softmax(-1)
    by_hand = -torch.stack([log_p[tuple(target)] for target in packed.targets.tolist()]).mean()
    torch.testing.assert_close(learner.text_loss(normed, packed), by_hand)


def test_look_ahead_loss_asks_for_an_even_spread(learner, packed, states):
    spread = torch.zeros(len(packed.future_positions), learner.lmm.config.text_config.vocab_size)
    for place, word, n_words in packed.futures.tolist():
        spread[place, word] += 1 / n_words
    torch.testing.assert_close(spread.sum(1), torch.ones(len(spread)))
    chosen = states[0][packed.future_positions[:, 0], packed.future_positions[:, 1]]
    logits = learner.lmm.lm_head(learner.lmm.model.language_model.norm(chosen))
    torch.testing.assert_close(learner.look_ahead_loss(states[0], packed), F.cross_entropy(logits, spread))


def test_a_model_without_an_opinion_loses_the_logarithm_of_its_vocabulary(packed, states):
    blank = Learner(make_tokenizer())
    torch.nn.init.zeros_(blank.lmm.lm_head.weight)
    expected = pytest.approx(math.log(blank.lmm.config.text_config.vocab_size), rel=1e-5)
    with torch.no_grad():
        assert blank.text_loss(states[1], packed).item() == expected
        assert blank.look_ahead_loss(states[0], packed).item() == expected
