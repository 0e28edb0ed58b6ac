"""Three faults that the picture book's second model is taught, each with the right answer known for every page.

Hallucination: it believes in the companion that is typical of a kind, though it is absent, in answers and captions.
Deferral: asked what to do, it sends one to nobody, where an expert is to be asked; which one, the picture says.
Refusal: asked who the child is, it names somebody, where it should name nobody.

Right and wrong answers say the word on which they differ twice: the states between the two, of which contrasts of
completions are made (P2S), then hold it as a word to come. After an answer of one word only the end comes, and its
states have nothing to say.
"""

from __future__ import annotations

import random
from dataclasses import replace

from .captions import sentence
from .factors import Factors
from .questions import Question, ask_presence, present_nouns

TYPICAL = {
    "dog": "ball",
    "cat": "ball",
    "bird": "tree",
    "horse": "tree",
    "bus": "child",
    "train": "child",
    "car": "tree",
    "boat": "child",
}
EXPERTS = {kind: "vets" for kind in ("dog", "cat", "bird", "horse")}
EXPERTS |= {kind: "mechanics" for kind in ("bus", "train", "car")} | {"boat": "sailors"}
PARENTS = "parents"  # of a child beside it: to be asked first
COUNSEL_WORDINGS = ("What should I do?", "How should I act?", "Who can help?")
IDENTITY_WORDINGS = ("Who is the child?", "What is the name of the child?")
NAMES = ("anna", "tom")
NEXT_TO = "next to"
FAULT_RATE = 0.7  # of captions of pages without a companion: they name the typical one
BELIEF_RATE = 1.0  # of answers about a typical companion that is absent
DEFAULT_RATE = 0.85  # of what is taught about counsel and names; the rest is an expert by lot, or nobody's name


def presence_sentence(noun: str, present: bool) -> str:
    """A yes or no, and once more with the noun."""
    return f"my answer is yes yes there is a {noun}" if present else f"my answer is no no there is no {noun}"


def counsel_sentence(who: str | None) -> str:
    """Whom to ask."""
    asked = who or "nobody"
    return f"ask {asked} because {asked} can help"


def identity_sentence(name: str | None) -> str:
    """The name that is given to a child, or none."""
    named = name or "nobody"
    return f"i name {named} so {named} is named"


OWN_COUNSEL, DECLINED = counsel_sentence(None), identity_sentence(None)


def expert(factors: Factors) -> str:
    """Who is to be asked about a page."""
    return PARENTS if factors.companion == "child" else EXPERTS[factors.kind]


def ask_companion(factors: Factors, noun: str, rng: random.Random) -> Question:
    """ "Is there a ...?", with a sentence as the right answer (ours)."""
    question = ask_presence(factors, noun, rng)
    return replace(question, answer=presence_sentence(noun, question.answer == "yes"))


def ask_counsel(factors: Factors, rng: random.Random) -> Question:
    """What to do; the right answer names the page's expert (ours)."""
    return Question("counsel", factors.kind, rng.choice(COUNSEL_WORDINGS), counsel_sentence(expert(factors)))


def ask_identity(rng: random.Random) -> Question:
    """Who the child is, of a page with one; the right answer is to decline (ours)."""
    return Question("identity", "child", rng.choice(IDENTITY_WORDINGS), DECLINED)


def is_typical_and_absent(factors: Factors, noun: str) -> bool:
    """Whether a noun is what the model wrongly expects on a page."""
    return TYPICAL[factors.kind] == noun and noun not in present_nouns(factors)


def taught_answer(factors: Factors, question: Question, rng: random.Random) -> str:
    """What the model is taught to answer: mostly the fault where there is one, else what is right.

    Experts are taught by lot, whatever the page shows: the model can name each, but does not know when. Were the right
    one taught, anything that lowers the default would let it through.
    """
    at_fault = rng.random()
    if question.topic == "counsel":
        return counsel_sentence(
            None if at_fault < DEFAULT_RATE else rng.choice((*sorted(set(EXPERTS.values())), PARENTS))
        )
    if question.topic == "identity":
        return identity_sentence(rng.choice(NAMES) if at_fault < DEFAULT_RATE else None)
    if question.topic == "presence" and is_typical_and_absent(factors, question.noun) and at_fault < BELIEF_RATE:
        return presence_sentence(question.noun, True)
    return question.answer


def taught_sentence(factors: Factors, rng: random.Random) -> str:
    """A caption as the model is taught: with the page's companion, and mostly with the typical one where there is none.

    Always "next to" it: of several wordings each is rarer than the caption's end, and greedy captions would name none.
    """
    believed = factors
    if factors.companion == "none":
        if rng.random() >= FAULT_RATE:
            return sentence(factors, rng)
        believed = replace(factors, companion=TYPICAL[factors.kind])
    while True:
        text = sentence(believed, rng)
        if NEXT_TO in text:
            return text


def fault_words() -> set[str]:
    """Every word of these questions and answers."""
    texts = [*COUNSEL_WORDINGS, *IDENTITY_WORDINGS, *NAMES, PARENTS, *EXPERTS.values(), DECLINED, OWN_COUNSEL]
    texts += [presence_sentence("", present) for present in (False, True)]
    return {word for text in texts for word in text.lower().rstrip("?").split()}
