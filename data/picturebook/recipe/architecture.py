"""The small LLaVA of the picture book: tokenizer, processor and architecture, all transformers' own classes."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from coxlmm_utils.picturebook import (
    FACTS_BY_WORD,
    FUNCTION_WORDS,
    PICTURE_SIDE,
    SENTENCE_PROMPT,
    TAG_WORDS,
    TAGS_PROMPT,
    question_words,
)

PATCH_SIDE = 18  # pixels
N_PATCHES = (PICTURE_SIDE // PATCH_SIDE) ** 2  # 64 image tokens
SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>", "<image>", "USER:", "ASSISTANT:")
PUNCTUATION = (".", ",", "?", "!")

# The layout of LLaVA-1.5's conversations: <bos> USER: <image> prompt ASSISTANT: answer <eos>
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ ' USER: ' if message['role'] == 'user' else ' ASSISTANT: ' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}"
    "{% if message['role'] == 'assistant' %}{{ ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def vocabulary() -> list[str]:
    """Every word of the book's captions, tags, questions and answers, sorted."""
    words = set(FACTS_BY_WORD) | FUNCTION_WORDS | set(TAG_WORDS.values()) | question_words()
    for prompt in (SENTENCE_PROMPT, TAGS_PROMPT):
        words |= set(prompt.lower().rstrip(".").split())
    return sorted(words)


def word_tokenizer(words: list[str]) -> Tokenizer:
    """One token a word, lower case, punctuation apart; "<unk>" must be among the words (ours)."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"[.,?!]"), "isolated")]
    )
    return tokenizer


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, lower case, punctuation apart; about 150 tokens (ours)."""
    return wrapped(word_tokenizer([*SPECIAL_TOKENS, *PUNCTUATION, *vocabulary()]))


def wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """A tokenizer as transformers takes it, with the special tokens known."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<image>", "USER:", "ASSISTANT:"],
        padding_side="left",
        model_max_length=256,
    )


def make_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Pictures resized and cropped to a page's size, 64 image tokens each (ours)."""
    image_processor = CLIPImageProcessor(
        size={"shortest_edge": PICTURE_SIDE},
        crop_size={"height": PICTURE_SIDE, "width": PICTURE_SIDE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=PATCH_SIDE,
        vision_feature_select_strategy="default",  # drops the class token ...
        num_additional_image_tokens=1,  # ... which the processor must know, to count the image tokens right
        chat_template=CHAT_TEMPLATE,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """A randomly initialised model of 2.6 million weights: CLIP ViT 4 x 128, Llama 5 x 160 (ours)."""
    vision = CLIPVisionConfig(
        image_size=PICTURE_SIDE,
        patch_size=PATCH_SIDE,
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        projection_dim=128,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=160,
        intermediate_size=432,
        num_hidden_layers=5,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=N_PATCHES,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlavaForConditionalGeneration(config)
