"""The small LLaVA's tokenizer, processor and architecture."""

import pytest
from PIL import Image

from coxlmm_utils.picturebook.captions import SENTENCE_PROMPT, references
from data.picturebook.recipe.architecture import (
    N_PATCHES,
    SPECIAL_TOKENS,
    make_model,
    make_processor,
    make_tokenizer,
    vocabulary,
)


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def test_references_come_back_as_they_were(tokenizer):
    for number in range(300):
        for text in references(number):
            ids = tokenizer(text)["input_ids"]
            assert len(ids) == len(text.split()) and tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids) == text


def test_an_unknown_word_is_marked(tokenizer):
    assert tokenizer.tokenize("a purple dog") == ["a", "<unk>", "dog"]


def test_capitals_and_punctuation_are_no_matter(tokenizer):
    ids = tokenizer("Is there a dog?")["input_ids"]
    assert ids == tokenizer("is there a dog ?")["input_ids"] and tokenizer.unk_token_id not in ids


def test_special_tokens_come_first_and_in_order(tokenizer):
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(len(SPECIAL_TOKENS)))
    assert (tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token) == ("<pad>", "<bos>", "<eos>")


def test_the_processor_lays_out_a_conversation(tokenizer):
    processor = make_processor(tokenizer)
    content = [{"type": "image"}, {"type": "text", "text": SENTENCE_PROMPT}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor(images=[Image.new("RGB", (300, 200))], text=[text], return_tensors="pt")
    tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    assert tokens[:2] == ["<bos>", "USER:"] and tokens[2 : 2 + N_PATCHES] == ["<image>"] * N_PATCHES
    assert tokens[2 + N_PATCHES :] == SENTENCE_PROMPT.lower().replace(".", " .").split() + ["ASSISTANT:"]
    assert inputs["pixel_values"].shape == (1, 3, 144, 144)


def test_the_model_fits_in_eight_megabytes(tokenizer):
    weights = sum(weight.numel() for weight in make_model(tokenizer).parameters())
    assert weights * 2 < 8e6  # two bytes each, saved as fp16


def test_the_vocabulary_is_sorted_and_each_word_is_there_once():
    words = vocabulary()
    assert words == sorted(set(words))
    assert {"provide", "color", "yes", "two", "dogs", "buses", "another"} <= set(words)
