"""Where captioned images come from: the picture book, COCO, Visual Genome, a folder, a data set or a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from pathlib import Path, PureWindowsPath

from PIL import Image

from ..files import atomic_write, cache_folder
from ..text import check_counts
from .caption_files import read_json
from .captioned_images import CaptionedImages
from .folder import file_version, from_folder, open_in
from .in_memory import Dataset, from_dataset, from_list
from .pictures import open_picture
from .visual_genome import from_visual_genome

COCO_SPLITS = {  # the split names inside Karpathy's file
    "train": ("train", "restval"),  # 113,287 pictures, which fits the counts of the paper
    "train_only": ("train",),  # 82,783 pictures, as in the released code
    "validation": ("val",),
    "test": ("test",),
}

SOURCES = 'use "picturebook", "coco:DIR", "visual_genome:DIR" or "folder:DIR", or give a Dataset or a list of pictures'
UNSPLIT = ("folder", "visual_genome")  # come without splits of their own, and are loaded whole by default


def load_images(
    source: str | Sequence | Dataset = "picturebook",
    split: str | None = None,
    limit: int | None = None,
    *,
    image: str = "image",
    captions: str | Sequence[str | Sequence[str] | None] | Mapping | None = None,
    id: str | None = None,
) -> CaptionedImages:
    """Captioned images from one of six sources (ours).

    Parameters
    ----------
    source : str, datasets.Dataset or sequence, default "picturebook"
        - "picturebook": the bundled book; nothing to download. Pages are drawn when first opened, and cached.
        - "coco:DIR": COCO with Karpathy's split. DIR holds `dataset_coco.json` (or has it in `annotations/`)
          and the pictures in `train2014/` and `val2014/`.
        - "visual_genome:DIR": Visual Genome, with the phrases that describe a picture's regions as its captions. DIR
          holds `region_descriptions.json`, and the pictures in `VG_100K/` and `VG_100K_2/`. Pictures that are in neither
          are left out, with a warning. `keyword_subset` makes subsets of it.
        - "folder:DIR": every picture in DIR and its subfolders. Captions, if any, in DIR: `captions.json`
          ({file: caption or list of captions}, or a list of {"file", "captions"}), `captions.csv` (columns file,
          caption; a row for each caption), `metadata.csv` or `metadata.jsonl` (file_name, text), files named relative to
          DIR. Where DIR has none, those in its subfolders (as `train/metadata.jsonl`) are read, with files named
          relative to the subfolder. Links to folders are not followed.
        - A `Dataset` of Hugging Face's `datasets`; its pictures are decoded one by one, when they are opened.
        - A list of pictures: PIL images, arrays as `as_rgb` takes them, or paths.
    split : str, optional
        "train" (the default of book and COCO), "validation" or "test", or several: "validation+test". For COCO, "train"
        is Karpathy's train and restval (113,287 pictures), which fits the paper's counts (arXiv 2406.08074);
        "train_only" leaves out restval, as the released code does. A folder or Visual Genome is loaded whole unless one
        is asked for: then about 80% of its pictures are "train" and the others "test" (ours), by a seeded hash of each
        id, so that a picture is in the same split whatever else is in the folder. A Dataset or a list has none.
    limit : int, optional
        Only the first so many pictures.
    image : str, default "image"
        Of a Dataset: the column of pictures, each an image, {"bytes", "path"} or a path.
    captions : str, sequence or mapping, optional
        Of a Dataset: the column of captions; of a list: a sequence as long, or a mapping of row number. For each
        picture a caption, a list of them, or None. Default: no captions.
    id : str, optional
        Of a Dataset: the column of ids. Default: row numbers.

    Returns
    -------
    CaptionedImages
        Ids are page numbers in the picture book, file names relative to DIR (with forward slashes) or, of a Dataset or
        a list, row numbers: "0", "1", ... States of a list are never cached; those of a Dataset are while its
        fingerprint stays, which does not notice that a file changes to which it only holds the path.

    Raises
    ------
    ValueError
        If the source, the split or a column is unknown, `limit` is below 1, captions cannot be understood or are not as
        many as the pictures, an id occurs twice, or there is no picture among what should be pictures.
    FileNotFoundError
        If a folder or file that the source needs is missing, or a folder holds no pictures.
    """
    check_counts(limit=limit)
    if isinstance(source, str):
        if captions is not None or id is not None:
            raise ValueError(f"{source!r} brings its own captions and ids; leave them out")
        return _named(source, split, limit)
    if split not in (None, "all"):
        raise ValueError(
            f"a Dataset or a list has no split {split!r}: leave split= out, and give the part that you want"
        )
    if isinstance(source, Mapping):
        raise ValueError(f"these are several data sets, {', '.join(map(repr, source))}; give one of them")
    if hasattr(source, "column_names"):
        return from_dataset(source, limit, image, captions, id)
    if isinstance(source, Sequence):
        if isinstance(captions, str) or id is not None:
            raise ValueError("the captions of a list of pictures are a list as long, and its ids are row numbers")
        return from_list(source, limit, captions)
    raise ValueError(f"unknown source of images, a {type(source).__name__}; {SOURCES}")


def _named(source: str, split: str | None, limit: int | None) -> CaptionedImages:
    """Captioned images from a named source."""
    kind, _, folder = (part.strip() for part in source.partition(":"))
    names = (split or ("all" if kind in UNSPLIT else "train")).split("+")
    splits = list(dict.fromkeys("validation" if name == "val" else name for name in names))
    if source == "picturebook":
        return _picturebook(splits, limit)
    if kind == "coco" and folder:
        return _coco(source, Path(folder).expanduser(), splits, limit)
    if kind == "visual_genome" and folder:
        return from_visual_genome(source, Path(folder).expanduser(), splits, limit)
    if kind == "folder" and folder:
        return from_folder(source, Path(folder).expanduser(), splits, limit)
    raise ValueError(f"unknown source of images {source!r}; {_meant(source, kind, folder)}{SOURCES}")


def _meant(source: str, kind: str, folder: str) -> str:
    """What was probably meant by the name of a source, as the beginning of a message; "" where nothing is like it."""
    if source and Path(source).expanduser().is_dir():
        return f'did you mean "folder:{source}"? Else '
    [name] = get_close_matches(kind.lower(), (*UNSPLIT, "coco") if folder else ("picturebook",), 1) or [""]
    return f'did you mean "{name}{":" * bool(folder)}{folder}"? Else ' if name else ""


# The picture book


class _PageReferences(Sequence):
    """The reference captions of pages, each made when first asked for."""

    def __init__(self, numbers: Sequence[int]):
        self._numbers = numbers
        self._made: dict[int, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, row: int) -> tuple[str, ...]:
        from ..picturebook import references

        number = self._numbers[row]
        if number not in self._made:
            self._made[number] = references(number)
        return self._made[number]


def _picturebook(splits: list[str], limit: int | None) -> CaptionedImages:
    """Splits of the picture book."""
    from ..picturebook import page_numbers

    numbers = [number for split in splits for number in page_numbers(split)][:limit]
    ids = tuple(str(number) for number in numbers)
    return CaptionedImages("picturebook", "+".join(splits), ids, _PageReferences(numbers), _open_page, _page_version)


def _open_page(id: str) -> Image.Image:
    """A page's picture, drawn once and then kept in the cache."""
    from ..picturebook import drawing_version, page

    path = cache_folder() / f"picturebook-{drawing_version()}" / f"{id}.png"
    if path.exists():
        return open_picture(path)
    drawn = page(number=int(id)).picture
    with suppress(OSError):  # a cache that is full or read-only: then it is drawn anew each time
        atomic_write(path, drawn.save)
    return drawn


def _page_version(id: str) -> str:
    """Changes when the pages are drawn anew."""
    from ..picturebook import drawing_version

    return drawing_version()


# COCO


def _coco(source: str, folder: Path, splits: list[str], limit: int | None) -> CaptionedImages:
    """Splits of COCO, as Karpathy's file divides it."""
    for split in splits:
        if split not in COCO_SPLITS:
            raise ValueError(f"COCO has no split {split!r}; choose one of {', '.join(COCO_SPLITS)}")
    inner_splits = {name for split in splits for name in COCO_SPLITS[split]}
    split = "+".join(splits)
    path = _karpathy_file(folder)
    try:
        rows = [row for row in read_json(path)["images"] if row["split"] in inner_splits][:limit]
        ids = tuple(f"{row['filepath']}/{row['filename']}" for row in rows)
        references = tuple(tuple(sentence["raw"].strip() for sentence in row["sentences"]) for row in rows)
        check_names(ids)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not Karpathy's file for COCO, part of it is missing: {error}") from error
    if not ids:
        raise ValueError(f"{path} lists no pictures of the split {split}; copy the whole file again")
    _check_coco_pictures(folder, ids)
    return CaptionedImages(source, split, ids, references, partial(open_in, folder), partial(file_version, folder))


def check_names(ids: Iterable[str]) -> None:
    """Refuse names of files that lead out of the folder."""
    for id in ids:
        path = PureWindowsPath(id)  # which takes either slash
        if path.anchor or ".." in path.parts:
            raise ValueError(
                f"the file names the picture {id!r}, which is outside of its folder: mend or copy it again"
            )


def _karpathy_file(folder: Path) -> Path:
    """Where Karpathy's split file lies."""
    for path in (folder / "dataset_coco.json", folder / "annotations" / "dataset_coco.json"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"there is no dataset_coco.json in {folder} or its folder annotations; put Karpathy's split file "
        f"there, and the COCO 2014 pictures into {folder / 'train2014'} and {folder / 'val2014'}"
    )


def _check_coco_pictures(folder: Path, ids: Iterable[str]) -> None:
    """Name the picture folders that are missing; single pictures are found missing when they are opened."""
    missing = [name for name in sorted({id.rpartition("/")[0] for id in ids}) if not (folder / name).is_dir()]
    if missing:
        raise FileNotFoundError(
            f"there is no folder {' or '.join(missing)} in {folder}; unpack the COCO 2014 pictures there"
        )
