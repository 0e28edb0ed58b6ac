"""States of prompts and completions, against a plain pass of the model over each picture alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from coxlmm_utils.extraction.prompt_states import prompt_states
from coxlmm_utils.models.caption_tokens import encode
from tests.conftest import in_memory

PROMPTS = ("grey dog", "a", "red cat on a")
COMPLETIONS = ("dog", "red grey cat", "a dog")
LAYERS = [0, 2, "norm"]


@pytest.fixture(params=["llava", "qwen"])
def lmm(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def images(pictures):
    return in_memory(pictures[:3], ())


def plain(lmm, picture, prompt, ids=()) -> dict:
    """All states of one picture, prompt and completion: (positions, width) for each layer."""
    batch = lmm.inputs([picture], prompt, continuations=[list(ids)] if ids else None)
    with torch.inference_mode():
        hidden = lmm.model(**batch, output_hidden_states=True, use_cache=False).hidden_states
    return {layer: hidden[-1 if layer == "norm" else layer][0] for layer in LAYERS}


def test_the_last_input_token_of_each_prompt(lmm, images):
    states = prompt_states(lmm, images, PROMPTS, LAYERS, batch_size=2)
    for row, prompt in enumerate(PROMPTS):
        expected = plain(lmm, images.picture(row), prompt)
        for layer in LAYERS:
            assert torch.allclose(states.vectors[layer][row], expected[layer][-1], atol=1e-4)
    assert states.position == "last_input" and states.spellings == [] and states.token_ids is None
    assert "3 samples" in repr(states) and len(states) == 3


def test_one_prompt_for_all(llava, images):
    single = prompt_states(llava, images, "grey dog", [2])
    several = prompt_states(llava, images, ["grey dog"] * 3, [2])
    assert torch.equal(single.Z, several.Z) and single.prompt == "grey dog"
    assert prompt_states(llava, images, PROMPTS, [2]).prompt is None


@pytest.mark.parametrize("average", [False, True])
def test_completions(lmm, images, average):
    states = prompt_states(lmm, images, PROMPTS, LAYERS, COMPLETIONS, average=average)
    for row, (prompt, completion) in enumerate(zip(PROMPTS, COMPLETIONS)):
        ids = encode(lmm, completion)
        expected = plain(lmm, images.picture(row), prompt, ids)
        for layer in LAYERS:
            tail = expected[layer][-len(ids) :]
            wanted = tail.mean(0) if average else tail[-1]
            assert torch.allclose(states.vectors[layer][row], wanted, atol=1e-4)
    assert states.captions == list(COMPLETIONS) and states.token_ids == [encode(lmm, text) for text in COMPLETIONS]
    assert states.position == ("completion_mean" if average else "last_input")


def test_pictures_that_cannot_be_read_are_left_out_and_named(llava, images):
    def open_one(id: str, open=images.open):
        if id == "p1":
            raise OSError("p1 is damaged")
        return open(id)

    damaged = replace(images, open=open_one)
    with pytest.warns(UserWarning, match=r"skipped: 1 \(p1\)"):
        states = prompt_states(llava, damaged, PROMPTS, [2], COMPLETIONS)
    assert states.images.ids == ("p0", "p2") and states.captions == ["dog", "a dog"]
    assert states.provenance["prompts"] == [PROMPTS[0], PROMPTS[2]] and states.provenance["counts"]["kept"] == 2
    whole = prompt_states(llava, images, PROMPTS, [2], COMPLETIONS)
    assert torch.allclose(states.Z, whole.Z[[0, 2]], atol=1e-4)


def test_what_does_not_fit_is_refused(llava, images):
    with pytest.raises(ValueError, match="2 prompts for 3 pictures"):
        prompt_states(llava, images, PROMPTS[:2], [2])
    with pytest.raises(ValueError, match="1 completions for 3 pictures"):
        prompt_states(llava, images, "a", [2], ["dog"])
    with pytest.raises(ValueError, match="no completion to average over"):
        prompt_states(llava, images, "a", [2], average=True)
    with pytest.raises(ValueError, match="the completion '' has no tokens"):
        prompt_states(llava, images, "a", [2], ["dog", "", "a"])
    with pytest.raises(ValueError, match="no layer 9"):
        prompt_states(llava, images, "a", [9])
    with pytest.raises(ValueError, match="no layer to read"):
        prompt_states(llava, images, "a", [])
