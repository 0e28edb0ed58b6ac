"""Finding a model by name, in a folder or on the hub, and refusing what cannot be."""

from __future__ import annotations

import json
import socket

import pytest
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

import coxlmm_utils.models.sources
from coxlmm_utils.models.loading import load_lmm
from tests.tiny_lmms import tiny_llama, tiny_llava


@pytest.fixture
def offline(monkeypatch) -> None:
    """No proxy, and no name that leads anywhere."""

    def look_up(*args):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(coxlmm_utils.models.sources, "getproxies", dict)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.fixture
def asked(monkeypatch) -> list[dict]:
    """The options of each call for a configuration."""
    calls, load = [], coxlmm_utils.models.sources.AutoConfig.from_pretrained

    def keep(source, **options):
        calls.append(options)
        return load(source, **options)

    monkeypatch.setattr(coxlmm_utils.models.sources.AutoConfig, "from_pretrained", keep)
    return calls


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model at .*nowhere"):
        load_lmm(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no model at .*save_pretrained"):
        load_lmm(tmp_path)


@pytest.mark.parametrize("beside_its_model", [False, True])
def test_an_adapter_is_named_with_what_to_do(tmp_path, monkeypatch, beside_its_model):
    monkeypatch.setattr(coxlmm_utils.models.sources, "is_peft_available", lambda: not beside_its_model)
    if beside_its_model:  # without peft it would be left out
        tiny_llava(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "some/model"}))
    remedy = r"an adapter of some/model: .*load_lmm\('some/model', adapter=.*peft"
    with pytest.raises(FileNotFoundError, match=remedy):
        load_lmm(tmp_path)


def test_a_missing_bundled_model_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(coxlmm_utils.files, "BUNDLED", tmp_path)
    with pytest.raises(FileNotFoundError, match="bundled model is not at .*full clone"):
        load_lmm("picturebook")


def test_an_unreachable_hub_is_named_at_once(tmp_path, offline, asked):
    with pytest.raises(OSError, match='"some/model" is not a folder .* cannot be reached .* give a folder'):
        load_lmm("some/model", cache_dir=tmp_path)
    assert asked[0]["local_files_only"]  # asked for once, of the cache


def test_a_hub_behind_a_proxy_is_asked(offline, asked, monkeypatch):
    monkeypatch.setattr(coxlmm_utils.models.sources, "getproxies", lambda: {"https": "proxy"})
    with pytest.raises(OSError):
        load_lmm("not a name")  # refused before it is asked for
    assert "local_files_only" not in asked[0]


@pytest.mark.parametrize(
    "cause, reason", [(RepositoryNotFoundError, "no public model"), (GatedRepoError, "hf auth login")]
)
def test_what_the_hub_refuses_is_said(monkeypatch, offline, cause, reason):
    def refuse(*args, **kwargs):
        raise OSError("long text") from cause.__new__(cause)

    monkeypatch.setattr(coxlmm_utils.models.sources.AutoConfig, "from_pretrained", refuse)
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
