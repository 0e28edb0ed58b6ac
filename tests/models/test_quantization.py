"""Weights in 4 or 8 bits: only those of the blocks are packed, and all that is done to a model works on such a one."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig

from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.extraction.extraction_plan import Settings, make_plan
from coxlmm_utils.images import load_images
from coxlmm_utils.models import devices, loading, quantization
from coxlmm_utils.models.captioning import generate_captions, teacher_forced_states
from coxlmm_utils.models.devices import computing_dtype
from coxlmm_utils.models.hooks import add, capture
from coxlmm_utils.models.loading import load_lmm, randomly_initialised
from coxlmm_utils.models.passes import last_logits
from tests.conftest import in_plain_words, noise
from tests.tiny_lmms import FAMILIES, N_LAYERS, WIDTH, tiny_llava

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of peft itself
ALL_LAYERS = [*range(N_LAYERS + 1), "norm"]
PICTURES = [noise(seed) for seed in range(4)]
SHORT = dict(max_new_tokens=4)


@pytest.fixture(scope="module", params=["LLaVA", "Qwen2.5-VL", "Gemma 3"])
def folder(request, tmp_path_factory):
    return FAMILIES[request.param](tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def plain(folder):
    return in_plain_words(load_lmm(folder, device="cpu"))


@pytest.fixture(scope="module", params=["4bit", "8bit"])
def bits(request):
    pytest.importorskip(quantization.PACKAGES[request.param])
    return request.param


@pytest.fixture(scope="module")
def packed(folder, bits):
    return in_plain_words(load_lmm(folder, device="cpu", quantization=bits))


def generated(lmm):
    return generate_captions(lmm, PICTURES, ALL_LAYERS, **SHORT)


def weights_of(linear: nn.Linear, bits: str) -> torch.Tensor:
    """The weights that a packed layer computes with."""
    if bits == "8bit":
        return linear.weight.dequantize()
    import bitsandbytes

    return bitsandbytes.functional.dequantize_4bit(linear.weight.data, linear.weight.quant_state)


# What is packed


def test_the_linear_layers_of_the_blocks_are_packed_and_nothing_else(packed, plain, bits):
    blocks = {id(module) for module in packed.layers.modules()}
    linear = [name for name, module in packed.model.named_modules() if is_linear(module)]
    inside = [name for name in linear if id(packed.model.get_submodule(name)) in blocks]
    assert len(inside) == 7 * N_LAYERS
    for name in linear:
        module, before = packed.model.get_submodule(name), plain.model.get_submodule(name)
        if name in inside:
            check_packing(module, before.weight, bits)
        else:
            assert type(module.weight) is nn.Parameter and torch.equal(module.weight, before.weight)


def check_packing(linear: nn.Linear, full: torch.Tensor, bits: str) -> None:
    """The weights take as many bits, and are off by a rounding at most."""
    error = (weights_of(linear, bits) - full).abs()
    if bits == "8bit":  # half a step between 255 values, by rows
        assert linear.weight.qdata.dtype == torch.int8
        assert (error <= 0.51 * full.abs().amax(1, keepdim=True) / 127).all() and error.any()
    else:  # half of the widest gap between NF4's 16 values, .152, by 64 that follow each other; their scale is rounded
        assert linear.weight.dtype == torch.uint8 and linear.weight.numel() == full.numel() / 2
        assert linear.weight.quant_state.absmax.dtype == torch.uint8
        assert (error.reshape(-1, 64) <= 0.16 * full.reshape(-1, 64).abs().amax(1, keepdim=True)).all() and error.any()


def is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear)


@pytest.mark.parametrize("family", FAMILIES)
def test_of_every_family_all_linear_layers_outside_the_blocks_are_named(family, tmp_path):
    config = AutoConfig.from_pretrained(FAMILIES[family](tmp_path))
    skipped = quantization._skipped(config, {"trust_remote_code": False}, (None, None, None))
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    blocks = loading.find_parts(model).layers
    prefix = next(name for name, module in model.named_modules() if module is blocks)
    linear = [name for name, module in model.named_modules() if is_linear(module)]
    kept = [name for name in linear if any(f"{name}.".startswith(f"{skip}.") for skip in skipped)]
    assert kept == [name for name in linear if not name.startswith(f"{prefix}.")]
    assert not any(name.endswith(skip) for skip in skipped for name in linear if name not in kept)


def test_the_parts_are_found_and_words_are_read_exactly(packed, plain):
    assert packed.lens == "exact" and packed.width == WIDTH and packed.n_layers == N_LAYERS
    assert packed.model.dtype == torch.float32 and packed.device.type == "cpu"
    assert torch.equal(packed.unembedding.weight, plain.unembedding.weight)
    with torch.inference_mode(), capture(packed, ["norm"]) as states:
        logits = last_logits(packed, packed.inputs(PICTURES), 1)[:, 0]
    torch.testing.assert_close(packed.unembed(states["norm"][0], "norm"), logits)


def test_it_is_a_little_other_than_the_full_model_and_in_8_bits_less(packed, plain, bits):
    full, fewer = (last_logits(lmm, lmm.inputs(PICTURES[:1]), 1).flatten() for lmm in (plain, packed))
    cosine = torch.cosine_similarity(full, fewer, 0)
    assert (0.999 if bits == "8bit" else 0.9) < cosine < 0.99999


# Its states


def test_states_equal_those_of_a_teacher_forced_pass(packed):
    captions = generated(packed)
    forced = teacher_forced_states(packed, PICTURES, [caption.ids for caption in captions], ALL_LAYERS)
    for caption, states in zip(captions, forced):
        for layer in ALL_LAYERS:
            torch.testing.assert_close(caption.states[layer], states[layer], rtol=1e-3, atol=1e-3)


def test_states_do_not_depend_on_the_batch(packed):
    for together, picture in zip(generated(packed), PICTURES):
        [alone] = generate_captions(packed, [picture], ALL_LAYERS, **SHORT)
        assert together.ids == alone.ids
        for layer in ALL_LAYERS:
            torch.testing.assert_close(together.states[layer], alone.states[layer], rtol=1e-3, atol=1e-3)


def test_a_vector_is_added_and_is_felt_above_and_its_gradient_comes_back(packed):
    inputs, vector = packed.inputs(PICTURES[:1]), torch.ones(WIDTH, requires_grad=True)
    with capture(packed, [1, 2]) as before:
        packed.model(**inputs)
    with add(packed, 1, vector), capture(packed, [1, 2]) as after:
        logits = last_logits(packed, inputs, 1)
    torch.testing.assert_close(after[1][0] - before[1][0], torch.ones(1, WIDTH))
    assert (after[2][0] - before[2][0]).abs().max() > 0.1
    logits.logsumexp(-1).sum().backward()
    assert vector.grad.isfinite().all() and vector.grad.norm() > 0


def test_extraction_keeps_float32_and_never_mixes_precisions(packed, plain, tmp_path):
    for number, picture in enumerate(PICTURES):
        picture.save(tmp_path / f"{number}.png")
    [caption] = generate_captions(packed, PICTURES[:1], [2], **SHORT)
    word, images = caption.caption.split()[0], load_images(f"folder:{tmp_path}")
    states = extract(packed, images, word, 2, samples="said", folder=tmp_path, **SHORT)
    assert states.Z.dtype == torch.float32 and states.Z.isfinite().all()
    kept = states.Z[states.images.ids.index("0.png")]
    torch.testing.assert_close(kept, caption.state(2, 0, "predicts"), rtol=1e-3, atol=1e-3)
    settings = Settings([2], ["predicts"], samples="said", **SHORT)
    mine, others = (make_plan(lmm, images, [word], settings).folder(tmp_path) for lmm in (packed, plain))
    assert not mine.missing() and others.missing()


# Its weights


def test_a_fingerprint_of_its_own_that_runs_do_not_change(folder, packed, plain, bits):
    mark = packed.fingerprint
    generated(packed)
    again = load_lmm(folder, device="cpu", quantization=bits)
    assert packed.fingerprint == mark == again.fingerprint != plain.fingerprint
    assert packed.name == again.name == f"{folder}, {bits}"


def test_a_cpu_for_which_weights_would_be_packed_anew_leaves_them_alone(tmp_path, monkeypatch):
    pytest.importorskip("bitsandbytes")
    folder = tiny_llava(tmp_path)
    before = load_lmm(folder, device="cpu", quantization="4bit").fingerprint
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)
    lmm = load_lmm(folder, device="cpu", quantization="4bit")
    generated(lmm)
    assert lmm.fingerprint == before


def test_two_packings_are_two_models(tmp_path):
    pytest.importorskip("bitsandbytes")
    folder = tiny_llava(tmp_path)
    options = [{}, {"bnb_4bit_quant_type": "nf4"}, {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}]
    configs = [BitsAndBytesConfig(load_in_4bit=True, **option) for option in options]
    lmms = [load_lmm(folder, device="cpu", quantization_config=config) for config in configs]
    assert len({lmm.fingerprint for lmm in lmms}) == 3
    assert all(lmm.name == str(folder) and lmm.lens == "exact" for lmm in lmms)


def test_edits_of_packed_weights_and_of_their_scales_are_seen(folder, bits):
    lmm = load_lmm(folder, device="cpu", quantization=bits)
    marks = {lmm.fingerprint}
    weight = next(module for module in lmm.layers[1].modules() if is_linear(module)).weight
    parts = [weight.qdata, weight.scale] if bits == "8bit" else [weight.data, weight.quant_state.state2.absmax]
    for tensor in parts:
        tensor.view(-1)[-1] += 1  # where none of the fingerprint's 64 values of a large one is
        marks.add(lmm.fingerprint)
    assert len(marks) == 3


def test_what_was_saved_is_loaded_as_it_is(packed, tmp_path):
    packed.model.save_pretrained(tmp_path)
    packed.processor.save_pretrained(tmp_path)
    again = load_lmm(tmp_path, device="cpu")
    assert again.fingerprint == packed.fingerprint and again.lens == "exact"
    with pytest.raises(
        ValueError, match=r"is stored quantised \((bitsandbytes|torchao)\).*leave quantization='4bit' out"
    ):
        load_lmm(tmp_path, device="cpu", quantization="4bit")


def test_a_control_of_random_weights_is_refused(packed):
    with pytest.raises(ValueError, match="is quantised, and weights .* load it without quantization"):
        randomly_initialised(packed)


# With a device map, a precision, an adapter


@pytest.mark.parametrize("dtype", ["float16", torch.bfloat16])
def test_a_precision_can_be_given(folder, bits, dtype):
    lmm = load_lmm(folder, device="cpu", quantization=bits, dtype=dtype)
    assert str(lmm.model.dtype).endswith(str(dtype).removeprefix("torch."))
    [caption] = generate_captions(lmm, PICTURES[:1], [2], **SHORT)
    assert caption.states[2].isfinite().all()


def test_by_default_it_computes_in_what_the_device_is_made_for(monkeypatch):
    gpu = torch.device("cuda")
    for new, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, new=new: new)
        assert computing_dtype("auto", gpu) == expected
    assert computing_dtype("auto", torch.device("cpu")) == torch.float32
    assert computing_dtype("auto", torch.device("mps")) == torch.float16
    assert computing_dtype("float32", gpu) == computing_dtype(torch.float32, gpu) == torch.float32


def test_it_goes_to_the_device_that_was_chosen_or_where_a_map_says(folder, bits, monkeypatch):
    maps, load = [], AutoModelForImageTextToText.from_pretrained

    def keep(source, **options):
        maps.append(options["device_map"])
        return load(source, **options | {"device_map": None})

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", keep)
    monkeypatch.setattr(devices, "best_device", lambda: "cpu")
    load_lmm(folder, quantization=bits)
    load_lmm(folder, quantization=bits, device_map="auto")
    assert maps == [{"": torch.device("cpu")}, "auto"]


def test_an_adapter_is_computed_beside_the_packed_weights(folder, packed, bits, tmp_path):
    peft = pytest.importorskip("peft")
    torch.manual_seed(1)
    options = dict(target_modules=["q_proj", "v_proj", "down_proj"], modules_to_save=["lm_head"])
    lora = peft.LoraConfig(r=2, lora_alpha=4, init_lora_weights=False, **options)
    base = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    peft.get_peft_model(base, lora).save_pretrained(tmp_path / "beach")
    lmm = load_lmm(folder, device="cpu", quantization=bits, adapter=tmp_path / "beach")
    assert lmm.name == f"{folder} + beach, {bits}" and lmm.lens == "exact" and type(lmm.model) is type(packed.model)
    assert lmm.fingerprint != packed.fingerprint and not any(p.requires_grad for p in lmm.model.parameters())
    other = load_lmm(folder, device="cpu", quantization=bits)
    own = peft.PeftModel.from_pretrained(other.model, tmp_path / "beach").eval()
    inputs = lmm.inputs(PICTURES[:2])
    with torch.inference_mode():
        logits = lmm.model(**inputs).logits
        torch.testing.assert_close(logits, own(**inputs).logits)
        assert (logits - packed.model(**inputs).logits).abs().max() > 0.1


def test_an_adapter_that_fits_full_weights_only_is_refused(tmp_path):
    peft, _ = pytest.importorskip("peft"), pytest.importorskip("bitsandbytes")
    folder = tiny_llava(tmp_path / "model")
    base = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    peft.get_peft_model(base, peft.LoHaConfig(r=2, target_modules=["down_proj"])).save_pretrained(tmp_path / "loha")
    with pytest.raises(ValueError, match="loha of .* does not fit the packed weights of .*save_pretrained"):
        load_lmm(folder, device="cpu", quantization="4bit", adapter=tmp_path / "loha")


# What is refused


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"quantization": "3bit"}, 'no quantization \'3bit\': give "4bit" or "8bit"'),
        ({"quantization": "4bit", "quantization_config": object()}, "quantization_config are two answers"),
    ],
)
def test_what_cannot_be_meant_is_said(tmp_path, options, reason):
    with pytest.raises(ValueError, match=reason):
        load_lmm(tiny_llava(tmp_path), device="cpu", **options)


def test_precisions_that_packed_weights_do_not_compute_in_are_refused(tmp_path, bits):
    with pytest.raises(ValueError, match="computes in float32, float16 or bfloat16, not float64"):
        load_lmm(tiny_llava(tmp_path), device="cpu", quantization=bits, dtype="float64")


@pytest.mark.parametrize("bits, package", [("4bit", "bitsandbytes"), ("8bit", "torchao")])
@pytest.mark.parametrize("missing", ["package", "accelerate"])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, bits, package, missing):
    for name in ("bitsandbytes", "torchao", "accelerate"):
        there = name != (package if missing == "package" else missing)
        monkeypatch.setattr(quantization, f"is_{name}_available", lambda there=there: there)
    with pytest.raises(ImportError, match=rf"{package} and accelerate.*\[quantization\]: pip install {package} acc"):
        load_lmm(tiny_llava(tmp_path), device="cpu", quantization=bits)
