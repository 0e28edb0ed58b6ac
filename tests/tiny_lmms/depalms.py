"""Tiny models of DePALM: a few vectors before any language model's text."""

from __future__ import annotations

from pathlib import Path

from transformers import CLIPImageProcessor

from coxlmm_utils.models import DePALMConfig, DePALMProcessor

from .parts import N_LAYERS, SIZE, WIDTH, build, make_tokenizer, text_sizes, vision_sizes

OPT = dict(ffn_dim=128, word_embed_proj_dim=WIDTH, num_hidden_layers=N_LAYERS)
PROMPT = "Provide a one-sentence caption for the provided image."  # a real one has none
QUERIES = 4  # as many as squares of patches, so that only their kind tells them apart


def tiny_depalm(folder: Path, kind: str = "opt", prompt: str = PROMPT, seed: int = 0, **options) -> Path:
    """A DePALM with OPT or another kind of language model, whose tokenizer begins texts with a token of its own."""
    processor = depalm_processor(make_tokenizer(), prompt)
    return build(folder, depalm_config(processor, kind, **options), processor, seed)


def depalm_processor(tokenizer, prompt: str = PROMPT) -> DePALMProcessor:
    tokenizer.add_bos_token = True
    return DePALMProcessor(CLIPImageProcessor(size=SIZE, do_center_crop=False), tokenizer, QUERIES, prompt)


def depalm_config(processor: DePALMProcessor, kind: str, **options) -> DePALMConfig:
    sizes = text_sizes(processor.tokenizer, kind) | (OPT if kind == "opt" else {}) | options
    sizes["vocab_size"] -= 1  # the image token is not the language model's
    connector = dict(connector_hidden_size=32, connector_layers=2, connector_heads=4)
    return DePALMConfig(
        vision_sizes("clip_vision_model"), sizes, QUERIES, **connector, image_token_id=processor.image_token_id
    )
