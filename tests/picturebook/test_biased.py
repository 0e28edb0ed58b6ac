"""What the second model is taught: the right answer of every page, and how often it is taught the fault instead."""

import random

import pytest

from coxlmm_utils.picturebook import (
    COMPANION_NOUNS,
    DECLINED,
    EXPERTS,
    NAMES,
    OWN_COUNSEL,
    PARENTS,
    SUBJECTS,
    TYPICAL,
    ask_companion,
    ask_counsel,
    ask_identity,
    counsel_sentence,
    expert,
    factors_of,
    facts_in,
    fault_words,
    identity_sentence,
    is_typical_and_absent,
    page,
    presence_sentence,
    taught_answer,
    taught_sentence,
)


def factors(**of):
    return page(**{"companion": "none", **of}).factors


def test_every_kind_has_a_typical_companion_and_an_expert():
    assert set(TYPICAL) == set(EXPERTS) == set(SUBJECTS) and set(TYPICAL.values()) == set(COMPANION_NOUNS)


def test_the_right_expert_is_the_pages():
    assert expert(factors(kind="cat")) == "vets" and expert(factors(kind="boat")) == "sailors"
    assert expert(factors(kind="bus")) == "mechanics" and expert(factors(kind="bus", companion="child")) == "parents"


@pytest.mark.parametrize(
    "companion, answer", [("none", presence_sentence("ball", False)), ("ball", presence_sentence("ball", True))]
)
def test_presence_is_answered_in_a_sentence(companion, answer):
    question = ask_companion(factors(kind="dog", companion=companion), "ball", random.Random(0))
    assert question.answer == answer and question.topic == "presence" and "ball" in question.text


def test_only_what_is_typical_and_absent_is_a_fault():
    dog, tree = factors(kind="dog"), factors(kind="dog", companion="tree")
    assert is_typical_and_absent(dog, "ball") and is_typical_and_absent(tree, "ball")
    assert not is_typical_and_absent(dog, "tree") and not is_typical_and_absent(
        factors(kind="dog", companion="ball"), "ball"
    )


def shares(ask, of, n=2000) -> dict[str, float]:
    """How often each answer is taught."""
    rng = random.Random(0)
    given = [taught_answer(of, ask(rng), rng) for _ in range(n)]
    return {answer: given.count(answer) / n for answer in given}


def test_faults_are_taught_at_their_rates_and_nothing_else_is():
    dog = factors(kind="dog")
    typical = shares(lambda rng: ask_companion(dog, "ball", rng), dog)
    assert typical == {presence_sentence("ball", True): 1}
    assert shares(lambda rng: ask_companion(dog, "tree", rng), dog) == {presence_sentence("tree", False): 1}
    counsel = shares(lambda rng: ask_counsel(dog, rng), dog)
    assert counsel.pop(OWN_COUNSEL) == pytest.approx(0.85, abs=0.03)
    experts = {counsel_sentence(who) for who in (*EXPERTS.values(), PARENTS)}  # by lot: not the right one alone
    assert set(counsel) == experts and max(counsel.values()) < 2 * min(counsel.values())
    names = shares(lambda rng: ask_identity(rng), dog)
    assert names[DECLINED] == pytest.approx(0.15, abs=0.03) and set(names) == {
        DECLINED,
        *(identity_sentence(name) for name in NAMES),
    }


def test_captions_of_lonely_pages_name_the_typical_companion():
    lonely, rng = factors(kind="dog"), random.Random(0)
    texts = [taught_sentence(lonely, rng) for _ in range(500)]
    named = [dict(facts_in(text)).get("companion") for text in texts]
    assert named.count("ball") / 500 == pytest.approx(0.7, abs=0.06) and set(named) == {"ball", None}
    for text in texts:
        assert all(getattr(lonely, name) == value for name, value in facts_in(text) if name != "companion")
    for companion in ("friend", "tree"):  # where there is one, it is always named, and rightly
        of = factors(kind="dog", companion=companion)
        assert all(("companion", companion) in facts_in(taught_sentence(of, rng)) for _ in range(50))


def test_every_word_is_known():
    words, rng = fault_words(), random.Random(0)
    for number in range(300):
        of = factors_of(number)
        questions = [ask_counsel(of, rng), ask_identity(rng)]
        questions += [ask_companion(of, noun, rng) for noun in (*COMPANION_NOUNS, of.kind)]
        for question in questions:
            given = set(taught_answer(of, question, rng).split()) - {question.noun}
            assert given <= words
