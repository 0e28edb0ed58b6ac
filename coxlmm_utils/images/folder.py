"""A folder of pictures, with the captions that it may hold, and its splits."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

from PIL import Image

from ..files import digest
from .caption_files import captions_of
from .captioned_images import CaptionedImages
from .pictures import open_picture

PICTURE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
TEST_SHARE = 0.2  # of a folder's pictures, which no one has split


def from_folder(source: str, folder: Path, splits: list[str], limit: int | None) -> CaptionedImages:
    """The pictures of a folder, or a part of them, with the captions that they have."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    ids = _pictures_in(folder)
    if not ids:
        raise FileNotFoundError(
            f"there are no pictures in {folder}; it needs files that end in {', '.join(PICTURE_SUFFIXES)}"
        )
    captions = captions_of(folder, set(ids))
    ids = tuple(of_splits(ids, splits, folder)[:limit])
    references = tuple(tuple(captions.get(id, ())) for id in ids)
    split = "+".join(splits)
    return CaptionedImages(source, split, ids, references, partial(open_in, folder), partial(file_version, folder))


def of_splits(ids: list[str], splits: list[str], folder: Path) -> list[str]:
    """The pictures in our own splits of a folder, which is said, or all; ValueError where there are none."""
    if splits == ["all"]:
        return ids
    if unknown := sorted(set(splits) - {"train", "test"}):
        raise ValueError(f"a folder has no split {unknown[0]!r}; choose train or test, or all, the default")
    # By the id alone: a picture that was learned from is never tested after others have come.
    share = {id: int(digest({"id": id, "seed": 0}), 16) / 16**16 for id in ids}
    split_of = {id: "test" if share[id] < TEST_SHARE else "train" for id in ids}
    counts = Counter(split_of.values())
    warnings.warn(
        f"{folder} has no splits of its own: its {len(ids):,} pictures are divided by their names "
        f"(train {counts['train']:,}, test {counts['test']:,})",
        stacklevel=5,
    )
    if not any(counts[split] for split in splits):
        raise ValueError(
            f"no picture of {folder} is in the split {'+'.join(splits)!r}, since its name decides; add pictures, "
            "or leave split= out and choose by rows, as in images[:8] and images[8:]"
        )
    return [id for id in ids if split_of[id] in splits]


def _pictures_in(folder: Path) -> list[str]:
    """The pictures of a folder and its subfolders, in order; warns of subfolders that are left out."""
    ids, left_out = [], []
    for place, folders, names in os.walk(folder, onerror=lambda error: left_out.append(Path(error.filename))):
        ids += [
            file.as_posix() for file in (Path(place, name).relative_to(folder) for name in names) if _is_picture(file)
        ]
        left_out += [path for path in (Path(place, name) for name in folders) if path.is_symlink()]
    if left_out := [path for path in left_out if not path.name.startswith(".")]:
        warnings.warn(
            f"{len(left_out)} folders in {folder} are links or cannot be read (the first: {min(left_out)}); their pictures "
            "are left out: copy them there, or load them by themselves",
            stacklevel=5,
        )
    return sorted(ids)


def _is_picture(file: Path) -> bool:
    """Whether the name is a picture's; hidden ones, and all in hidden folders, are only leftovers."""
    return file.suffix.lower() in PICTURE_SUFFIXES and not any(part.startswith(".") for part in file.parts)


def open_in(folder: Path, id: str) -> Image.Image:
    """The picture with this name relative to the folder."""
    return open_picture(folder / id)


def file_version(folder: Path, id: str) -> str:
    """Changes when the file does."""
    status = (folder / id).stat()
    return f"{status.st_size} {status.st_mtime_ns}"
