"""What an extraction takes, computed from the configuration, beside what torch allocates in fact."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
from transformers import LlavaConfig, LlavaProcessor

from coxlmm_utils.extraction.memory import plan
from coxlmm_utils.extraction.memory_plan import MemoryPlan
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.models.quantization import PACKAGES
from coxlmm_utils.models.without_weights import BYTES_OF_WEIGHT, linear_layers, load_without_weights, weights_of
from coxlmm_utils.text import in_bytes
from tests.conftest import in_memory, in_plain_words
from tests.measured_memory import memory_of_generating
from tests.tiny_lmms import FAMILIES, WIDTH
from tests.tiny_lmms.llavas import LLAVA_CHAT
from tests.tiny_lmms.parts import build, clip_pictures, make_tokenizer, text_sizes

LAYERS = [1, 2, "norm"]
TOLERANCE = 0.1


@pytest.fixture(scope="module")
def images(pictures):
    return in_memory(pictures, ("all grey",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return FAMILIES["LLaVA"](tmp_path_factory.mktemp("memory"))


@pytest.fixture(scope="module", params=["LLaVA", "Qwen2.5-VL", "Gemma 3"])
def tiny(request, tmp_path_factory):
    return only_plain_words(FAMILIES[request.param](tmp_path_factory.mktemp("memory")))


@pytest.fixture(scope="module")
def mid_size(tmp_path_factory):
    """A LLaVA of 8 layers of width 512 over 64 image tokens: 45 million weights."""
    tokenizer, pixels = make_tokenizer("<image>"), dict(height=112, width=112)
    tokens = dict(patch_size=14, num_additional_image_tokens=1, vision_feature_select_strategy="default")
    pictures = clip_pictures().from_dict(dict(size={"shortest_edge": 112}, crop_size=pixels))
    sizes = dict(hidden_size=512, intermediate_size=1376, num_attention_heads=8)
    text = dict(num_hidden_layers=8, num_key_value_heads=8, head_dim=64, vocab_size=16_000)
    vision = dict(model_type="clip_vision_model", image_size=112, patch_size=14, num_hidden_layers=4)
    config = LlavaConfig(
        vision_config=vision | sizes | dict(hidden_size=256, intermediate_size=1024),
        text_config=text_sizes(tokenizer, "llama") | sizes | text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
    processor = LlavaProcessor(pictures, tokenizer, chat_template=LLAVA_CHAT, **tokens)
    return only_plain_words(build(tmp_path_factory.mktemp("mid"), config, processor))


def largest(pictures: list, n: int) -> list:
    """The n largest, smaller ones first, as `extract` puts them into one batch."""
    return sorted(pictures, key=lambda picture: picture.width * picture.height)[-n:]


def only_plain_words(folder):
    lmm = in_plain_words(load_lmm(folder, device="cpu"))
    plain = set(range(len(lmm.tokenizer))) - set(lmm.model.generation_config.suppress_tokens)
    lmm.model.generation_config.suppress_tokens = [
        i for i in range(lmm.unembedding.out_features) if i not in plain
    ]  # those that no word has, too
    return lmm


# Beside what is measured


@pytest.mark.parametrize("n, max_new_tokens", [(2, 3), (2, 40), (16, 12)])
def test_within_a_tenth_of_measured_memory_on_tiny_models(tiny, images, pictures, n, max_new_tokens, monkeypatch):
    planned = plan(tiny.name, images, "grey", LAYERS, None, max_new_tokens, n, device="cpu")
    measured = memory_of_generating(tiny, largest(pictures, n), LAYERS, max_new_tokens, monkeypatch)
    assert planned.weights == weights_of(tiny)
    assert planned.total == pytest.approx(planned.weights + measured, rel=TOLERANCE)
    # And the rest alone, of which weights may hide a part.
    assert planned.total - planned.weights == pytest.approx(measured, rel=TOLERANCE)


@pytest.mark.parametrize("n, max_new_tokens", [(2, 4), (16, 12)])
def test_within_a_tenth_of_measured_memory_on_a_mid_size_model(
    mid_size, images, pictures, n, max_new_tokens, monkeypatch
):
    planned = plan(mid_size.name, images, "grey", 4, None, max_new_tokens, n, device="cpu")
    measured = memory_of_generating(mid_size, largest(pictures, n), [4], max_new_tokens, monkeypatch)
    assert planned.weights == weights_of(mid_size) > 150 * 10**6
    assert planned.total - planned.weights == pytest.approx(measured, rel=TOLERANCE)


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_within_a_tenth_of_measured_memory_of_packed_weights(mid_size, images, pictures, quantization, monkeypatch):
    pytest.importorskip(PACKAGES[quantization])
    lmm = load_lmm(mid_size.name, device="cpu", quantization=quantization)
    lmm.model.generation_config.suppress_tokens = mid_size.model.generation_config.suppress_tokens
    planned = plan(mid_size.name, images, "grey", 4, None, 4, 2, device="cpu", quantization=quantization)
    measured = memory_of_generating(lmm, largest(pictures, 2), [4], 4, monkeypatch)
    assert planned.weights == pytest.approx(weights_of(lmm), rel=0.01) and planned.weights < 0.6 * weights_of(mid_size)
    assert planned.total - planned.weights == pytest.approx(measured, rel=TOLERANCE)
    loaded = plan(lmm, images, "grey", 4, None, 4, 2)
    assert loaded.weights == weights_of(lmm) and f"blocks in {quantization}" in loaded.model
    assert loaded.total - loaded.weights == planned.total - planned.weights


# What is planned


def test_needs_no_weights(folder, images, tmp_path):
    shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    planned = plan(tmp_path / "bare", images, "grey", 2, device="cpu")
    assert planned.weights == weights_of(load_lmm(folder, device="cpu"))
    assert planned.batch_size == 24 and planned.fits  # there are no more pictures
    assert planned.disk == 24 * WIDTH * 4 and planned.image_tokens == (16, 16)


def test_parts_grow_as_they_should(folder, images):
    one, two, long = (
        plan(folder, images, "grey", layers, None, max_new_tokens, device="cpu")
        for layers, max_new_tokens in (([1], 4), ([1, 2], 4), ([1], 200))
    )
    assert (one.during, two.during, long.during) == ("prompts", "prompts", "captions")
    assert two.states == 2 * one.states == 2 * 24 * WIDTH * 4 and two.cache == one.cache
    per_token = 24 * 3 * 2 * (2 * 16) * 4  # pictures, layers, keys and values, heads and their width, bytes
    assert one.cache == one.prompt_length * per_token and long.cache == (one.prompt_length + 200) * per_token
    assert long.states == 201 * one.states


def test_a_loaded_model_is_taken_as_it_is(folder, images):
    lmm = load_lmm(folder, device="cpu", dtype="bfloat16")
    planned, by_name = plan(lmm, images, "grey", 2), plan(folder, images, "grey", 2, device="cpu", dtype="bfloat16")
    assert planned.total == by_name.total and planned.weights == weights_of(lmm)
    with pytest.raises(ValueError, match="is loaded, so leave dtype out"):
        plan(lmm, images, "grey", 2, dtype="float32")


def test_only_pictures_that_may_be_samples_count(folder, pictures):
    images = in_memory(pictures[:3], [("a dog",), ("a cat",), ()])
    planned = plan(folder, images, "dog", 2, device="cpu")
    assert planned.batch_size == 2 and planned.disk == 2 * WIDTH * 4
    everything = plan(folder, images, device="cpu")
    assert everything.batch_size == 3 and everything.disk == 3 * WIDTH * 4  # one layer
    with pytest.raises(ValueError, match="there are no pictures"):
        plan(folder, images[:0], device="cpu")
    with pytest.raises(ValueError, match="no reference caption of the 2 pictures has 'horse'"):
        plan(folder, images[:2], "horse", 2, device="cpu")
    with pytest.raises(ValueError, match="has no layer 9"):
        plan(folder, images, "dog", 9, device="cpu")


def test_packed_weights_are_those_of_the_blocks(folder, images):
    lmm = load_without_weights(folder, device="cpu")
    count = sum(linear.weight.numel() for linear in linear_layers(lmm))
    assert len(linear_layers(lmm)) == 3 * 7 and count == 3 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
    planned = plan(folder, images, "grey", 2, device="cpu", quantization="4bit")
    assert planned.weights == int(weights_of(lmm) - count * (4 - BYTES_OF_WEIGHT["4bit"]))
    eight = plan(folder, images, "grey", 2, device="cpu", quantization="8bit")
    assert eight.weights == weights_of(lmm) - 3 * count + 4 * 3 * (64 + 32 + 32 + 64 + 128 + 128 + 64)


# What to change


def test_the_largest_batch_that_fits_is_found(folder, images):
    options = dict(device="cpu", dtype="bfloat16", quantization="4bit")  # so that there is nothing else to propose
    seven, eight = (plan(folder, images, "grey", 2, batch_size=n, **options) for n in (7, 8))
    planned = plan(folder, images, "grey", 2, **options, memory=seven.total + 1000)
    assert seven.total + 1000 < eight.total and not planned.fits
    assert planned.advice == (f"batch_size=7 takes {in_bytes(seven.total)}: the most pictures at once that fit.",)
    # "auto" tries 8, and halves what does not fit.
    assert plan(folder, images, "grey", 2, batch_size="auto", **options, memory=planned.memory).batch_size == 4


def test_what_other_ways_take_is_computed(folder, images):
    full, half = (plan(folder, images, "grey", 2, device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    planned = plan(folder, images, "grey", 2, device="cpu", memory=half.total)
    assert half.weights < 0.51 * full.weights and half.cache == full.cache / 2
    assert re.fullmatch(r'dtype="bfloat16" takes [\d.]+ [kM]B, which fits\.', planned.advice[1])
    assert planned.advice[2].startswith('dtype="bfloat16", quantization="4bit" takes ')
    packed = plan(folder, images, "grey", 2, device="cpu", dtype="bfloat16", quantization="4bit", memory=1)
    assert packed.total < half.total and not any("quantization" in sentence for sentence in packed.advice)


def test_one_layer_is_proposed_where_states_are_many(folder, images):
    layers = [0, 1, 2, 3, "norm"]
    planned = plan(folder, images, "grey", layers, max_new_tokens=200, device="cpu", memory=1)
    one = plan(folder, images, "grey", 0, max_new_tokens=200, device="cpu")
    assert planned.states == 5 * one.states and planned.advice[-2].startswith("one layer alone takes ")


def test_it_says_so_if_nothing_fits(folder, images):
    planned = plan(folder, images, "grey", 2, device="cpu", memory=1000)
    assert planned.advice[0].startswith("Not even one picture at a time fits: that takes ")
    assert "no batch_size fits" in planned.advice[1] and planned.advice[-1].startswith("Take a smaller model")


# How it looks


def test_is_a_table():
    planned = MemoryPlan(
        "<b> in float16", 14 * 2**30, 2**30, 2**20, 2**28, "prompts", 8, 40, 600, (9, 576), 5000, 2**33
    )
    assert str(planned).splitlines() == [
        "<b> in float16: 8 pictures at once, captions of up to 40 tokens",
        "  weights                14.0 GB",
        "  key-value cache         1.0 GB",
        "  captured states         1.0 MB",
        "  inputs, activations     256 MB  most while the blocks read the prompts",
        "  together               15.3 GB  does not fit: 8.0 GB are free",
        "  states on disk            5 kB  at most",
        "A prompt has up to 600 tokens, of which a picture's are 9 to 576.",
    ]
    assert "&lt;b&gt; in float16" in planned._repr_html_() and "<b>" not in planned._repr_html_()


def test_what_is_no_quantization_and_what_is_stored_so_is_refused(folder, images, tmp_path):
    with pytest.raises(ValueError, match="there is no quantization '3bit'"):
        plan(folder, images, "grey", 2, device="cpu", quantization="3bit")
    shutil.copytree(folder, tmp_path / "packed")
    record = json.loads((tmp_path / "packed" / "config.json").read_text())
    record["quantization_config"] = {"quant_method": "awq", "bits": 4}
    (tmp_path / "packed" / "config.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"stored quantised \(awq\): load it, and give that"):
        plan(tmp_path / "packed", images, "grey", 2, device="cpu")


@pytest.mark.parametrize(
    "option", [dict(quantisation="4bit"), dict(quantization_config={}), dict(adapter="x"), dict(device_map="auto")]
)
def test_options_that_are_not_taken_are_refused(folder, images, option):
    with pytest.raises(ValueError, match=f"plan takes no '{next(iter(option))}' with a model's name"):
        plan(folder, images, "grey", 2, device="cpu", **option)


def test_older_names_and_attention_count(folder, images):
    half = plan(folder, images, "grey", 2, device="cpu", torch_dtype="bfloat16")
    assert half.total == plan(folder, images, "grey", 2, device="cpu", dtype="bfloat16").total
    eager = plan(folder, images, "grey", 2, device="cpu", attn_implementation="eager")
    assert eager.total > plan(folder, images, "grey", 2, device="cpu").total  # which keeps all attention scores


def test_memory_of_the_gpu_is_asked(folder, images, monkeypatch):
    for name, count in (("memory_reserved", 700), ("memory_allocated", 500)):
        monkeypatch.setattr(torch.cuda, name, lambda device, count=count: count)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (12345, 99999))
    planned = plan(folder, images, "grey", 2, device="cuda", dtype="float16")
    assert planned.memory == 12345 + 200 and not planned.fits
