"""Prompts and completions on one picture: the same states as each by itself, from fewer tokens run."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from coxlmm_utils.extraction import completion_states, prompt_states
from coxlmm_utils.models import LMM, SharedPrefix, add, encode, load_lmm, teacher_forced_batch
from coxlmm_utils.models.shared_prefix import _Batch
from tests.conftest import in_memory, in_plain_words
from tests.tiny_lmms import FAMILIES

LAYERS = [0, 1, 3, "norm"]
PROMPTS = ["What is", "What is", "grey dog runs", "What is", "a", "grey"]
CAPTIONS = ["dog", "", "a red dog", "cat runs", "a", "grey dog runs"]
SAME, OTHERS = ("LLaVA", "LLaVA-NeXT", "Qwen2.5-VL", "Idefics3", "Gemma 3", "DePALM"), ("PaliGemma", "Mllama", "BLIP-2")


def made(kind: str, tmp_path_factory) -> LMM:
    return in_plain_words(load_lmm(FAMILIES[kind](tmp_path_factory.mktemp("lmm")), device="cpu"))


@pytest.fixture(scope="module", params=SAME)
def lmm(request, tmp_path_factory) -> LMM:
    return made(request.param, tmp_path_factory)


@pytest.fixture
def batch(lmm, pictures) -> tuple:
    """Six rows of three pictures, the first of them three times; which states, and of which layers."""
    return batch_of(lmm, pictures)


def batch_of(lmm, pictures) -> tuple:
    some = [pictures[row] for row in (0, 1, 0, 1, 0, 2)]
    captions = [encode(lmm, text) for text in CAPTIONS]
    indices = torch.tensor([[min(state, len(ids)) for state in (0, 1, 3)] for ids in captions])  # (6, 3)
    return some, captions, indices, LAYERS, PROMPTS


def counted(lmm, monkeypatch) -> list[int]:
    """How many positions the language model's passes have, padding included."""
    counts, whole = [], type(lmm.model).forward

    def forward(self, input_ids, *rest, **more):
        counts.append(input_ids.numel())
        return whole(self, input_ids=input_ids, *rest, **more)

    monkeypatch.setattr(type(lmm.model), "forward", forward)
    return counts


def test_states_are_those_of_whole_inputs(lmm, batch):
    plain, prefix = teacher_forced_batch(lmm, *batch), SharedPrefix(lmm)
    first, second = prefix.states(*batch), prefix.states(*batch)
    assert prefix.holds is True
    for layer in LAYERS:
        assert torch.equal(first[layer], plain[layer])  # the first batch is read both ways, and taken as it was
        torch.testing.assert_close(second[layer], plain[layer], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", OTHERS)
def test_where_states_would_be_others_nothing_is_shared(kind, pictures, tmp_path_factory):
    lmm = made(kind, tmp_path_factory)
    batch, prefix = batch_of(lmm, pictures), SharedPrefix(lmm)
    plain = teacher_forced_batch(lmm, *batch)
    for _ in range(2):
        states = prefix.states(*batch)
        assert prefix.holds is False and all(torch.equal(states[layer], plain[layer]) for layer in LAYERS)


def test_each_picture_is_run_once(llava, pictures, monkeypatch):
    batch, prefix = batch_of(llava, pictures), SharedPrefix(llava)
    prefix.holds = True
    whole, image = llava.inputs(batch[0], PROMPTS, continuations=batch[1])["input_ids"], 16
    counts = counted(llava, monkeypatch)
    prefix.states(*batch)
    assert 3 * image < sum(counts) < whole.numel() - 2 * image


def test_pictures_that_come_once_are_read_as_ever(llava, pictures, monkeypatch):
    prefix = SharedPrefix(llava)
    indices = torch.zeros(3, 1, dtype=torch.long)
    states = prefix.states(pictures[:3], [[], [], []], indices, [2])
    assert prefix.holds is None
    assert torch.equal(states[2], teacher_forced_batch(llava, pictures[:3], [[], [], []], indices, [2])[2])


def test_under_hooks_nothing_is_shared(llava, pictures):
    batch = batch_of(llava, pictures)
    with add(llava, 1, torch.ones(llava.width), "generated", n_forced=4):
        plain, prefix = teacher_forced_batch(llava, *batch), SharedPrefix(llava)
        states = prefix.states(*batch)
    assert prefix.holds is False and all(torch.equal(states[layer], plain[layer]) for layer in LAYERS)


@pytest.mark.parametrize("holds", [None, True])
def test_without_memory_for_a_cache_nothing_is_shared(llava, pictures, monkeypatch, holds):
    batch, prefix = batch_of(llava, pictures), SharedPrefix(llava)
    prefix.holds = holds

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("coxlmm_utils.models.shared_prefix._Batch.shared", full)
    states, plain = prefix.states(*batch), teacher_forced_batch(llava, *batch)
    assert prefix.holds is False and all(torch.equal(states[layer], plain[layer]) for layer in LAYERS)


@pytest.mark.parametrize("kind, holds", [("LLaVA", True), ("Qwen2.5-VL", True), ("PaliGemma", False)])
def test_in_half_precision_rounding_is_told_from_other_states(kind, holds, pictures, tmp_path):
    lmm = in_plain_words(load_lmm(FAMILIES[kind](tmp_path), device="cpu", dtype="bfloat16"))
    some, captions, indices, _, prompts = batch_of(lmm, pictures)
    prefix = SharedPrefix(lmm)
    first = prefix.states(some, captions, indices, [2], prompts)
    assert list(first) == [2] and prefix.holds is holds


def test_two_completions_of_each_prompt_are_those_of_each_alone_and_cost_less(lmm, pictures, monkeypatch):
    images, prompts = in_memory(pictures[:4], ()), ["grey dog", "a", "red cat on a", "grey dog"]
    wanted, unwanted = ["dog", "red grey cat", "a dog", "cat"], ["a cat"] * 4
    with monkeypatch.context() as patch:
        counts = counted(lmm, patch)
        alone = [prompt_states(lmm, images, prompts, [1, "norm"], texts, batch_size=2) for texts in (wanted, unwanted)]
        n_alone = sum(counts)
        both = completion_states(lmm, images, prompts, [1, "norm"], (wanted, unwanted), batch_size=2)
        n_both = sum(counts) - n_alone
    assert n_both < n_alone  # although the first batch is read both ways
    for one, other in zip(alone, both):
        assert one.captions == other.captions and one.provenance == other.provenance
        for layer, Z in one.vectors.items():
            torch.testing.assert_close(other.vectors[layer], Z, rtol=1e-4, atol=1e-5)


def test_a_batch_that_cannot_be_shared_is_read_as_ever_and_the_next_one_is_shared(llava, pictures):
    batch, prefix = batch_of(llava, pictures), SharedPrefix(llava)
    prefix.states(*batch)
    apart = *batch[:4], ["grey dog <image>" if row == 1 else prompt for row, prompt in enumerate(PROMPTS)]
    with_text_first = replace(llava, processor=deepcopy(llava.processor))
    with_text_first.processor.chat_template = None
    prefix.lmm = with_text_first
    with pytest.raises(ValueError, match="hold no image tokens"):
        _Batch(with_text_first, *apart).shared()
    states = prefix.states(*apart)
    plain = teacher_forced_batch(with_text_first, *apart)
    assert prefix.holds is True and all(torch.equal(states[layer], plain[layer]) for layer in LAYERS)
