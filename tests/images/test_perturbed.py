"""Altered pictures, and image tokens that are cut inside the model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from coxlmm_utils.images.perturbed import GREY, blank_images, blurred_images, masked_images
from coxlmm_utils.models.attention import attention_knockout
from coxlmm_utils.models.captioning import teacher_forced_states
from coxlmm_utils.models.hooks import capture
from coxlmm_utils.models.image_tokens import image_tokens
from coxlmm_utils.models.loading import load_lmm
from tests.conftest import in_memory, noise
from tests.tiny_lmms import FAMILIES, N_LAYERS

LAYERS = [*range(N_LAYERS + 1), "norm"]
CAPTION = [20, 21, 22]
MAKERS = [blank_images, blurred_images, masked_images]


def pixels(images, row=0):
    return np.asarray(images.picture(row))


# Altered pictures


@pytest.mark.parametrize("make", MAKERS)
def test_all_but_the_pixels_is_as_it_was(pictures, make):
    images = in_memory(pictures[:3], [("a dog",), (), ("a cat", "cats")])
    altered = make(images)
    assert (altered.ids, altered.references, altered.split) == (images.ids, images.references, images.split)
    assert [altered.picture(row).size for row in range(3)] == [picture.size for picture in pictures[:3]]
    assert not np.array_equal(pixels(altered), pixels(images))
    assert make(replace(images, source="picturebook")).source == ""


def test_versions_tell_alterations_apart(pictures):
    images = in_memory(pictures[:2], ())
    versioned = replace(images, version={"p0": "old", "p1": "new"}.__getitem__)
    made = [
        versioned,
        *(make(versioned) for make in MAKERS),
        blurred_images(versioned, 0.2),
        masked_images(versioned, share=0.4),
        masked_images(versioned, side=1 / 4),
        masked_images(versioned, seed=1),
    ]
    stamps = {each.stamp() for each in made}
    assert len(stamps) == len(made) and None not in stamps
    assert blank_images(versioned).version("p1") == "blank new"
    assert all(make(images).version is None for make in MAKERS)


@pytest.mark.parametrize("make", MAKERS)
def test_an_unreadable_picture_is_the_same_error(pictures, make):
    def missing(id):
        raise OSError(f"{id} is gone")

    with pytest.raises(OSError, match="p0 is gone"):
        make(replace(in_memory(pictures[:1], ()), open=missing)).picture(0)


def test_blank_pictures_are_all_the_same_grey():
    images = in_memory([Image.new("L", (30, 20), 0), Image.new("RGB", (30, 20), "white")], ())
    assert pixels(blank_images(images)).shape == (20, 30, 3)
    assert (pixels(blank_images(images)) == GREY).all() and (pixels(blank_images(images), 1) == GREY).all()


@pytest.mark.parametrize("size, sigma", [((200, 100), 0.1), ((100, 200), 0.05)])
def test_a_blur_is_as_wide_as_its_share_of_the_shorter_side(size, sigma):
    step = np.zeros((size[1], size[0], 3), np.uint8)
    step[:, size[0] // 2 :] = 255
    blurred = pixels(blurred_images(in_memory([Image.fromarray(step)], ()), sigma))[50, :, 0].astype(float)
    kernel = np.diff(blurred) / 255
    places = np.arange(len(kernel))
    deviation = np.sqrt(kernel @ (places - kernel @ places) ** 2)
    assert kernel.sum() == pytest.approx(1) and deviation == pytest.approx(100 * sigma, rel=0.06)


@pytest.mark.parametrize("share, hidden", [(0.5, 16), (0.26, 8), (0, 0), (1, 32)])
def test_patches_are_grey_squares_of_the_share_asked_for(share, hidden):
    white = in_memory([Image.new("RGB", (80, 40), "white")], ())
    patches = pixels(masked_images(white, share, side=1 / 4)).reshape(4, 10, 8, 10, 3)
    grey, kept = ((patches == colour).all((1, 3, 4)) for colour in (GREY, 255))
    assert grey.sum() == hidden and (grey ^ kept).all()


def test_edge_patches_may_be_narrower():
    altered = pixels(masked_images(in_memory([Image.new("RGB", (45, 40), "white")], ()), 0.5, side=1 / 4))
    assert altered.shape == (40, 45, 3)
    assert all(len({tuple(p) for p in altered[y : y + 10, 40:].reshape(-1, 3)}) == 1 for y in range(0, 40, 10))


def test_patches_depend_on_seed_and_id_only():
    images = in_memory([Image.new("RGB", (64, 64), "white")] * 3, ())
    altered = pixels(masked_images(images, seed=1), 2)
    assert np.array_equal(pixels(masked_images(images[[2]], seed=np.int64(1))), altered)
    assert not np.array_equal(pixels(masked_images(images, seed=2), 2), altered)
    assert not np.array_equal(pixels(masked_images(images, seed=1), 1), altered)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda images: blurred_images(images, 0), "sigma=0 is none"),
        (lambda images: blurred_images(images, float("nan")), "sigma=nan"),
        (lambda images: masked_images(images, 1.1), "share=1.1 .* give 0 to 1"),
        (lambda images: masked_images(images, side=0), "side=0 do not fit"),
        (lambda images: masked_images(images, side=2), "side=2 do not fit"),
    ],
)
def test_settings_that_make_no_sense(pictures, make, message):
    with pytest.raises(ValueError, match=message):
        make(in_memory(pictures[:1], ()))


# Image tokens


@pytest.fixture(scope="module")
def alike() -> list[Image.Image]:
    """Two pictures of one size: as many image tokens."""
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)) for _ in range(2)]


@pytest.fixture(scope="module", params=["LLaVA", "Qwen2.5-VL", "Idefics3", "PaliGemma", "Gemma 3", "BLIP-2"])
def family(request, tmp_path_factory):
    return load_lmm(FAMILIES[request.param](tmp_path_factory.mktemp("family")), device="cpu")


@pytest.fixture(params=["sdpa", "eager"])
def lmm(family, request):
    family.model.set_attn_implementation(request.param)
    return family


def read(lmm, pictures):
    return teacher_forced_states(lmm, pictures, [CAPTION] * len(pictures), LAYERS)


def equal(one, other, layers=LAYERS):
    return all(torch.equal(one[layer], other[layer]) for layer in layers)


def test_cut_from_the_first_layer_on_the_picture_makes_no_difference(lmm, alike):
    plain = read(lmm, alike)
    assert not equal(*plain, layers=[N_LAYERS])
    with attention_knockout(lmm, 0):
        assert equal(*read(lmm, alike))
    assert equal(read(lmm, alike)[0], plain[0])  # nothing of the cut is left


def test_cut_from_after_the_last_block_nothing_changes(lmm, alike):
    plain = read(lmm, alike)[0]
    with attention_knockout(lmm, N_LAYERS):
        assert equal(read(lmm, alike)[0], plain)


def test_layers_before_the_cut_are_as_they_were(lmm, alike):
    plain = read(lmm, alike)
    with attention_knockout(lmm, 1):
        cut = read(lmm, alike)
    assert equal(cut[0], plain[0], [0, 1]) and not torch.allclose(cut[0][3], plain[0][3], atol=1e-3)
    assert not equal(*cut, layers=[3])  # what was read of the picture before is still there


def test_without_padding_the_same_is_cut(family, alike):
    """Then sdpa gets no mask at all."""
    longer = [CAPTION, CAPTION + CAPTION]  # the first is padded
    with attention_knockout(family, 1):
        [alone], together = read(family, alike[:1]), teacher_forced_states(family, alike, longer, LAYERS)
    for layer in LAYERS:
        torch.testing.assert_close(alone[layer], together[0][layer], rtol=1e-3, atol=1e-3)


def test_pictures_of_different_sizes_are_padded_as_ever(qwen):
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


def test_what_cannot_be_cut(llava, alike, tmp_path_factory, monkeypatch):
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
