"""Finding the parts of a model, trying them out, and telling its weights from others."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, BlipConfig, BlipForConditionalGeneration

from coxlmm_utils.models.structure import Parts, check_lens, checksum, find_parts, fingerprint
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


# Weights


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


def test_the_smallest_edit_changes_the_checksum_and_taking_it_back_does_too(llava):
    model = load(llava).requires_grad_(False)
    before, weight = checksum(model), model.model.language_model.layers[0].mlp.down_proj.weight
    assert checksum(load(llava)) == before
    copy = weight.clone()
    weight[7, 3] = torch.nextafter(weight[7, 3], torch.tensor(9.0))
    edited = checksum(model)
    weight.copy_(copy[[1, 0, *range(2, len(copy))]])  # two neurons change places
    assert len({before, edited, checksum(model)}) == 3
    weight.copy_(copy)
    assert checksum(model) == before


def test_the_checksum_sees_every_sign_and_what_is_edited_in_pairs(llava):
    model = load(llava).requires_grad_(False)
    weight = model.model.language_model.layers[1].mlp.down_proj.weight
    seen, places = {checksum(model)}, [(0, 0), (0, 1), (1, 1), (7, 0), (slice(None), 3), (slice(0, 2), 5), 4]
    for place in places:
        weight[place] *= -1
        seen.add(checksum(model))
        weight[place] *= -1
    assert len(seen) == 1 + len(places)
    weight[:, [3, 5]] = weight[:, [5, 3]]  # columns change places within each row
    assert checksum(model) not in seen


def test_the_checksum_sees_buffers_that_running_the_model_leaves_alone(llava):
    model = load(llava)
    rotary = model.model.language_model.rotary_emb
    before = checksum(model)
    rotary.inv_freq *= 0.25
    assert checksum(model) != before
    rotary.rope_type = "dynamic"  # then running it changes them
    changing = checksum(model)
    rotary.inv_freq *= 4
    assert checksum(model) == changing


def test_fingerprint_tells_which_adapters_are_active_and_how_strongly(llava):
    model, marks = load(llava).requires_grad_(False), set()
    layer = model.model.language_model.layers[1].mlp.down_proj
    for active, off, scale in ((["a"], False, 1.0), (["b"], False, 1.0), (["a"], True, 1.0), (["a"], False, 0.5)):
        layer.active_adapters, layer.disable_adapters, layer.scaling = active, off, {"a": scale}  # as peft's layers
        marks.add(fingerprint(model))
    assert len(marks) == 4


def test_offloaded_weights_are_read_from_where_they_lie(llava):
    model = load(llava).requires_grad_(False)
    layers = model.model.language_model.layers
    here, weights = fingerprint(model), dict(layers[1].mlp.named_parameters())  # by name, as accelerate keeps them
    layers[1].mlp.to("meta")._hf_hook = SimpleNamespace(weights_map=weights)
    assert fingerprint(model) == here
    weights["down_proj.weight"] = weights["down_proj.weight"] + 0.5
    assert fingerprint(model) != here


def test_a_model_whose_weights_are_nowhere_is_not_told_from_others(llava):
    with pytest.raises(ValueError, match=r"weight is not in memory, .*: load it without offloading"):
        fingerprint(load(llava).to("meta"))
