"""Pictures with their reference captions, whatever their source."""

from __future__ import annotations

import operator
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

from PIL import Image
from tqdm.auto import tqdm

from ..files import is_trouble
from ..text import common_words, quoted, whole_word, words_in
from .pictures import as_rgb, errors_name

N_OPENERS = 4  # threads
WAITS = (0.1, 1.0)  # seconds before a picture is tried again


@dataclass(frozen=True, repr=False, eq=False)
class CaptionedImages:
    """Pictures, opened only when asked for, with their reference captions (ours).

    Parameters
    ----------
    source : str
        What `load_images` was given, such as "picturebook" or "coco:/data/coco"; "" for a data set or a list.
    split : str
        Such as "train".
    ids : tuple of str
        A different name for each picture.
    references : sequence of tuple of str
        Reference captions of each picture; a tuple may be empty.
    open : callable
        Gives the picture of an id.
    version : callable, optional
        Gives a text that changes when the picture of an id does. Without it, nothing made from the pictures is cached.

    Raises
    ------
    ValueError
        If ids and references differ in number, or an id occurs twice.

    Examples
    --------
    Pictures in memory:

    >>> CaptionedImages("", "all", ("rex",), (("a dog",),), {"rex": picture}.__getitem__)  # doctest: +SKIP
    """

    source: str
    split: str
    ids: tuple[str, ...]
    references: Sequence[tuple[str, ...]]
    open: Callable[[str], Image.Image]
    version: Callable[[str], str] | None = None

    def __post_init__(self):
        if len(self.ids) != len(self.references):
            raise ValueError(
                f"{len(self.ids)} pictures have {len(self.references)} sets of references; "
                "give each picture one, () where there is none"
            )
        if len(self._rows) != len(self.ids):
            raise ValueError(
                f"the id {Counter(self.ids).most_common(1)[0][0]!r} occurs more than once; give each picture its own"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"CaptionedImages(source={self.source!r}, split={self.split!r}, {len(self)} pictures)"

    def __getitem__(self, rows: slice | Iterable[int]) -> CaptionedImages:
        """Some of the pictures: a slice, a list of row numbers, or True or False for each picture."""
        if isinstance(rows, str):
            raise TypeError(f"choose pictures by a slice or a list of rows; with_ids([{rows!r}]) takes ids")
        if hasattr(rows, "__index__") and not getattr(rows, "shape", ()):
            raise TypeError(f"choose pictures by a slice or a list of rows; picture({rows}) gives one")
        rows = range(len(self))[rows] if isinstance(rows, slice) else self._chosen(rows)
        ids = tuple(self.ids[row] for row in rows)
        return replace(self, ids=ids, references=tuple(self.references[row] for row in rows))

    def _chosen(self, rows: Iterable[int]) -> list[int]:
        """Row numbers as a list; those at True, if it says True or False for each picture."""
        rows = rows.tolist() if hasattr(rows, "tolist") else list(rows)
        if rows and all(isinstance(row, bool) for row in rows):
            if len(rows) != len(self):
                raise ValueError(
                    f"there are {len(rows)} times True or False for {len(self)} pictures; give one for each"
                )
            return [row for row, chosen in enumerate(rows) if chosen]
        if ids := [row for row in rows if isinstance(row, str)]:
            raise TypeError(f"choose pictures by a slice or a list of rows; with_ids([{ids[0]!r}, ...]) takes ids")
        return [operator.index(row) for row in rows]

    def with_ids(self, ids: Iterable[str]) -> CaptionedImages:
        """The pictures of these ids, in this order; ValueError for an id that is not there."""
        return self[[self.index(id) for id in ids]]

    def picture(self, row: int) -> Image.Image:
        """The picture of one row, as RGB; it is read or drawn now.

        Raises
        ------
        OSError
            If its file is missing or cannot be read.
        IndexError
            If there is no such row.
        """
        if not -len(self) <= row < len(self):
            raise IndexError(f"there is no picture {row} in {self!r}: another word may be mentioned")
        try:
            return as_rgb(self.open(self.ids[row]))
        except (OSError, TypeError):  # which names the picture, or is a fault of `open`
            raise
        except Exception:
            with errors_name(f"the picture {self.ids[row]!r}"):
                raise

    def opened(self, rows: Iterable[int]) -> tuple[list[int], list[Image.Image], dict[str, str]]:
        """The pictures of several rows, as RGB, and why others cannot be read; another thread may do this.

        Parameters
        ----------
        rows : iterable of int

        Returns
        -------
        readable : list of int
            Which of the rows can be read, in the order asked for.
        pictures : list of PIL.Image.Image
            Their pictures.
        problems : dict of str to str
            The reason for each of the others, by id.

        Raises
        ------
        OSError
            If it is not a picture that is damaged or missing, but the disk or the memory fails, again and again.
        """
        rows, readable, pictures, problems = list(rows), [], [], {}
        # Files wait for the disk side by side; pictures in memory may be one object, which decodes itself when it is read.
        with ThreadPoolExecutor(N_OPENERS if self.version else 1) as openers:
            for row, opened in zip(rows, openers.map(self._picture_or_problem, rows)):
                if isinstance(opened, str):
                    problems[self.ids[row]] = opened
                else:
                    readable.append(row)
                    pictures.append(opened)
        return readable, pictures, problems

    def _picture_or_problem(self, row: int) -> Image.Image | str:
        """The picture of a row, or why it cannot be read; OSError where the disk or the memory fails."""
        try:
            return self._picture_at_last(row)
        except OSError as error:
            if is_trouble(error):
                raise
            return str(error)

    def _picture_at_last(self, row: int) -> Image.Image:
        """The picture of a row; where the disk fails, tried again."""
        for seconds in WAITS:
            try:
                return self.picture(row)
            except OSError as error:
                if not is_trouble(error):
                    raise
            time.sleep(seconds)
        return self.picture(row)

    def index(self, id: str) -> int:
        """The row of an id.

        Raises
        ------
        ValueError
            If there is no such picture.
        """
        if id not in self._rows:
            raise ValueError(f"there is no picture {id!r} in {self!r}")
        return self._rows[id]

    def mentioning(self, *spellings: str) -> CaptionedImages:
        """The pictures with a reference caption that has one of the spellings as a whole word, in any case.

        Where none of the pictures has a reference, all of them: what is in them nobody knows yet, and in `extract` the
        captions that the model writes decide.

        Parameters
        ----------
        *spellings : str
            Such as "dog", "dogs".

        Raises
        ------
        ValueError
            If no spelling is given, or a blank one.

        Warns
        -----
        UserWarning
            If none of the pictures has a reference caption, so that all are kept; or if none mentions the word.
        """
        pattern = whole_word(*spellings)
        if len(self) and not any(self.references):
            warnings.warn(
                f"none of the {len(self):,} pictures has a reference caption, so all are kept: the captions that the model "
                f"writes decide which of them have {quoted(spellings)}",
                stacklevel=2,
            )
            return self
        rows = self.rows_with(pattern)
        if len(self) and not rows:
            words = common_words(self.words())
            warnings.warn(
                f"no reference caption of the {len(self):,} pictures has {quoted(spellings)}; words that do occur: {words}",
                stacklevel=2,
            )
        return self[rows]

    def rows_with(self, pattern: re.Pattern) -> list[int]:
        """The rows with a reference caption in which a pattern is found, such as `whole_word` gives."""
        return [row for row, captions in enumerate(self._read()) if any(map(pattern.search, captions))]

    def words(self) -> Counter[str]:
        """How often each word occurs in the references, in lower case."""
        return Counter(word for captions in self._read() for word in words_in(" ".join(captions)))

    def _read(self) -> Iterable[tuple[str, ...]]:
        """The references one by one, with a bar when it takes longer than a second."""
        return tqdm(self.references, desc="reading references", leave=False, delay=1)

    @cached_property
    def _rows(self) -> dict[str, int]:
        """The row of each id."""
        return {id: row for row, id in enumerate(self.ids)}


def renamed_images(originals: Mapping[str, tuple[CaptionedImages, str]]) -> CaptionedImages:
    """Pictures under other names, also several times: for each name the images that it is among, and its id there."""
    first, _ = next(iter(originals.values()))
    dated = all(images.version for images, _ in originals.values())
    return replace(
        first,
        ids=tuple(originals),
        references=tuple(images.references[images.index(id)] for images, id in originals.values()),
        open=lambda name: originals[name][0].open(originals[name][1]),
        version=(lambda name: originals[name][0].version(originals[name][1])) if dated else None,
    )


def warn_of_unreadable(ids: Sequence[str]) -> None:
    """Say how many pictures were skipped since they could not be read, and the first of them; nothing if none were."""
    if ids:
        some = ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
        warnings.warn(f"pictures that could not be read and were skipped: {len(ids):,} ({some})")
