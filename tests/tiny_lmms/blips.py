"""Tiny models of the BLIP family: a Q-Former asks the picture a few questions."""

from __future__ import annotations

from pathlib import Path

from transformers import (
    Blip2Config,
    Blip2Processor,
    BlipImageProcessor,
    InstructBlipConfig,
    InstructBlipProcessor,
    PreTrainedTokenizerFast,
)

from .parts import N_LAYERS, SIZE, WIDTH, build, make_tokenizer, text_sizes, vision_sizes

QUERIES = 4


def tiny_blip2(folder: Path) -> Path:
    """A BLIP-2 with OPT: no chat template, and its processor adds the image tokens itself."""
    tokenizer = make_tokenizer("<image>")
    opt = dict(ffn_dim=128, word_embed_proj_dim=WIDTH, num_hidden_layers=N_LAYERS)
    config = Blip2Config(**_configs("blip_2", tokenizer, text_sizes(tokenizer, "opt") | opt))
    return build(folder, config, Blip2Processor(BlipImageProcessor(size=SIZE), tokenizer, num_query_tokens=QUERIES))


def tiny_instructblip(folder: Path) -> Path:
    """An InstructBLIP with Llama: its Q-Former reads the prompt, too."""
    tokenizer = make_tokenizer("<image>")
    config = InstructBlipConfig(**_configs("instructblip", tokenizer, text_sizes(tokenizer, "llama")))
    images = BlipImageProcessor(size=SIZE)
    processor = InstructBlipProcessor(images, tokenizer, make_tokenizer(), num_query_tokens=QUERIES)
    return build(folder, config, processor)


def _configs(kind: str, tokenizer: PreTrainedTokenizerFast, text: dict) -> dict:
    """The three configurations and the number of image tokens."""
    former = vision_sizes(f"{kind}_qformer", encoder_hidden_size=32, vocab_size=len(tokenizer), initializer_range=0.1)
    return dict(
        vision_config=vision_sizes(f"{kind}_vision_model", initializer_range=0.02),
        qformer_config=former,
        text_config=text,
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
