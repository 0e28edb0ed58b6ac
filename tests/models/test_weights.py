"""Telling a model's weights from others: by a fingerprint, and by a checksum that sees every edit."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForImageTextToText

from coxlmm_utils.models import weights
from coxlmm_utils.models.weights import checksum, fingerprint
from tests.tiny_lmms import tiny_llava


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return tiny_llava(tmp_path_factory.mktemp("llava"))


def load(folder, dtype=torch.float32):
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_fingerprint_does_not_depend_on_the_precision(llava, tmp_path, stored):
    model = load(llava).requires_grad_(False)
    tiny = torch.tensor([3.3e-6, -2e-9])  # smaller than float16 holds exactly
    model.model.language_model.norm.weight[:2] = tiny
    model.to(stored).save_pretrained(tmp_path)
    marks = {fingerprint(load(tmp_path, dtype)) for dtype in (torch.float32, torch.float16, torch.bfloat16)}
    assert len(marks) == 1
    assert len(marks.pop()) == 16


def test_fingerprint_tells_weights_apart(llava):
    model = load(llava).requires_grad_(False)
    before = fingerprint(model)
    assert fingerprint(load(llava)) == before
    model.model.language_model.norm.weight[5] += 0.1
    assert fingerprint(model) != before


def test_the_smallest_edit_changes_the_checksum_and_taking_it_back_does_too(llava):
    model = load(llava).requires_grad_(False)
    before, weight = checksum(model), model.model.language_model.layers[0].mlp.down_proj.weight
    assert checksum(load(llava)) == before
    copy = weight.clone()
    weight[7, 3] = torch.nextafter(weight[7, 3], torch.tensor(9.0))
    edited = checksum(model)
    weight.copy_(copy[[1, 0, *range(2, len(copy))]])  # two neurons change places
    assert len({before, edited, checksum(model)}) == 3
    weight.copy_(copy)
    assert checksum(model) == before


def test_the_checksum_sees_every_sign_and_what_is_edited_in_pairs(llava):
    model = load(llava).requires_grad_(False)
    weight = model.model.language_model.layers[1].mlp.down_proj.weight
    seen, places = {checksum(model)}, [(0, 0), (0, 1), (1, 1), (7, 0), (slice(None), 3), (slice(0, 2), 5), 4]
    for place in places:
        weight[place] *= -1
        seen.add(checksum(model))
        weight[place] *= -1
    assert len(seen) == 1 + len(places)
    weight[:, [3, 5]] = weight[:, [5, 3]]  # columns change places within each row
    assert checksum(model) not in seen


def test_the_checksum_sees_buffers_that_running_the_model_leaves_alone(llava):
    model = load(llava)
    rotary = model.model.language_model.rotary_emb
    before = checksum(model)
    rotary.inv_freq *= 0.25
    assert checksum(model) != before
    rotary.rope_type = "dynamic"  # then running it changes them
    changing = checksum(model)
    rotary.inv_freq *= 4
    assert checksum(model) == changing


def test_fingerprint_tells_which_adapters_are_active_and_how_strongly(llava):
    model, marks = load(llava).requires_grad_(False), set()
    layer = model.model.language_model.layers[1].mlp.down_proj
    for active, off, scale in ((["a"], False, 1.0), (["b"], False, 1.0), (["a"], True, 1.0), (["a"], False, 0.5)):
        layer.active_adapters, layer.disable_adapters, layer.scaling = active, off, {"a": scale}  # as peft's layers
        marks.add(fingerprint(model))
    assert len(marks) == 4


def test_offloaded_weights_are_read_from_where_they_lie(llava):
    model = load(llava).requires_grad_(False)
    layers = model.model.language_model.layers
    here, weights = fingerprint(model), dict(layers[1].mlp.named_parameters())  # by name, as accelerate keeps them
    layers[1].mlp.to("meta")._hf_hook = SimpleNamespace(weights_map=weights)
    assert fingerprint(model) == here
    weights["down_proj.weight"] = weights["down_proj.weight"] + 0.5
    assert fingerprint(model) != here


def test_a_model_whose_weights_are_nowhere_is_not_told_from_others(llava):
    with pytest.raises(ValueError, match=r"weight is not in memory, .*: load it without offloading"):
        fingerprint(load(llava).to("meta"))


@pytest.mark.parametrize(
    "shape, dtype", [((70_001,), torch.float32), ((3, 32_768), torch.bfloat16), ((0,), torch.int8)]
)
def test_the_checksum_is_the_same_however_many_words_are_summed_at_once(shape, dtype, monkeypatch):
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    one_by_one = weights._hash(tensor)
    monkeypatch.setitem(weights.N_ROWS, "cpu", weights.N_ROWS_GPU)
    assert weights._hash(tensor) == one_by_one
