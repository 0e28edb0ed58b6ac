"""Steer answers to questions: from one answer to another, and what it does to all other questions (arXiv 2501.03012)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..evaluation import answer_counts, answer_table, normalised_answer
from ..extraction import prompt_states
from ..images import Questions
from ..models import LMM, Layer
from .directions import Direction, mean_difference
from .joined import Steering
from .steer import UNSTEERED, steered


def answer_directions(
    lmm: LMM, questions: Questions, answers: tuple[str, str], layers: Sequence[Layer], batch_size: int = 32
) -> dict[Layer, Direction]:
    """From the mean state of questions with one answer to that of questions with another, at the last input token.

    Parameters
    ----------
    lmm : LMM
    questions : Questions
        Not those that it is tested on.
    answers : (str, str)
        The answer to leave and the one to reach, such as ("yes", "no"): right answers of the questions.
    layers : sequence of layer
    batch_size : int, default 32

    Returns
    -------
    dict of layer to Direction

    Raises
    ------
    ValueError
        If no question has one of the two answers.
    """
    parts = [questions.answered(answer) for answer in answers]
    for part, answer in zip(parts, answers):
        if not len(part):
            raise ValueError(f"no question has the answer {answer!r}: choose one of those in Questions.answers")
    read = [prompt_states(lmm, part.images, part.texts, layers, batch_size=batch_size) for part in parts]
    return {layer: mean_difference(*read, layer=layer) for layer in layers}


def answer_effects(
    lmm: LMM,
    questions: Questions,
    direction: Steering,
    answers: tuple[str, str],
    alphas: Sequence[float] = (1.0,),
    positions: str = "last_prompt",
    max_new_tokens: int = 10,
) -> pd.DataFrame:
    """Answer questions unsteered and steered, and score the answers (arXiv 2501.03012).

    Parameters
    ----------
    lmm : LMM
    questions : Questions
    direction : Direction or ConceptEdit
    answers : (str, str)
        The answer to leave and the one to reach.
    alphas : sequence of float, default (1.0,)
    positions : {"last_prompt", "generated", "all"}, default "last_prompt"
        Where the directions of `answer_directions` are read; under "generated" a short answer may be said again.
    max_new_tokens : int, default 10

    Returns
    -------
    pandas.DataFrame
        A row for each alpha, 0 (unsteered) first: turned, the share of the questions answered the first way unsteered
        that are now answered the second way, NaN if there are none; how often each of the two answers is given; VQA
        accuracy for each kind of answer, and `all`.
    """
    table = steered(lmm, questions.images, direction, alphas, positions, questions.texts, max_new_tokens)
    asked = questions[[questions.images.index(id) for id in table.index]]
    first, second = (normalised_answer(answer) for answer in answers)
    left = table[UNSTEERED].map(normalised_answer) == first
    rows = {}
    for name, given in table.items():
        counts, turned = answer_counts(given), (given[left].map(normalised_answer) == second).mean()
        row = {"turned": turned, f"'{answers[0]}'": counts[first], f"'{answers[1]}'": counts[second]}
        rows[0.0 if name == UNSTEERED else name] = row | answer_table(given, asked.answers, asked.kinds).to_dict()
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("alpha")
