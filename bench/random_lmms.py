"""LLaVA-1.5-7B and Qwen2.5-VL-7B by their sizes: random weights, made where they run. Speed needs no trained ones.

What a trained model's captions have, and random weights lack, is an end. So the model is made to write one caption,
whatever it sees: each of its words is a large embedding, and the unembedding has the same vector for the word that
comes next, after the last word for the end of the text. All else is drawn with a standard deviation of .02, small
enough for bfloat16 over all blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForImageTextToText,
    CLIPImageProcessor,
    LlavaConfig,
    LlavaProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from coxlmm_utils import LMM
from coxlmm_utils.models import decode, generate_batch
from coxlmm_utils.models.generation_settings import configuration, make_greedy
from coxlmm_utils.models.lmm import GREY, PAPER_PROMPT
from coxlmm_utils.models.structure import check_lens, find_parts
from coxlmm_utils.models.weights import checksum

CAPTION = [f"w{number}" for number in range(20)]  # words of the one caption
STRENGTH = 4.0  # of its embeddings: all blocks of 7 billion weights together add some 15 at random
LLAVA_CHAT = "USER: <image>\n{} ASSISTANT:"
QWEN_CHAT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    "<|vision_start|><|image_pad|><|vision_end|>{}<|im_end|>\n<|im_start|>assistant\n"
)
QWEN_PICTURE = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


@dataclass(frozen=True)
class Sizes:
    """Of one model, as its published config.json and preprocessor_config.json have them."""

    text: dict
    vision: dict
    images: dict  # of the image processor


LLAVA_7B = Sizes(
    text=dict(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, vocab_size=32064)
    | dict(num_attention_heads=32, num_key_value_heads=32, max_position_embeddings=4096),
    vision=dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16)
    | dict(image_size=336, patch_size=14, projection_dim=768),
    images=dict(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
)
LLAVA_TINY = Sizes(
    text=dict(hidden_size=64, intermediate_size=128, num_hidden_layers=3, vocab_size=128)
    | dict(num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512),
    vision=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    | dict(image_size=32, patch_size=8, projection_dim=32),
    images=dict(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
)
QWEN_7B = Sizes(
    text=dict(hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, vocab_size=152064)
    | dict(num_attention_heads=28, num_key_value_heads=4, max_position_embeddings=128000)
    | dict(rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}),
    vision=dict(depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16, patch_size=14, window_size=112)
    | dict(fullatt_block_indexes=[7, 15, 23, 31], out_hidden_size=3584),
    images=dict(patch_size=14, merge_size=2, min_pixels=56 * 56, max_pixels=28 * 28 * 16384),
)
QWEN_TINY = Sizes(
    text=dict(hidden_size=64, intermediate_size=128, num_hidden_layers=3, vocab_size=128)
    | dict(num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512)
    | dict(rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}),
    vision=dict(depth=2, hidden_size=32, intermediate_size=64, num_heads=2, patch_size=8, window_size=32)
    | dict(fullatt_block_indexes=[1], out_hidden_size=64),
    images=dict(patch_size=8, merge_size=2, min_pixels=16 * 16, max_pixels=64 * 64),
)


def random_lmm(name: str, device: torch.device, tiny: bool = False) -> LMM:
    """The model "llava" or "qwen", drawn on its device in bfloat16; tiny is three layers of width 64, for tests."""
    config, processor = MODELS[name](tiny)
    torch.manual_seed(0)
    with device:  # 7 billion weights take minutes on a CPU
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    model.eval().requires_grad_(False)
    parts = find_parts(model)
    lmm = LMM(
        name=f"{name}, random",
        model=model,
        processor=processor,
        layers=parts.layers,
        final_norm=parts.final_norm,
        unembedding=parts.unembedding,
        prompt=PAPER_PROMPT,
        left_out=make_greedy(model),
        configuration=configuration(model),
    )
    write_caption(lmm)
    lmm.lens, lmm.checksums = check_lens(model, lmm.inputs([GREY]), parts), dict([checksum(model)])
    caption = decode(lmm, generate_batch(lmm, [GREY]).ids[0])
    if caption != " ".join(CAPTION):  # then every speed would be of another length
        raise RuntimeError(
            f"{lmm.name} writes {caption!r}: make STRENGTH larger, so that nothing drawn drowns its words"
        )
    return lmm


@torch.no_grad()
def write_caption(lmm: LMM) -> None:
    """Let the model write the caption after its prompt, each token after the one before it, and then end."""
    last = lmm.inputs([GREY])["input_ids"][0, -1].item()
    words = lmm.tokenizer.convert_tokens_to_ids(CAPTION)
    before, after = [last, *words], [*words, lmm.tokenizer.eos_token_id]
    vectors = STRENGTH * torch.randn(len(before), lmm.width)  # (tokens, width)
    embedding = lmm.model.get_input_embeddings().weight
    embedding[before] = vectors.to(embedding)
    lmm.unembedding.weight[after] = vectors.to(embedding)


def llava(tiny: bool) -> tuple[PreTrainedConfig, ProcessorMixin]:
    """LLaVA-1.5: CLIP's last layer but one, 576 image tokens for every picture."""
    sizes = LLAVA_TINY if tiny else LLAVA_7B
    tokenizer = _tokenizer(sizes, LLAVA_CHAT, ["<pad>", "<s>", "</s>", "<unk>", "<image>"], bos="<s>", eos="</s>")
    processor = LlavaProcessor(
        CLIPImageProcessor(**sizes.images),
        tokenizer,
        patch_size=sizes.vision["patch_size"],
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        chat_template=_template(LLAVA_CHAT),
    )
    config = LlavaConfig(
        vision_config=dict(model_type="clip_vision_model") | sizes.vision,
        text_config=dict(model_type="llama") | sizes.text | _ends(tokenizer),
        vision_feature_layer=-2,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
    return config, processor


def qwen(tiny: bool) -> tuple[PreTrainedConfig, ProcessorMixin]:
    """Qwen2.5-VL: windows of attention in its tower, and as many image tokens as the picture is large."""
    sizes = QWEN_TINY if tiny else QWEN_7B
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>", *QWEN_PICTURE]
    tokenizer = _tokenizer(sizes, QWEN_CHAT, special, bos=None, eos="<|im_end|>")
    images, video = Qwen2VLImageProcessor(**sizes.images), Qwen2VLVideoProcessor()
    processor = Qwen2_5_VLProcessor(images, tokenizer, video, chat_template=_template(QWEN_CHAT))
    keys = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    config = Qwen2_5_VLConfig(
        vision_config=sizes.vision,
        text_config=dict(model_type="qwen2_5_vl_text") | sizes.text | _ends(tokenizer),
        tie_word_embeddings=False,
        **dict(zip(keys, tokenizer.convert_tokens_to_ids(list(QWEN_PICTURE)))),
    )
    return config, processor


MODELS = {"llava": llava, "qwen": qwen}


def _tokenizer(sizes: Sizes, chat: str, special: list[str], bos: str | None, eos: str) -> PreTrainedTokenizerFast:
    """One token for each word of prompt and caption, and others that make it as large as the model's vocabulary."""
    text = chat.format(PAPER_PROMPT)
    for token in special:
        text = text.replace(token, " ")
    words = list(dict.fromkeys([*special, *text.split(), *CAPTION]))
    words += [f"x{number}" for number in range(sizes.text["vocab_size"] - len(words))]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = dict(bos_token=bos, eos_token=eos, pad_token=special[0], unk_token="<unk>")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, padding_side="left", extra_special_tokens=special, **ends
    )


def _template(chat: str) -> str:
    """A chat template of one turn, a picture and a text, from the text that comes of it."""
    return chat.replace("{}", "{{ messages[0]['content'][1]['text'] }}")


def _ends(tokenizer: PreTrainedTokenizerFast) -> dict:
    """Where texts begin and end, for the configuration."""
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
