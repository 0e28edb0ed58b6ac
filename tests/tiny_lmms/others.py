"""Tiny models of other families: Idefics, Gemma, InternVL, Llama 3.2 Vision, Aya, Mistral and BLIP."""

from __future__ import annotations

from pathlib import Path

from transformers import (
    AyaVisionConfig,
    AyaVisionProcessor,
    Gemma3Config,
    Gemma3ImageProcessor,
    Gemma3Processor,
    GotOcr2ImageProcessor,
    Idefics2Config,
    Idefics2ImageProcessor,
    Idefics2Processor,
    Idefics3Config,
    Idefics3ImageProcessor,
    Idefics3Processor,
    InternVLConfig,
    InternVLProcessor,
    InternVLVideoProcessor,
    Mistral3Config,
    MllamaConfig,
    MllamaImageProcessor,
    MllamaProcessor,
    PaliGemmaConfig,
    PaliGemmaProcessor,
    PixtralImageProcessor,
    PixtralProcessor,
    SiglipImageProcessor,
)

from .parts import PATCH, SIDE, SIZE, WIDTH, build, chat, make_tokenizer, text_sizes, vision_sizes

SIGLIP = "siglip_vision_model"


def tiny_idefics2(folder: Path) -> Path:
    """An Idefics2: 4 image tokens out of a resampler."""
    tokenizer = make_tokenizer("<fake_token_around_image>", "<image>", "<end_of_utterance>")
    images = Idefics2ImageProcessor(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE}, do_image_splitting=False)
    resampler = dict(
        resampler_n_latents=4,
        resampler_depth=1,
        resampler_n_heads=2,
        resampler_head_dim=16,
        num_key_value_heads=1,
    )
    config = Idefics2Config(
        vision_config=vision_sizes("idefics2_vision", image_size=2 * SIDE),
        perceiver_config=resampler | dict(hidden_size=WIDTH),
        text_config=text_sizes(tokenizer, "mistral"),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
    processor = Idefics2Processor(images, tokenizer, image_seq_len=4, chat_template=chat("<image>"))
    return build(folder, config, processor)


def tiny_idefics3(folder: Path) -> Path:
    """An Idefics3, as SmolVLM: a picture is cut into tiles, each named by its row and column."""
    tiles = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
    marks = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
    tokenizer = make_tokenizer(*marks, *tiles)
    images = Idefics3ImageProcessor(size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE})
    config = Idefics3Config(
        vision_config=vision_sizes("idefics3_vision"),
        text_config=text_sizes(tokenizer, "llama"),
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=chat("<image>"))
    return build(folder, config, processor)


def tiny_paligemma(folder: Path) -> Path:
    """A PaliGemma: no chat template, and a prompt that is read in both directions."""
    tokenizer = make_tokenizer("<image>", image_token="<image>")
    images = SiglipImageProcessor(size=SIZE, image_seq_length=16)
    config = PaliGemmaConfig(
        vision_config=vision_sizes(SIGLIP, projection_dim=WIDTH, vision_use_head=False),
        text_config=text_sizes(tokenizer, "gemma"),
        projection_dim=WIDTH,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return build(folder, config, PaliGemmaProcessor(images, tokenizer))


def tiny_gemma3(folder: Path) -> Path:
    """A Gemma 3: image tokens see each other in both directions, and some layers see a window only."""
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = make_tokenizer(**named)
    ids = {key: tokenizer.convert_tokens_to_ids(token) for key, token in named.items()}
    config = Gemma3Config(
        vision_config=vision_sizes(SIGLIP, vision_use_head=False),
        text_config=text_sizes(tokenizer, "gemma3_text")
        | dict(sliding_window=8, layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
        mm_tokens_per_image=4,
        boi_token_index=ids["boi_token"],
        eoi_token_index=ids["eoi_token"],
        image_token_index=ids["image_token"],
    )
    images = Gemma3ImageProcessor(size=SIZE)
    template = chat("<start_of_image>")
    return build(folder, config, Gemma3Processor(images, tokenizer, chat_template=template, image_seq_length=4))


def tiny_internvl(folder: Path) -> Path:
    """An InternVL: one to four tiles of 4 tokens, and the whole."""
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = make_tokenizer(**named)
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(size=SIZE, crop_to_patches=True, min_patches=1, max_patches=4),
        tokenizer,
        InternVLVideoProcessor(size=SIZE),
        image_seq_length=4,
        chat_template=chat("<IMG_CONTEXT>"),
    )
    config = InternVLConfig(
        vision_config=vision_sizes("internvl_vision", image_size=[SIDE, SIDE], patch_size=[PATCH, PATCH]),
        text_config=text_sizes(tokenizer, "qwen2"),
        downsample_ratio=0.5,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        tie_word_embeddings=False,
    )
    return build(folder, config, processor)


def tiny_mllama(folder: Path) -> Path:
    """A Llama 3.2 Vision: pictures come in by cross-attention in the second block, not as tokens."""
    tokenizer = make_tokenizer("<|image|>", "<|python_tag|>")
    images = MllamaImageProcessor(size=SIZE, max_image_tiles=4)
    vision = dict(
        image_size=SIDE,
        patch_size=PATCH,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_global_layers=1,
        attention_heads=2,
        intermediate_layers_indices=[0],
        vision_output_dim=64,
        max_num_tiles=4,
        initializer_range=0.1,
    )
    text = dict(cross_attention_layers=[1], initializer_range=0.05)
    config = MllamaConfig(
        vision_config=vision,
        text_config=text_sizes(tokenizer, "mllama_text_model") | text,
        image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
    )
    return build(folder, config, MllamaProcessor(images, tokenizer, chat_template=chat("<|image|>")))


def tiny_aya_vision(folder: Path) -> Path:
    """An Aya Vision: tiles with their numbers, and Cohere's language model."""
    marks = ["<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE_GLOBAL"]
    tokenizer = make_tokenizer("<image>", *marks, *(f"TILE_{number}" for number in range(1, 5)))
    images = GotOcr2ImageProcessor(size=SIZE, crop_to_patches=True, min_patches=1, max_patches=4)
    sizes = dict(patch_size=PATCH, img_size=SIDE, downsample_factor=2)
    processor = AyaVisionProcessor(images, tokenizer, chat_template=chat("<image>"), **sizes)
    config = AyaVisionConfig(
        vision_config=vision_sizes(SIGLIP, vision_use_head=False),
        text_config=text_sizes(tokenizer, "cohere2") | dict(sliding_window=8),
        vision_feature_layer=-1,
        downsample_factor=2,
        adapter_layer_norm_eps=1e-6,
        image_token_index=tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>"),
    )
    return build(folder, config, processor)


def tiny_mistral3(folder: Path) -> Path:
    """A Mistral 3: a Pixtral tower, whose image tokens come in rows."""
    tokenizer = make_tokenizer("[IMG]", "[IMG_BREAK]", "[IMG_END]")
    images = PixtralImageProcessor(size={"longest_edge": 2 * SIDE}, patch_size={"height": PATCH, "width": PATCH})
    processor = PixtralProcessor(images, tokenizer, patch_size=PATCH, spatial_merge_size=2, chat_template=chat("[IMG]"))
    config = Mistral3Config(
        vision_config=vision_sizes("pixtral", image_size=2 * SIDE, head_dim=16),
        text_config=text_sizes(tokenizer, "mistral"),
        vision_feature_layer=-1,
        spatial_merge_size=2,
        image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        tie_word_embeddings=False,
    )
    return build(folder, config, processor)
