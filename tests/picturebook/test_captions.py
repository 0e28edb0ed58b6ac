"""Captions are true, say enough, and every content word stands for one value of one factor."""

import random
from collections import defaultdict

import pytest

from coxlmm_utils.picturebook import captions
from coxlmm_utils.picturebook.captions import FACTS_BY_WORD, FUNCTION_WORDS, facts_in, references
from coxlmm_utils.picturebook.factors import Factors, factors_of
from data.picturebook.recipe.architecture import vocabulary

PAGES = {number: factors_of(number) for number in range(5000)}


def true_of(page, facts):
    """Whether a page has all these (factor, value) pairs."""
    return all(getattr(page, factor) == value for factor, value in facts)


def test_references_never_change():
    assert references(0) == (
        "a tiny dog with grey fur running inside the house",
        "there is a grey dog racing in a room in the daytime",
        "a dog on the wooden floor with grey fur",
        "a little dog with grey fur running in the daytime inside the house",
        "a puppy running in a room",
    )


def test_five_references_true_of_their_page_in_known_words():
    known = set(vocabulary())
    for number in range(1000):
        mentioned = references(number)
        assert len(mentioned) == 5
        for text in mentioned:
            assert true_of(PAGES[number], facts_in(text)), (number, text)
            assert set(text.split()) <= known


def test_sentences_name_the_noun_always_and_the_rest_often():
    rng = random.Random(0)
    named = [dict(facts_in(captions.sentence(page, rng))) for page in PAGES.values()]
    share = {factor: sum(factor in facts for facts in named) / len(named) for factor in named[0] | named[1]}
    assert share["kind"] == 1
    assert min(share["colour"], share["place"], share["action"]) > 0.85


def test_orange_has_its_article():
    page, rng = Factors("cat", "orange", "large", "sitting", "grass", "none", "day"), random.Random(0)
    mentioned = " ".join(captions.sentence(page, rng) for _ in range(200))
    assert "an orange cat" in mentioned and "an orange coat" in mentioned and "a orange" not in mentioned


def test_tags_begin_with_the_noun_and_are_true():
    rng = random.Random(0)
    for page in PAGES.values():
        words = captions.tags(page, rng).split()
        assert words[0] == page.kind and 5 <= len(words) <= 7 and len(set(words)) == len(words)
        facts = facts_in(" ".join(words))
        assert len(facts) == len(words) and true_of(page, facts)


def test_every_content_word_stands_for_one_value():
    facts = defaultdict(set)
    word_tables = {
        "kind": captions.NOUNS,
        "size": captions.SIZE_WORDS,
        "colour": captions.COLOUR_WORDS,
        "action": captions.ACTION_WORDS,
    }
    phrase_tables = {
        "place": captions.PLACE_PHRASES,
        "time": captions.TIME_PHRASES,
        "companion": captions.COMPANION_PHRASES,
    }
    for factor, table in (word_tables | phrase_tables).items():
        for value, phrases in table.items():
            for word in " ".join(phrases).split():
                facts[word].add((factor, value))
    for word in set(facts) - FUNCTION_WORDS - {"{noun}"}:
        assert facts[word] == {FACTS_BY_WORD[word]}, word
    assert not FUNCTION_WORDS & set(FACTS_BY_WORD)


@pytest.mark.parametrize("table", [captions.PLACE_PHRASES, captions.TIME_PHRASES, captions.COMPANION_PHRASES])
def test_no_colour_word_hides_in_a_phrase(table):
    colours = {word for words in captions.COLOUR_WORDS.values() for word in words}
    assert not colours & {word for phrases in table.values() for phrase in phrases for word in phrase.split()}


def test_facts_are_read_from_any_caption():
    facts = facts_in("A big brown dog, next to another dog.")
    assert facts == [("size", "large"), ("colour", "brown"), ("kind", "dog"), ("companion", "friend")]
    assert facts_in("nothing that the book knows") == []


def test_a_false_caption_is_seen():
    page = Factors("dog", "brown", "large", "sitting", "grass", "none", "day")
    assert true_of(page, facts_in("a brown puppy sitting in the meadow"))
    assert not true_of(page, facts_in("a brown kitten sitting in the meadow"))
    assert not true_of(page, facts_in("a brown dog sitting at home"))
