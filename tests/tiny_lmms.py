"""Tiny random models with processors made from parts, saved as any model is; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

N_LAYERS, WIDTH = 3, 64
WORDS = """USER: ASSISTANT: user assistant Provide a one-sentence caption for the provided image. Describe
    this picture. an on in at is are and of to with small large red blue green white black brown grey yellow
    dog cat bird horse bus train car boat dogs runs sits sleeps flies stands park beach street river field
    snow night day""".split()
LLAVA_SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<image>"]
QWEN_SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<unk>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]

_TURN = """{{% for message in messages %}}{start}{{% for part in message['content'] %}}\
{{% if part['type'] == 'image' %}}{image} {{% else %}}{{{{ part['text'] }}}}{{% endif %}}{{% endfor %}}\
{{% endfor %}}{{% if add_generation_prompt %}}{end}{{% endif %}}"""
LLAVA_CHAT = _TURN.format(start="{{ bos_token }} USER: ", image="<image>", end=" ASSISTANT:")
QWEN_CHAT = _TURN.format(
    start="<|im_start|>user ",
    image="<|vision_start|><|image_pad|><|vision_end|>",
    end="<|im_end|> <|im_start|>assistant ",
)


def save(folder: Path, model: PreTrainedModel, processor: ProcessorMixin | PreTrainedTokenizerFast) -> Path:
    """Save a model with its processor in one folder."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def tiny_llava(folder: Path, chat_template: str | None = LLAVA_CHAT, seed: int = 0) -> Path:
    """A LLaVA of 3 layers of width 64, with 16 image tokens for every picture."""
    tokenizer = _tokenizer(LLAVA_SPECIAL, bos="<s>", eos="</s>", pad="<pad>")
    image_processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor = LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=8,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        chat_template=chat_template,
    )
    vision = CLIPVisionConfig(
        image_size=32,
        patch_size=8,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=_llama_config(tokenizer),
        vision_feature_layer=-1,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    return save(folder, _livelier(LlavaForConditionalGeneration(config)), processor)


def tiny_qwen(folder: Path) -> Path:
    """A Qwen2.5-VL of 3 layers of width 64; the number of image tokens depends on the picture's size."""
    tokenizer = _tokenizer(QWEN_SPECIAL, bos=None, eos="<|im_end|>", pad="<|endoftext|>")
    images = Qwen2VLImageProcessor(patch_size=8, merge_size=2, min_pixels=16 * 16, max_pixels=64 * 64)
    processor = Qwen2_5_VLProcessor(images, tokenizer, Qwen2VLVideoProcessor(), chat_template=QWEN_CHAT)
    vision = dict(
        depth=2,
        hidden_size=32,
        intermediate_size=64,
        num_heads=2,
        patch_size=8,
        window_size=32,
        fullatt_block_indexes=[1],
        out_hidden_size=WIDTH,
    )
    text = _text_sizes(tokenizer) | {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]}}
    keys = ["vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id"]
    ids = dict(zip(keys, tokenizer.convert_tokens_to_ids(QWEN_SPECIAL[4:])))
    config = Qwen2_5_VLConfig(vision_config=vision, text_config=text, **ids)
    torch.manual_seed(0)
    return save(folder, _livelier(Qwen2_5_VLForConditionalGeneration(config)), processor)


def tiny_llama(folder: Path) -> Path:
    """A language model without pictures."""
    tokenizer = _tokenizer(LLAVA_SPECIAL, bos="<s>", eos="</s>", pad="<pad>")
    torch.manual_seed(0)
    return save(folder, LlamaForCausalLM(_llama_config(tokenizer)), tokenizer)


def _tokenizer(special: list[str], bos: str | None, eos: str, pad: str) -> PreTrainedTokenizerFast:
    """One token for each word; the special tokens are cut out wherever they stand."""
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(special + WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        unk_token="<unk>",
        additional_special_tokens=special,
    )


def _text_sizes(tokenizer: PreTrainedTokenizerFast) -> dict:
    """What the two language models have in common."""
    return dict(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=128,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _llama_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """The language model of the tiny LLaVA."""
    return LlamaConfig(**_text_sizes(tokenizer), tie_word_embeddings=False)


def _livelier(model: PreTrainedModel) -> PreTrainedModel:
    """Larger weights, norms that are not 1, so that layers, pictures and the norm all make a difference."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
            else:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model
