"""Which inputs are image tokens, how they lie over the picture, and how much of it they cover."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessor, LlavaImageProcessor

from coxlmm_utils.models.image_tokens import image_grid, image_tokens, seen_box
from coxlmm_utils.models.loading import load_lmm
from tests.conftest import noise
from tests.tiny_lmms import FAMILIES

# The grid


@pytest.mark.parametrize("size, grid", [((60, 40), (2, 4)), ((40, 90), (6, 2)), ((33, 32), (2, 2))])
def test_the_grid_of_a_qwen_is_that_of_its_merged_patches(qwen, size, grid):
    assert image_grid(qwen, qwen.inputs([Image.new("RGB", size)])) == grid


@pytest.mark.parametrize(
    "family", ["LLaVA-NeXT", "LLaVA-OneVision", "Mllama", "InternVL", "Mistral 3", "BLIP-2", "Idefics2", "DePALM"]
)
def test_tiles_and_summaries_are_refused(family, tmp_path):
    lmm = load_lmm(FAMILIES[family](tmp_path / "model"), device="cpu")
    with pytest.raises(ValueError, match=f"there is no patch map for {lmm.name}: the [0-9]+ image tokens"):
        image_grid(lmm, lmm.inputs([Image.new("RGB", (60, 40))]))


def test_tiles_are_no_grid_even_if_their_tokens_are_a_square_number(tmp_path):
    lmm = load_lmm(FAMILIES["InternVL"](tmp_path / "model"), device="cpu")
    tiled = lmm.inputs([Image.new("RGB", (96, 32))])  # three tiles and the whole
    assert image_tokens(lmm, tiled).sum() == 16
    with pytest.raises(ValueError, match="not known to lie over one picture as one grid"):
        image_grid(lmm, tiled)
    assert image_grid(lmm, lmm.inputs([Image.new("RGB", (32, 32))])) == (2, 2)  # the whole alone


@pytest.mark.parametrize("family, side", [("PaliGemma", 4), ("Gemma 3", 2)])
def test_a_token_may_stand_for_a_square_of_patches(family, side, tmp_path):
    lmm = load_lmm(FAMILIES[family](tmp_path / "model"), device="cpu")
    assert image_grid(lmm, lmm.inputs([noise(1)])) == (side, side)


def test_several_pictures_are_refused(llava):
    with pytest.raises(ValueError, match="the 32 image tokens"):
        image_grid(llava, llava.inputs([Image.new("RGB", (60, 40))] * 2))


# What the model sees of a picture


def ramps(width: int, height: int) -> Image.Image:
    """Red tells how far to the right a pixel is, green how far down."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return Image.fromarray(np.stack([255 * x / width, 255 * y / height, 0 * x], axis=2).round().astype(np.uint8))


CROPPERS = {
    "cropped": CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    "cropped closely": CLIPImageProcessor(size={"shortest_edge": 50}, crop_size={"height": 32, "width": 24}),
    "stretched": CLIPImageProcessor(size={"height": 40, "width": 48}, crop_size={"height": 32, "width": 32}),
    "whole": CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False),
    "not resized": CLIPImageProcessor(do_resize=False, crop_size={"height": 32, "width": 32}),
    "with a margin": CLIPImageProcessor(size={"shortest_edge": 20}, crop_size={"height": 40, "width": 40}),
}


@pytest.mark.parametrize("size", [(200, 120), (97, 251), (64, 64)])
@pytest.mark.parametrize("kind", CROPPERS)
def test_the_box_is_where_the_processor_took_its_pixels(llava, monkeypatch, kind, size):
    monkeypatch.setattr(llava.processor, "image_processor", CROPPERS[kind])
    options = dict(do_normalize=False, return_tensors="np")
    red, green, _ = CROPPERS[kind](ramps(*size), **options)["pixel_values"][0]  # (height, width) each, from 0 to 1
    left, top, right, bottom = seen_box(llava, size)
    for seen, full, start, end in ((red.max(0), size[0], left, right), (green.max(1), size[1], top, bottom)):
        centres = start + (end - start) * (np.arange(len(seen)) + 0.5) / len(seen)
        inside = (0.06 * full < centres) & (centres < 0.94 * full)  # away from edges, which are blurred
        assert inside.sum() > 5
        np.testing.assert_allclose(full * seen[inside], centres[inside], atol=0.012 * full)


def test_a_processor_that_pads_in_its_own_way_is_refused(llava, monkeypatch):
    monkeypatch.setattr(llava.processor, "image_processor", LlavaImageProcessor(do_pad=True))
    with pytest.raises(ValueError, match="how LlavaImageProcessor crops a picture is not known"):
        seen_box(llava, (64, 32))
