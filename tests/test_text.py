"""Whole words are found in captions; function words are words."""

from __future__ import annotations

import itertools
import unicodedata

import pytest

from coxlmm_utils.text import FUNCTION_WORDS, changed_phrases, check_counts, whole_word, words_in


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


def test_spellings_of_several_scripts_are_looked_for_together():
    pattern = whole_word("dog", "hot dog", "ネコ", "狗", "cat", "st.")
    texts = ("a dog", "a Hot  Dog", "白いネコ", "一只狗", "the cat", "main st. here")
    assert [pattern.search(text).group() for text in texts] == ["dog", "Hot  Dog", "ネコ", "狗", "cat", "st."]
    assert not any(map(pattern.search, ("dogs", "hotdog", "ネコバス", "bobcat", "main str")))


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


@pytest.mark.parametrize(
    "word, text, result",
    [
        ("कल", "कला", False),  # Hindi: yesterday is not in art
        ("कार", "कारों की", False),
        ("ल", "काल", False),
        ("कुत्ता", "एक कुत्ता दौड़ता", True),
        ("கல", "கலை", False),  # Tamil
        ("জল", "জলা", False),  # Bengali
        ("child's", "a child\u2019s bed", True),
        ("t-shirt", "a t\u2011shirt", True),
        ("t\u2010shirt", "a t-shirt", True),
        ("dog", "\u2764\ufe0fdog", True),  # the mark of an emoji is no letter
    ],
)
def test_marks_belong_to_words_and_apostrophes_and_hyphens_are_alike(word, text, result):
    assert bool(whole_word(word).search(text)) is result


@pytest.mark.parametrize("written, asked", itertools.product(["NFC", "NFD"], repeat=2))
def test_accents_are_the_same_letters_however_they_are_written(written, asked):
    text, pattern = unicodedata.normalize(written, "a Café, où"), whole_word(unicodedata.normalize(asked, "café"))
    assert pattern.search(text) and not whole_word("cafe").search(text)
    assert not pattern.search(unicodedata.normalize(written, "cafés"))
    assert words_in(text) == ["a", "café", "où"]


def test_words_in_scripts_with_marks_are_whole():
    assert words_in("एक कुत्ता") == ["एक", "कुत्ता"]
    assert words_in("a child\u2019s t\u2011shirt") == ["a", "child's", "t-shirt"]


@pytest.mark.parametrize("spellings", [(), ("",), ("dog", " ")])
def test_no_spelling_is_an_error(spellings):
    with pytest.raises(ValueError, match="at least one spelling"):
        whole_word(*spellings)


@pytest.mark.parametrize("count", [True, False, 2.0, "3", 0])
def test_counts_are_whole_numbers_from_1_on(count):
    with pytest.raises(ValueError, match=f"limit must be .* not {count!r}"):
        check_counts(limit=count)
    check_counts(limit=None, n=1)


def test_function_words_are_lower_case_words():
    assert all(word.isalpha() and word == word.lower() for word in FUNCTION_WORDS)
    assert not FUNCTION_WORDS & {"home", "side", "front", "top", "dog", "inside", "outside"}


@pytest.mark.parametrize(
    "before, after, gone, new",
    [
        (
            "a dog on the beach",
            "a dog in the snow",
            [("a dog", False), ("on", True), ("the", False), ("beach", True)],
            None,
        ),
        ("a dog", "a dog", [("a dog", False)], [("a dog", False)]),
        ("", "a dog", [], [("a dog", True)]),
        ("a a a", "", [("a a a", True)], []),
    ],
)
def test_phrases_that_two_texts_do_not_share(before, after, gone, new):
    left, right = changed_phrases(before, after)
    assert left == gone and (new is None or right == new)
    assert " ".join(phrase for phrase, _ in left) == before and " ".join(phrase for phrase, _ in right) == after
