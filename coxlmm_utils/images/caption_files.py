"""Caption files of a folder, captions.json or captions.csv, with one text or several per picture."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath


def captions_of(folder: Path, ids: set[str]) -> dict[str, list[str]]:
    """Captions by picture from captions.json or captions.csv; none if there is neither."""
    paths = [path for path in (folder / "captions.json", folder / "captions.csv") if path.is_file()]
    if not paths:
        return {}
    if len(paths) == 2:
        raise ValueError(f"{folder} has both captions.json and captions.csv; keep one of them")
    captions: dict[str, list[str]] = {}
    for id, caption in _captions_in(paths[0]):
        captions.setdefault(id, []).append(caption)
    absent = [id for id in captions if id not in ids]
    if absent:
        warnings.warn(
            f"{paths[0]} has captions for {len(absent)} pictures that are not there (the first: "
            f"{absent[0]}); they are left out",
            stacklevel=5,
        )
    return captions


def _captions_in(path: Path) -> list[tuple[str, str]]:
    """(id, caption) for each caption of a captions file; blank captions are left out."""
    try:
        pairs = _csv_captions(path) if path.suffix == ".csv" else _json_captions(read_json(path))
        return [(_id_of(file), caption.strip()) for file, caption in pairs if caption.strip()]
    except (KeyError, TypeError, AttributeError, csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not laid out as load_images describes: {error}") from error


def _csv_captions(path: Path) -> list[tuple[str, str]]:
    """(file, caption) of each row of a table."""
    with path.open(newline="", encoding="utf-8-sig") as file:  # -sig: spreadsheets begin the file with a mark
        return [(row["file"], row["caption"]) for row in csv.DictReader(file)]


def _json_captions(content: dict | list) -> list[tuple[str, str]]:
    """(file, caption) for each caption in either of the two layouts."""
    listed = not isinstance(content, dict)
    rows = [(row["file"], row["captions"]) for row in content] if listed else content.items()
    return [(file, caption) for file, captions in rows for caption in references_of(captions)]


def references_of(captions: str | Sequence[str] | None) -> tuple[str, ...]:
    """A caption, several or None (no caption) as a picture's references; blank ones are left out."""
    several = [captions] if isinstance(captions, str) else [] if captions is None else captions
    if not isinstance(several, list | tuple) or not all(isinstance(caption, str) for caption in several):
        raise TypeError(f"captions are a text or a list of texts, not {captions!r:.80}")
    return tuple(caption.strip() for caption in several if caption.strip())


def _id_of(file: str) -> str:
    """A file as captions name it ("./a.png", "pets\\a.png") as an id ("a.png", "pets/a.png")."""
    return PurePosixPath(file.replace("\\", "/")).as_posix()


def read_json(path: Path) -> dict | list:
    """The content of a JSON file, or an error that names the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # also text that is not UTF-8
        raise ValueError(f"{path} is damaged or not JSON: {error}") from error
