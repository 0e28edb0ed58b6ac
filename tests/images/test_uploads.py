"""An uploaded file becomes an RGB picture of bounded size; what is none is refused with a sentence that names it."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFile

from coxlmm_utils.images.pictures import MAX_PIXELS, read_upload

# Red, green above blue, white; smooth enough for every format
SQUARES = Image.fromarray(np.uint8([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255] * 3]])).resize((80, 60), 0)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def corners(picture: Image.Image) -> list[str]:
    """The colours at the centres of the four quarters."""
    names = {(255, 0, 0): "red", (0, 255, 0): "green", (0, 0, 255): "blue", (255, 255, 255): "white"}
    width, height = picture.size
    places = [(x * width // 4, y * height // 4) for y in (1, 3) for x in (1, 3)]
    seen = [np.array(picture.getpixel(place)) for place in places]
    return [next((name for colour, name in names.items() if abs(colour - single).max() < 12), "?") for single in seen]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF"])
def test_every_format_is_read(kind):
    picture = read_upload(memoryview(saved(SQUARES, kind)), "squares")
    assert picture.mode == "RGB" and picture.size == (80, 60)
    assert corners(picture) == ["red", "green", "blue", "white"]


def test_of_an_animation_the_first_frame_is_read():
    frames = [Image.new("RGB", SQUARES.size, "navy")]
    for kind in ("GIF", "WebP", "TIFF"):
        content = saved(SQUARES, kind, save_all=True, append_images=frames)
        assert corners(read_upload(content, "moving")) == ["red", "green", "blue", "white"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF"])
def test_the_camera_was_held_sideways(kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    picture = read_upload(saved(SQUARES, kind, exif=exif.tobytes()), "sideways", longest=40)
    assert picture.size == (30, 40)
    assert corners(picture) == ["blue", "red", "white", "green"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_a_large_picture_is_reduced_and_a_small_one_is_not_enlarged(kind):
    content = saved(SQUARES.resize((800, 600), 0), kind)
    assert read_upload(content, "large", longest=100).size == (100, 75)
    assert read_upload(content, "large").size == (800, 600)
    assert corners(read_upload(content, "large", longest=100)) == ["red", "green", "blue", "white"]


def test_transparent_parts_are_white_also_where_one_colour_stands_for_them():
    clear = Image.new("RGBA", (200, 100), (255, 0, 0, 0))
    assert read_upload(saved(clear, "PNG"), "clear", longest=50).getcolors() == [(50 * 25, (255, 255, 255))]
    stripes = np.zeros((100, 200, 3), np.uint8)
    stripes[::2] = (255, 0, 0)
    content = saved(Image.fromarray(stripes), "PNG", transparency=(255, 0, 0))
    assert read_upload(content, "keyed", longest=50).getpixel((25, 12))[1] > 100  # white and black, not red and black


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
def test_every_mode_is_reduced_to_rgb(mode):
    image = Image.new("L", (90, 60), 255).convert("L" if mode in ("LA", "I;16") else "RGB").convert(mode)
    image = Image.fromarray(np.full((60, 90), 65535, np.uint16)) if mode == "I;16" else image
    picture = read_upload(saved(image, "TIFF" if mode == "CMYK" else "PNG"), "mode", longest=30)
    assert picture.mode == "RGB" and picture.getcolors() == [(30 * 20, (255, 255, 255))]


# Large


def test_a_photograph_of_108_megapixels_is_decoded_small(monkeypatch):
    decoded = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(image.size) or load(image))
    content = saved(Image.new("RGB", (12_000, 9_000), "navy"), "JPEG", quality=20)
    assert read_upload(content, "phone.jpg").size == (1600, 1200)
    assert max(decoded) == (3000, 2250)


def png_of_size(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [header, b"IDAT" + zlib.compress(b"")]
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match=r"^bomb.png has too many pixels \(at most 300 million\): make it smaller"):
        read_upload(png_of_size(20_000, 15_001), "bomb.png")


def test_the_limit_itself_is_not_refused(monkeypatch):
    monkeypatch.setattr("coxlmm_utils.images.pictures.MAX_PIXELS", 80 * 60)
    assert MAX_PIXELS == 300_000_000
    assert read_upload(saved(SQUARES, "PNG"), "just").size == (80, 60)
    with pytest.raises(ValueError, match="too many pixels"):
        read_upload(saved(SQUARES.resize((80, 61)), "PNG"), "over")


def test_pils_own_limit_is_reported_as_what_it_is(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="^wide.webp has too many pixels"):
        read_upload(saved(SQUARES, "WebP"), "wide.webp")
    assert read_upload(saved(SQUARES, "PNG"), "squares.png").size == (80, 60)  # it does not hold here


# Refused


@pytest.mark.parametrize(
    "content, says",
    [
        (b"", r"is empty \(0 bytes\): choose it again, or another file\."),
        (b"just text", "is not a picture that is read here: choose a JPEG, PNG, WebP, GIF, BMP or TIFF file."),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a picture"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "is not a picture"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "is not a picture"),
        (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            "is a HEIC or AVIF picture, which is not read here: export it as JPEG.",
        ),
        (b"\0\0\0\x0aftypmif1\0\0\0\0mif1heic", "is a HEIC or AVIF picture"),  # a length that is a line's end
        (b"\0\0\0\x1cftypavif\0\0\0\0", "is a HEIC or AVIF picture"),
        (b"\xff\xd8\xff\xe0 and nothing more", "cannot be read, it may be damaged: export it as JPEG and try that."),
        (b"BM", "cannot be read, it may be damaged"),
        (b"II*\0\x08\0\0\0", "cannot be read, it may be damaged"),
        (png_of_size(10, 10), "cannot be read, it may be damaged"),
        (png_of_size(0, 10), "cannot be read, it may be damaged"),
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_what_is_no_picture_is_refused(content, says):
    with pytest.raises(ValueError, match=f"^holiday.jpg {says}"):
        read_upload(content, "holiday.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF"])
def test_a_file_that_was_cut_short_is_refused(kind):
    content = saved(Image.effect_noise((80, 60), 60).convert("RGB"), kind)
    with pytest.raises(ValueError, match="^half cannot be read, it may be damaged"):
        read_upload(content[: len(content) // 2], "half")


def test_a_name_is_shown_without_control_characters_and_cut():
    for name, shown in (
        ("a\x1b[31m\n\u202eb.jpg", "a?[31m??b.jpg"),
        ("ü 猫.jpg", "ü 猫.jpg"),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
        ("", "the file"),
    ):
        with pytest.raises(ValueError) as refused:
            read_upload(b"", name)
        assert str(refused.value).startswith(f"{shown} is empty")
