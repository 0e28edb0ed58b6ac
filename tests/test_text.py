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


@pytest.mark.parametrize("text", ["a hot  dog", "a hot\ndog", "a Hot\t Dog."])
def test_any_white_space_parts_the_words_of_a_spelling(text):
    assert whole_word("hot dog").search(text) and whole_word(" hot  dog ").search("a hot dog")
    assert not whole_word("hot dog").search("a hotdog")


@pytest.mark.parametrize(
    "word, text, result",
    [
        ("狗", "一只狗在草地上跑", True),  # Chinese: a dog runs on the grass
        ("狗", "一只猫在草地上跑", False),
        ("犬", "草の上を走る犬", True),  # Japanese
        ("いぬ", "しろいいぬがいる", True),
        ("สุนัข", "มีสุนัขวิ่งอยู่บนหญ้า", True),  # Thai
        ("มา", "มีม้าอยู่", False),  # another vowel or tone is another word
        ("ป", "ปู", False),
        ("ネコ", "白いネコがいる", True),  # Katakana are whole words ...
        ("トラ", "赤いトラックがある", False),  # ... a tiger is not in a truck
        ("dog", "一只dog在草地上", True),  # Latin letters among others
        ("dog", "一只dogs在草地上", False),
        ("热 狗", "一个热  狗", True),
        ("개", "개가 있다", False),  # Korean has spaces
    ],
)
def test_words_of_scripts_without_spaces(word, text, result):
    assert bool(whole_word(word).search(text)) is result


@pytest.mark.parametrize("spellings", [(), ("",), ("dog", " ")])
def test_no_spelling_is_an_error(spellings):
    with pytest.raises(ValueError, match="at least one spelling"):
        whole_word(*spellings)


def test_function_words_are_lower_case_words():
    assert all(word.isalpha() and word == word.lower() for word in FUNCTION_WORDS)
    assert not FUNCTION_WORDS & {"home", "side", "front", "top", "dog", "inside", "outside"}
