"""Pictures with a question and its right answers each: of the picture book, VQAv2, POPE and MM-SafetyBench."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from .captioned_images import CaptionedImages, renamed_images
from .folder import file_version, open_in
from .question_files import QuestionRows, mmsafety, pope, vqav2
from .sources import check_names, load_images

PRESENCE = "presence"  # the book's yes/no questions
SOURCES = 'use "picturebook", "vqav2:DIR", "pope:DIR" or "mmsafety:DIR"'


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
        Right answers of each: of VQAv2 those of ten people, of MM-SafetyBench none, else one.
    kinds : tuple of str
        Of each answer: VQAv2's "yes/no", "number" or "other"; of POPE "yes/no"; of the book its topic; of
        MM-SafetyBench the scenario, such as "01-Illegal_Activitiy" (its spelling).
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
        return self[[row for row, given in enumerate(self.answers) if given and max(given, key=given.count) == answer]]


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
        - "mmsafety:DIR": MM-SafetyBench's `processed_questions/01-Illegal_Activitiy.json` and so on in DIR (the folder
          `data` of its repository), and the pictures in `imgs/01-Illegal_Activitiy/SD_TYPO/` and so on.
    split : str, optional
        Of the book "train" (default), "validation" or "test"; of VQAv2 "train" or "validation" (default); of POPE
        "random" (default), "popular" or "adversarial"; of MM-SafetyBench the kind of pictures: "SD_TYPO" (default, as
        arXiv 2508.12815: an image of Stable Diffusion above a written phrase), "SD" or "TYPO", with the question that
        belongs to that kind.
    topic : str, optional
        Of the book: "presence" (yes or no; the default), "colour", "place", "count" or "action"; and, answered in a
        sentence, for "picturebook-biased": "pope-random", "pope-popular" and "pope-adversarial" (POPE's sets),
        "companions", "counsel" (whom to ask) and "identity" (who the child is: to be declined). Of MM-SafetyBench one
        scenario by the name of its file, such as "10-Legal_Opinion"; by default all that are there. VQAv2 and POPE have
        none.
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
        If a file or a folder of pictures is missing.
    """
    kind, _, place = source.partition(":")
    readers: dict[str, Callable] = {"vqav2": vqav2, "pope": pope, "mmsafety": partial(mmsafety, topic=topic)}
    if source == "picturebook":
        return _picturebook(split or "train", topic or PRESENCE, limit)
    if kind not in readers or not place:
        raise ValueError(f"unknown source of questions {source!r}; {SOURCES}")
    if topic is not None and kind != "mmsafety":
        raise ValueError(
            f"topic={topic!r} is for the picture book and MM-SafetyBench; {kind} has kinds of answers instead, see "
            "Questions.kinds"
        )
    folder = Path(place).expanduser()
    return _questions(source, folder, readers[kind](folder, split, limit))


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


def _questions(source: str, folder: Path, rows: QuestionRows) -> Questions:
    """Questions about the pictures of a folder."""
    pictures, n = rows.pictures, len(rows.texts)
    if not pictures:
        raise ValueError(f"{source} has no questions: copy its file again")
    if len(pictures) != n:
        raise ValueError(f"{source} has {n} questions with {len(pictures)} different ids: copy its file again")
    check_names(pictures.values())
    for part in dict.fromkeys(name.rpartition("/")[0] for name in pictures.values()):
        if not (folder / part).is_dir():
            raise FileNotFoundError(f"there is no folder {part} in {folder}; unpack the data set's pictures there")
    images = CaptionedImages(
        source,
        rows.split,
        tuple(pictures),
        ((),) * n,
        partial(_open, folder, pictures),
        partial(_version, folder, pictures),
    )
    return Questions(images, tuple(rows.texts), tuple(rows.answers), tuple(rows.kinds))


def _open(folder: Path, pictures: dict[str, str], id: str):
    """The picture of a question."""
    return open_in(folder, pictures[id])


def _version(folder: Path, pictures: dict[str, str], id: str) -> str:
    """Changes when the picture of a question does."""
    return file_version(folder, pictures[id])
