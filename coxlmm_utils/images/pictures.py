"""Any image becomes one kind of picture: RGB, upright, on white, of bounded size."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ..files import is_trouble

MAX_SIDE = 2048  # pixels; far more than any vision tower reads
MAX_PIXELS = 300_000_000  # of an upload; the largest phone cameras have 200 million
MAX_NAME = 80  # characters of a file name in a message
READABLE = (Image.Image, np.ndarray, str, Path, bytes, Mapping)  # what `read_picture` takes
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


def as_rgb(image: Image.Image | np.ndarray, max_side: int = MAX_SIDE) -> Image.Image:
    """A new RGB picture of any image: upright, transparent parts on white, at most `max_side` large (ours).

    Grey of 16 bits is divided by 256, whatever its largest value; so are whole numbers of 32 bits, unless none is above
    255: then they are taken as they are. EXIF data that is damaged is passed over, as viewers do.

    Parameters
    ----------
    image : PIL.Image.Image or numpy.ndarray
        Of any mode; an array of shape (height, width) or (height, width, 3 or 4).
    max_side : int
        Pixels of the longer side, at most.

    Returns
    -------
    PIL.Image.Image
    """
    check_image(image)
    image = _from_array(image) if isinstance(image, np.ndarray) else image
    picture = _without_transparency(_eight_bit(_upright(image))).convert("RGB")
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)  # only ever reduces
    return picture


def open_picture(path: str | Path, max_side: int = MAX_SIDE) -> Image.Image:
    """Read a picture file whole, as RGB (ours).

    Parameters
    ----------
    path : str or Path
    max_side : int
        Pixels of the longer side, at most.

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    OSError
        If there is no file, or it is no picture that can be read; with an `errno` if the disk is to blame.
    """
    path = Path(path).expanduser()
    with errors_name(path):
        size = path.stat().st_size if path.is_file() else None
    if size is None:
        raise FileNotFoundError(f"there is no picture file {path}")
    if size == 0:
        raise OSError(f"{path} is empty (0 bytes); delete it or copy it again")
    with errors_name(path):
        return _decoded(path, max_side)


def read_picture(held: Image.Image | np.ndarray | str | Path | bytes | Mapping, name: str) -> Image.Image:
    """The picture in whatever a list or a data set holds it in, as RGB (ours)."""
    if isinstance(held, Mapping):
        held = held.get("path") if held.get("bytes") is None else held["bytes"]
    if held is None:
        raise OSError(f"{name} is missing: there is no image, and neither the bytes nor the path of one")
    if isinstance(held, (str, Path)):
        return open_picture(held)
    if isinstance(held, bytes):
        with errors_name(name):
            return _decoded(BytesIO(held), MAX_SIDE)
    if not isinstance(held, (Image.Image, np.ndarray)):
        check_image(held)
    with errors_name(name):
        return as_rgb(held)


@contextmanager
def errors_name(name: str | Path) -> Iterator[None]:
    """Turn whatever is raised while a picture is read into an OSError that names it.

    It has an `errno` if the picture is not to blame, but the disk or the memory: then it is to be read again.
    """
    try:
        yield
    except MemoryError as error:
        raise OSError(errno.ENOMEM, f"{name} cannot be read now, memory is used up: free some, then go on") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise OSError(f"{name} is too large to open safely, make it smaller first: {error}") from error
    except UnidentifiedImageError as error:
        raise OSError(f"{name} is not a picture, or is damaged at its beginning") from error
    except Exception as error:  # damaged data makes PIL's decoders raise almost anything
        if is_trouble(error):
            text = f"{name} cannot be read now ({error.strerror}): mend that, then go on; what is done is kept"
            raise OSError(error.errno, text) from error
        raise OSError(f"{name} cannot be read as a picture, it may be damaged: {error}") from error


def _open(file: Path | BytesIO) -> Image.Image:
    """`Image.open`, but for the formats that hand the file to another program."""
    Image.init()
    return Image.open(file, formats=[name for name in Image.ID if name not in ("EPS", "WMF")])


def _decoded(file: Path | BytesIO, max_side: int, reader: Callable = _open) -> Image.Image:
    """A picture file's content. Warnings stay as they are set: their filters belong to all threads.

    A format's own reader takes more than the 178 million pixels of `Image.open`, whose limit is one for the whole
    process (it still holds for WebP, and for a few TIFF files).
    """
    with reader(file) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        image.draft(None, (max_side, max_side))  # JPEG only: decode at 1/2, 1/4 or 1/8
        # An upload may be huge: reduced before any conversion, there is no second copy of it at full size. Not where
        # one colour stands for transparency, which averaging would blur.
        if reader is not _open and image.mode in AVERAGED and "transparency" not in image.info:
            image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
        return as_rgb(image, max_side)


def check_image(image: object) -> None:
    """Refuse (TypeError, ValueError) what is no image or array, or one that can never be a picture."""
    if not isinstance(image, (Image.Image, np.ndarray)):
        raise TypeError(
            f"a picture is a PIL image or a uint8 array, not {type(image).__name__}; open_picture reads one from a file"
        )
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8:
            raise ValueError(f"a picture array holds uint8 values (0 to 255), not {image.dtype}; convert it")
        if image.ndim != 2 and not (image.ndim == 3 and image.shape[2] in (1, 2, 3, 4)):
            raise ValueError(f"a picture array is (height, width) or (height, width, 1 to 4), not {image.shape}")
    elif image.mode == "F":
        raise ValueError("the picture holds floating-point values, and which of them is white is not known; convert it")
    height, width = image.shape[:2] if isinstance(image, np.ndarray) else (image.height, image.width)
    if not height or not width:
        raise ValueError(f"the picture has {width} x {height} pixels; give one that has some")


def _from_array(array: np.ndarray) -> Image.Image:
    """A PIL image of a uint8 array."""
    array = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array  # (height, width)
    return Image.fromarray(np.ascontiguousarray(array))


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF data says, if it can be read."""
    image.load()  # PIL only begins to read a file when it opens it: what is raised from here on is of EXIF
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # damaged data makes PIL raise almost anything
        return image


def _eight_bit(image: Image.Image) -> Image.Image:
    """Whole numbers of 16 or 32 bits reduced to 8 bits; PIL alone would turn everything above 255 into white."""
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).clip(0, 65535)  # (height, width)
    is_small = image.mode == "I" and values.max() <= 255
    return Image.fromarray((values if is_small else values // 256).astype(np.uint8))


def _without_transparency(image: Image.Image) -> Image.Image:
    """The image laid on a white page, if it has an alpha channel or a transparent colour."""
    if not image.has_transparency_data:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))


def read_upload(content: bytes | memoryview, name: str, longest: int = 1600) -> Image.Image:
    """The picture in an uploaded file, upright, RGB, of bounded size (ours)."""
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
        return _decoded(BytesIO(content), longest, reader)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        most = MAX_PIXELS // 10**6
        raise ValueError(f"{shown} has too many pixels (at most {most} million): make it smaller first.") from error
    except Exception as error:  # damaged data makes PIL's decoders raise almost anything
        raise ValueError(f"{shown} cannot be read, it may be damaged: export it as JPEG and try that.") from error


def _shown(name: str) -> str:
    """A file name as a message can show it."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    cut = printable if len(printable) <= MAX_NAME else f"{printable[: MAX_NAME - 1]}…"
    return cut or "the file"
