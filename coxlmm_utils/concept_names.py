"""Names that users give to concepts, and what a concept is called in figures and views."""

from __future__ import annotations

import unicodedata

LONGEST = 60  # characters of a name
N_WORDS = 3  # that stand for a concept without a name
REFUSED = ("Cc", "Cs", "Zl", "Zp")  # Unicode's control characters, halves of characters, and ends of lines


def check_name(name: str) -> str:
    """A name without spaces around it.

    Raises
    ------
    ValueError
        If it is too long, or has control characters such as line ends.
    """
    name = name.strip()
    if len(name) > LONGEST:
        raise ValueError(f"the name has {len(name)} characters; give it at most {LONGEST}")
    if any(unicodedata.category(character) in REFUSED for character in name):
        raise ValueError("the name has a line end or another control character; leave it out")
    return name


def title_of(bank, number: int) -> str:
    """What a concept is called: its user's name, else its first three words, else "concept k" (ours)."""
    words = bank.words[number].kept[:N_WORDS]
    return bank.names.get(number) or ", ".join(words) or f"concept {number}"


def numbered_title(bank, number: int, n_words: int = N_WORDS) -> str:
    """A concept's name, else its first words, with its number behind: the label of a figure's row (ours)."""
    words = bank.words[number].kept[:n_words]
    return f"{bank.names.get(number) or ', '.join(words) or '(no words)'}   {number}"
