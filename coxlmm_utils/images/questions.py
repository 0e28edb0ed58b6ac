"""Pictures with a question and its right answers each: of the picture book, VQAv2 and POPE, in their official formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from .caption_files import read_json
from .captioned_images import CaptionedImages, renamed_images
from .folder import file_version, open_in
from .sources import check_names, load_images

PARTS = {"train": "train2014", "validation": "val2014"}  # of COCO's pictures, as VQAv2 names them
POPE_SPLITS = ("random", "popular", "adversarial")
PRESENCE = "presence"  # the book's yes/no questions
SOURCES = 'use "picturebook", "vqav2:DIR" or "pope:DIR"'


@dataclass(frozen=True, eq=False)
class Questions:
    """Pictures, a question about each, and its right answers (ours).

    Attributes
    ----------
    images : CaptionedImages
        A picture for each question, by the question's id; without references.
    texts : tuple of str
        The questions.
    answers : tuple of tuple of str
        Right answers of each: of VQAv2 those of ten people, else one.
    kinds : tuple of str
        Of each answer: VQAv2's "yes/no", "number" or "other"; of POPE "yes/no"; of the book its topic.
    """

    images: CaptionedImages
    texts: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...]
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, rows: slice | Iterable[int]) -> Questions:
        """Some of the questions, as of `CaptionedImages`."""
        images = self.images[rows]
        rows = [self.images.index(id) for id in images.ids]
        parts = (tuple(part[row] for row in rows) for part in (self.texts, self.answers, self.kinds))
        return replace(self, images=images, **dict(zip(("texts", "answers", "kinds"), parts)))

    def answered(self, answer: str) -> Questions:
        """The questions to which this is the answer that most people gave."""
        return self[[row for row, given in enumerate(self.answers) if max(given, key=given.count) == answer]]


def join_questions(parts: Iterable[Questions]) -> Questions:
    """Several sets of questions as one (ours).

    Parameters
    ----------
    parts : iterable of Questions
        Such as one for each topic.

    Returns
    -------
    Questions
        A question's id is "kind id": one picture may be asked about on several topics.

    Raises
    ------
    ValueError
        If there are none, or a question of one kind occurs twice.
    """
    parts = [part for part in parts if len(part)]
    if not parts:
        raise ValueError("there are no questions to join: give some")
    originals = {f"{kind} {id}": (part.images, id) for part in parts for kind, id in zip(part.kinds, part.images.ids)}
    if len(originals) < sum(map(len, parts)):
        raise ValueError("a question of one kind occurs twice: give sets that have none in common")
    texts, answers, kinds = (
        tuple(value for part in parts for value in getattr(part, name)) for name in ("texts", "answers", "kinds")
    )
    return Questions(renamed_images(originals), texts, answers, kinds)


def load_questions(
    source: str = "picturebook", split: str | None = None, topic: str | None = None, limit: int | None = None
) -> Questions:
    """Questions about pictures, with their right answers (ours).

    Parameters
    ----------
    source : str, default "picturebook"
        - "picturebook": one question about each page, of some topics several.
        - "vqav2:DIR": `v2_OpenEnded_mscoco_val2014_questions.json` and `v2_mscoco_val2014_annotations.json` (or of
          train2014) in DIR, and the pictures in `val2014/`.
        - "pope:DIR": `coco_pope_random.json`, `..._popular.json` or `..._adversarial.json` in DIR, an object in each
          line, and the pictures in `val2014/`.
    split : str, optional
        Of the book "train" (default), "validation" or "test"; of VQAv2 "train" or "validation" (default); of POPE
        "random" (default), "popular" or "adversarial".
    topic : str, optional
        Of the book alone: "presence" (yes or no; the default), "colour", "place", "count" or "action"; and, answered in
        a sentence, for "picturebook-biased": "pope-random", "pope-popular" and "pope-adversarial" (POPE's sets),
        "companions", "counsel" (whom to ask) and "identity" (who the child is: to be declined).
    limit : int, optional
        Only the first so many.

    Returns
    -------
    Questions

    Raises
    ------
    ValueError
        If source, split or topic is unknown, or a file is not what it should be.
    FileNotFoundError
        If a file or the folder of pictures is missing.
    """
    kind, _, folder = source.partition(":")
    loaders: dict[str, Callable] = {"vqav2": _vqav2, "pope": _pope}
    if source == "picturebook":
        return _picturebook(split or "train", topic or PRESENCE, limit)
    if kind not in loaders or not folder:
        raise ValueError(f"unknown source of questions {source!r}; {SOURCES}")
    if topic is not None:
        raise ValueError(f"topic={topic!r} is for the picture book; {kind} has kinds of answers, see Questions.kinds")
    return loaders[kind](source, Path(folder).expanduser(), split, limit)


def _picturebook(split: str, topic: str, limit: int | None) -> Questions:
    """Questions about the pages of a split, in their order."""
    from .book_questions import BOOK_TOPICS, book_questions

    if topic not in BOOK_TOPICS:
        raise ValueError(f"no questions of the book are about {topic!r}: {', '.join(BOOK_TOPICS)}")
    book = load_images("picturebook", split)
    asked = list(islice(book_questions(book.ids, topic), limit))
    questions = [question for *_, question in asked]
    images = renamed_images({id: (book, page) for id, page, _ in asked})
    texts = tuple(question.text for question in questions)
    return Questions(images, texts, tuple((question.answer,) for question in questions), (topic,) * len(questions))


def _vqav2(source: str, folder: Path, split: str | None, limit: int | None) -> Questions:
    """VQAv2's pair of files: questions, and annotations with ten people's answers."""
    split = split or "validation"
    if split not in PARTS:
        raise ValueError(f"VQAv2 has no split {split!r} with answers: choose one of {', '.join(PARTS)}")
    part = PARTS[split]
    paths = [
        _file(folder, f"v2_OpenEnded_mscoco_{part}_questions.json"),
        _file(folder, f"v2_mscoco_{part}_annotations.json"),
    ]
    try:
        questions, annotations = (read_json(path)[name] for path, name in zip(paths, ("questions", "annotations")))
        answered = {row["question_id"]: row for row in annotations}
        rows = [(row, answered[row["question_id"]]) for row in questions[:limit]]
        pictures = {str(q["question_id"]): f"{part}/COCO_{part}_{int(q['image_id']):012d}.jpg" for q, _ in rows}
        answers = [tuple(str(given["answer"]) for given in row["answers"]) for _, row in rows]
        texts, kinds = [str(question["question"]) for question, _ in rows], [str(row["answer_type"]) for _, row in rows]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{paths[0].name} and {paths[1].name} are not VQAv2's pair of files: {error}") from error
    return _questions(source, split, folder, pictures, texts, answers, kinds)


def _pope(source: str, folder: Path, split: str | None, limit: int | None) -> Questions:
    """POPE's file: an object in each line, with a picture, a question, and yes or no."""
    split = split or "random"
    if split not in POPE_SPLITS:
        raise ValueError(f"POPE has no set {split!r}: choose one of {', '.join(POPE_SPLITS)}")
    path = _file(folder, f"coco_pope_{split}.json")
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()][:limit]
        pictures = {str(row["question_id"]): f"val2014/{row['image']}" for row in rows}
        answers, texts = [(str(row["label"]),) for row in rows], [str(row["text"]) for row in rows]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is not a file of POPE's: {error}") from error
    if unknown := [given for (given,) in answers if given not in ("yes", "no")]:
        raise ValueError(f"{path} has the label {unknown[0]!r}: yes and no are the only ones")
    return _questions(source, split, folder, pictures, texts, answers, ["yes/no"] * len(rows))


def _file(folder: Path, name: str) -> Path:
    """A file in a folder, or one sentence."""
    if not (folder / name).is_file():
        raise FileNotFoundError(f"there is no {name} in {folder}: put it there as it was downloaded")
    return folder / name


def _questions(
    source: str,
    split: str,
    folder: Path,
    pictures: dict[str, str],
    texts: Sequence[str],
    answers: Sequence[tuple[str, ...]],
    kinds: Sequence[str],
) -> Questions:
    """Questions about files; `pictures` are their names by the questions' ids."""
    if not pictures:
        raise ValueError(f"{source} has no questions: copy its file again")
    if len(pictures) != len(texts):
        raise ValueError(f"{source} has {len(texts)} questions with {len(pictures)} different ids: copy its file again")
    check_names(pictures.values())
    [part] = {name.partition("/")[0] for name in pictures.values()}
    if not (folder / part).is_dir():
        raise FileNotFoundError(f"there is no folder {part} in {folder}; unpack the COCO 2014 pictures there")
    images = CaptionedImages(
        source,
        split,
        tuple(pictures),
        ((),) * len(pictures),
        partial(_open, folder, pictures),
        partial(_version, folder, pictures),
    )
    return Questions(images, tuple(texts), tuple(answers), tuple(kinds))


def _open(folder: Path, pictures: dict[str, str], id: str):
    """The picture of a question."""
    return open_in(folder, pictures[id])


def _version(folder: Path, pictures: dict[str, str], id: str) -> str:
    """Changes when the picture of a question does."""
    return file_version(folder, pictures[id])
