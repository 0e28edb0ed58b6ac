"""Captioned images in memory: a Dataset of Hugging Face's `datasets`, or a list of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from .caption_files import references_of
from .captioned_images import CaptionedImages
from .pictures import READABLE, check_image, errors_name, read_picture


class Dataset(Protocol):
    """What is used of a Dataset; the package `datasets` itself is not needed."""

    column_names: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, key: int | str): ...


def from_dataset(
    dataset: Dataset, limit: int | None, image: str, captions: str | None, id: str | None
) -> CaptionedImages:
    """The rows of a Dataset; `load_images` tells what the columns are."""
    if not hasattr(dataset, "__len__"):
        raise ValueError("a streamed data set has no rows to choose from; load it with streaming=False")
    for name in (image, captions, id):
        if name is not None and name not in dataset.column_names:
            raise ValueError(f"the data set has no column {name!r}; it has {', '.join(dataset.column_names)}")
    n = len(dataset) if limit is None else min(limit, len(dataset))
    ids = tuple(map(str, range(n) if id is None else dataset[id][:n]))
    references = [()] * n if captions is None else _references(ids, dataset[captions][:n])
    open = partial(_open_row, dataset, image, {name: row for row, name in enumerate(ids)})
    images = CaptionedImages("", "all", ids, references, open, _version(dataset, image))
    _check_first(dataset, image)
    return images


def _check_first(dataset: Dataset, image: str) -> None:
    """Refuse a data set without rows, or with a column of other things; a damaged picture may come first, though."""
    if not len(dataset):
        raise ValueError("the data set has no rows, so there are no pictures")
    try:
        held = dataset[0][image]
    except Exception:
        return
    _check_readable(held, f"the column {image!r}")


def _check_readable(held: object, where: str) -> None:
    """Refuse what can never be opened as a picture; None is only a missing one."""
    if held is not None and not isinstance(held, READABLE):
        raise ValueError(f"{where} holds {type(held).__name__}; a picture is an image, an array, bytes or a path")


def _open_row(dataset: Dataset, image: str, rows: dict[str, int], id: str) -> Image.Image:
    """The picture of a row; a Dataset decodes it while it gets the row, and only this row."""
    with errors_name(f"the picture {id!r}"):
        held = dataset[rows[id]][image]
    return read_picture(held, f"the picture {id!r}")


def _version(dataset: Dataset, image: str):
    """A version for all pictures alike: the data set's fingerprint with the column; None if it has none."""
    fingerprint = getattr(dataset, "_fingerprint", None)
    return None if fingerprint is None else partial(_same_for_all, f"{fingerprint} {image}")


def _same_for_all(version: str, id: str) -> str:
    return version


def from_list(
    pictures: Sequence[Image.Image | np.ndarray | str | Path],
    limit: int | None,
    captions: Sequence[str | Sequence[str] | None] | Mapping | None,
) -> CaptionedImages:
    """A list of pictures, named "0", "1", ...; captions that have keys go by these names."""
    if not len(pictures):
        raise ValueError("the list of pictures is empty")
    for number, held in enumerate(pictures):
        _check_readable(held, f"the list of pictures, at {number},")
        try:
            check_image(held) if isinstance(held, (Image.Image, np.ndarray)) else None
        except ValueError as error:
            raise ValueError(f"the picture '{number}' of the list cannot be taken: {error}") from error
    ids = tuple(map(str, range(len(pictures))))
    captions = _in_order(captions, ids) if isinstance(captions, Mapping) else captions
    if captions is not None and not hasattr(captions, "__getitem__"):  # such as a set, which has no order
        raise ValueError(f"the captions of a list of pictures are a list as long, not a {type(captions).__name__}")
    if captions is not None and len(captions) != len(pictures):
        raise ValueError(
            f"there are {len(pictures)} pictures and {len(captions)} captions; give None where one has none"
        )
    references = [()] * len(ids) if captions is None else _references(ids, captions)
    return CaptionedImages("", "all", ids, references, partial(_open_held, tuple(pictures)))[:limit]


def _in_order(captions: Mapping, ids: Sequence[str]) -> list:
    """Captions that have keys, one for each id, None where there is none; ValueError for a key that is no id."""
    by_id = {str(key): caption for key, caption in captions.items()}
    for key in by_id:
        if key not in ids:
            raise ValueError(
                f"captions= has the key {key!r}, and the ids of a list are row numbers, {ids[0]!r} the first"
            )
    return [by_id.get(id) for id in ids]


def _open_held(pictures: Sequence, id: str) -> Image.Image:
    return read_picture(pictures[int(id)], f"the picture {id!r}")


def _references(ids: Iterable[str], captions: Iterable) -> list[tuple[str, ...]]:
    """The captions of each picture; an error says of which they cannot be understood."""
    references = []
    for id, given in zip(ids, captions):
        try:
            references.append(references_of(given))
        except TypeError as error:
            raise ValueError(f"the captions of the picture {id!r} cannot be understood: {error}") from error
    return references
