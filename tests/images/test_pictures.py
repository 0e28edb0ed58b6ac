"""Any image becomes an RGB picture; a file that is none gets an error that names it."""

from __future__ import annotations

import errno
import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from coxlmm_utils.files import is_trouble
from coxlmm_utils.images.pictures import as_rgb, open_picture, read_picture
from coxlmm_utils.images.sources import load_images


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
        (_deep_grey(200), (0, 0, 0)),  # of 16 bits, always divided by 256
        (Image.new("I", (4, 3), 200), (200, 200, 200)),  # 8 bits in 32
        (Image.new("I", (4, 3), 256), (1, 1, 1)),
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


def test_damaged_exif_data_is_passed_over(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), "red").save(tmp_path / "a.jpg", exif=exif)
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(re.sub(rb"Exif\0\0(MM|II)", rb"Exif\0\0XX", whole))
    assert (tmp_path / "a.jpg").read_bytes() != whole
    for picture in (open_picture(tmp_path / "a.jpg"), as_rgb(Image.open(tmp_path / "a.jpg"))):
        assert as_rgb(picture).size == (40, 20)
    assert load_images(f"folder:{tmp_path}").opened([0])[0] == [0]


def test_a_path_from_home_opens(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Image.new("RGB", (4, 3), "red").save(tmp_path / "a.png")
    assert open_picture("~/a.png").size == (4, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".webp", ".bmp", ".tif"])
def test_every_format_opens(tmp_path, suffix):
    path = tmp_path / f"grey{suffix}"
    Image.new("RGB", (32, 16), (128, 128, 128)).save(path)
    picture = open_picture(path)
    assert picture.mode == "RGB" and picture.size == (32, 16)
    assert np.abs(np.asarray(picture).astype(int) - 128).max() <= 2


QUARTERS = {1: "ABCD", 2: "BADC", 3: "DCBA", 4: "CDAB", 5: "ACBD", 6: "CADB", 7: "DBCA", 8: "BDAC"}  # EXIF 2.32, 4.6.4
COLOURS = {"A": (255, 0, 0), "B": (0, 255, 0), "C": (0, 0, 255), "D": (255, 255, 255)}


@pytest.mark.parametrize("orientation", QUARTERS)
@pytest.mark.parametrize("max_side", [2048, 48])  # the smaller one is reached while the JPEG is decoded
def test_photographs_stand_upright(tmp_path, orientation, max_side):
    image = Image.new("RGB", (192, 128))
    for number, name in enumerate("ABCD"):  # stored: A B above C D
        image.paste(
            COLOURS[name], ((number % 2) * 96, (number // 2) * 64, (number % 2) * 96 + 96, (number // 2) * 64 + 64)
        )
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "photograph.jpg", exif=exif, quality=95)
    picture = open_picture(tmp_path / "photograph.jpg", max_side)
    width, height = picture.size
    assert (width > height) == (orientation < 5) and max(picture.size) == min(192, max_side)
    for number, name in enumerate(QUARTERS[orientation]):
        at = (width // 4 + number % 2 * width // 2, height // 4 + number // 2 * height // 2)
        assert np.abs(np.subtract(picture.getpixel(at), COLOURS[name])).max() < 20


@pytest.mark.parametrize(
    "suffix, image, expected",
    [
        (".png", _deep_grey(32768), (128, 128, 128)),
        (".tif", _deep_grey(32768), (128, 128, 128)),
        (".png", _palette_with_hole(), (255, 255, 255)),
        (".gif", Image.new("L", (4, 3), 90), (90, 90, 90)),
        (".jpg", Image.new("CMYK", (4, 3), (0, 255, 255, 0)), (254, 0, 0)),
        (".tif", Image.new("CMYK", (4, 3), (0, 255, 255, 0)), (255, 0, 0)),
        (".png", Image.new("LA", (4, 3), (0, 51)), (204, 204, 204)),
        (".webp", Image.new("RGBA", (4, 3), (255, 0, 0, 0)), (255, 255, 255)),
        (".png", Image.new("1", (4, 3), 1), (255, 255, 255)),
    ],
)
def test_every_mode_becomes_rgb_from_a_file_too(tmp_path, suffix, image, expected):
    image.save(tmp_path / f"picture{suffix}")
    picture = open_picture(tmp_path / f"picture{suffix}")
    assert picture.mode == "RGB" and picture.size == (4, 3)
    assert np.abs(np.subtract(picture.getpixel((2, 1)), expected)).max() <= 2


def test_floating_point_values_are_refused(tmp_path):
    with pytest.raises(ValueError, match="floating-point"):
        as_rgb(Image.new("F", (4, 3), 0.5))
    Image.new("F", (4, 3), 0.5).save(tmp_path / "depth.tif")
    with pytest.raises(OSError, match="depth.tif .*floating-point"):
        open_picture(tmp_path / "depth.tif")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.png"):
        open_picture(tmp_path / "absent.png")
    with pytest.raises(FileNotFoundError, match="no picture file"):
        open_picture(tmp_path)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES, errno.ENOSPC, errno.EMFILE])
def test_a_trouble_of_the_disk_is_told_from_a_damaged_picture(tmp_path, monkeypatch, number):
    path = _file(tmp_path / "red.png")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(PngImageFile, "load", fail)
    with pytest.raises(OSError, match=f"red.png cannot be read now .{os.strerror(number)}.: mend that") as caught:
        open_picture(path)
    assert caught.value.errno == number and is_trouble(caught.value)
    monkeypatch.setattr(Path, "stat", fail)  # or already the question whether it is there
    with pytest.raises(OSError, match="cannot be read now"):
        open_picture(path)


def test_a_lack_of_memory_is_no_damaged_picture_and_a_damaged_picture_is_no_trouble(tmp_path, monkeypatch):
    path = _file(tmp_path / "red.png")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="red.png cannot .* memory is used up") as caught:
        patch.setattr(PngImageFile, "load", lambda *_: (_ for _ in ()).throw(MemoryError()))
        open_picture(path)
    assert is_trouble(caught.value)
    for name, content in (("cut.png", path.read_bytes()[:45]), ("empty.png", b""), ("letter.png", b"a letter")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(OSError) as caught:
            open_picture(tmp_path / name)
        assert not is_trouble(caught.value)


def test_formats_that_another_program_reads_are_refused(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "figure.eps")
    os.rename(tmp_path / "figure.eps", tmp_path / "figure.png")
    with pytest.raises(OSError, match="figure.png is not a picture"):
        open_picture(tmp_path / "figure.png")


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
    with pytest.warns(Image.DecompressionBombWarning):
        assert open_picture(tmp_path / "big.png", max_side=20).size == (20, 20)
    with warnings.catch_warnings(), pytest.raises(OSError, match="big.png is too large"):
        warnings.simplefilter("error")
        open_picture(tmp_path / "big.png", max_side=20)


def test_opening_leaves_the_filters_of_warnings_alone(tmp_path, monkeypatch):
    """They belong to all threads: another one's `catch_warnings` would be undone half-way."""
    Image.new("RGB", (8, 6)).save(tmp_path / "red.jpg")
    monkeypatch.setattr(warnings, "catch_warnings", None)
    assert open_picture(tmp_path / "red.jpg").size == (8, 6)


def test_a_large_jpeg_is_reduced_while_it_is_decoded(tmp_path, monkeypatch):
    Image.new("L", (2000, 1600), 60).save(tmp_path / "large.jpg")
    decoded = []
    monkeypatch.setattr("coxlmm_utils.images.pictures.as_rgb", lambda image, side: decoded.append(image.size))
    open_picture(tmp_path / "large.jpg", max_side=400)
    assert decoded == [(500, 400)]


# Whatever holds a picture


def _file(path, image=None):
    (image or Image.new("RGB", (8, 6), (255, 0, 0))).save(path)
    return path


def _held(path):
    """The same file in every way that one may be held."""
    return {
        "path": path,
        "text": str(path),
        "bytes": path.read_bytes(),
        "both": {"bytes": path.read_bytes(), "path": "elsewhere.png"},
        "only path": {"bytes": None, "path": str(path)},
        "image": Image.open(path),
    }


@pytest.mark.parametrize("way", ["path", "text", "bytes", "both", "only path", "image"])
def test_a_picture_held_in_any_way(tmp_path, way):
    picture = read_picture(_held(_file(tmp_path / "red.png"))[way], "the picture '7'")
    assert picture.mode == "RGB" and picture.size == (8, 6) and picture.getpixel((3, 3)) == (255, 0, 0)


@pytest.mark.parametrize("way", ["path", "bytes", "only path", "image"])
def test_a_damaged_picture_held_in_any_way_is_named(tmp_path, way):
    path = _file(tmp_path / "cut.png", Image.effect_noise((60, 60), 90))
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(OSError, match="may be damaged") as caught:
        read_picture(_held(path)[way], "the picture '7'")
    assert ("cut.png" if "path" in way else "the picture '7'") in str(caught.value)


@pytest.mark.parametrize("held", [None, {"bytes": None, "path": None}, {}])
def test_a_picture_that_is_missing_is_named(held):
    with pytest.raises(OSError, match="the picture '7' is missing"):
        read_picture(held, "the picture '7'")


def test_bytes_of_another_kind_are_named():
    for held in (b"", b"a letter"):
        with pytest.raises(OSError, match="the picture '7' is not a picture"):
            read_picture(held, "the picture '7'")


def test_a_picture_of_a_kind_that_cannot_be_read_is_named():
    for held in (Image.new("F", (4, 3)), np.zeros((3, 4), np.uint16), np.zeros((3, 30, 30), np.uint8)):
        with pytest.raises(OSError, match="the picture '7' cannot be read"):
            read_picture(held, "the picture '7'")


def test_an_array_is_read_too():
    assert read_picture(np.full((6, 8), 90, np.uint8), "the picture '7'").getpixel((3, 3)) == (90, 90, 90)


def test_what_can_never_be_a_picture_is_another_error():
    with pytest.raises(TypeError, match="not int"):
        read_picture(7, "the picture '7'")
