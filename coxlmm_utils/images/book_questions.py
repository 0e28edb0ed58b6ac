"""Questions about the picture book's pages: on one topic each, or as POPE asks, of the typical and the absent (ours)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from ..picturebook import (
    ASKED_NOUNS,
    COMPANION_NOUNS,
    QUESTION_TOPICS,
    TYPICAL,
    Factors,
    Question,
    ask,
    ask_companion,
    ask_counsel,
    ask_identity,
    ask_some_presence,
    factors_of,
    present_nouns,
)

PRESENCE = "presence"  # yes or no, as often the one as the other
POPE_SETS = ("random", "popular", "adversarial")  # of the absent nouns that are asked about
COMPANIONS, COUNSEL, IDENTITY = "companions", "counsel", "identity"
BOOK_TOPICS = (PRESENCE, *QUESTION_TOPICS, *(f"pope-{name}" for name in POPE_SETS), COMPANIONS, COUNSEL, IDENTITY)


def asked_about(page: Factors, topic: str, rng: random.Random) -> list[Question]:
    """The questions about a page on a topic: mostly one, of POPE's sets two, of companions three, of identity often none.

    "pope-...": one noun that is there and one that is not: any ("random"), the most frequent of the book ("popular"), or
    the kind's typical companion ("adversarial"; where that is there, the most frequent). "companions": each companion
    that has a noun. Both are answered in a sentence, as "picturebook-biased" answers.
    """
    if topic.startswith("pope-"):
        nouns = present_nouns(page)[-1], absent_noun(page, topic.removeprefix("pope-"), rng)
        return [ask_companion(page, noun, rng) for noun in nouns]
    if topic == COMPANIONS:
        return [ask_companion(page, noun, rng) for noun in COMPANION_NOUNS]
    if topic == IDENTITY:
        return [ask_identity(rng)] if page.companion == "child" else []
    if topic == COUNSEL:
        return [ask_counsel(page, rng)]
    return [ask_some_presence(page, rng) if topic == PRESENCE else ask(page, topic, rng)]


def absent_noun(page: Factors, kind: str, rng: random.Random) -> str:
    """A noun that a page does not show: any, a frequent one, or the one that its kind is mostly seen with."""
    absent = [noun for noun in ASKED_NOUNS if noun not in present_nouns(page)]
    if kind == "adversarial" and TYPICAL[page.kind] in absent:
        return TYPICAL[page.kind]
    frequent = [noun for noun in COMPANION_NOUNS if noun in absent]  # each on a fifth of all pages, a kind on an eighth
    return rng.choice(absent if kind == "random" else frequent)


def book_questions(ids: Sequence[str], topic: str) -> Iterator[tuple[str, str, Question]]:
    """(id of the question, id of the page, question); the page's number decides what is asked."""
    for id in ids:
        questions = asked_about(factors_of(int(id)), topic, random.Random(f"question {topic} {id}"))
        for number, question in enumerate(questions):
            yield (f"{id}/{number}" if len(questions) > 1 else id), id, question
