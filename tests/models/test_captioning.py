"""Captions, the states that they are predicted from, and where the token is in them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from coxlmm_utils.models.captioning import decode, find_token, generate_captions, teacher_forced_states
from tests.conftest import MAX_NEW_TOKENS
from tests.tiny_lmms import N_LAYERS, WIDTH

ALL_LAYERS = [*range(N_LAYERS + 1), "norm"]


@pytest.fixture(params=["llava", "qwen"])
def lmm(request):
    return request.getfixturevalue(request.param)


def generate(lmm, pictures, layers=ALL_LAYERS):
    return generate_captions(lmm, pictures, layers, max_new_tokens=MAX_NEW_TOKENS)


# Generating


def test_captions_differ_and_have_one_state_more_than_tokens(lmm, pictures):
    generated = generate(lmm, pictures)
    assert len({caption.caption for caption in generated}) > 10
    for caption in generated:
        assert caption.caption == decode(lmm, caption.ids) and len(caption.ids) == MAX_NEW_TOKENS
        assert all(caption.states[layer].shape == (MAX_NEW_TOKENS + 1, WIDTH) for layer in ALL_LAYERS)
        assert all(states.dtype == torch.float32 for states in caption.states.values())


def test_states_equal_those_of_a_teacher_forced_pass(lmm, pictures):
    pictures = pictures[:5]
    generated = generate(lmm, pictures)
    ids = [caption.ids[: 2 + row] for row, caption in enumerate(generated)]  # of different lengths
    for caption, kept, forced in zip(generated, ids, teacher_forced_states(lmm, pictures, ids, ALL_LAYERS)):
        for layer in ALL_LAYERS:
            assert forced[layer].shape == (len(kept) + 1, WIDTH)
            torch.testing.assert_close(caption.states[layer][: len(kept) + 1], forced[layer], rtol=1e-3, atol=1e-3)


def test_a_state_predicts_its_token_and_the_next_is_where_it_is_fed_back(lmm, pictures):
    plain = set(range(len(lmm.tokenizer))) - set(lmm.model.generation_config.suppress_tokens)
    for caption in generate(lmm, pictures[:5]):
        for step, token in enumerate(caption.ids):
            logits = lmm.unembed(caption.state("norm", step, "predicts")[None], "norm")[0]
            assert max(plain, key=lambda i: float(logits[i])) == token
            embedding = lmm.model.get_input_embeddings().weight[token]
            torch.testing.assert_close(caption.state(0, step, "own"), embedding)


def test_batched_equals_single_with_left_padding(lmm, pictures):
    mask = lmm.inputs(pictures[:6])["attention_mask"]
    assert lmm.model.config.model_type == "llava" or not mask.all()  # Qwen: more image tokens for larger pictures
    for together, picture in zip(generate(lmm, pictures[:6]), pictures[:6]):
        [alone] = generate(lmm, [picture])
        assert together.ids == alone.ids
        for layer in ALL_LAYERS:
            cosines = torch.cosine_similarity(together.states[layer], alone.states[layer])
            assert cosines.min() > 0.9999


def test_a_caption_is_cut_at_its_end(lmm, pictures, monkeypatch):
    pictures = pictures[:12]
    before = generate(lmm, pictures, [1])
    end = next(caption.ids[2] for caption in before if caption.ids[2] not in caption.ids[:2])
    monkeypatch.setattr(lmm.model.generation_config, "eos_token_id", [end])
    lengths = set()
    for long, short in zip(before, generate(lmm, pictures, [1])):
        n = long.ids.index(end) if end in long.ids else MAX_NEW_TOKENS
        assert short.ids == long.ids[:n]
        assert short.states[1].shape == (n + 1, WIDTH)  # the last state predicts the end
        torch.testing.assert_close(short.states[1], long.states[1][: n + 1], rtol=1e-4, atol=1e-4)
        lengths.add(n)
    assert {2, MAX_NEW_TOKENS} <= lengths


def test_the_prompt_matters_and_no_layer_is_needed(llava, pictures):
    other = generate_captions(llava, pictures[:3], prompt="dog", max_new_tokens=3)
    usual = generate_captions(llava, pictures[:3], max_new_tokens=3)
    assert [caption.caption for caption in other] != [caption.caption for caption in usual]
    assert all(caption.states == {} for caption in other)


# Finding the token


def _lmm(tokenizer: Tokenizer) -> SimpleNamespace:
    return SimpleNamespace(tokenizer=PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def byte_level() -> SimpleNamespace:
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
    return _lmm(tokenizer)


def sentence_piece() -> SimpleNamespace:
    """As LLaVA's: the mark of a word's start may be a piece of its own."""
    pieces = ["<unk>", "▁", "▁a", "dog", "▁dog", "▁dogs", "car", "t", "▁Dog", "▁snow", "board", "s", "."]
    scores = [(piece, -2.0 - (piece == "▁dog") * 3) for piece in pieces]  # "▁", "dog" win over "▁dog"
    scores += [(letter, -9.0) for letter in "abcdefghijklmnopqru,"]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return _lmm(tokenizer)


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


def test_pieces_are_what_these_tokenizers_are_for():
    def pieces(lmm, text):
        return lmm.tokenizer.convert_ids_to_tokens(lmm.tokenizer.encode(text, add_special_tokens=False))

    assert pieces(byte_level(), "a dog snowboard é") == ["a", "Ġdog", "Ġsnow", "board", "Ġ", "Ã", "©"]
    assert pieces(sentence_piece(), "a dog") == ["▁a", "▁", "dog"]


def test_letters_of_several_bytes_do_not_shift_the_token():
    lmm = byte_level()
    ids = lmm.tokenizer.encode("é 🐕 dog")
    assert decode(lmm, ids[find_token(lmm, ids, ["dog"]) :]) == " dog"


def test_special_tokens_in_a_caption_do_not_count(llava):
    ids = llava.tokenizer.convert_tokens_to_ids(["<s>", "red", "<pad>", "dog"])
    assert find_token(llava, ids, ["dog"]) == 3
