"""Inputs with right and wrong answers: what is a claim, what is wrong, and where the answer is decided."""

from importlib import import_module

import pytest

from coxlmm_utils.extraction import prompt_states
from coxlmm_utils.ground_truth.error_inputs import answered_questions, captioned_pages, yes_or_no
from coxlmm_utils.models import load_lmm
from coxlmm_utils.picturebook import factors_of, presence_sentence, present_nouns

module = import_module("coxlmm_utils.ground_truth.error_inputs")


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


def test_the_first_yes_or_no_counts():
    assert [yes_or_no(text) for text in ("My answer is yes, no doubt", "no yes", "ask nobody")] == ["yes", "no", ""]


def test_a_yes_without_the_companion_is_a_wrong_claim(lmm, monkeypatch):
    given = [presence_sentence("ball", True), presence_sentence("child", False), presence_sentence("tree", True)]
    monkeypatch.setattr(module, "_answers", lambda lmm, images, prompts: tuple(given))
    inputs = answered_questions(lmm, "test", 3)  # a ball, a child and a tree on the first page
    page = factors_of(int(inputs.pages[0]))
    right = [presence_sentence(noun, noun in present_nouns(page)) for noun in ("ball", "child", "tree")]
    assert inputs.claims.tolist() == [True, False, True]
    assert inputs.wrong.tolist() == [text != expected for text, expected in zip(given, right)] and inputs.wrong.any()
    assert all(inputs.is_right(row, text) for row, text in enumerate(right))
    assert not any(inputs.is_right(row, f"no {text}") for row, text in enumerate(right))  # broken text mends nothing
    assert inputs.beginning == "my answer is" and len(set(inputs.pages)) == 1
    assert inputs.asked == tuple((page.kind, noun) for noun in ("ball", "child", "tree")) and inputs.typical.sum() == 1


def test_states_are_read_where_the_answer_is_decided(lmm, monkeypatch):
    monkeypatch.setattr(module, "_answers", lambda lmm, images, prompts: ("a dog is there", "a dog runs"))
    inputs = captioned_pages(lmm, "test", ["dog"], 2)
    expected = prompt_states(lmm, inputs.images, inputs.prompts, [2], ["a dog"] * 2)
    read = inputs.states(lmm, [2])
    assert read.Z.equal(expected.Z) and read.captions == ["a dog is there", "a dog runs"]
    mean = prompt_states(lmm, inputs.images, inputs.prompts, [2], inputs.answers, average=True)
    assert inputs.states(lmm, [2], average=True).Z.equal(mean.Z)


def test_a_caption_is_wrong_if_it_names_another_kind_and_claims_nothing_without_one(lmm, monkeypatch):
    captions = ("a dog runs", "a cat runs", "it runs", "a cat with a dog")
    monkeypatch.setattr(module, "_answers", lambda lmm, images, prompts: captions)
    inputs = captioned_pages(lmm, "test", ["cat", "dog"], 2)
    assert inputs.claims.tolist() == [True, True, False, True]
    assert inputs.wrong.tolist() == [True, False, True, True]
    assert inputs.is_right(3, "a dog") and not inputs.is_right(0, "a dog")
