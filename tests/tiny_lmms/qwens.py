"""Tiny models of the Qwen-VL family: the number of image tokens depends on the picture's size."""

from __future__ import annotations

from pathlib import Path

from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from .parts import PATCH, WIDTH, build, chat, make_tokenizer, text_sizes

QWEN_CHAT = chat(
    "<|vision_start|><|image_pad|><|vision_end|>",
    start="<|im_start|>user ",
    end="<|im_end|> <|im_start|>assistant ",
)
PICTURE_TOKENS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
VISION = dict(depth=2, num_heads=2, patch_size=PATCH)


def tiny_qwen(folder: Path) -> Path:
    """A Qwen2.5-VL of 3 layers of width 64."""
    tokenizer = _tokenizer()
    processor = Qwen2_5_VLProcessor(_images(), tokenizer, Qwen2VLVideoProcessor(), chat_template=QWEN_CHAT)
    vision = VISION | dict(hidden_size=32, intermediate_size=64, out_hidden_size=WIDTH)
    vision |= dict(window_size=32, fullatt_block_indexes=[1])
    return build(folder, Qwen2_5_VLConfig(vision_config=vision, **_rest(tokenizer, "qwen2_5_vl_text")), processor)


def tiny_qwen2_vl(folder: Path) -> Path:
    """A Qwen2-VL."""
    tokenizer = _tokenizer()
    processor = Qwen2VLProcessor(_images(), tokenizer, Qwen2VLVideoProcessor(), chat_template=QWEN_CHAT)
    vision = VISION | dict(embed_dim=32, hidden_size=WIDTH, mlp_ratio=2)
    return build(folder, Qwen2VLConfig(vision_config=vision, **_rest(tokenizer, "qwen2_vl_text")), processor)


def tiny_qwen3_vl(folder: Path) -> Path:
    """A Qwen3-VL: features of the vision tower are added to the stream after some blocks, too."""
    tokenizer = _tokenizer()
    processor = Qwen3VLProcessor(_images(), tokenizer, Qwen3VLVideoProcessor(), chat_template=QWEN_CHAT)
    vision = VISION | dict(hidden_size=32, intermediate_size=64, out_hidden_size=WIDTH)
    vision |= dict(deepstack_visual_indexes=[0, 1], num_position_embeddings=64)
    return build(folder, Qwen3VLConfig(vision_config=vision, **_rest(tokenizer, "qwen3_vl_text")), processor)


def _tokenizer() -> PreTrainedTokenizerFast:
    """Qwen's special tokens; there is none for the beginning."""
    return make_tokenizer("<|im_start|>", *PICTURE_TOKENS, bos=None, eos="<|im_end|>", pad="<|endoftext|>")


def _images() -> Qwen2VLImageProcessor:
    """Pictures of 1 to 16 tokens."""
    return Qwen2VLImageProcessor(patch_size=PATCH, merge_size=2, min_pixels=16 * 16, max_pixels=64 * 64)


def _rest(tokenizer: PreTrainedTokenizerFast, kind: str) -> dict:
    """What the configurations have in common."""
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}
    keys = ["vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id"]
    ids = dict(zip(keys, tokenizer.convert_tokens_to_ids(PICTURE_TOKENS)))
    return dict(text_config=text_sizes(tokenizer, kind) | {"rope_parameters": rope}, tie_word_embeddings=False) | ids
