"""Inputs whose answers are known to be right or wrong: questions about companions, and captions that name a kind (ours)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os.path import commonprefix

import numpy as np

from ..extraction import States, prompt_states
from ..images import CaptionedImages, load_images, load_questions
from ..models import LMM, Layer
from ..picturebook import TYPICAL, factors_of
from ..steering import captions_under
from .model_scores import BATCH_SIZE
from .steering_effects import facts_of

QUESTIONS = "companions"  # of the book: each page is asked for a ball, a child and a tree
MAX_NEW_TOKENS = 40
N_ANSWER = 12  # tokens of an edited answer: the longest right one has 8 words


@dataclass(frozen=True, eq=False)
class AnsweredInputs:
    """Pictures and prompts, what a model says of each, and whether that is right.

    Attributes
    ----------
    images : CaptionedImages
        A picture for each input.
    prompts : tuple of str
    answers : tuple of str
        The model's own.
    claims : numpy.ndarray
        (inputs,) bool: whether the answer claims that something is there, and so may be a hallucination.
    wrong : numpy.ndarray
        (inputs,) bool: whether the answer is wrong.
    asked : tuple
        (kind of the page, noun) of each question: what there is to know without looking for the noun. Of captions the
        kind that is named.
    is_right : callable
        (row, answer) to bool, for answers of an edited model.
    max_new_tokens : int
        Of an answer of an edited model.
    """

    images: CaptionedImages
    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    claims: np.ndarray
    wrong: np.ndarray
    asked: tuple
    is_right: Callable[[int, str], bool]
    max_new_tokens: int

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def pages(self) -> list[str]:
        """The page of each input: several questions are about one."""
        return [id.partition("/")[0] for id in self.images.ids]

    @property
    def typical(self) -> np.ndarray:
        """Whether the noun asked about is what the kind is mostly seen with: (inputs,) bool."""
        return np.array([TYPICAL.get(kind) == noun for kind, noun in self.asked])

    @property
    def beginning(self) -> str:
        """The words with which all answers begin, right and wrong: what follows them decides."""
        return " ".join(commonprefix([answer.split() for answer in self.answers]))

    def states(self, lmm: LMM, layers: Sequence[Layer], average: bool = False) -> States:
        """The states of all inputs where the answer is decided, or averaged over the model's own answer.

        That is the last input token where the next one decides; the model's answers to some questions all begin alike,
        as "my answer is": then at the last of these words.
        """
        completions = self.answers if average else (self.beginning,) * len(self) if self.beginning else None
        read = prompt_states(lmm, self.images, self.prompts, layers, completions, average)
        return replace(read, captions=list(self.answers), token_ids=None)


def answered_questions(lmm: LMM, split: str, n: int) -> AnsweredInputs:
    """Questions about companions, answered by a model; one with "yes" claims that the companion is there.

    An answer is right word for word: a broken one that begins with the right word, such as "no yes yes", is not.

    Parameters
    ----------
    lmm : LMM
    split : str
    n : int
        How many questions; three are about one page.

    Returns
    -------
    AnsweredInputs
    """
    questions = load_questions("picturebook", split, QUESTIONS, n)
    right = [answer for (answer,) in questions.answers]
    kinds = [factors_of(int(id.partition("/")[0])).kind for id in questions.images.ids]
    answers = _answers(lmm, questions.images, questions.texts)

    def is_right(row: int, answer: str) -> bool:
        return answer == right[row]

    claims = np.array([yes_or_no(answer) == "yes" for answer in answers])
    wrong = np.array([not is_right(row, answer) for row, answer in enumerate(answers)])
    asked = tuple(
        zip(kinds, (text.rstrip("?").removesuffix(" in the picture").split()[-1] for text in questions.texts))
    )
    return AnsweredInputs(questions.images, questions.texts, answers, claims, wrong, asked, is_right, N_ANSWER)


def captioned_pages(lmm: LMM, split: str, subjects: Sequence[str], n: int) -> AnsweredInputs:
    """Captions of pages of some subjects; one that names a kind claims it, and is wrong if the page shows another.

    Parameters
    ----------
    lmm : LMM
    split : str
    subjects : sequence of str
    n : int
        How many pages of each subject, at most.

    Returns
    -------
    AnsweredInputs
    """
    images = load_images("picturebook", split)
    kinds = [factors_of(int(id)).kind for id in images.ids]
    rows = [row for subject in subjects for row in np.flatnonzero(np.array(kinds) == subject)[:n]]
    images, kinds = images[rows], [kinds[row] for row in rows]
    prompts = (lmm.prompt,) * len(images)
    answers = _answers(lmm, images, prompts)

    def is_right(row: int, caption: str) -> bool:
        return _named(caption) == (kinds[row],)

    claims = np.array([bool(_named(caption)) for caption in answers])
    wrong = np.array([not is_right(row, caption) for row, caption in enumerate(answers)])
    asked = tuple((None, _named(caption)) for caption in answers)
    return AnsweredInputs(images, prompts, answers, claims, wrong, asked, is_right, MAX_NEW_TOKENS)


def yes_or_no(answer: str) -> str:
    """The first of the words yes and no in an answer; "" if it has neither."""
    first = re.search(r"\b(yes|no)\b", answer.lower())
    return first.group() if first else ""


def _named(caption: str) -> tuple[str, ...]:
    """The kinds that a caption names."""
    return facts_of(caption).get("kind", ())


def _answers(lmm: LMM, images: CaptionedImages, prompts: Sequence[str]) -> tuple[str, ...]:
    """What a model says to each prompt about its picture, greedy decoding."""
    return tuple(captions_under(lmm, images, [], "generated", prompts, MAX_NEW_TOKENS, BATCH_SIZE)["unsteered"])
