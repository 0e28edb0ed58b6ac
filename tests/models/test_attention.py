"""Attention knock-out: what other positions may know of image tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from coxlmm_utils.models.attention import attention_knockout
from coxlmm_utils.models.captioning import teacher_forced_states
from coxlmm_utils.models.hooks import capture
from coxlmm_utils.models.image_tokens import image_tokens
from coxlmm_utils.models.loading import load_lmm
from tests.conftest import noise
from tests.tiny_lmms import FAMILIES, N_LAYERS

LAYERS = [*range(N_LAYERS + 1), "norm"]
CAPTION = [20, 21, 22]


@pytest.fixture(scope="module")
def alike() -> list[Image.Image]:
    """Two pictures of one size: as many image tokens."""
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)) for _ in range(2)]


@pytest.fixture(scope="module", params=["LLaVA", "Qwen2.5-VL", "Idefics3", "PaliGemma", "Gemma 3", "BLIP-2", "DePALM"])
def family(request, tmp_path_factory):
    return load_lmm(FAMILIES[request.param](tmp_path_factory.mktemp("family")), device="cpu")


@pytest.fixture(params=["sdpa", "eager"])
def lmm(family, request):
    family.model.set_attn_implementation(request.param)
    return family


def read(lmm, pictures):
    return teacher_forced_states(lmm, pictures, [CAPTION] * len(pictures), LAYERS)


def equal(states, others, layers=LAYERS):
    return all(torch.equal(states[layer], others[layer]) for layer in layers)


def test_from_the_first_layer_on_the_picture_makes_no_difference(lmm, alike):
    plain = read(lmm, alike)
    assert not equal(*plain, layers=[N_LAYERS])
    with attention_knockout(lmm, 0):
        assert equal(*read(lmm, alike))
    assert equal(read(lmm, alike)[0], plain[0])  # no hook is left


def test_from_the_last_layer_on_nothing_changes(lmm, alike):
    plain = read(lmm, alike)[0]
    with attention_knockout(lmm, N_LAYERS):
        assert equal(read(lmm, alike)[0], plain)


def test_layers_before_are_unchanged(lmm, alike):
    plain = read(lmm, alike)
    with attention_knockout(lmm, 1):
        knocked_out = read(lmm, alike)
    assert equal(knocked_out[0], plain[0], [0, 1]) and not torch.allclose(knocked_out[0][3], plain[0][3], atol=1e-3)
    assert not equal(*knocked_out, layers=[3])  # what was read of the picture before is still there


def test_without_padding_the_same_attention_is_blocked(family, alike):
    """Then sdpa gets no mask at all."""
    longer = [CAPTION, CAPTION + CAPTION]  # the first is padded
    with attention_knockout(family, 1):
        [alone], together = read(family, alike[:1]), teacher_forced_states(family, alike, longer, LAYERS)
    for layer in LAYERS:
        torch.testing.assert_close(alone[layer], together[0][layer], rtol=1e-3, atol=1e-3)


def test_pictures_of_different_sizes_are_padded(qwen):
    pictures = [noise(1), noise(2)]
    batch = qwen.inputs(pictures, continuations=[CAPTION] * 2)
    assert not batch["attention_mask"].all()
    with attention_knockout(qwen, 1):
        together, [alone] = read(qwen, pictures), read(qwen, pictures[:1])
    torch.testing.assert_close(together[0]["norm"], alone["norm"], rtol=1e-3, atol=1e-3)


def test_image_tokens_still_see_each_other(llava, alike):
    batch = llava.inputs(alike)
    image = image_tokens(llava, batch)
    assert image.sum(1).tolist() == [16, 16]
    streams = []
    for layer in (0, N_LAYERS):
        with attention_knockout(llava, layer), capture(llava, [N_LAYERS], "all") as captured, torch.no_grad():
            llava.model(**batch)
        streams.append(captured[N_LAYERS][0])
    assert torch.equal(streams[0][image], streams[1][image])
    assert not torch.equal(streams[0][~image], streams[1][~image])


def test_what_cannot_be_blocked_is_refused(llava, alike, tmp_path_factory, monkeypatch):
    with pytest.raises(ValueError, match="no layer 9"), attention_knockout(llava, 9):
        pass
    with pytest.raises(ValueError, match="numbered layer"), attention_knockout(llava, "norm"):
        pass
    with pytest.raises(ValueError, match="whole inputs"), attention_knockout(llava, 0):
        llava.model.generate(**llava.inputs(alike), max_new_tokens=3)
    with pytest.raises(ValueError, match="no image tokens"), attention_knockout(llava, 0):
        llava.model(input_ids=torch.tensor([CAPTION]))
    text = llava.model.config.get_text_config(decoder=True)
    monkeypatch.setattr(text, "_attn_implementation_internal", "flash_attention_2")
    with pytest.raises(ValueError, match="flash_attention_2 attention takes no mask"), attention_knockout(llava, 0):
        pass
    monkeypatch.undo()
    mllama = load_lmm(FAMILIES["Mllama"](tmp_path_factory.mktemp("mllama")), device="cpu")
    with pytest.raises(ValueError, match="cannot be cut"), attention_knockout(mllama, 0):
        read(mllama, alike)
    assert not equal(*read(llava, alike), layers=[N_LAYERS])  # no hook is left behind
