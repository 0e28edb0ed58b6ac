"""What a page of the picture book shows: its factors, their values, and the splits of the book.

A page is a number. The number alone decides the factors, the picture and the captions, so the book needs no files.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

SUBJECTS = ("dog", "cat", "bird", "horse", "bus", "train", "car", "boat")
SIZES = ("small", "large")
COMPANIONS = ("none", "ball", "child", "tree", "friend")  # friend: a second one of the page's own subject
TIMES = ("day", "night")

COLOURS = {
    "dog": ("black", "white", "brown", "golden", "grey"),
    "cat": ("black", "white", "orange", "grey"),
    "bird": ("red", "blue", "yellow", "black"),
    "horse": ("black", "white", "brown", "grey"),
    "bus": ("red", "yellow", "blue", "green"),
    "train": ("red", "blue", "green", "black"),
    "car": ("red", "blue", "yellow", "green", "white"),
    "boat": ("red", "white", "blue", "green"),
}
ACTIONS = {
    "dog": ("sitting", "running", "sleeping"),
    "cat": ("sitting", "running", "sleeping"),
    "bird": ("standing", "flying"),
    "horse": ("standing", "running"),
    "bus": ("parked", "driving"),
    "train": ("parked", "driving"),
    "car": ("parked", "driving"),
    "boat": ("anchored", "sailing"),
}
PLACES = {
    "dog": ("grass", "snow", "beach", "street", "room", "water"),
    "cat": ("grass", "snow", "beach", "street", "room"),
    "bird": ("grass", "snow", "beach", "street", "water"),
    "horse": ("grass", "snow", "beach", "street", "water"),
    "bus": ("grass", "snow", "beach", "street"),
    "train": ("grass", "snow", "beach", "street"),
    "car": ("grass", "snow", "beach", "street"),
    "boat": ("water", "beach"),
}

SPLIT_SIZES = {"train": 24_000, "validation": 1_600, "test": 1_600}  # pages; every eighth is a dog, and so on
SPLIT_STARTS = {"train": 0, "validation": 1_000_000, "test": 2_000_000}  # first page number of each split


@dataclass(frozen=True)
class Factors:
    """The seven known factors of one page (ours).

    `kind` is the page's subject; every other factor is drawn independently of the rest, given it.
    """

    kind: str  # the subject: one of SUBJECTS
    colour: str
    size: str
    action: str
    place: str
    companion: str
    time: str

    def __post_init__(self):
        for name, allowed in allowed_values(self.kind).items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"a {self.kind} page has no {name} {getattr(self, name)!r}; choose one of {', '.join(allowed)}"
                )

    @property
    def count(self) -> int:
        """How many of the subject the page shows: 2 with a friend of its own kind, else 1."""
        return 2 if self.companion == "friend" else 1


def allowed_values(subject: str) -> dict[str, tuple[str, ...]]:
    """The values that each factor can take on pages of one subject.

    Parameters
    ----------
    subject : str
        One of `SUBJECTS`.

    Returns
    -------
    dict of str to tuple of str
        Factor name to its values.

    Raises
    ------
    ValueError
        If the book has no such subject.
    """
    if subject not in SUBJECTS:
        raise ValueError(f"the picture book has no subject {subject!r}; choose one of {', '.join(SUBJECTS)}")
    return {
        "kind": SUBJECTS,
        "colour": COLOURS[subject],
        "size": SIZES,
        "action": ACTIONS[subject],
        "place": PLACES[subject],
        "companion": COMPANIONS,
        "time": TIMES,
    }


def factors_of(number: int) -> Factors:
    """The factors of the page with this number: subjects take turns, the rest is drawn by the number.

    Parameters
    ----------
    number : int
        Page number, 0 or more.

    Returns
    -------
    Factors
    """
    subject = SUBJECTS[number % len(SUBJECTS)]
    rng = random.Random(f"factors {number}")
    values = {name: rng.choice(values) for name, values in allowed_values(subject).items() if name != "kind"}
    return Factors(kind=subject, **values)


def page_numbers(split: str) -> range:
    """The page numbers of a split: "train", "validation" or "test".

    Raises
    ------
    ValueError
        If there is no such split.
    """
    if split not in SPLIT_SIZES:
        raise ValueError(f"the picture book has no split {split!r}; choose one of {', '.join(SPLIT_SIZES)}")
    return range(SPLIT_STARTS[split], SPLIT_STARTS[split] + SPLIT_SIZES[split])
