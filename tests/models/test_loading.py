"""Loading a model from wherever it is, and refusing what cannot be read."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, dynamic_module_utils

import coxlmm_utils.models.loading
from coxlmm_utils.models.captioning import generate_captions
from coxlmm_utils.models.hooks import add, capture, has_hooks
from coxlmm_utils.models.lmm import PAPER_PROMPT
from coxlmm_utils.models.loading import load_lmm
from tests.conftest import noise
from tests.tiny_lmms import tiny_llava

DECODER = "model.language_model"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_llava(tmp_path_factory.mktemp("llava"))


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
    assert load_lmm(folder, device="cpu", torch_dtype=torch.bfloat16).model.dtype == torch.bfloat16
    assert load_lmm(folder, "cpu", "bfloat16", torch_dtype=torch.bfloat16).model.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="dtype='float64' and torch_dtype='bfloat16' are two answers"):
        load_lmm(folder, device="cpu", dtype="float64", torch_dtype="bfloat16")


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
    monkeypatch.setattr(coxlmm_utils.models.devices, "is_accelerate_available", lambda: True)
    monkeypatch.setattr(coxlmm_utils.models.devices, "best_device", lambda: "meta")
    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", placed(AutoModelForImageTextToText))
    lmm = load_lmm(folder, device_map="auto", dtype="float32")
    assert calls[0]["device_map"] == "auto" and lmm.device.type == "cpu"


def placed(auto_class):
    """As accelerate leaves a model: on its devices, with the map of where each part is."""
    load = auto_class.from_pretrained

    def place(source, **options):
        model, info = load(source, **options)
        model.hf_device_map = {"": "cpu"}
        return model, info

    return place


PARTS = ("vision_tower", "multi_modal_projector", "language_model.embed_tokens", "language_model.norm")
SPLIT = {f"model.{part}": "cpu" for part in (*PARTS, "language_model.rotary_emb", "language_model.layers.0")}
SPLIT |= {f"{DECODER}.layers.1": "disk", f"{DECODER}.layers.2": "disk", "lm_head": "cpu"}


@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}, SPLIT], ids=["auto", "one device", "disk"])
def test_a_device_map_leaves_states_hooks_and_fingerprint_as_they_are(folder, tmp_path, device_map):
    pytest.importorskip("accelerate")
    layers, lmms = [0, 1, 2, 3, "norm"], [load_lmm(folder, device="cpu")]
    lmms.append(load_lmm(folder, device_map=device_map, dtype="float32", offload_folder=tmp_path))
    assert lmms[1].fingerprint == lmms[0].fingerprint and not has_hooks(lmms[1])
    plain, mapped = (generate_captions(lmm, [noise(0), noise(1)], layers, max_new_tokens=4) for lmm in lmms)
    for before, after in zip(plain, mapped):
        assert all(torch.equal(before.states[layer], after.states[layer]) for layer in layers)
    with add(lmms[1], 2, torch.ones(64)), capture(lmms[1], [2]) as states:
        lmms[1].model(**lmms[1].inputs([noise(0)]))
    torch.testing.assert_close(states[2][0], plain[0].states[2][:1] + 1, rtol=1e-4, atol=1e-4)


def test_a_device_map_without_accelerate_is_refused(folder, monkeypatch):
    monkeypatch.setattr(coxlmm_utils.models.devices, "is_accelerate_available", lambda: False)
    with pytest.raises(ImportError, match="pip install accelerate"):
        load_lmm(folder, device_map="auto")


def test_a_device_and_a_device_map_are_refused_together(folder):
    with pytest.raises(ValueError, match="device='cpu' and device_map='auto' are two answers"):
        load_lmm(folder, device="cpu", device_map="auto")


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"dtype": "fp16"}, 'no dtype \'fp16\': give "float32", "float16"'),
        ({"dtype": "nn"}, "no dtype 'nn'"),
        ({"device": "gpu"}, 'no device \'gpu\': give "cpu", "cuda"'),
        ({"low_cpu_memory": True}, "neither load_lmm nor transformers has an option 'low_cpu_memory'"),
    ],
)
def test_options_that_there_are_not_are_named(folder, options, reason):
    with pytest.raises(ValueError, match=reason):
        load_lmm(folder, **{"device": "cpu"} | options)


def test_code_that_comes_with_a_model_runs_only_if_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    settings = {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "own.py").write_text("raise RuntimeError('it ran')\n")
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        load_lmm(tmp_path)
    with pytest.raises(RuntimeError, match="it ran"):
        load_lmm(tmp_path, trust_remote_code=True)


# Whether all weights are there


def with_weights(folder, change):
    """The same folder, with other weights in its checkpoint."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    return folder


def test_weights_that_would_be_random_are_refused_and_named(tmp_path):
    def renamed(weights):
        return {name.replace("language_model.model.layers.1", "llm.layers.1"): w for name, w in weights.items()}

    folder = with_weights(tiny_llava(tmp_path), renamed)
    with pytest.raises(
        ValueError, match=r"lacks 9 of the 73 weights .* random ones: .*layers.1.self_attn.q_proj.weight"
    ):
        load_lmm(folder, device="cpu")


def test_weights_of_another_shape_are_refused_even_if_transformers_is_told_to_go_on(tmp_path):
    def cut(weights):
        return {name: w[:, :-1].contiguous() if "up_proj" in name else w for name, w in weights.items()}

    with pytest.raises(ValueError, match="lacks 3 of the 73 weights"):
        load_lmm(with_weights(tiny_llava(tmp_path), cut), device="cpu", ignore_mismatched_sizes=True)


def test_weights_that_the_model_does_not_take_are_counted_and_named(tmp_path):
    path = tiny_llava(tmp_path) / "model.safetensors"
    tensors = load_file(path) | {"vision_tower.position_ids": torch.zeros(2)}
    save_file(tensors, path, metadata={"format": "pt"})
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        load_lmm(tmp_path, device="cpu")
    assert not any("does not take" in str(warning.message) for warning in seen)  # models make it by themselves
    lora = "model.language_model.layers.1.self_attn.q_proj.lora_A"
    save_file(tensors | {lora: torch.zeros(2, 64)}, path, metadata={"format": "pt"})
    with pytest.warns(UserWarning, match=f"has 1 weights that Llava.* does not take, .* such as {lora}"):
        load_lmm(tmp_path, device="cpu")


@pytest.mark.parametrize("content", ["{", "[]"])
def test_damaged_generation_settings_are_named(tmp_path, content):
    (tiny_llava(tmp_path) / "generation_config.json").write_text(content)
    with pytest.raises(OSError, match="generation_config.json of .* is damaged: fetch it again"):
        load_lmm(tmp_path, device="cpu")


def test_tied_weights_and_buffers_need_not_be_in_a_checkpoint(tmp_path):
    model = AutoModelForImageTextToText.from_pretrained(tiny_llava(tmp_path))
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tmp_path)
    assert "lm_head.weight" not in {name.removeprefix("model.") for name in load_file(tmp_path / "model.safetensors")}
    lmm = load_lmm(tmp_path, device="cpu")
    assert lmm.unembedding.weight is lmm.model.get_input_embeddings().weight


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", b"", None])
def test_damaged_weights_are_named(tmp_path, content):
    path = tiny_llava(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:9000] if content is None else content)
    with pytest.raises(OSError, match="the weights of .* are damaged, or only pointers .*git lfs pull"):
        load_lmm(tmp_path, device="cpu")


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


def test_a_model_without_its_processor_is_refused(folder, tmp_path):
    AutoModelForImageTextToText.from_pretrained(folder).save_pretrained(tmp_path / "alone")
    with pytest.raises(ValueError, match="processor"):
        load_lmm(tmp_path / "alone")


@pytest.mark.parametrize(
    "name, value",
    [("patch_size", "8"), ("num_additional_image_tokens", "1"), ("vision_feature_select_strategy", '"default"')],
)
def test_what_an_older_processor_lacks_is_said(tmp_path, name, value):
    path = tiny_llava(tmp_path) / "processor_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({key: settings[key] for key in settings if key != name}))
    with pytest.raises(ValueError, match=f'LlavaProcessor of .* write "{name}": {value} into processor_config.json'):
        load_lmm(tmp_path, device="cpu")


@pytest.mark.parametrize("text", ["messages[0]['content']", "'USER: ' + messages[0]['content']"])
def test_a_chat_template_of_text_only_is_refused(folder, text):
    with pytest.raises(ValueError, match=r'takes text only: .*load_lmm\(..., chat_template="..."\)'):
        load_lmm(folder, device="cpu", chat_template="{{ %s }}" % text)


def test_what_else_keeps_a_model_from_its_inputs_is_said_in_one_sentence(folder, tmp_path):
    for template in ("no picture", "{% if messages[0]['content'][0].image %}{{ 1 + 'a' }}{% endif %}"):
        with pytest.raises(ValueError, match="LlavaProcessor, makes no inputs .*: see to its chat template"):
            load_lmm(folder, device="cpu", chat_template=template)
    path = tiny_llava(tmp_path) / "processor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_additional_image_tokens": 3}))
    with pytest.raises(
        ValueError, match="LlavaFor.* does not take what its processor makes .* tokens: 18.*: see to the sizes"
    ):
        load_lmm(tmp_path, device="cpu")


def test_an_empty_prompt_is_kept(tmp_path):
    assert load_lmm(tiny_llava(tmp_path), device="cpu", prompt="").prompt == ""
