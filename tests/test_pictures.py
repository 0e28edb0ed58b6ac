"""Any image becomes an RGB picture; a file that is none gets an error that names it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from coxlmm_utils.pictures import as_rgb, open_picture


def _deep_grey(value: int) -> Image.Image:
    return Image.fromarray(np.full((3, 4), value, np.uint16))


def _palette_with_hole() -> Image.Image:
    image = Image.new("P", (4, 3), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.info["transparency"] = 1
    return image


@pytest.mark.parametrize(
    "image, expected",
    [
        (Image.new("L", (4, 3), 90), (90, 90, 90)),
        (Image.new("1", (4, 3), 1), (255, 255, 255)),
        (Image.new("I", (4, 3), 65535), (255, 255, 255)),
        (_deep_grey(32768), (128, 128, 128)),
        (_deep_grey(256), (1, 1, 1)),
        (Image.new("LA", (4, 3), (0, 0)), (255, 255, 255)),
        (Image.new("LA", (4, 3), (90, 255)), (90, 90, 90)),
        (Image.new("RGBA", (4, 3), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (4, 3), (255, 0, 0, 255)), (255, 0, 0)),
        (Image.new("RGBA", (4, 3), (0, 0, 0, 51)), (204, 204, 204)),
        (Image.new("CMYK", (4, 3), (0, 255, 255, 0)), (255, 0, 0)),
        (_palette_with_hole(), (255, 255, 255)),
        (Image.new("RGB", (4, 3), (1, 2, 3)), (1, 2, 3)),
    ],
)
def test_every_mode_becomes_rgb(image, expected):
    picture = as_rgb(image)
    assert picture.mode == "RGB" and picture.size == (4, 3)
    assert picture.getpixel((2, 1)) == expected


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 1), (3, 4, 2), (3, 4, 3), (3, 4, 4)])
def test_arrays_of_bytes(shape):
    array = np.full(shape, 255, np.uint8)
    array[..., 0] = 7
    picture = as_rgb(array)
    assert picture.mode == "RGB" and picture.size == (4, 3)
    assert picture.getpixel((0, 0))[0] == 7


@pytest.mark.parametrize(
    "array, says",
    [
        (np.zeros((3, 4, 3), np.float32), "uint8"),
        (np.zeros((3, 4, 5), np.uint8), r"\(3, 4, 5\)"),
        (np.zeros((2, 3, 4, 3), np.uint8), r"\(2, 3, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), "0 pixels"),
    ],
)
def test_other_arrays_are_errors(array, says):
    with pytest.raises(ValueError, match=says):
        as_rgb(array)


def test_a_path_is_not_an_image():
    with pytest.raises(TypeError, match="open_picture"):
        as_rgb("dog.png")


def test_enormous_images_are_reduced_and_others_are_not():
    assert as_rgb(Image.new("L", (5000, 1000))).size == (2048, 410)
    assert as_rgb(Image.new("RGB", (300, 200)), max_side=150).size == (150, 100)
    assert as_rgb(Image.new("RGB", (300, 200))).size == (300, 200)


def test_the_given_image_stays_as_it_was():
    image = Image.new("RGB", (300, 200))
    picture = as_rgb(image, max_side=100)
    picture.putpixel((0, 0), (9, 9, 9))
    assert image.size == (300, 200) and image.getpixel((0, 0)) == (0, 0, 0)


def test_camera_orientation_is_applied_once(tmp_path):
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (20, 0, 40, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was held upright: turn by a quarter, the left side becomes the top
    image.save(tmp_path / "turned.png", exif=exif)
    picture = open_picture(tmp_path / "turned.png")
    assert picture.size == (20, 40)
    assert picture.getpixel((10, 5)) == (255, 0, 0) and picture.getpixel((10, 35)) == (0, 0, 255)
    assert as_rgb(picture).size == (20, 40)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".webp", ".bmp", ".tif"])
def test_every_format_opens(tmp_path, suffix):
    path = tmp_path / f"grey{suffix}"
    Image.new("RGB", (32, 16), (128, 128, 128)).save(path)
    picture = open_picture(path)
    assert picture.mode == "RGB" and picture.size == (32, 16)
    assert np.abs(np.asarray(picture).astype(int) - 128).max() <= 2


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.png"):
        open_picture(tmp_path / "absent.png")
    with pytest.raises(FileNotFoundError, match="no picture file"):
        open_picture(tmp_path)


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "nothing.png").touch()
    with pytest.raises(OSError, match="nothing.png is empty"):
        open_picture(tmp_path / "nothing.png")


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "letter.jpg").write_text("this is a letter")
    with pytest.raises(OSError, match="letter.jpg is not a picture"):
        open_picture(tmp_path / "letter.jpg")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".webp", ".bmp", ".tif"])
def test_a_file_cut_short_is_named(tmp_path, suffix):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    Image.fromarray(noise).save(whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert open_picture(whole).size == (60, 60)
    with pytest.raises(OSError, match=f"cut{suffix} "):
        open_picture(cut)


def test_more_pixels_than_are_safe_is_an_error_and_less_opens_reduced(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # PIL warns above it, refuses above its double
    Image.new("L", (50, 50)).save(tmp_path / "bomb.png")
    Image.new("L", (40, 40)).save(tmp_path / "big.png")
    with pytest.raises(OSError, match="bomb.png is too large"):
        open_picture(tmp_path / "bomb.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_picture(tmp_path / "big.png", max_side=20).size == (20, 20)


def test_a_large_jpeg_is_reduced_while_it_is_decoded(tmp_path, monkeypatch):
    Image.new("L", (2000, 1600), 60).save(tmp_path / "large.jpg")
    decoded = []
    monkeypatch.setattr("coxlmm_utils.pictures.as_rgb", lambda image, side: decoded.append(image.size))
    open_picture(tmp_path / "large.jpg", max_side=400)
    assert decoded == [(500, 400)]
