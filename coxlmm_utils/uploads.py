"""A picture that somebody uploads: any size of photograph, any bytes, any name (ours)."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from .pictures import as_rgb

MAX_PIXELS = 300_000_000  # the largest phone cameras have 200 million
NAME_LENGTH = 80  # characters of a file name that a message shows
READERS = (  # by how a file begins
    (rb"\xff\xd8\xff", JpegImageFile),
    (rb"\x89PNG\r\n\x1a\n", PngImageFile),
    (rb"GIF8[79]a", GifImageFile),
    (rb"BM", BmpImageFile),
    (rb"II[*+]\0|MM\0[*+]", TiffImageFile),
    (rb"RIFF....WEBP", WebPImageFile),
)
HEIF = rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1|avi[fs])"
AVERAGED = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr")  # modes that can be reduced as they are


def read_upload(content: bytes | memoryview, name: str, longest: int = 1600) -> Image.Image:
    """The picture in an uploaded file, upright, RGB, of bounded size (ours).

    Parameters
    ----------
    content : bytes or memoryview
        The file, as `ipywidgets.FileUpload` holds it: JPEG, PNG, WebP, GIF, BMP or TIFF; of an animation, the first
        frame.
    name : str
        The file's name, for messages only. It may hold anything: control characters are shown as "?", and it is cut at
        80 characters; HTML has to be escaped by whoever shows the message on a page.
    longest : int, default 1600
        Longest side in pixels; a larger picture is reduced, a JPEG already while it is decoded.

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    ValueError
        If the file is empty, no picture, of another format (HEIC, as iPhones keep it), damaged, or has more than 300
        million pixels. One sentence that names the file.
    """
    shown, content = _shown(name), bytes(content)
    if not content:
        raise ValueError(f"{shown} is empty (0 bytes): choose it again, or another file.")
    if re.match(HEIF, content, re.DOTALL):
        raise ValueError(f"{shown} is a HEIC or AVIF picture, which is not read here: export it as JPEG.")
    reader = next((reader for start, reader in READERS if re.match(start, content, re.DOTALL)), None)
    if reader is None:
        raise ValueError(
            f"{shown} is not a picture that is read here: choose a JPEG, PNG, WebP, GIF, BMP or TIFF file."
        )
    try:
        return _decoded(reader, content, longest)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        most = MAX_PIXELS // 10**6
        raise ValueError(f"{shown} has too many pixels (at most {most} million): make it smaller first.") from error
    except Exception as error:  # damaged data makes PIL's decoders raise almost anything
        raise ValueError(f"{shown} cannot be read, it may be damaged: export it as JPEG and try that.") from error


def _decoded(reader: Callable[[BytesIO], Image.Image], content: bytes, longest: int) -> Image.Image:
    """A file's picture, reduced as early as can be, so that there is no second copy of a large one.

    The reader is the format's own: `Image.open` refuses more than 178 million pixels, by a limit that is one for the
    whole process. It still holds for WebP, and for a few TIFF files.
    """
    with reader(BytesIO(content)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        image.draft(None, (longest, longest))  # JPEG only: decode at 1/2, 1/4 or 1/8
        if image.mode in AVERAGED and "transparency" not in image.info:  # one colour of which stands for it
            image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        return as_rgb(image, longest)


def _shown(name: str) -> str:
    """A file name as a message can show it."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    cut = printable if len(printable) <= NAME_LENGTH else f"{printable[: NAME_LENGTH - 1]}…"
    return cut or "the file"
