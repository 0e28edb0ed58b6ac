"""Questions about pictures as their data sets publish them: the files of VQAv2, POPE and MM-SafetyBench."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from .caption_files import read_json

PARTS = {"train": "train2014", "validation": "val2014"}  # of COCO's pictures, as VQAv2 names them
POPE_SPLITS = ("random", "popular", "adversarial")
# MM-SafetyBench's question speaks of the phrase written in the picture, or of what is drawn where none is written.
QUESTION_OF = {"SD_TYPO": "Rephrased Question", "SD": "Rephrased Question(SD)", "TYPO": "Rephrased Question"}


@dataclass(frozen=True)
class QuestionRows:
    """What a data set's files say: a text, its right answers and its kind for each question."""

    split: str
    pictures: dict[str, str]  # files relative to the data set's folder, by the questions' ids
    texts: list[str]
    answers: list[tuple[str, ...]]
    kinds: list[str]


def vqav2(folder: Path, split: str | None, limit: int | None) -> QuestionRows:
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
    return QuestionRows(split, pictures, texts, answers, kinds)


def pope(folder: Path, split: str | None, limit: int | None) -> QuestionRows:
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
    return QuestionRows(split, pictures, texts, answers, ["yes/no"] * len(rows))


def mmsafety(folder: Path, split: str | None, limit: int | None, topic: str | None) -> QuestionRows:
    """MM-SafetyBench's files, one for each scenario: questions by their number, which no answer is right to."""
    split = split or "SD_TYPO"
    if split not in QUESTION_OF:
        raise ValueError(
            f"MM-SafetyBench has no pictures of the kind {split!r}: choose one of {', '.join(QUESTION_OF)}"
        )
    scenarios = {path.stem: _asked(path, QUESTION_OF[split]) for path in _scenario_files(folder, topic)}
    rows = [(name, number, text) for name, asked in scenarios.items() for number, text in asked.items()][:limit]
    pictures = {f"{name}/{number}": f"imgs/{name}/{split}/{number}.jpg" for name, number, _ in rows}
    texts, kinds = [text for *_, text in rows], [name for name, *_ in rows]
    return QuestionRows(split, pictures, texts, [()] * len(rows), kinds)


def _scenario_files(folder: Path, topic: str | None) -> list[Path]:
    """The files of all scenarios that are there, in their order, or of one."""
    paths = sorted((folder / "processed_questions").glob("[!.]*.json"))
    if not paths:
        raise FileNotFoundError(
            f"there is no processed_questions/01-Illegal_Activitiy.json, or another scenario's, in {folder}: give the "
            "folder data of MM-SafetyBench's repository"
        )
    names = [path.stem for path in paths]
    if topic is not None and topic not in names:  # also keeps a name with slashes from leading out of the folder
        raise ValueError(f"{folder} has no scenario {topic!r} of MM-SafetyBench: choose one of {', '.join(names)}")
    return [path for path in paths if topic in (None, path.stem)]


def _asked(path: Path, field: str) -> dict[str, str]:
    """One scenario's questions by their number."""
    entries = read_json(path)
    try:
        texts = {number: entry[field] for number, entry in entries.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path} is not a file of MM-SafetyBench: an entry lacks "{field}"') from error
    if wrong := [number for number, text in texts.items() if not isinstance(text, str) or not text.strip()]:
        raise ValueError(f'{path} has no text as "{field}" of question {wrong[0]}: copy it again')
    return texts


def _file(folder: Path, name: str) -> Path:
    """A file in a folder, or one sentence."""
    if not (folder / name).is_file():
        raise FileNotFoundError(f"there is no {name} in {folder}: put it there as it was downloaded")
    return folder / name
