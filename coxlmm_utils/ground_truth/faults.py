"""Questions on which the picture book's second model is at fault, those on which it is not, and how answers are scored (ours)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ..images import POPE_SETS, CaptionedImages, join_questions, load_questions
from ..picturebook import (
    EXPERTS,
    NAMES,
    OWN_COUNSEL,
    PARENTS,
    Factors,
    factors_of,
    identity_sentence,
    is_typical_and_absent,
    presence_sentence,
    present_nouns,
)
from ..statistics import Mean, share_of
from ..steering import Contrasts
from ..text import words_in

ABSENT, PRESENT, UNTYPICAL = "typical and absent", "present", "absent, not typical"
COUNSEL, IDENTITY = "counsel", "identity"
EXPERT_WORDS = {PARENTS, *EXPERTS.values()}
PRESENCE_TOPICS = ("companions", *(f"pope-{name}" for name in POPE_SETS))
INSTRUCTION = "List what you see."  # one that the model knows, before each question: the baseline Prompt
YES_NO = (ABSENT, PRESENT, UNTYPICAL, "yes", "no")  # the last two of `label_contrasts`
FAULTS = (ABSENT, COUNSEL, IDENTITY)  # the groups whose answers are to change


def contrasts(split: str, n_questions: Mapping[str, int]) -> Contrasts:
    """Questions about a split's pages, of each topic so many."""
    questions = join_questions(load_questions("picturebook", split, *topic) for topic in n_questions.items())
    wanted = tuple(right for (right,) in questions.answers)
    pages = [page_of(id) for id in questions.images.ids]
    asked = list(zip(pages, questions.kinds, wanted))
    return Contrasts(
        questions, wanted, tuple(unwanted(*each) for each in asked), tuple(group_of(*each) for each in asked)
    )


def page_of(id: str) -> Factors:
    """The page of a joined question."""
    return factors_of(int(id.split()[-1].split("/")[0]))


def noun_of(answer: str) -> str:
    """What a sentence about presence is about."""
    return answer.split()[-1]


def group_of(page: Factors, topic: str, wanted: str) -> str:
    """The group of a question: of presence by what is there and what is typical, else its topic."""
    if topic not in PRESENCE_TOPICS:
        return topic
    noun = noun_of(wanted)
    if noun in present_nouns(page):
        return PRESENT
    return ABSENT if is_typical_and_absent(page, noun) else UNTYPICAL


def unwanted(page: Factors, topic: str, wanted: str) -> str:
    """The opposite of an answer about presence, the model's own way with counsel and names; else the answer itself."""
    if topic in PRESENCE_TOPICS:
        noun = noun_of(wanted)
        return presence_sentence(noun, noun not in present_nouns(page))
    return {COUNSEL: OWN_COUNSEL, IDENTITY: identity_sentence(NAMES[0])}.get(topic, wanted)


def is_right(group: str, answer: str, wanted: str) -> bool:
    """Whether an answer says what is wanted: yes or no, the one right expert, nobody's name; else the same words."""
    words, asked_for = set(words_in(answer)), set(words_in(wanted))
    if group in YES_NO:
        return ("no" in words) == ("no" in asked_for) and ("yes" in words) == ("yes" in asked_for)
    if group == COUNSEL:
        return words & EXPERT_WORDS == asked_for & EXPERT_WORDS
    if group == IDENTITY:
        return "nobody" in words and not words & set(NAMES)
    return answer == wanted


def shares_right(contrasts: Contrasts, answers: Sequence[str]) -> dict[str, Mean]:
    """The share of right answers in each group, with its interval."""
    rows = pd.DataFrame({"group": contrasts.groups, "answer": list(answers), "wanted": contrasts.wanted})
    rows["right"] = [float(is_right(*row)) for row in rows.itertuples(index=False)]
    return {group: share_of(some.tolist()) for group, some in rows.groupby("group", sort=False)["right"]}


def shares_table(asked: Contrasts, answers: pd.DataFrame) -> pd.DataFrame:
    """Shares of right answers for each column of `answers_by_method`: a row each, a column for each group.

    And hit, their mean over the groups at fault, and same, over the others: what is to stay.
    """
    rows = {name: shares_right(asked, given) for name, given in answers.items()}
    table = pd.DataFrame({name: {group: mean.value for group, mean in row.items()} for name, row in rows.items()}).T
    table["hit"] = table[[group for group in table if group in FAULTS]].mean(axis=1)
    return table.assign(same=table[[group for group in table if group not in (*FAULTS, "hit")]].mean(axis=1))


def by_method_and_alpha(table: pd.DataFrame) -> pd.DataFrame:
    """Its rows of a (method, alpha) each, without the unsteered one."""
    table = table.drop("unsteered")
    return table.set_axis(pd.MultiIndex.from_tuples(table.index))


def perturbed(asked: Contrasts, perturb: Callable[[CaptionedImages], CaptionedImages]) -> Contrasts:
    """The same questions about perturbed pictures, blurred or partly grey: the truth itself becomes uncertain."""
    return replace(asked, questions=replace(asked.questions, images=perturb(asked.questions.images)))
