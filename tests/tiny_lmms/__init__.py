"""Tiny random models with processors made from parts, saved as any model is; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from .blips import tiny_blip2, tiny_instructblip
from .depalms import tiny_depalm
from .llavas import tiny_llava, tiny_llava_next, tiny_llava_onevision
from .others import (
    tiny_aya_vision,
    tiny_gemma3,
    tiny_idefics2,
    tiny_idefics3,
    tiny_internvl,
    tiny_mistral3,
    tiny_mllama,
    tiny_paligemma,
)
from .parts import N_LAYERS, WIDTH, WORDS, make_tokenizer, save, text_sizes
from .qwens import tiny_qwen, tiny_qwen2_vl, tiny_qwen3_vl

FAMILIES = {
    "LLaVA": tiny_llava,
    "LLaVA-NeXT": tiny_llava_next,
    "LLaVA-OneVision": tiny_llava_onevision,
    "Qwen2-VL": tiny_qwen2_vl,
    "Qwen2.5-VL": tiny_qwen,
    "Qwen3-VL": tiny_qwen3_vl,
    "Idefics2": tiny_idefics2,
    "Idefics3": tiny_idefics3,
    "PaliGemma": tiny_paligemma,
    "Gemma 3": tiny_gemma3,
    "InternVL": tiny_internvl,
    "Mllama": tiny_mllama,
    "Aya Vision": tiny_aya_vision,
    "Mistral 3": tiny_mistral3,
    "BLIP-2": tiny_blip2,
    "InstructBLIP": tiny_instructblip,
    "DePALM": tiny_depalm,
}

__all__ = ["FAMILIES", "N_LAYERS", "WIDTH", "WORDS", "tiny_depalm", "tiny_llama", "tiny_llava", "tiny_qwen"]


def tiny_llama(folder: Path) -> Path:
    """A language model without pictures."""
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    return save(folder, LlamaForCausalLM(LlamaConfig(**text_sizes(tokenizer, "llama"))), tokenizer)
