"""Visual Genome: its pictures, with the phrases that describe their regions as references."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection
from functools import partial
from pathlib import Path

from .caption_files import read_json
from .captioned_images import CaptionedImages
from .folder import file_version, of_splits, open_in

FILE = "region_descriptions.json"
PARTS = ("VG_100K", "VG_100K_2")  # images.zip and images2.zip; each picture is in one of them


def from_visual_genome(source: str, folder: Path, splits: list[str], limit: int | None) -> CaptionedImages:
    """The pictures of Visual Genome, or a part of them, each with the phrases of its regions."""
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {FILE} in {folder}; put Visual Genome's region descriptions there, and its pictures into "
            f"{folder / PARTS[0]} and {folder / PARTS[1]}"
        )
    part_of = _parts(folder)
    phrases = _phrases_in(path)
    _warn_of_missing(phrases.keys() - part_of.keys(), len(phrases), folder)
    references = {f"{part_of[name]}/{name}": texts for name, texts in phrases.items() if name in part_of}
    ids = tuple(of_splits([*references], splits, folder)[:limit])
    return CaptionedImages(
        source,
        "+".join(splits),
        ids,
        tuple(references[id] for id in ids),
        partial(open_in, folder),
        partial(file_version, folder),
    )


def _parts(folder: Path) -> dict[str, str]:
    """For the name of each picture's file the folder that it is in, the first of them if it is in both."""
    parts = [part for part in PARTS if (folder / part).is_dir()]
    if not parts:
        raise FileNotFoundError(f"there is no folder {' or '.join(PARTS)} in {folder}; unpack the pictures there")
    return {name: part for part in reversed(parts) for name in os.listdir(folder / part)}


def _warn_of_missing(names: Collection[str], n_listed: int, folder: Path) -> None:
    """Say how many pictures are in neither folder; FileNotFoundError if none is in one."""
    if not names:
        return
    text = f"of {n_listed:,} pictures in {FILE}, {len(names):,} are neither in {' nor in '.join(PARTS)} of {folder}"
    text += f" (one of them: {min(names)})"
    if len(names) == n_listed:
        raise FileNotFoundError(f"{text}; unpack the pictures there")
    warnings.warn(f"{text}; they are left out", stacklevel=5)


def _phrases_in(path: Path) -> dict[str, tuple[str, ...]]:
    """The phrases of each picture's regions, by the name of its file; blank ones are left out."""
    try:
        rows = [_row(row) for row in read_json(path, object_hook=_region)]
    except (KeyError, TypeError, AttributeError) as error:
        text = f"{path} is not Visual Genome's file of region descriptions, part of it is missing or of another kind"
        raise ValueError(f"{text}: {error}") from error
    phrases = dict(rows)
    if not phrases:
        raise ValueError(f"{path} lists no pictures; copy it again")
    if len(phrases) < len(rows):
        seen = set()
        twice = next(name for name, _ in rows if name in seen or seen.add(name))
        raise ValueError(f"{path} lists the picture {twice} more than once; copy it again")
    return phrases


def _region(entry: dict) -> dict | str:
    """Of a region only the phrase, since there are millions of them; of all else everything."""
    return entry["phrase"] if "phrase" in entry else entry


def _row(entry: dict) -> tuple[str, tuple[str, ...]]:
    """The name of a picture's file, and its phrases; TypeError or KeyError for what is not laid out so."""
    number = entry["id"] if "id" in entry else entry["image_id"]
    if type(number) is not int:  # also keeps a name with slashes from leading out of the folder
        raise TypeError(f"the id of a picture is a whole number, not {number!r:.80}")
    phrases = entry["regions"]
    if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
        raise TypeError(f'the regions of picture {number} are not a list of objects with a text as "phrase"')
    return f"{number}.jpg", tuple(phrase.strip() for phrase in phrases if phrase.strip())
