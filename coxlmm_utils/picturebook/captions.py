"""What is said of a page in sentences and tags; and reading captions back into facts.

Every content word stands for one value of one factor, so a caption can be checked word by word against the
page. Words of colour appear nowhere else ("green field" would leak into the colour words).
"""

from __future__ import annotations

import random
import re

from .factors import COLOURS, SUBJECTS, Factors, factors_of

SENTENCE_PROMPT = "Provide a one-sentence caption for the provided image."  # the paper's, for LLaVA
TAGS_PROMPT = "List what you see."
REFERENCES_PER_PAGE = 5

NOUNS = {  # first the usual word, then its synonyms
    "dog": ("dog", "puppy"),
    "cat": ("cat", "kitten"),
    "bird": ("bird",),
    "horse": ("horse", "pony"),
    "bus": ("bus",),
    "train": ("train",),
    "car": ("car",),
    "boat": ("boat", "ship"),
}
PLURALS = {noun: noun + ("es" if noun == "bus" else "s") for noun in SUBJECTS}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
COLOUR_WORDS = {colour: (colour,) for colours in COLOURS.values() for colour in colours} | {
    "orange": ("orange", "ginger")
}
ACTION_WORDS = {
    "sitting": ("sitting",),
    "running": ("running", "racing"),
    "sleeping": ("sleeping", "napping", "snoozing"),
    "standing": ("standing",),
    "flying": ("flying", "soaring"),
    "parked": ("parked", "stopped"),
    "driving": ("driving", "moving"),
    "anchored": ("anchored", "moored"),
    "sailing": ("sailing", "cruising"),
}
PLACE_PHRASES = {  # the first one answers "where is ...?"
    "grass": ("on the grass", "in the meadow", "on the lawn", "in a field"),
    "snow": ("in the snow", "on a snowy hill", "in winter"),
    "beach": ("on the beach", "on the sand", "by the sea", "at the seaside"),
    "street": ("on the street", "in the city", "on the road", "in town"),
    "room": ("in a room", "inside the house", "on the wooden floor", "at home"),
    "water": ("in the water", "in the lake", "on the waves"),
}
TIME_PHRASES = {
    "day": ("on a sunny day", "in the daytime", "under a bright sky"),
    "night": ("at night", "under the stars", "in the moonlight", "in the dark"),
}
COMPANION_PHRASES = {
    "none": (),
    "ball": ("with a ball", "next to a ball", "beside a ball"),
    "child": ("with a child", "next to a child", "beside a child"),
    "tree": ("near a tree", "by a tree", "next to a tree"),
    "friend": ("with another {noun}", "next to another {noun}", "with a friend"),
}
TAG_WORDS = {  # the one word of a value in a list of tags, where it is not the value itself
    "large": "big",
}
FUNCTION_WORDS = frozenset(
    "a an the in on at to by of is it with under next there beside near and".split()
    + "fur coat feathers paint painted".split()
)

_OUTER_COATS = {"dog": ("fur", "coat"), "cat": ("fur", "coat"), "horse": ("coat",), "bird": ("feathers",)}


def sentence(factors: Factors, rng: random.Random) -> str:
    """One caption of a page: the noun early, most attributes after it, in free order (ours).

    Parameters
    ----------
    factors : Factors
        What the page shows.
    rng : random.Random
        Chooses the words; the same state gives the same sentence.

    Returns
    -------
    str
        Lower case, no punctuation.
    """
    noun = _noun(factors, rng)
    colour_first = rng.random() < 0.12
    size = _maybe(rng, 0.25, rng.choice(SIZE_WORDS[factors.size]))
    name = _join(size, _colour(factors, rng) if colour_first else "", noun)
    action = rng.choice(ACTION_WORDS[factors.action])
    coat = "" if colour_first else _maybe(rng, 0.9, coat_phrase(factors, rng))
    place = _maybe(rng, 0.94, rng.choice(PLACE_PHRASES[factors.place]))
    companion = _maybe(rng, 0.6, _companion(factors, noun, rng))
    time = _maybe(rng, 0.4, rng.choice(TIME_PHRASES[factors.time]))
    if rng.random() < 0.07:
        opening, closing = (place, time) if place and rng.random() < 0.7 else (time, place)
        return _join(opening, "a", name, "is", action, *_shuffled([coat, companion, closing], rng))
    start = "there is a" if rng.random() < 0.12 else "a"
    return _join(start, name, *_shuffled([_maybe(rng, 0.93, action), coat, place, companion, time], rng))


def tags(factors: Factors, rng: random.Random) -> str:
    """A page as a list of words: the noun first, then four to six attributes in free order (ours)."""
    values = [factors.colour, factors.action, factors.place, factors.size, factors.time]
    if factors.companion != "none":
        values.append(factors.companion)
    words = [TAG_WORDS.get(value, value) for value in values]
    rng.shuffle(words)
    return _join(factors.kind, *words[: rng.choice((4, 5, 6))])


def references(number: int) -> tuple[str, ...]:
    """The five reference captions of a page of the book; its number alone decides them (ours)."""
    return references_for(factors_of(number), number)


def references_for(factors: Factors, seed: int) -> tuple[str, ...]:
    """Five captions of any page (ours).

    Parameters
    ----------
    factors : Factors
        What the page shows.
    seed : int
        Chooses the words.

    Returns
    -------
    tuple of str
    """
    rng = random.Random(f"references {seed}")
    return tuple(sentence(factors, rng) for _ in range(REFERENCES_PER_PAGE))


def _noun(factors: Factors, rng: random.Random) -> str:
    """The usual noun, nine times in ten."""
    usual, *synonyms = NOUNS[factors.kind]
    return rng.choice(synonyms) if synonyms and rng.random() < 0.1 else usual


def _colour(factors: Factors, rng: random.Random) -> str:
    """One of the colour's words."""
    return rng.choice(COLOUR_WORDS[factors.colour])


def coat_phrase(factors: Factors, rng: random.Random) -> str:
    """The colour as a phrase after the noun: "with brown fur", "painted blue"."""
    colour = _colour(factors, rng)
    if factors.kind not in _OUTER_COATS:
        return rng.choice((f"painted {colour}", f"with {colour} paint"))
    outer = rng.choice(_OUTER_COATS[factors.kind])
    return f"with a {colour} coat" if outer == "coat" else f"with {colour} {outer}"


def _companion(factors: Factors, noun: str, rng: random.Random) -> str:
    """The companion as a phrase; "" if there is none."""
    phrases = COMPANION_PHRASES[factors.companion]
    return rng.choice(phrases).format(noun=noun) if phrases else ""


def _maybe(rng: random.Random, chance: float, phrase: str) -> str:
    """The phrase with this chance, else ""."""
    return phrase if rng.random() < chance else ""


def _shuffled(phrases: list[str], rng: random.Random) -> list[str]:
    """The list itself, in a new order."""
    rng.shuffle(phrases)
    return phrases


def _join(*phrases: str) -> str:
    """All that is not "", with spaces between."""
    return " ".join(phrase for phrase in phrases if phrase).replace("a orange", "an orange")


def _facts_by_word() -> dict[str, tuple[str, str]]:
    """Each content word with the one (factor, value) that it stands for."""
    facts = {word: ("kind", kind) for kind, words in NOUNS.items() for word in words}
    for factor, table in (("size", SIZE_WORDS), ("colour", COLOUR_WORDS), ("action", ACTION_WORDS)):
        facts |= {word: (factor, value) for value, words in table.items() for word in words}
    for factor, table in (("place", PLACE_PHRASES), ("time", TIME_PHRASES), ("companion", COMPANION_PHRASES)):
        for value, phrases in table.items():
            words = {value} - {"none"} | {word for phrase in phrases for word in phrase.split()}
            facts |= {word: (factor, value) for word in words - FUNCTION_WORDS - {"{noun}"}}
    return facts | {"another": ("companion", "friend")}


FACTS_BY_WORD = _facts_by_word()


def facts_in(caption: str) -> list[tuple[str, str]]:
    """The facts that a caption states, in order (ours).

    Parameters
    ----------
    caption : str

    Returns
    -------
    list of (str, str)
        (factor, value) of every content word; a second mention of the subject ("next to another dog") is left
        out.
    """
    facts, words = [], re.findall("[a-z]+", caption.lower())
    for before, word in zip([""] + words, words):
        if word in FACTS_BY_WORD and before != "another":
            facts.append(FACTS_BY_WORD[word])
    return facts
