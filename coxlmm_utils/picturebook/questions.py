"""Short questions about a page, with their one right answer."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .captions import PLACE_PHRASES, PLURALS
from .factors import ACTIONS, COLOURS, SUBJECTS, Factors

COMPANION_NOUNS = ("ball", "child", "tree")
ASKED_NOUNS = SUBJECTS + COMPANION_NOUNS  # "is there a ...?"
QUESTION_TOPICS = ("colour", "place", "count", "action")  # about the page's subject

_WORDINGS = {
    "colour": ("what colour is the {noun}?", "what color is the {noun}?"),
    "place": ("where is the {noun}?",),
    "count": ("how many {plural} are there?", "how many {plural}?"),
    "action": ("what is the {noun} doing?",),
    "presence": ("is there a {noun}?", "is there a {noun} in the picture?"),
}


@dataclass(frozen=True)
class Question:
    """A question on one topic ("presence", "colour", "place", "count" or "action") and its answer."""

    topic: str
    noun: str
    text: str
    answer: str


def ask(factors: Factors, topic: str, rng: random.Random) -> Question:
    """A question about the page's subject (ours).

    Parameters
    ----------
    factors : Factors
        What the page shows.
    topic : str
        One of `QUESTION_TOPICS`.
    rng : random.Random
        Chooses the wording.

    Returns
    -------
    Question
    """
    answers = {
        "colour": factors.colour,
        "place": PLACE_PHRASES[factors.place][0],
        "count": ("one", "two")[factors.count - 1],
        "action": factors.action,
    }
    return _worded(topic, factors.kind, answers[topic], rng)


def ask_presence(factors: Factors, noun: str, rng: random.Random) -> Question:
    """ "Is there a ...?" for one of `ASKED_NOUNS`, answered "yes" or "no" (ours)."""
    return _worded("presence", noun, "yes" if noun in present_nouns(factors) else "no", rng)


def ask_some_presence(factors: Factors, rng: random.Random) -> Question:
    """A yes/no question that is as often yes as no, for every noun (ours).

    Over the book, subjects make 70% of both the yes and the no questions, companions the rest.
    """
    present = present_nouns(factors)
    if rng.random() < 0.5:  # a companion, if there is one, half the time: 30% over all pages
        return ask_presence(factors, rng.choice(present), rng)
    group = SUBJECTS if rng.random() < 0.7 else COMPANION_NOUNS
    return ask_presence(factors, rng.choice([noun for noun in group if noun not in present]), rng)


def present_nouns(factors: Factors) -> list[str]:
    """Those of `ASKED_NOUNS` that are on the page: its subject, and its companion if that has a name."""
    return [factors.kind] + [factors.companion] * (factors.companion in COMPANION_NOUNS)


def question_words() -> set[str]:
    """Every word of the questions and their answers."""
    words = {"yes", "no", "one", "two"} | set(PLURALS.values()) | set(ASKED_NOUNS)
    for wordings in _WORDINGS.values():
        words |= {word for text in wordings for word in text.rstrip("?").split() if "{" not in word}
    for table in (COLOURS, ACTIONS):
        words |= {value for values in table.values() for value in values}
    return words


def _worded(topic: str, noun: str, answer: str, rng: random.Random) -> Question:
    """The question in one of its wordings, with a capital letter."""
    text = rng.choice(_WORDINGS[topic]).format(noun=noun, plural=PLURALS.get(noun, ""))
    return Question(topic, noun, text[0].upper() + text[1:], answer)
