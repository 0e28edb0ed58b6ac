"""DePALM: computed again with plain PyTorch, batched, cached, frozen, saved; and what it cannot be made of."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM, T5Config

from coxlmm_utils.concepts import ConceptBank, WordFilter
from coxlmm_utils.dictionaries import SemiNMF
from coxlmm_utils.explanation import explain, patch_map
from coxlmm_utils.extraction import extract
from coxlmm_utils.models import (
    DePALMConfig,
    DePALMForConditionalGeneration,
    attention_knockout,
    capture,
    encode,
    generate_captions,
    image_tokens,
    load_lmm,
    randomly_initialised,
    teacher_forced_states,
)
from coxlmm_utils.models.depalm import vision_tokens
from coxlmm_utils.models.lmm import LMM
from tests.conftest import in_memory, in_plain_words
from tests.tiny_lmms import N_LAYERS, WIDTH, tiny_depalm
from tests.tiny_lmms.depalms import QUERIES
from tests.tiny_lmms.parts import chat, vision_sizes

LAYERS = [*range(N_LAYERS + 1), "norm"]
PROMPTS = ["dog", "Describe this picture.", "", "a small red bird"]
# OPT counts positions itself, GPT-2 does not, and Llama's are relative; Llama's head is not its embedding.
KINDS = {"opt": {}, "llama": {"tie_word_embeddings": False}, "gpt2": {}}


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    return tiny_depalm(tmp_path_factory.mktemp("depalm"), request.param, **KINDS[request.param])


@pytest.fixture(scope="module")
def lmm(folder) -> LMM:
    return in_plain_words(load_lmm(folder, device="cpu"))


def plain_vectors(model, pixels):
    """What the connector makes of pictures, by matrix products alone."""
    weights, config = model.connector.state_dict(), model.config
    tower, heads = model.vision_tower, config.connector_heads

    def linear(name, stream):
        return stream @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name, stream):
        return F.layer_norm(stream, stream.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])

    states = tower(pixels, output_hidden_states=True).hidden_states[-1]  # (batch, 1 + patches, 32)
    assert states.shape[1] == 17
    after = tower.post_layernorm
    states = F.layer_norm(states, states.shape[-1:], after.weight, after.bias, tower.config.layer_norm_eps)
    stream = linear("down", states)
    stream = torch.cat([stream, weights["queries"].expand(len(stream), -1, -1)], dim=1)
    for layer in (f"body.layers.{number}" for number in range(config.connector_layers)):
        inside = norm(f"{layer}.norm1", stream)
        mixed = inside @ weights[f"{layer}.self_attn.in_proj_weight"].T + weights[f"{layer}.self_attn.in_proj_bias"]
        query, key, value = mixed.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # (batch, heads, tokens, 8)
        shares = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1)
        stream = stream + linear(f"{layer}.self_attn.out_proj", (shares @ value).transpose(1, 2).flatten(2))
        stream = stream + linear(f"{layer}.linear2", linear(f"{layer}.linear1", norm(f"{layer}.norm2", stream)).relu())
    return linear("out", linear("up", stream[:, -QUERIES:]))


def test_the_last_hidden_state_is_that_of_a_plain_computation(lmm, pictures):
    model, picture = lmm.model, pictures[0]
    batch = lmm.inputs([picture], "dog runs")
    with capture(lmm, ["norm"], positions=torch.arange(batch["input_ids"].shape[1])[None]) as captured:
        logits = model(**batch).logits
    with torch.no_grad():
        vectors = plain_vectors(model, batch["pixel_values"])
        text = [lmm.tokenizer.bos_token_id, *encode(lmm, "dog runs")]
        embedded = torch.cat([vectors, model.get_input_embeddings()(torch.tensor([text]))], dim=1)
        expected = model.language_model.base_model(inputs_embeds=embedded).last_hidden_state
    assert batch["input_ids"].tolist() == [[model.config.image_token_id] * QUERIES + text]
    torch.testing.assert_close(captured["norm"][0], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits, model.get_output_embeddings()(expected), rtol=1e-4, atol=1e-4)


def test_a_batch_of_several_lengths_gives_what_single_ones_give(lmm, pictures):
    together = generate_captions(lmm, pictures[:4], LAYERS, PROMPTS, 5)
    for picture, prompt, caption in zip(pictures, PROMPTS, together):
        [alone] = generate_captions(lmm, [picture], LAYERS, prompt, 5)
        assert alone.ids == caption.ids and len(alone.ids) == 5
        for layer in LAYERS:
            torch.testing.assert_close(caption.states[layer], alone.states[layer], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["bloom", "mpt", "gpt_neox", "gemma2", "cohere"])
def test_other_language_models_are_read_and_batched_alike(kind, pictures, tmp_path):
    lmm = in_plain_words(load_lmm(tiny_depalm(tmp_path, kind), device="cpu"))
    together = generate_captions(lmm, pictures[:4], [2, "norm"], PROMPTS, 3)
    for picture, prompt, caption in zip(pictures, PROMPTS, together):
        [alone] = generate_captions(lmm, [picture], [2, "norm"], prompt, 3)
        assert alone.ids == caption.ids
        torch.testing.assert_close(caption.states["norm"], alone.states["norm"], rtol=1e-3, atol=1e-3)


def test_image_tokens_come_between_padding_and_text(lmm, pictures):
    batch = lmm.inputs(pictures[:4], PROMPTS)
    is_image, mask = image_tokens(lmm, batch), batch["attention_mask"].bool()
    assert not mask.all() and (is_image.sum(1) == QUERIES).all()
    first = (~mask).sum(1)
    assert all(row[start : start + QUERIES].all() for row, start in zip(is_image, first))
    begins = batch["input_ids"][torch.arange(4), first + QUERIES]
    assert (begins == lmm.tokenizer.bos_token_id).all()


def test_written_with_a_cache_is_what_is_read_in_one_pass(lmm, pictures):
    written = generate_captions(lmm, pictures[:4], LAYERS, PROMPTS, 5)
    read = teacher_forced_states(lmm, pictures[:4], [caption.ids for caption in written], LAYERS, PROMPTS)
    for caption, states in zip(written, read):
        for layer in LAYERS:
            torch.testing.assert_close(caption.states[layer], states[layer], rtol=1e-3, atol=1e-3)


def test_a_chat_template_may_name_the_picture_anywhere(lmm, pictures):
    plain = lmm.inputs(pictures[:2], "USER: dog ASSISTANT:")
    lmm.processor.chat_template = chat("<image>", start="USER: ")
    try:
        chatted = lmm.inputs(pictures[:2], "dog")
    finally:
        lmm.processor.chat_template = None
    assert torch.equal(chatted["input_ids"], plain["input_ids"])


def test_states_of_a_word_are_extracted(lmm, pictures):
    [said] = generate_captions(lmm, pictures[:1], [2], max_new_tokens=4)
    token = said.caption.split()[0]
    images = in_memory(pictures[:6], (f"all {token}",))
    states = extract(lmm, images, token, 2, max_new_tokens=4, cache=False)
    assert states.vectors[2].shape == (len(states), WIDTH) and len(states) >= 1
    np.testing.assert_allclose(states.vectors[2][0], said.states[2][0], rtol=1e-3, atol=1e-3)


def test_nothing_of_the_picture_is_left_without_attention_to_its_tokens(lmm, pictures):
    ids = [[20, 21]] * 2
    if lmm.model.config.text_config.model_type == "gpt2":  # whose blocks get their mask by position, not by name
        with pytest.raises(ValueError, match="does not read pictures as tokens under one mask"):
            with attention_knockout(lmm, 0):
                teacher_forced_states(lmm, pictures[:2], ids, LAYERS)
        return
    seen = teacher_forced_states(lmm, pictures[:2], ids, LAYERS)
    with attention_knockout(lmm, 0):
        blind = teacher_forced_states(lmm, pictures[:2], ids, LAYERS)
    for layer in LAYERS[1:]:
        assert torch.equal(blind[0][layer], blind[1][layer])
        assert not torch.allclose(seen[0][layer], seen[1][layer], atol=1e-2)


def test_only_the_connector_is_trained(lmm, pictures):
    model = DePALMForConditionalGeneration(lmm.model.config).train()
    assert {name.split(".")[0] for name, each in model.named_parameters() if each.requires_grad} == {"connector"}
    assert not any(part.training for part in (*model.vision_tower.modules(), *model.language_model.modules()))
    assert all(part.training for part in model.connector.modules())
    batch = lmm.inputs(pictures[:2], continuations=[[20, 21]] * 2)
    labels = batch["input_ids"].masked_fill(image_tokens(lmm, batch), -100)
    model(**batch, labels=labels).loss.backward()
    assert all(each.grad is not None and each.grad.any() for each in model.connector.parameters())
    assert not any(each.grad is not None for each in model.language_model.parameters())


def test_it_is_saved_and_loaded_as_it_is(lmm, pictures, tmp_path):
    lmm.model.save_pretrained(tmp_path)
    lmm.processor.save_pretrained(tmp_path)
    again = load_lmm(tmp_path, device="cpu")
    assert again.fingerprint == lmm.fingerprint and again.prompt == lmm.prompt
    assert torch.equal(again.model(**again.inputs(pictures[:2])).logits, lmm.model(**lmm.inputs(pictures[:2])).logits)
    trainable = DePALMForConditionalGeneration.from_pretrained(tmp_path).train()
    assert {name.split(".")[0] for name, each in trainable.named_parameters() if each.requires_grad} == {"connector"}


def test_fresh_weights_are_spread_as_pytorchs_own(lmm):
    connector = randomly_initialised(lmm).model.connector
    assert 0.7 < connector.queries.std() < 1.3
    assert connector.down.weight.abs().max() <= 32**-0.5 < 1.1 * connector.down.weight.abs().max()
    first, second = (layer.linear1.weight for layer in connector.body.layers)
    assert not torch.equal(first, second)


def test_its_prompt_is_the_one_that_its_processor_tells(tmp_path):
    lmm = load_lmm(tiny_depalm(tmp_path, prompt=""), device="cpu")
    assert lmm.prompt == "" and lmm.shown_prompt() == f"<image> x {QUERIES} <s>"


def test_two_models_are_joined_with_their_weights(lmm):
    tower = CLIPVisionModel(CLIPVisionConfig(**vision_sizes("clip_vision_model")))
    writer = LlamaForCausalLM(LlamaConfig(vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=2))
    joined = DePALMForConditionalGeneration.from_parts(tower, writer.half(), num_query_tokens=3)
    assert joined.vision_tower is tower and joined.language_model is writer
    assert joined.dtype == torch.float16 and not any(each.is_meta for each in joined.parameters())
    assert joined.config.image_token_id == 50
    assert {name.split(".")[0] for name, each in joined.named_parameters() if each.requires_grad} == {"connector"}


VISION, TEXT = CLIPVisionConfig(), LlamaConfig()
BAD = {
    "num_query_tokens is 0: give 1 or more": dict(num_query_tokens=0),
    "32 values of the connector cannot be shared by 5 heads": dict(connector_hidden_size=32, connector_heads=5),
    "a DePALM needs vision_config": dict(vision_config=None),
    "a DePALM needs text_config": dict(text_config=None),
    "type siglip_vision_model: a DePALM sees with": dict(vision_config={"model_type": "siglip_vision_model"}),
    "type t5, which is no causal language model": dict(text_config=T5Config()),
    "type clip_vision_model, which is no causal": dict(text_config=VISION),
}


@pytest.mark.parametrize("message", BAD)
def test_what_it_cannot_be_made_of_is_told_in_one_sentence(message):
    with pytest.raises(ValueError, match=message):
        DePALMConfig(**dict(vision_config=VISION, text_config=TEXT) | BAD[message])


def test_a_text_alone_or_with_two_pictures_is_refused(lmm, pictures):
    processor = lmm.processor
    with pytest.raises(ValueError, match="0 pictures for 1 texts: give one for each"):
        processor(text="dog")
    with pytest.raises(ValueError, match="2 pictures for 1 texts"):
        processor(images=pictures[:2], text="dog")
    with pytest.raises(ValueError, match="more than one <image>"):
        processor(images=pictures[:1], text="<image> dog <image>")
    batch = lmm.inputs(pictures[:1])
    with pytest.raises(ValueError, match=rf"has {QUERIES} vectors, but the 1 rows of inputs have \[{QUERIES - 1}\]"):
        lmm.model(input_ids=batch["input_ids"][:, 1:], pixel_values=batch["pixel_values"])
    with pytest.raises(ValueError, match="image tokens, but no picture"):
        lmm.model(input_ids=batch["input_ids"])


def test_training_may_keep_what_the_frozen_tower_sees(lmm, pictures):
    model, batch = lmm.model, lmm.inputs(pictures[:3], PROMPTS[:3], continuations=[[20, 21], [22], [23]])
    features = vision_tokens(model.vision_tower, batch["pixel_values"])
    embedded = model.embed(batch["input_ids"], model.connector(features))
    kept = model(inputs_embeds=embedded, attention_mask=batch["attention_mask"]).logits
    assert torch.equal(kept, model(**batch).logits)


def test_a_concept_is_explained_but_vectors_have_no_place_in_the_picture(lmm, pictures):
    captions = generate_captions(lmm, pictures[:12], max_new_tokens=4)
    [(token, _)] = Counter(caption.caption.split()[0] for caption in captions).most_common(1)
    states = extract(lmm, in_memory(pictures[:12], (f"all {token}",)), token, 2, max_new_tokens=4, cache=False)
    bank = ConceptBank.learn(lmm, states, SemiNMF(2, random_state=0), word_filter=WordFilter(min_length=2))
    explained = explain(lmm, bank, states.images.picture(0))
    assert explained.ids == captions[int(states.images.ids[0][1:])].ids
    assert np.isfinite(explained.activations).all() and explained.activations.any()
    for way in ("projection", "gradient"):
        with pytest.raises(ValueError, match=f"no patch map for .*: the {QUERIES} image tokens of a depalm model"):
            patch_map(lmm, explained, 0, way)
