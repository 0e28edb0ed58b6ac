"""What the judges read is true of its page, and every word of it is known to their tokenizer."""

import random
from collections import Counter

import pytest

from coxlmm_utils.evaluation.clipscore import MAX_WORDS, PREFIX, words_as_text
from coxlmm_utils.picturebook.captions import FACTS_BY_WORD, facts_in, references
from coxlmm_utils.picturebook.factors import Factors, factors_of
from data.picturebook.recipe.architecture import PUNCTUATION, vocabulary
from data.picturebook.recipe.judge_texts import (
    LONGEST,
    MOST_FACTS,
    SPECIAL_TOKENS,
    contrary,
    make_judge_tokenizer,
    true_text,
    true_words,
)

PAGES = [factors_of(number) for number in range(1000)]


@pytest.fixture(scope="module")
def tokenizer():
    return make_judge_tokenizer()


def true_of(page, facts):
    """Whether a page has all these (factor, value) pairs."""
    return all(getattr(page, factor) == value for factor, value in facts)


# The tokenizer


def test_one_token_a_word_and_the_ends_around(tokenizer):
    for number in range(100):
        for text in references(number):
            tokens = tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])
            assert tokens == ["<bos>", *text.split(), "<eos>"]


def test_the_texts_of_clipscore_are_known(tokenizer):
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(words_as_text(("Dog", "brown")))["input_ids"])
    assert tokens == ["<bos>", *PREFIX.lower().split(), "dog", ",", "brown", ".", "<eos>"]


def test_the_words_are_the_books_and_the_prefixs(tokenizer):
    words = set(tokenizer.get_vocab()) - set(SPECIAL_TOKENS) - set(PUNCTUATION)
    assert words == set(vocabulary()) | set(PREFIX.lower().split())


def test_special_tokens_come_first_and_under_each_of_their_names(tokenizer):
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(5))
    assert sorted(tokenizer.all_special_ids) == list(range(5))
    names = ("pad_token", "unk_token", "bos_token", "eos_token", "mask_token")
    assert tuple(getattr(tokenizer, name) for name in names) == SPECIAL_TOKENS
    assert (tokenizer.cls_token, tokenizer.sep_token) == ("<bos>", "<eos>")


def test_an_unknown_word_is_marked_and_a_mask_is_one_token(tokenizer):
    assert tokenizer.tokenize("a purple <mask>") == ["a", "<unk>", "<mask>"]


def test_shorter_texts_are_filled_up_at_the_end(tokenizer):
    ids = tokenizer(["a dog", "a brown dog"], padding=True)["input_ids"]
    assert ids[0][-1] == tokenizer.pad_token_id != ids[1][-1]


# Words


def test_words_are_true_and_each_is_said_once():
    rng = random.Random(0)
    for page in PAGES:
        words = true_words(page, rng)
        assert 1 <= len(words) <= MAX_WORDS and len(set(words)) == len(words)
        assert all(facts_in(word) and true_of(page, facts_in(word)) for word in words)
        assert len({factor for factor, _ in map(FACTS_BY_WORD.get, words)}) <= MOST_FACTS


def test_every_word_of_the_book_is_said():
    rng = random.Random(0)
    mentioned = {word for page in PAGES for _ in range(5) for word in true_words(page, rng)}
    assert mentioned == set(FACTS_BY_WORD)


def test_no_fact_and_no_word_always_comes_first():
    page, rng = Factors("dog", "brown", "large", "sitting", "grass", "ball", "day"), random.Random(0)
    lists = [true_words(page, rng) for _ in range(300)]
    assert {FACTS_BY_WORD[words[0]][0] for words in lists} == set(Factors.__annotations__)
    sizes = {tuple(word for word in words if word in ("large", "big", "huge")) for words in lists}
    assert {("big",), ("large", "big"), ("big", "large")} <= sizes
    assert {len(words) for words in lists} == set(range(1, MAX_WORDS + 1))
    apart = [[FACTS_BY_WORD[word][0] for word in words] for words in lists]
    assert any(factors[0] == factors[2] != factors[1] for factors in apart if len(factors) > 2)


def test_the_words_follow_from_the_random_numbers():
    assert true_words(PAGES[3], random.Random(5)) == true_words(PAGES[3], random.Random(5))


# A page that is contrary


def test_every_factor_but_the_kind_has_another_value():
    rng = random.Random(0)
    for page in PAGES:
        other = contrary(page, rng)  # which checks its own values
        assert [name for name in Factors.__annotations__ if getattr(page, name) == getattr(other, name)] == ["kind"]
    assert len({contrary(PAGES[0], rng) for _ in range(20)}) > 10


# Texts


def test_every_other_text_is_a_sentence():
    rng = random.Random(0)
    texts = [true_text(page, rng, PREFIX) for page in PAGES]
    lists = sum(text.startswith(PREFIX) for text in texts)
    assert 440 < lists < 560
    openings = Counter(text.split()[0] for text in texts if not text.startswith(PREFIX))
    assert openings["a"] > 300 and not any("," in text for text in texts if not text.startswith(PREFIX))


@pytest.mark.parametrize("prefix", [PREFIX, ""])
def test_texts_are_true_known_and_short_enough(tokenizer, prefix):
    rng = random.Random(1)
    for page in PAGES:
        text = true_text(page, rng, prefix)
        mentioned = text.removeprefix(prefix).split(", ")
        assert all(facts_in(part) and true_of(page, facts_in(part)) for part in mentioned)
        ids = tokenizer(text)["input_ids"]
        assert len(ids) <= LONGEST and tokenizer.unk_token_id not in ids


def test_a_list_of_words_begins_as_clipscores_texts_do():
    page, rng = PAGES[0], random.Random(0)
    lists = [text for text in (true_text(page, rng, PREFIX) for _ in range(40)) if "," in text]
    for text in lists:
        assert text + "." == words_as_text(text.removeprefix(PREFIX).split(", "))
    assert lists
