"""Finding the parts of a model, and trying them out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, BlipConfig, BlipForConditionalGeneration

from coxlmm_utils.models.structure import Parts, check_lens, find_parts
from tests.tiny_lmms import tiny_llama, tiny_llava, tiny_qwen

TEXT = {"input_ids": torch.tensor([[1, 9, 20, 21]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return tiny_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def tried(llava):
    """A model and its parts."""
    model = load(llava).requires_grad_(False)
    return model, find_parts(model)


def load(folder, dtype=torch.float32):
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype)


# Finding


@pytest.mark.parametrize("tiny", [tiny_llava, tiny_qwen])
def test_the_language_model_is_found_not_the_vision_model(tiny, tmp_path):
    model = load(tiny(tmp_path))
    decoder = model.model.language_model
    assert find_parts(model) == Parts(decoder.layers, decoder.norm, model.lm_head)


def test_a_bare_language_model_is_read_too(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(tiny_llama(tmp_path))
    parts = find_parts(model)
    assert parts == Parts(model.model.layers, model.model.norm, model.lm_head)
    assert check_lens(model, TEXT, parts) == "exact"


def test_a_name_goes_before_what_would_be_found(llava):
    model = load(llava)
    vision = model.model.vision_tower
    parts = find_parts(model, layers="model.vision_tower.encoder.layers", final_norm="model.vision_tower.pre_layrnorm")
    assert parts == Parts(vision.encoder.layers, vision.pre_layrnorm, model.lm_head)


def test_a_missing_norm_is_said_with_what_was_found(llava):
    model = load(llava)
    model.model.language_model.norm = None
    with pytest.raises(ValueError, match="No final norm .* LlamaModel holds embed_tokens, layers"):
        find_parts(model)


def test_a_list_of_another_length_is_not_taken_for_the_blocks(llava):
    model = load(llava)
    model.config.text_config.num_hidden_layers = 5
    with pytest.raises(ValueError, match="No list of 5 blocks"):
        find_parts(model)


def test_a_missing_unembedding_is_said(llava):
    model = load(llava)
    model.lm_head = None
    with pytest.raises(ValueError, match="No linear layer .* output embeddings: none"):
        find_parts(model)


def test_a_model_of_another_build_is_refused_with_its_lists():
    sizes = dict(hidden_size=16, intermediate_size=16, num_attention_heads=2)
    text = sizes | dict(num_hidden_layers=3, vocab_size=20, encoder_hidden_size=16)
    vision = sizes | dict(num_hidden_layers=2, image_size=16, patch_size=8)
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision))
    with pytest.raises(ValueError, match=r"BlipForConditionalGeneration.*text_decoder.bert.encoder.layer \(3\)"):
        find_parts(model)


# Trying out


def test_the_parts_that_are_found_give_the_logits(tried):
    assert check_lens(*with_text(tried)) == "exact"


def test_logits_that_are_scaled_or_capped_keep_their_order(tried):
    model, inputs, parts = with_text(tried)
    halved = nn.Linear(64, 1, bias=False)
    halved.weight = nn.Parameter(parts.unembedding.weight / 2)
    assert check_lens(model, inputs, replace(parts, unembedding=halved)) == "scaled"
    capped = nn.Sequential(parts.unembedding, nn.Tanh())
    assert check_lens(model, inputs, replace(parts, unembedding=capped)) == "scaled"


def test_another_order_is_refused(tried):
    model, inputs, parts = with_text(tried)
    nearly = nn.LayerNorm(64)  # the weights of the norm are missing
    for wrong in (replace(parts, final_norm=nearly), replace(parts, layers=parts.layers[:2])):
        with pytest.raises(ValueError, match="does not give the logits, nor their order"):
            check_lens(model, inputs, wrong)


def test_logits_that_are_not_finite_are_said(tried):
    model, inputs, parts = with_text(tried)
    model.lm_head.weight[3] = float("inf")
    with pytest.raises(ValueError, match="not finite in float32: load it with another dtype"):
        check_lens(model, inputs, parts)


def test_a_model_that_generates_elsewhere_is_refused(tried, monkeypatch):
    model, inputs, parts = with_text(tried)
    generate = model.generate

    def without_prompt(**options):
        generated = generate(**options)
        generated.sequences = generated.sequences[:, -1:]
        return generated

    monkeypatch.setattr(model, "generate", without_prompt)
    with pytest.raises(ValueError, match="does not generate a token after its prompt"):
        check_lens(model, inputs, parts)


def test_trying_out_is_one_run_and_leaves_nothing_behind(tried):
    model, inputs, parts = with_text(tried)
    runs = []
    handle = parts.layers[0].register_forward_hook(lambda *args: runs.append(1))
    check_lens(model, inputs, parts)
    handle.remove()
    assert len(runs) == 1 and not parts.layers[-1]._forward_hooks


def with_text(tried) -> tuple:
    model, parts = tried
    return model, TEXT, parts
