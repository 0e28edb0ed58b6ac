"""What tiny models are made of: a tokenizer of plain words, a chat template, sizes, and livelier weights."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForImageTextToText,
    CLIPImageProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)

N_LAYERS, WIDTH = 3, 64
SIDE, PATCH = 32, 8  # of the pictures that the vision towers take, in pixels
SIZE = {"height": SIDE, "width": SIDE}
WORDS = """USER: ASSISTANT: user assistant Provide a one-sentence caption for the provided image. Describe
    this picture. an on in at is are and of to with small large red blue green white black brown grey yellow
    dog cat bird horse bus train car boat dogs runs sits sleeps flies stands park beach street river field
    snow night day""".split()


def chat(image: str, start: str = "{{ bos_token }} USER: ", end: str = " ASSISTANT:") -> str:
    """A chat template of one turn, with these image tokens."""
    return (
        f"{{% for message in messages %}}{start}{{% for part in message['content'] %}}"
        f"{{% if part['type'] == 'image' %}}{image} {{% else %}}{{{{ part['text'] }}}}{{% endif %}}{{% endfor %}}"
        f"{{% endfor %}}{{% if add_generation_prompt %}}{end}{{% endif %}}"
    )


def make_tokenizer(
    *images: str, bos: str | None = "<s>", eos: str = "</s>", pad: str = "<pad>", **named: str
) -> PreTrainedTokenizerFast:
    """One token for each word; the special tokens are cut out wherever they stand.

    `images` are the special tokens of pictures, `named` those that the tokenizer also has as attributes.
    """
    special = [token for token in (pad, bos, eos, "<unk>", *images, *named.values()) if token]
    vocabulary = {word: number for number, word in enumerate(special + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        unk_token="<unk>",
        extra_special_tokens=named or special,
    )


def text_sizes(tokenizer: PreTrainedTokenizerFast, kind: str) -> dict:
    """The configuration of a tiny language model of a kind."""
    return dict(
        model_type=kind,
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=128,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def vision_sizes(kind: str, **more) -> dict:
    """The configuration of a tiny vision tower of a kind: 2 layers of width 32 over 4 x 4 patches."""
    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    return dict(model_type=kind, image_size=SIDE, patch_size=PATCH, **sizes) | more


def clip_pictures(**options) -> CLIPImageProcessor:
    """CLIP's image processor at the vision tower's size."""
    return CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIZE, **options)


def build(folder: Path, config: PreTrainedConfig, processor: ProcessorMixin, seed: int = 0) -> Path:
    """Save a random image-text model with its processor."""
    torch.manual_seed(seed)
    return save(folder, livelier(AutoModelForImageTextToText.from_config(config)), processor)


def save(folder: Path, model: PreTrainedModel, processor: ProcessorMixin | PreTrainedTokenizerFast) -> Path:
    """Save a model with its processor in one folder."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def livelier(model: PreTrainedModel) -> PreTrainedModel:
    """Larger weights, norms that are not 1 and no zeros, so that every part makes a difference."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.any():
                parameter.mul_(4)
            else:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model
