"""Finding the parts of a model, and telling its weights from others."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from coxlmm_utils.structure import find_layers_and_norm, find_unembedding, fingerprint
from tests.tiny_lmms import tiny_llama, tiny_llava, tiny_qwen


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return tiny_llava(tmp_path_factory.mktemp("llava"))


def load(folder, dtype=torch.float32):
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype)


@pytest.mark.parametrize("tiny", [tiny_llava, tiny_qwen])
def test_the_language_model_is_found_not_the_vision_model(tiny, tmp_path):
    model = load(tiny(tmp_path))
    layers, norm = find_layers_and_norm(model)
    assert layers is model.model.language_model.layers
    assert norm is model.model.language_model.norm
    assert find_unembedding(model) is model.lm_head


def test_a_bare_language_model_is_read_too(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(tiny_llama(tmp_path))
    assert find_layers_and_norm(model) == (model.model.layers, model.model.norm)


def test_a_missing_norm_is_said_with_what_was_found(llava):
    model = load(llava)
    model.model.language_model.norm = None
    with pytest.raises(ValueError, match="3 blocks .* LlamaModel holds embed_tokens, layers"):
        find_layers_and_norm(model)


def test_a_list_of_another_length_is_not_taken_for_the_blocks(llava):
    model = load(llava)
    model.config.text_config.num_hidden_layers = 5
    with pytest.raises(ValueError, match="No list of 5 blocks"):
        find_layers_and_norm(model)


def test_a_missing_unembedding_is_said(llava):
    model = load(llava)
    model.lm_head = None
    with pytest.raises(ValueError, match="no output embeddings"):
        find_unembedding(model)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_fingerprint_does_not_depend_on_the_precision(llava, tmp_path, stored):
    model = load(llava).requires_grad_(False)
    tiny = torch.tensor([3.3e-6, -2e-9])  # smaller than float16 holds exactly
    model.model.language_model.norm.weight[:2] = tiny
    model.to(stored).save_pretrained(tmp_path)
    marks = {fingerprint(load(tmp_path, dtype)) for dtype in (torch.float32, torch.float16, torch.bfloat16)}
    assert len(marks) == 1
    assert len(marks.pop()) == 16


def test_fingerprint_tells_weights_apart(llava):
    model = load(llava).requires_grad_(False)
    before = fingerprint(model)
    assert fingerprint(load(llava)) == before
    model.model.language_model.norm.weight[5] += 0.1
    assert fingerprint(model) != before
