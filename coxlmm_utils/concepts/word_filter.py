"""Which tokens of a vocabulary are words that a concept may be described by."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..files import digest
from ..text import FUNCTION_WORDS, WORD_STARTS


@dataclass(frozen=True)
class WordFilter:
    """Decides which decoded words may ground a concept, and says why the others may not.

    The released code of the paper (arXiv 2406.08074) keeps words of more than two letters that are in a list
    of English words and not in a list of stop words. The lists are ours: word frequencies (wordfreq) instead
    of the web2 list, which lacks "snowboard" and "laptop"; and a short list of function words that leaves
    alone "home" and "front".

    Parameters
    ----------
    min_length : int, default 3
        Fewest letters of a word.
    min_frequency : float, default 2.0
        Lowest Zipf frequency in English (log10 of uses in a billion words): "dog" has 5.1, "snowboard" 3.0.
    stop_words : frozenset of str, default FUNCTION_WORDS
        Words of grammar and of counting.
    keep_words : frozenset of str, default empty
        Always kept; they win over every other rule. The case of the three lists does not matter.
    drop_words : frozenset of str, default empty
        Never kept.
    whole_words_only : bool, default False
        Drop pieces that continue a word, such as "ing": the strings without a mark of a word start (a leading
        space, or what stands for it), if others of the list have one. Where none has, all are whole words.
    """

    min_length: int = 3
    min_frequency: float = 2.0
    stop_words: frozenset[str] = field(default=FUNCTION_WORDS, repr=False)
    keep_words: frozenset[str] = frozenset()
    drop_words: frozenset[str] = frozenset()
    whole_words_only: bool = False

    def __post_init__(self):
        for name in ("stop_words", "keep_words", "drop_words"):
            object.__setattr__(self, name, frozenset(word.lower() for word in getattr(self, name)))

    def settings(self) -> dict:
        """The rules as json can hold them; a list of words by its digest, so that a change of it shows."""
        rules = {name: getattr(self, name) for name in ("min_length", "min_frequency", "whole_words_only")}
        lists = ("stop_words", "keep_words", "drop_words")
        return rules | {name: digest(sorted(getattr(self, name))) for name in lists}

    def judge(self, word: str) -> str:
        """Why a word may not ground a concept; empty if it may.

        Parameters
        ----------
        word : str
            Without white space and marks. The case does not matter: "Thai" passes as "thai" does.

        Returns
        -------
        str
            "", "on the list of words to drop", "not letters", "too short", "function word" or
            "not an English word".
        """
        word = word.lower()
        if word in self.keep_words:
            return ""
        if word in self.drop_words:
            return "on the list of words to drop"
        if not word.isalpha():
            return "not letters"
        if len(word) < self.min_length:
            return "too short"
        if word in self.stop_words:
            return "function word"
        return "" if _frequency(word) >= self.min_frequency else "not an English word"

    def split(self, decoded: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
        """Divide decoded tokens into the words that ground a concept and the rest.

        Parameters
        ----------
        decoded : list of str
            Best first, as the tokenizer gives them, with or without marks of word starts.

        Returns
        -------
        kept : list of str
            In the same order, stripped, each word once: the first of "Dog", "dog" stays, with its case.
        dropped : list of (str, str)
            The others, each with the reason; with `kept` they account for every decoded token.
        """
        marked = self.whole_words_only and any(text.startswith(WORD_STARTS) for text in decoded)
        kept, dropped, seen = [], [], set()
        for text in decoded:
            word = text.strip("".join(WORD_STARTS)).strip()
            if marked and not text.startswith(WORD_STARTS):
                reason = "piece of a word"
            else:
                reason = "repeated" if word.lower() in seen else self.judge(word)
            if reason:
                dropped.append((word, reason))
            else:
                kept.append(word)
                seen.add(word.lower())
        return kept, dropped


def _frequency(word: str) -> float:
    """Zipf frequency in English; imported here because loading the word list takes a second."""
    from wordfreq import zipf_frequency

    return zipf_frequency(word, "en")
