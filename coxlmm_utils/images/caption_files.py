"""Caption files of a folder: captions.json or .csv, or metadata.csv or .jsonl, with one text or several per picture."""

from __future__ import annotations

import csv
import json
import os
import unicodedata
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

NAMES = ("captions.json", "captions.csv", "metadata.csv", "metadata.jsonl")
FILE_COLUMNS = ("file", "file_name", "filename", "image", "path")  # of a table; of several the first counts
CAPTION_COLUMNS = ("caption", "text", "captions", "description", "sentence")
DELIMITERS = ",;\t"  # spreadsheets write ; where a comma is the decimal mark
NEEDED = "the first line names the columns, file and caption (or file_name and text)"


def captions_of(folder: Path, ids: set[str]) -> dict[str, list[str]]:
    """Captions by picture from a file with one of the names, those of captions before those of metadata; else none.

    Where the folder has none, those of its subfolders count, as of its splits: they name files relative to themselves.
    """
    inner = sorted({folder / parent for id in ids for parent in PurePosixPath(id).parents} - {folder})
    found = [place for place in (folder, *inner) if any((place / name).is_file() for name in NAMES)]
    if not found:
        _warn_of_others([folder, *inner], folder / min(ids))
    captions = {}
    for place in found[:1] if folder in found else found:
        start = "" if place == folder else f"{place.relative_to(folder).as_posix()}/"
        own = {id[len(start) :] for id in ids if id.startswith(start)}
        captions |= {start + id: texts for id, texts in _captions_at(place, own).items()}
    return captions


def _warn_of_others(places: Sequence[Path], picture: Path) -> None:
    """Name a file that is likely to hold captions and is not read."""
    others = [place / name for place in places for name in sorted(os.listdir(place)) if _is_like_captions(name)]
    others += [beside for beside in [picture.with_suffix(".txt")] if beside.is_file()]
    if others:
        text = f"{others[0].name} in {others[0].parent} is not read: captions are in {' or '.join(NAMES)}"
        warnings.warn(text, stacklevel=6)


def _is_like_captions(name: str) -> bool:
    return Path(name).stem.lower() in ("captions", "metadata")


def _captions_at(folder: Path, ids: set[str]) -> dict[str, list[str]]:
    """Captions by picture from the file in one folder."""
    paths = [path for path in map(folder.joinpath, NAMES) if path.is_file()]
    paths = [path for path in paths if path.stem == paths[0].stem]
    if len(paths) == 2:
        raise ValueError(f"{folder} has both {paths[0].name} and {paths[1].name}; keep one of them")
    captions: dict[str, list[str]] = {}
    [path] = paths
    for id, caption in _captions_in(path, ids):
        captions.setdefault(id, []).append(caption)
    if not captions:
        warnings.warn(f"{path} has no captions; delete it, or write them into it", stacklevel=6)
    of_name = {unicodedata.normalize("NFC", id): id for id in ids}  # macOS writes an umlaut as two characters
    captions = {of_name.get(unicodedata.normalize("NFC", id), id): texts for id, texts in captions.items()}
    absent = [id for id in captions if id not in ids]
    if absent and len(absent) == len(captions):
        raise ValueError(
            f"{path} has captions for none of the {len(ids):,} pictures: it names {absent[0]!r}, a picture here is "
            f"{min(ids)!r}; name the files as they are, relative to {folder}"
        )
    if absent:
        warnings.warn(
            f"{path} has captions for {len(absent)} pictures that are not there (the first: "
            f"{absent[0]}); they are left out",
            stacklevel=6,
        )
    return captions


def _captions_in(path: Path, ids: set[str]) -> list[tuple[str, str]]:
    """(id, caption) for each caption of a captions file; blank captions are left out."""
    try:
        pairs = _csv_captions(path, ids) if path.suffix == ".csv" else _json_captions(_content(path))
        return [(_id_of(file), caption.strip()) for file, caption in pairs if caption.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: save it as that (in a spreadsheet, as CSV UTF-8)") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not laid out as load_images describes: {error}") from error


def _csv_captions(path: Path, ids: set[str]) -> list[tuple[str, str]]:
    """(file, caption) of each row of a table; ValueError names the line that is not one."""
    with path.open(newline="", encoding="utf-8-sig") as file:  # -sig: spreadsheets begin the file with a mark
        lines = file.readlines()
    delimiter = max(DELIMITERS, key=lines[0].count) if lines else ","
    rows, line, pairs = csv.reader(lines, delimiter=delimiter, strict=True), 1, []  # line: where a row begins
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        columns = [_column(header, names) for names in (FILE_COLUMNS, CAPTION_COLUMNS)]
        line = rows.line_num + 1
        for row in rows:
            if row and len(row) != len(header):
                raise ValueError(
                    f"{len(row)} fields for {len(header)} columns; a caption with a comma needs quotes around it"
                )
            if any(_id_of(text.split(delimiter)[0].strip()) in ids for text in lines[line : rows.line_num]):
                raise ValueError("a quotation mark that is opened here is not closed, and takes other rows in")
            pairs += [tuple(row[column] for column in columns)] if row else []
            line = rows.line_num + 1
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path}, line {line}: {error}") from error
    return pairs


def _column(header: list[str], names: Sequence[str]) -> int:
    """Where in a table's header one of these names is."""
    name = next((name for name in names if name in header), None)
    if name is None or header.count(name) > 1:
        raise ValueError(f"{NEEDED}, each once; here it is {', '.join(map(repr, header)) or 'empty'}")
    return header.index(name)


def _json_captions(content: dict | list) -> list[tuple[str, str]]:
    """(file, caption) for each caption in either of the two layouts."""
    listed = not isinstance(content, dict)
    rows = [(row["file"], row["captions"]) for row in content] if listed else content.items()
    return [(file, caption) for file, captions in rows for caption in references_of(captions)]


def _content(path: Path) -> dict | list:
    """What a JSON file holds, or one with an object in each line, whose keys are named as a table's columns."""
    if path.suffix == ".json":
        return read_json(path, object_pairs_hook=_once)
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        try:
            row = {name.lower(): value for name, value in json.loads(line).items()} if line.strip() else None
            rows += (
                [] if row is None else [{"file": _value(row, FILE_COLUMNS), "captions": _value(row, CAPTION_COLUMNS)}]
            )
        except (ValueError, AttributeError) as error:
            needed = '{"file_name": "a.jpg", "text": "a dog"}'
            raise ValueError(f"{path}, line {number}, is not laid out as {needed}: {error}") from error
    return rows


def _value(row: dict, names: Sequence[str]):
    """What a row has under the first of these names that it has."""
    name = next((name for name in names if name in row), None)
    if name is None:
        raise ValueError(f"there is none of {', '.join(names)}")
    return row[name]


def references_of(captions: str | Sequence[str] | None) -> tuple[str, ...]:
    """A caption, several or None (no caption) as a picture's references; blank ones are left out."""
    several = [captions] if isinstance(captions, str) else [] if captions is None else captions
    if not isinstance(several, list | tuple) or not all(isinstance(caption, str) for caption in several):
        raise TypeError(f"captions are a text or a list of texts, not {captions!r:.80}")
    return tuple(caption.strip() for caption in several if caption.strip())


def _id_of(file: str) -> str:
    """A file as captions name it ("./a.png", "pets\\a.png") as an id ("a.png", "pets/a.png")."""
    return PurePosixPath(file.replace("\\", "/")).as_posix()


def _once(pairs: list[tuple[str, object]]) -> dict:
    """An object of JSON, of which json alone would keep only the last value of a key; TypeError for one given twice."""
    if len(dict(pairs)) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise TypeError(f"{twice!r} is given twice; give its captions as a list")
    return dict(pairs)


def read_json(path: Path, **options) -> dict | list:
    """The content of a JSON file, or an error that names the file; options are those of `json.loads`."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), **options)
    except (ValueError, RecursionError) as error:  # also text that is not UTF-8, and thousands of nested lists
        raise ValueError(f"{path} is damaged or not JSON: {error}") from error
