"""Which directions turn answers into one other answer: the discovery of useful ones (arXiv 2501.03012)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from itertools import permutations

import pandas as pd

from ..concepts import ConceptBank
from ..evaluation import answer_counts
from ..images import Questions
from ..models import LMM
from .directions import Direction, concept_difference
from .joined import Steering
from .steer import UNSTEERED, captions_under


def concept_directions(bank: ConceptBank, concepts: Sequence[int] | None = None) -> dict[tuple[int, int], Direction]:
    """The directions from each concept to each other one (arXiv 2501.03012, fine-grained).

    Parameters
    ----------
    bank : ConceptBank
    concepts : sequence of int, optional
        Default: all, of K concepts K (K - 1) directions.
    """
    chosen = range(len(bank)) if concepts is None else concepts
    return {(away, towards): concept_difference(bank, away, towards) for away, towards in permutations(chosen, 2)}


def useful_directions(
    lmm: LMM,
    questions: Questions,
    directions: Mapping[Hashable, Steering],
    alpha: float = 1.0,
    positions: str = "last_prompt",
    n_main: int = 1,
    n_top: int = 5,
    max_new_tokens: int = 10,
) -> pd.DataFrame:
    """Answer questions under each direction, and keep those that lead to few answers, one for each answer.

    Parameters
    ----------
    lmm : LMM
    questions : Questions
        A few dozen; each is answered once for every direction.
    directions : mapping of any to Direction or edit
        By a name, such as `concept_directions` makes them.
    alpha : float, default 1.0
    positions : {"last_prompt", "generated", "all"}, default "last_prompt"
    n_main : int, default 1
        Of how many main answers a direction may have at most.
    n_top, max_new_tokens : int
        See `main_answers`; and of an answer.

    Returns
    -------
    pandas.DataFrame
        A row for each direction that is kept, by its name, largest gap first: answers, the main ones; gap, as of
        `main_answers`; changed, the share of answers that are another than unsteered.

    Raises
    ------
    ValueError
        If there are no directions.
    """
    if not directions:
        raise ValueError("there is no direction to try: give some, such as concept_directions makes")
    edits = [(number, direction, alpha) for number, direction in enumerate(directions.values())]
    table = captions_under(lmm, questions.images, edits, positions, questions.texts, max_new_tokens)
    before, rows = table[UNSTEERED], {}
    for number, name in enumerate(directions):
        answers, gap = main_answers(answer_counts(before), answer_counts(table[number]), n_top)
        rows[name] = {"answers": answers, "gap": gap, "changed": float((before != table[number]).mean())}
    kept = [name for name, row in rows.items() if 0 < len(row["answers"]) <= n_main]
    kept = sorted(kept, key=lambda name: -rows[name]["gap"])
    best = {}
    for name in kept:
        best.setdefault(rows[name]["answers"], name)
    names = list(best.values())
    table = pd.DataFrame([rows[name] for name in names], columns=["answers", "gap", "changed"])
    table.index = pd.Index(names, tupleize_cols=False, name="direction")
    return table


def main_answers(before: Counter[str], after: Counter[str], n_top: int = 5) -> tuple[tuple[str, ...], float]:
    """The answers that a direction leads to, and by how many times they are given more often than the rest.

    Of the `n_top` answers whose counts rise most, relative to before, the counts are split in two where both parts vary
    least (K-Means with two clusters, in one dimension exactly); the upper part are the main answers.

    Parameters
    ----------
    before, after : collections.Counter
        How often each answer is given, unsteered and steered.
    n_top : int, default 5

    Returns
    -------
    answers : tuple of str
        In alphabetical order; none if no count rises.
    gap : float
        The mean count of the main answers, minus that of the others (0 if there are none).
    """
    rises = {answer: (n - before[answer]) / max(1, before[answer]) for answer, n in after.items()}
    top = sorted((answer for answer, rise in rises.items() if rise > 0), key=lambda answer: (-rises[answer], answer))
    counts = sorted((after[answer], answer) for answer in top[:n_top])
    if not counts:
        return (), 0.0
    values = pd.Series([n for n, _ in counts], dtype=float)
    within = [_spread(values[:i]) + _spread(values[i:]) for i in range(1, len(values))]
    split = 1 + within.index(min(within)) if within else 0
    lower = values[:split].mean() if split else 0.0
    return tuple(sorted(answer for _, answer in counts[split:])), float(values[split:].mean() - lower)


def _spread(values: pd.Series) -> float:
    """The sum of squared differences from the mean."""
    return float(((values - values.mean()) ** 2).sum())
