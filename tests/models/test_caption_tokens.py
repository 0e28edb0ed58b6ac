"""Words among the tokens of captions: where they begin and end, whatever the tokenizer."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from coxlmm_utils.models.caption_tokens import (
    decode,
    encode,
    encode_captions,
    end_of_token,
    find_token,
    first_pieces,
    token_text,
    vocabulary,
    word_at,
)


def _lmm(tokenizer: Tokenizer, **special) -> SimpleNamespace:
    model = SimpleNamespace(config=SimpleNamespace())
    processor = SimpleNamespace(chat_template=None)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    return SimpleNamespace(tokenizer=fast, model=model, processor=processor)


def byte_level(**special) -> SimpleNamespace:
    """As GPT-2's: a piece begins with the space before it; "snowboard" is two pieces, "é" two bytes."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["dog", "cart", "car", "snow", "board", "dogs", "Dog", "hot"]
    pieces, merges = list(letters), []
    for word in [*("Ġ" + word for word in words), *words]:
        for end in range(2, len(word) + 1):
            if word[:end] not in pieces:
                pieces.append(word[:end])
                merges.append((word[: end - 1], word[end - 1]))
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _lmm(tokenizer, **special)


def sentence_piece() -> SimpleNamespace:
    """As LLaVA's: the mark of a word's start may be a piece of its own."""
    pieces = ["<unk>", "▁", "▁a", "dog", "▁dog", "▁dogs", "car", "t", "▁Dog", "▁snow", "board", "s", "."]
    scores = [(piece, -2.0 - (piece == "▁dog") * 3) for piece in pieces]  # "▁", "dog" win over "▁dog"
    scores += [(letter, -9.0) for letter in "abcdefghijklmnopqru,"]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return _lmm(tokenizer)


def byte_fallback(words=("dog", "dogs", "snow")) -> SimpleNamespace:
    """As LLaVA-1.5's (Llama): marks of word starts, which decoding a token alone drops, and bytes for what it lacks."""
    letters = sorted({"▁", *"abcdefghijklmnopqrstuvwxyz."})
    pieces, merges = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters], []
    for word in ["▁" + word for word in words] + ["board"]:
        for end in range(2, len(word) + 1):
            if word[:end] not in pieces:
                pieces.append(word[:end])
                merges.append((word[: end - 1], word[end - 1]))
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    special = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    return _lmm(tokenizer, **special)


@pytest.mark.parametrize("lmm", [byte_level(), sentence_piece()], ids=["byte-level", "sentencepiece"])
@pytest.mark.parametrize(
    "caption, spellings, before, piece",
    [
        ("a dog", ["dog"], "a", "dog"),
        ("dog a", ["dog"], "", "dog"),
        ("a cart", ["car"], None, None),
        ("a cart a car", ["car"], "a cart a", "car"),
        ("a dogs", ["dog"], None, None),
        ("a dogs dog", ["dog", "dogs"], "a", "dogs"),
        ("a dog dog", ["dog"], "a", "dog"),  # the first occurrence
        ("a Dog, a dog.", ["dog"], "a", "Dog"),
        ("a dog", ["DOG"], "a", "dog"),
        ("a snowboard.", ["snowboard"], "a", "snow"),  # its first piece
        ("a snowboard", ["snow"], None, None),
        ("a dog board", ["dog board"], "a", "dog"),
        ("a board", ["dog"], None, None),
    ],
)
def test_the_token_is_found_as_a_whole_word(lmm, caption, spellings, before, piece):
    ids = lmm.tokenizer.encode(caption, add_special_tokens=False)
    assert decode(lmm, ids) == caption
    step = find_token(lmm, ids, spellings)
    if before is None:
        assert step is None
    else:
        assert decode(lmm, ids[:step]).strip() == before
        assert decode(lmm, ids[step : step + 1]).strip() == piece


def bytes_of(text: str) -> list[str]:
    """The pieces of one byte each that a byte-level tokenizer makes of a text that it does not know."""
    tokenizer = byte_level().tokenizer
    return tokenizer.convert_ids_to_tokens(tokenizer.encode(text, add_special_tokens=False))


def test_pieces_are_what_these_tokenizers_are_for():
    def pieces(lmm, text):
        return lmm.tokenizer.convert_ids_to_tokens(lmm.tokenizer.encode(text, add_special_tokens=False))

    assert pieces(byte_level(), "a dog snowboard é") == ["a", "Ġdog", "Ġsnow", "board", "Ġ", "Ã", "©"]
    assert pieces(sentence_piece(), "a dog") == ["▁a", "▁", "dog"]


@pytest.mark.parametrize("lmm", [byte_level(), byte_fallback()], ids=["byte-level", "byte-fallback"])
@pytest.mark.parametrize("before", ["", "é ", "🐕 ", "🐕🐕 ", "a 🐕 é ", "🐕"])
@pytest.mark.parametrize("word", ["dog", "snowboard", "狗狗", "éa"])
def test_letters_of_several_bytes_do_not_shift_the_token(lmm, before, word):
    ids = lmm.tokenizer.encode(f"{before}{word}.", add_special_tokens=False)
    assert decode(lmm, ids) == f"{before}{word}."
    step, end = find_token(lmm, ids, [word]), end_of_token(lmm, ids, [word])
    assert decode(lmm, ids[:step]).rstrip() == before.rstrip() and decode(lmm, ids[:end]) == before + word
    assert decode(lmm, ids[step:]).strip() == f"{word}."  # none of its bytes is before the step
    assert decode(lmm, ids[step + 1 :]).strip() != f"{word}."


def test_a_letter_may_begin_in_a_token_with_the_space_before_it():
    first, *others = bytes_of("狗")
    record = json.loads(byte_level().tokenizer.backend_tokenizer.to_str())
    record["model"]["vocab"]["Ġ" + first] = len(record["model"]["vocab"])
    joined = _lmm(Tokenizer.from_str(json.dumps(record)))
    ids = joined.tokenizer.convert_tokens_to_ids(["a", "Ġ" + first, *others])
    assert decode(joined, ids) == "a 狗" and find_token(joined, ids, ["狗"]) == 1
    assert find_token(joined, ids[:-1], ["狗"]) is None


def test_a_word_before_an_unfinished_letter_may_still_grow():
    lmm = byte_fallback()
    ids = lmm.tokenizer.encode("dogé", add_special_tokens=False)[:-1]
    assert decode(lmm, ids) == "dog\ufffd" and find_token(lmm, ids, ["dog"], finished=False) is None


def test_a_token_alone_keeps_the_mark_of_a_words_start():
    lmm = byte_fallback()
    ids = lmm.tokenizer.convert_tokens_to_ids(["▁dog", "board", "<0xF0>", "</s>"])
    assert [lmm.tokenizer.decode([token]) for token in ids[:2]] == ["dog", "board"]
    assert [token_text(lmm, token) for token in ids] == [" dog", "board", "\ufffd", "</s>"]
    assert token_text(byte_level(), byte_level().tokenizer.convert_tokens_to_ids("Ġdog")) == " dog"
    assert vocabulary(lmm)[ids[0]] == " dog"


def test_special_tokens_in_a_caption_do_not_count(llava):
    ids = llava.tokenizer.convert_tokens_to_ids(["<s>", "red", "<pad>", "dog"])
    assert find_token(llava, ids, ["dog"]) == 3


def test_pieces_that_begin_a_word_and_the_word_that_a_piece_is_of():
    lmm = byte_level()
    pieces = first_pieces(lmm, ["snowboard", "car"])
    assert sorted(lmm.tokenizer.convert_ids_to_tokens(pieces)) == ["car", "snow", "Ġcar", "Ġsnow"]
    ids = lmm.tokenizer.encode("a dog, snowboard é", add_special_tokens=False)
    assert [word_at(lmm, ids, step) for step in range(5)] == ["a", "dog", ",", "snowboard", "snowboard"]
    assert first_pieces(sentence_piece(), ["dog"]) == sentence_piece().tokenizer.convert_tokens_to_ids(["dog"])
    assert first_pieces(sentence_piece(), ["xyz"]) == []


# Captions that someone gives


def test_the_name_of_a_special_token_is_text(llava):
    lmm = byte_level(eos_token="</s>", extra_special_tokens=["<image>"])
    assert "</s>" in lmm.tokenizer.all_special_tokens and "<image>" in lmm.tokenizer.all_special_tokens
    for text in ("a <image> dog</s>", "<image>", "</s></s>"):
        ids = encode(lmm, text)
        assert not {*ids} & {*lmm.tokenizer.all_special_ids} and decode(lmm, ids) == text
    # The tiny models have it as a word of their vocabulary, too.
    unknown, image = llava.tokenizer.unk_token_id, llava.model.config.image_token_id
    assert image in llava.tokenizer("red <image> dog", add_special_tokens=False)["input_ids"]
    ids = encode(llava, "red <image> dog")
    assert image not in ids and ids[0] == llava.tokenizer.convert_tokens_to_ids("red") and {*ids[1:-1]} == {unknown}


@pytest.mark.parametrize(
    "prompt, spaced",
    [("ASSISTANT:", True), ("a dog", True), ("assistant\n\n", False), ("so: ", False), ("a</s>", False), ("", False)],
)
def test_a_caption_begins_with_a_space_where_a_prompt_ends_in_text(prompt, spaced):
    lmm = byte_level(eos_token="</s>")
    [ids] = encode_captions(lmm, ["dog car"], prompt)
    assert lmm.tokenizer.convert_ids_to_tokens(ids) == ["Ġdog" if spaced else "dog", "Ġcar"]
    assert encode_captions(lmm, [" dog car", ""], prompt) == [encode(lmm, " dog car"), []]
    assert encode_captions(sentence_piece(), ["dog"], prompt) == [encode(sentence_piece(), "dog")]
    assert encode_captions(byte_fallback(), ["dog"], prompt) == [encode(byte_fallback(), "dog")]


def test_each_caption_may_have_a_prompt_of_its_own_and_a_chat_template_counts(llava):
    lmm = byte_level()
    assert encode_captions(lmm, ["dog", "dog"], ["a:", "a\n"]) == [encode(lmm, " dog"), encode(lmm, "dog")]
    lmm.processor = llava.processor  # whose template ends every prompt in "ASSISTANT:"
    assert encode_captions(lmm, ["dog"], "a\n") == [encode(lmm, " dog")]
