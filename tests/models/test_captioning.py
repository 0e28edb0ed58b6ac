"""Captions, the states that they are predicted from, and where the token is in them."""

from __future__ import annotations

import pytest
import torch

from coxlmm_utils.models.caption_tokens import decode
from coxlmm_utils.models.captioning import generate_batch, generate_captions, teacher_forced_states
from coxlmm_utils.models.lmm import GREY
from tests.conftest import MAX_NEW_TOKENS
from tests.tiny_lmms import N_LAYERS, WIDTH

ALL_LAYERS = [*range(N_LAYERS + 1), "norm"]


@pytest.fixture(params=["llava", "qwen"])
def lmm(request):
    return request.getfixturevalue(request.param)


def generate(lmm, pictures, layers=ALL_LAYERS):
    return generate_captions(lmm, pictures, layers, max_new_tokens=MAX_NEW_TOKENS)


# Generating


def test_captions_do_not_end_at_a_word_that_is_the_padding_as_well(llava, pictures, monkeypatch):
    want = [single.ids for single in generate(llava, pictures, [])]
    said = want[1][1]
    stops = [len(ids) if row else 1 for row, ids in enumerate(want)]
    monkeypatch.setattr(llava.model.generation_config, "pad_token_id", said)
    assert [single.ids for single in generate(llava, pictures, [])] == want
    stopped = generate_batch(llava, pictures, stop=lambda row, ids: len(ids) == stops[row], max_new_tokens=40)
    assert stopped.ids == [ids[:stop] for ids, stop in zip(want, stops)]


def test_what_is_generated_goes_on_from_a_beginning(lmm, pictures):
    [caption] = generate(lmm, pictures[:1], [])
    rest = generate_batch(lmm, pictures[:1], beginning=caption.ids[:2], max_new_tokens=MAX_NEW_TOKENS - 2)
    assert rest.ids == [caption.ids[2:]] and len(caption.ids) > 2


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


@pytest.mark.parametrize(
    "options, refused",
    [
        (dict(max_new_tokens=0), "max_new_tokens must be at least 1, not 0"),
        (dict(max_new_tokens=2.5), "max_new_tokens must be a whole number"),
        (dict(layers=2), r"layers=2 is one layer: give a list, \[2\]"),
        (dict(layers="norm"), r"layers='norm' is one layer: give a list, \['norm'\]"),
        (dict(layers=[9]), "has no layer 9"),
        (dict(prompt=["a", "b"]), "There are 2 prompts for 1 pictures"),
        (dict(pictures=[]), r"at least one, \[picture\]"),
        (dict(pictures=GREY), r"at least one, \[picture\]"),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_sentence(llava, options, refused):
    with pytest.raises(ValueError, match=refused):
        generate_captions(llava, **{"pictures": [GREY]} | options)


def test_captions_that_are_not_one_for_each_picture_are_refused(llava):
    with pytest.raises(ValueError, match=r"at least one, \[picture\]"):
        teacher_forced_states(llava, [], [], [1])
    with pytest.raises(ValueError, match="There are 2 continuations for 1 pictures"):
        teacher_forced_states(llava, [GREY], [[1], [1]], [1])
