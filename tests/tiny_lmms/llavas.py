"""Tiny models of the LLaVA family."""

from __future__ import annotations

from pathlib import Path

from transformers import (
    LlavaConfig,
    LlavaNextConfig,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    LlavaProcessor,
)

from .parts import PATCH, SIDE, SIZE, build, chat, clip_pictures, make_tokenizer, text_sizes, vision_sizes

LLAVA_CHAT = chat("<image>")
TILINGS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
CLIP_TOKENS = dict(patch_size=PATCH, num_additional_image_tokens=1, vision_feature_select_strategy="default")


def tiny_llava(folder: Path, chat_template: str | None = LLAVA_CHAT, seed: int = 0) -> Path:
    """A LLaVA of 3 layers of width 64, with 16 image tokens for every picture."""
    tokenizer = make_tokenizer("<image>")
    processor = LlavaProcessor(clip_pictures(), tokenizer, chat_template=chat_template, **CLIP_TOKENS)
    config = LlavaConfig(
        vision_config=vision_sizes("clip_vision_model"),
        text_config=text_sizes(tokenizer, "llama"),
        vision_feature_layer=-1,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
    return build(folder, config, processor, seed)


def tiny_llava_next(folder: Path) -> Path:
    """A LLaVA-NeXT: a picture is one whole and up to 4 tiles."""
    tokenizer = make_tokenizer("<image>")
    images = LlavaNextImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIZE, image_grid_pinpoints=TILINGS)
    processor = LlavaNextProcessor(images, tokenizer, chat_template=LLAVA_CHAT, **CLIP_TOKENS)
    config = LlavaNextConfig(
        vision_config=vision_sizes("clip_vision_model"),
        text_config=text_sizes(tokenizer, "mistral"),
        vision_feature_layer=-1,
        image_grid_pinpoints=TILINGS,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
    return build(folder, config, processor)


def tiny_llava_onevision(folder: Path) -> Path:
    """A LLaVA-OneVision: tiles, a SigLIP tower and Qwen2."""
    tokenizer = make_tokenizer("<image>", "<video>")
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=SIZE, image_grid_pinpoints=TILINGS),
        tokenizer,
        LlavaOnevisionVideoProcessor(size=SIZE),
        num_image_tokens=(SIDE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        chat_template=LLAVA_CHAT,
    )
    config = LlavaOnevisionConfig(
        vision_config=vision_sizes("siglip_vision_model", vision_use_head=False),
        text_config=text_sizes(tokenizer, "qwen2"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=TILINGS,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        tie_word_embeddings=False,
    )
    return build(folder, config, processor)
