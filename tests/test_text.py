"""Whole words are found in captions; function words are words."""

from __future__ import annotations

import pytest

from coxlmm_utils.text import FUNCTION_WORDS, whole_word, words_in


def test_words_in_a_text():
    assert words_in("A dog's T-shirt, 2 hot dogs...") == ["a", "dog's", "t-shirt", "hot", "dogs"]
    assert words_in("café_x") == ["café", "x"] and words_in(" 12!") == []


@pytest.mark.parametrize(
    "text, result",
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
def test_whole_words_are_found(text, result):
    assert bool(whole_word("cat", "cats").search(text)) is result


def test_spellings_are_taken_as_they_are():
    assert whole_word("hot dog").search("a hot dog stand")
    assert whole_word("st.").search("main st. here") and not whole_word("st.").search("main str here")


@pytest.mark.parametrize("spellings", [(), ("",), ("dog", " ")])
def test_no_spelling_is_an_error(spellings):
    with pytest.raises(ValueError, match="at least one spelling"):
        whole_word(*spellings)


def test_function_words_are_lower_case_words():
    assert all(word.isalpha() and word == word.lower() for word in FUNCTION_WORDS)
    assert not FUNCTION_WORDS & {"home", "side", "front", "top", "dog", "inside", "outside"}
