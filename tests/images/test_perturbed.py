"""Perturbed pictures."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from coxlmm_utils.images.perturbed import GREY, blank_images, blurred_images, masked_images, perturbed_images
from tests.conftest import in_memory

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


def test_versions_tell_perturbations_apart(pictures):
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
    versions = {images.version(images.ids[0]) for images in made}
    assert len(versions) == len(made)
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


def test_any_perturbation_gets_rgb_pictures_and_their_ids():
    images = in_memory([Image.new("L", (30, 20), 9), Image.new("RGB", (8, 8), "red")], [("a dog",), ("a cat",)])
    images = replace(images, source="folder:here", version={"p0": "old", "p1": "new"}.__getitem__)
    seen = []

    def quarter_turn(picture, id):
        seen.append((picture.mode, id))
        return picture.transpose(Image.Transpose.ROTATE_90)

    turned = perturbed_images(images, quarter_turn, "turned")
    assert not seen  # only when it is opened
    assert turned.picture(0).size == (20, 30) and seen == [("RGB", "p0")]
    assert (turned.ids, turned.references, turned.source) == (images.ids, images.references, "")
    assert [turned.version(id) for id in turned.ids] == ["turned old", "turned new"]
    assert perturbed_images(turned, quarter_turn, "again").version("p1") == "again turned new"
    assert perturbed_images(replace(images, version=None), quarter_turn, "turned").version is None
