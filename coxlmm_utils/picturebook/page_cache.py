"""Many pages drawn at once, kept in the cache."""

from __future__ import annotations

import hashlib
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..files import atomic_write, cache_folder
from .drawing import PICTURE_SIDE, draw
from .factors import factors_of

_DRAWING_ROOMS = ("factors", "brush", "subjects", "animals", "vehicles", "companions", "scenery", "drawing")


@cache
def drawing_version() -> str:
    """Short hash of the code that draws, so that cached pages of another version are never taken for ours."""
    code = [Path(__file__).with_name(f"{room}.py").read_bytes() for room in sorted(_DRAWING_ROOMS)]
    return hashlib.sha256(b"".join(code)).hexdigest()[:10]


def drawn_pages(numbers: range) -> np.ndarray:
    """The pictures of these pages in one array, drawn on all cores the first time (ours).

    Parameters
    ----------
    numbers : range
        Consecutive page numbers.

    Returns
    -------
    numpy.ndarray
        (pages, side, side, 3), uint8, memory-mapped from the cache.

    Raises
    ------
    ValueError
        If the page numbers are not consecutive.
    """
    if numbers.step != 1:
        raise ValueError(f"only consecutive pages are kept, not {numbers}; draw all, then choose")
    name = f"picturebook-{drawing_version()}-{numbers.start}-{numbers.stop}.npy"
    path = cache_folder() / "drawn" / name
    if not path.exists():
        atomic_write(path, lambda scratch: _draw_all(numbers, scratch))
    return np.load(path, mmap_mode="r")


def _draw_all(numbers: range, path: Path) -> None:
    """Draw the pages into a NumPy file, as many at a time as there are cores."""
    shape = (len(numbers), PICTURE_SIDE, PICTURE_SIDE, 3)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with ProcessPoolExecutor() as pool:
        pictures = pool.map(_draw_one, numbers, chunksize=64)
        for row, picture in enumerate(tqdm(pictures, total=len(numbers), desc="drawing pages")):
            array[row] = picture
    array.flush()


def _draw_one(number: int) -> np.ndarray:
    """One page: (side, side, 3), uint8."""
    return np.asarray(draw(factors_of(number), number))
