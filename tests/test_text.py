"""Whole words are found in captions; the word filter keeps words of meaning and accounts for the rest."""

from __future__ import annotations

import pytest

from coxlmm_utils.concepts.word_filter import WordFilter
from coxlmm_utils.text import FUNCTION_WORDS, whole_word, words_in


def test_words_in_a_text():
    assert words_in("A dog's T-shirt, 2 hot dogs...") == ["a", "dog's", "t-shirt", "hot", "dogs"]
    assert words_in("café_x") == ["café", "x"] and words_in(" 12!") == []


@pytest.mark.parametrize(
    "text, found",
    [
        ("a Cat sits", True),
        ("cat", True),
        ("the cat's tail", True),
        ("a cat.", True),
        ("two CATS", True),
        ("some cattle", False),
        ("a bobcat", False),
        ("cat_1", False),
        ("", False),
    ],
)
def test_whole_words_are_found(text, found):
    assert bool(whole_word("cat", "cats").search(text)) is found


def test_spellings_are_taken_as_they_are():
    assert whole_word("hot dog").search("a hot dog stand")
    assert whole_word("st.").search("main st. here") and not whole_word("st.").search("main str here")


@pytest.mark.parametrize("spellings", [(), ("",), ("dog", " ")])
def test_no_spelling_is_an_error(spellings):
    with pytest.raises(ValueError, match="at least one spelling"):
        whole_word(*spellings)


@pytest.mark.parametrize(
    "word, reason",
    [
        ("dog", ""),
        ("Thai", ""),
        ("thai", ""),
        ("snowboard", ""),
        ("laptop", ""),
        ("boats", ""),
        ("home", ""),
        ("front", ""),
        ("inside", ""),
        ("of", "too short"),
        ("xy", "too short"),
        ("the", "function word"),
        ("Two", "function word"),
        ("another", "function word"),
        ("qzxvk", "not an English word"),
        ("собака", "not an English word"),
        ("12", "not letters"),
        ("##ing", "not letters"),
        ("", "not letters"),
        ("<s>", "not letters"),
    ],
)
def test_judgement_of_a_word(word, reason):
    assert WordFilter().judge(word) == reason


@pytest.mark.parametrize(
    "word_filter, word, reason",
    [
        (WordFilter(min_length=2), "ox", ""),
        (WordFilter(min_length=4), "dog", "too short"),
        (WordFilter(min_frequency=6), "puppy", "not an English word"),
        (WordFilter(stop_words=frozenset()), "two", ""),
        (WordFilter(keep_words=frozenset({"Two"})), "two", ""),
        (WordFilter(keep_words=frozenset({"qzxvk"})), "Qzxvk", ""),
        (WordFilter(drop_words=frozenset({"dog"})), "Dog", "on the list of words to drop"),
        (WordFilter(drop_words=frozenset({"dog"}), keep_words=frozenset({"dog"})), "dog", ""),
    ],
)
def test_every_rule_can_be_changed(word_filter, word, reason):
    assert word_filter.judge(word) == reason


def test_split_keeps_order_and_case_and_accounts_for_all():
    decoded = ["\u2581Dog", "dog", " the", "\u0120running", "12", "\n", "Thai", "qzxvk"]
    kept, dropped = WordFilter().split(decoded)
    assert kept == ["Dog", "running", "Thai"]
    assert dropped == [
        ("dog", "repeated"),
        ("the", "function word"),
        ("12", "not letters"),
        ("", "not letters"),
        ("qzxvk", "not an English word"),
    ]


def test_split_of_nothing():
    assert WordFilter().split([]) == ([], [])


def test_pieces_of_words_can_be_dropped():
    marked = ["\u2581dog", "ing", "\u2581golden", "dog"]
    assert WordFilter().split(marked)[0] == ["dog", "ing", "golden"]
    kept, dropped = WordFilter(whole_words_only=True).split(marked)
    assert kept == ["dog", "golden"]
    assert dropped == [("ing", "piece of a word"), ("dog", "piece of a word")]
    unmarked = ["dog", "golden"]
    assert WordFilter(whole_words_only=True).split(unmarked) == (unmarked, [])


def test_function_words_are_lower_case_words():
    assert all(word.isalpha() and word == word.lower() for word in FUNCTION_WORDS)
    assert not FUNCTION_WORDS & {"home", "side", "front", "top", "dog", "inside", "outside"}
