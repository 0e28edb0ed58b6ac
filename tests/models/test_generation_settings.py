"""Captions are greedy whatever a checkpoint brings along, and all that decides one is named."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from transformers.generation.configuration_utils import CompileConfig

from coxlmm_utils.models.captioning import generate_captions
from coxlmm_utils.models.generation_settings import caption_settings, configuration, digest_of_files
from coxlmm_utils.models.loading import load_lmm
from tests.conftest import MAX_NEW_TOKENS, in_plain_words
from tests.tiny_lmms import WORDS, tiny_llava

BROUGHT_ALONG = {
    "repetition_penalty": 1.3,
    "no_repeat_ngram_size": 2,
    "min_new_tokens": 30,
    "min_length": 40,
    "forced_eos_token_id": 2,
    "exponential_decay_length_penalty": [2, 1.5],
    "num_beams": 3,
    "num_return_sequences": 2,
    "guidance_scale": 3.0,
    "stop_strings": ["a"],
    "prompt_lookup_num_tokens": 3,
    "do_sample": True,
    "temperature": 0.3,
    "cache_implementation": "static",
    "return_dict_in_generate": True,
}


def with_settings(folder, **settings):
    """A tiny LLaVA whose generation_config.json has some settings."""
    path = tiny_llava(folder) / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


def written(lmm, pictures):
    return generate_captions(lmm, pictures, [1, "norm"], max_new_tokens=MAX_NEW_TOKENS)


@pytest.mark.parametrize("name", BROUGHT_ALONG)
def test_a_checkpoints_own_settings_do_not_change_greedy_captions(llava, pictures, tmp_path, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {name: BROUGHT_ALONG[name], "do_sample": True}  # without sampling not all of them can be loaded
        lmm = in_plain_words(load_lmm(with_settings(tmp_path, **settings), device="cpu"))
    for got, want in zip(written(lmm, pictures[:6]), written(llava, pictures[:6]), strict=True):
        assert got.ids == want.ids
        torch.testing.assert_close(got.states["norm"], want.states["norm"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name, value",
    [("num_return_sequences", 2), ("early_stopping", 3), ("max_new_tokens", 0), ("watermarking_config", 3)],
)
def test_settings_that_transformers_refuses_to_load_do_not_matter(llava, pictures, tmp_path, name, value):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        lmm = in_plain_words(load_lmm(with_settings(tmp_path, **{name: value}), device="cpu"))
    assert [single.ids for single in written(lmm, pictures[:2])] == [
        single.ids for single in written(llava, pictures[:2])
    ]
    assert lmm.left_out == ({} if name in ("early_stopping", "max_new_tokens") else {name: value})
    assert bool(lmm.left_out) == any("captions are greedy" in str(warning.message) for warning in seen)


def test_what_is_left_out_is_said_and_kept(llava, tmp_path):
    with pytest.warns(UserWarning, match=r"captions are greedy, .*: repetition_penalty=1.3, num_beams=2; see"):
        lmm = load_lmm(with_settings(tmp_path, repetition_penalty=1.3, num_beams=2, do_sample=True), device="cpu")
    assert lmm.left_out == {"repetition_penalty": 1.3, "num_beams": 2}
    assert caption_settings(lmm, "x") == {"left_out": lmm.left_out}
    lmm.model.generation_config.repetition_penalty = 1.3  # wanted back
    assert caption_settings(lmm, "x") == {"generation": {"repetition_penalty": 1.3}, "left_out": {"num_beams": 2}}


def test_tokens_that_may_never_be_said_are_kept(pictures, tmp_path):
    suppressed = list(range(1, 100))
    lmm = load_lmm(with_settings(tmp_path, suppress_tokens=suppressed), device="cpu")
    assert lmm.left_out == {} and caption_settings(lmm, "x") == {"generation": {"suppress_tokens": suppressed}}
    assert not any(set(suppressed) & set(single.ids) for single in written(lmm, pictures[:4]))


def test_a_setting_of_ones_own_counts(llava, pictures, monkeypatch):
    before = written(llava, pictures)
    monkeypatch.setattr(llava.model.generation_config, "no_repeat_ngram_size", 1)
    after = written(llava, pictures)
    assert all(len(set(single.ids)) == len(single.ids) for single in after)
    assert [single.ids for single in before] != [single.ids for single in after]
    assert caption_settings(llava, "x")["generation"]["no_repeat_ngram_size"] == 1


def test_hooks_see_what_would_be_compiled(llava, pictures, monkeypatch):
    want = written(llava, pictures[:2])
    compiled = CompileConfig(backend="eager", mode=None)
    compiled._compile_all_devices = True
    monkeypatch.setattr(llava.model.generation_config, "cache_implementation", "static")
    monkeypatch.setattr(llava.model.generation_config, "compile_config", compiled)
    generate_captions(llava, pictures[:2], [2], max_new_tokens=MAX_NEW_TOKENS)
    for got, expected in zip(written(llava, pictures[:2]), want):
        for layer in (1, "norm"):
            torch.testing.assert_close(got.states[layer], expected.states[layer], rtol=1e-4, atol=1e-4)


def test_the_bundled_model_as_it_is_needs_no_word():
    lmm = load_lmm("picturebook")
    assert caption_settings(lmm, lmm.prompt) == {} and configuration(lmm.model) == lmm.configuration


def test_a_configuration_changed_since_loading_is_named(llava, monkeypatch):
    before = caption_settings(llava, "x")
    monkeypatch.setattr(llava.model.config, "vision_feature_layer", 0)
    assert caption_settings(llava, "x") == before | {"configuration": configuration(llava.model)}
    monkeypatch.undo()
    monkeypatch.setattr(llava.model.generation_config, "eos_token_id", [7])
    assert "configuration" in caption_settings(llava, "x") and "configuration" not in before


DIGITS = "{% for digit in strftime_now('%f') %} {{ WORDS[digit|int] }}{% endfor %}".replace("WORDS", str(WORDS[-10:]))


@pytest.mark.parametrize("time", [DIGITS, "{{ now }}"])
def test_a_template_that_asks_for_more_is_rendered(llava, time):
    plain, before = llava.processor.chat_template, caption_settings(llava, "x")
    try:
        llava.processor.chat_template = plain + time
        first, second = (caption_settings(llava, "x")["rendered"] for _ in range(2))
        assert (first != second) == (time == DIGITS)
    finally:
        llava.processor.chat_template = plain
    assert "rendered" not in before


def _tokens_swapped(tokenizer: dict) -> None:
    words = tokenizer["model"]["vocab"]
    words["Provide"], words["Describe"] = words["Describe"], words["Provide"]


@pytest.mark.parametrize(
    "name, edit",
    [
        ("config.json", lambda record: record["text_config"].update(hidden_act="relu")),
        ("config.json", lambda record: record["text_config"]["rope_parameters"].update(rope_theta=10.0)),
        ("config.json", lambda record: record.update(vision_feature_layer=-2)),
        ("generation_config.json", lambda record: record.update(eos_token_id=[record["eos_token_id"], 7])),
        ("tokenizer.json", _tokens_swapped),
    ],
)
def test_files_edited_on_disk_are_told_apart_and_copies_are_not(tmp_path, name, edit):
    first = load_lmm(tiny_llava(tmp_path / "first"), device="cpu")
    before = digest_of_files(first, "x")
    assert digest_of_files(load_lmm(tiny_llava(tmp_path / "copy"), device="cpu", dtype="float16"), "x") == before
    first.tokenizer(["Describe", "x y"], padding=True)  # which the tokenizer remembers
    assert digest_of_files(first, "x") == before
    path = tmp_path / "first" / name
    record = json.loads(path.read_text())
    edit(record)
    path.write_text(json.dumps(record))
    assert digest_of_files(load_lmm(tmp_path / "first", device="cpu"), "x") != before
