"""The word filter keeps words with a meaning and accounts for the rest."""

from __future__ import annotations

import pytest

from coxlmm_utils.concepts.word_filter import WordFilter


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
