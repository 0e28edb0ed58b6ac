"""Loading a model from wherever it is, and refusing what cannot be read."""

from __future__ import annotations

import json
import socket

import pytest
import torch
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from transformers import AutoModelForImageTextToText, dynamic_module_utils

import coxlmm_utils.models.loading
from coxlmm_utils.models.lmm import PAPER_PROMPT
from coxlmm_utils.models.loading import load_lmm
from tests.tiny_lmms import tiny_llama, tiny_llava

DECODER = "model.language_model"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def offline(monkeypatch) -> None:
    """No proxy, and no name that leads anywhere."""

    def look_up(*args):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(coxlmm_utils.models.loading, "getproxies", dict)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def caught(monkeypatch, auto_class) -> list[dict]:
    """Let a class load as ever, but without quantising or mapping; the options of each call are kept."""
    calls, load = [], auto_class.from_pretrained

    def keep(source, **options):
        calls.append(dict(options))
        return load(source, **{k: v for k, v in options.items() if k not in ("quantization_config", "device_map")})

    monkeypatch.setattr(auto_class, "from_pretrained", keep)
    return calls


# What is loaded, and how


def test_model_is_frozen_and_in_float32_on_the_cpu(folder):
    lmm = load_lmm(folder, device="cpu")
    assert not lmm.model.training
    assert all(not p.requires_grad and p.dtype == torch.float32 for p in lmm.model.parameters())
    assert lmm.prompt == PAPER_PROMPT and lmm.lens == "exact"


def test_dtype_can_be_given(folder):
    assert load_lmm(folder, device="cpu", dtype="bfloat16").model.dtype == torch.bfloat16


def test_prompt_and_chat_template_can_be_given(folder):
    template = "{{ messages[0]['content'][1]['text'] }} <image>"
    lmm = load_lmm(folder, device="cpu", prompt="a dog", chat_template=template)
    assert lmm.shown_prompt() == "a dog <image> x 16"


def test_what_is_meant_for_transformers_arrives(folder, monkeypatch):
    calls = caught(monkeypatch, AutoModelForImageTextToText)
    quantization = object()
    lmm = load_lmm(folder, device="cpu", dtype="float64", quantization_config=quantization, revision="main")
    assert calls[0]["quantization_config"] is quantization
    assert (calls[0]["dtype"], calls[0]["revision"], calls[0]["trust_remote_code"]) == ("float64", "main", False)
    assert lmm.model.dtype == torch.float64


def test_a_device_map_arrives_and_the_model_stays_where_it_was_put(folder, monkeypatch):
    calls = caught(monkeypatch, AutoModelForImageTextToText)
    monkeypatch.setattr(coxlmm_utils.models.loading, "is_accelerate_available", lambda: True)
    monkeypatch.setattr(coxlmm_utils.models.loading, "_best_device", lambda: "meta")
    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", placed(AutoModelForImageTextToText))
    lmm = load_lmm(folder, device_map="auto", dtype="float32")
    assert calls[0]["device_map"] == "auto" and lmm.device.type == "cpu"


def placed(auto_class):
    """As accelerate leaves a model: on its devices, with the map of where each part is."""
    load = auto_class.from_pretrained

    def place(source, **options):
        model = load(source, **options)
        model.hf_device_map = {"": "cpu"}
        return model

    return place


def test_a_device_map_without_accelerate_is_refused(folder, monkeypatch):
    monkeypatch.setattr(coxlmm_utils.models.loading, "is_accelerate_available", lambda: False)
    with pytest.raises(ImportError, match="pip install accelerate"):
        load_lmm(folder, device_map="auto")


def test_a_device_and_a_device_map_are_refused_together(folder):
    with pytest.raises(ValueError, match="device='cpu' and device_map='auto' are two answers"):
        load_lmm(folder, device="cpu", device_map="auto")


def test_code_that_comes_with_a_model_runs_only_if_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    settings = {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "own.py").write_text("raise RuntimeError('it ran')\n")
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        load_lmm(tmp_path)
    with pytest.raises(RuntimeError, match="it ran"):
        load_lmm(tmp_path, trust_remote_code=True)


# Parts by name


def test_parts_can_be_named(folder):
    lmm = load_lmm(
        folder, device="cpu", layers=f"{DECODER}.layers", final_norm=f"{DECODER}.norm", unembedding="lm_head"
    )
    decoder = lmm.model.model.language_model
    assert (lmm.layers, lmm.final_norm, lmm.unembedding) == (decoder.layers, decoder.norm, lmm.model.lm_head)


@pytest.mark.parametrize(
    "names, reason",
    [
        ({"layers": "model.layers"}, 'layers="model.layers" names no module'),
        ({"layers": DECODER}, f'layers="{DECODER}" is not a list of blocks'),
        ({"layers": "model.vision_tower.encoder.layers"}, "No final norm was found beside"),
        ({"final_norm": "nowhere"}, 'final_norm="nowhere" names no module'),
        ({"final_norm": f"{DECODER}.layers.0.input_layernorm"}, "does not give the logits, nor their order"),
        ({"final_norm": "model.vision_tower.post_layernorm"}, "does not give the logits"),
        ({"unembedding": f"{DECODER}.embed_tokens"}, "No linear layer"),
        ({"unembedding": f"{DECODER}.layers.0.self_attn.q_proj"}, "does not give the logits"),
    ],
)
def test_parts_of_the_wrong_name_are_refused_with_what_there_is(folder, names, reason):
    with pytest.raises(ValueError, match=reason) as refused:
        load_lmm(folder, device="cpu", **names)
    for name in ("LlamaModel holds embed_tokens, layers, norm", f"{DECODER}.layers (3)", f"{DECODER}.norm", "lm_head"):
        assert name in str(refused.value)
    assert 'load_lmm(..., layers="...", final_norm="...", unembedding="...")' in str(refused.value)


# What is not there, or not to be read


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model at .*nowhere"):
        load_lmm(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no model at .*save_pretrained"):
        load_lmm(tmp_path)


def test_a_missing_bundled_model_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(coxlmm_utils.files, "BUNDLED", tmp_path)
    with pytest.raises(FileNotFoundError, match="bundled model is not at .*full clone"):
        load_lmm("picturebook")


def test_an_unreachable_hub_is_named_at_once(tmp_path, offline, monkeypatch):
    calls = caught(monkeypatch, coxlmm_utils.models.loading.AutoConfig)
    with pytest.raises(OSError, match='"some/model" is not a folder .* cannot be reached .* give a folder'):
        load_lmm("some/model", cache_dir=tmp_path)
    assert calls[0]["local_files_only"]  # asked for once, of the cache


def test_a_hub_behind_a_proxy_is_asked(offline, monkeypatch):
    monkeypatch.setattr(coxlmm_utils.models.loading, "getproxies", lambda: {"https": "proxy"})
    calls = caught(monkeypatch, coxlmm_utils.models.loading.AutoConfig)
    with pytest.raises(OSError):
        load_lmm("not a name")  # refused before it is asked for
    assert "local_files_only" not in calls[0]


@pytest.mark.parametrize(
    "cause, reason", [(RepositoryNotFoundError, "no public model"), (GatedRepoError, "hf auth login")]
)
def test_what_the_hub_refuses_is_said(monkeypatch, offline, cause, reason):
    def refuse(*args, **kwargs):
        raise OSError("long text") from cause.__new__(cause)

    monkeypatch.setattr(coxlmm_utils.models.loading.AutoConfig, "from_pretrained", refuse)
    with pytest.raises(OSError, match=reason):
        load_lmm("some/model")


def test_a_model_without_pictures_is_refused(tmp_path):
    with pytest.raises(ValueError, match="type llama, which takes no pictures"):
        load_lmm(tiny_llama(tmp_path))


def test_an_encoder_with_a_decoder_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "florence2"}))
    with pytest.raises(ValueError, match="florence2.* reads with an encoder and writes with a decoder"):
        load_lmm(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "blip-2", "text_config": {"model_type": "t5"}}))
    with pytest.raises(ValueError, match="blip-2.* reads with an encoder"):
        load_lmm(tmp_path)


def test_a_model_without_its_processor_is_refused(folder, tmp_path):
    AutoModelForImageTextToText.from_pretrained(folder).save_pretrained(tmp_path / "alone")
    with pytest.raises(ValueError, match="processor"):
        load_lmm(tmp_path / "alone")


def test_an_empty_prompt_is_kept(tmp_path):
    assert load_lmm(tiny_llava(tmp_path), device="cpu", prompt="").prompt == ""
