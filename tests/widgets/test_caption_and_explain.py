"""One picture, one run of the model, and the explanation of every bank whose token was written."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.explanation.explain import explain
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.widgets.caption_and_explain import explain_picture, explained_words
from tests.conftest import MAX_NEW_TOKENS, in_memory, noise


def with_provenance(bank: ConceptBank, **provenance) -> ConceptBank:
    return replace(bank, provenance=bank.provenance | provenance)


@pytest.fixture
def picture(states):
    """One whose caption has the token."""
    return states.images.picture(0)


@pytest.fixture
def runs(llava, monkeypatch) -> list[int]:
    """A number for each caption batch that the model is asked for."""
    counted, generate = [], llava.model.generate
    monkeypatch.setattr(llava.model, "generate", lambda **inputs: counted.append(1) or generate(**inputs))
    return counted


def test_a_reading_holds_what_explain_says(llava, bank, picture):
    reading = explain_picture(llava, [bank], picture)
    expected = explain(llava, bank, picture)
    assert reading.captions == (expected.caption,) and reading.picture is picture and reading.remarks == ()
    assert reading.explanations[0].step == expected.step and reading.explanations[0].bank is bank
    np.testing.assert_array_equal(reading.explanations[0].activations, expected.activations)


def test_banks_of_several_layers_and_positions_share_one_run(llava, bank, pictures, token, picture, runs):
    images = in_memory(pictures, ("all grey",))
    options = {"max_new_tokens": MAX_NEW_TOKENS, "cache": False, "position": "own"}
    other = ConceptBank.learn(llava, extract(llava, images, token, 1, **options), SemiNMF(2, random_state=0))
    expected = explain(llava, other, picture).activations
    runs.clear()
    reading = explain_picture(llava, [bank, other, bank], picture)
    assert len(runs) == 1 and list(reading.explanations) == [0, 1, 2]
    np.testing.assert_allclose(reading.explanations[1].activations, expected, rtol=1e-5, atol=1e-7)


def test_a_bank_whose_token_is_not_written_explains_nothing(llava, bank, picture):
    silent = with_provenance(bank, token=["zebra", "zebras"])
    reading = explain_picture(llava, [silent, bank], picture)
    assert list(reading.explanations) == [1]
    assert explain_picture(llava, [silent], picture).captions == reading.captions


def test_banks_of_other_prompts_have_captions_of_their_own(llava, bank, picture, runs):
    short = with_provenance(bank, max_new_tokens=1)
    reading = explain_picture(llava, [bank, short], picture)
    assert len(runs) == 2 and len(reading.captions) == 2
    assert reading.captions[0].startswith(reading.captions[1])


def test_the_explained_words_words_are_first_spellings_each_once(bank):
    banks = [with_provenance(bank, token=["dog", "dogs"]), with_provenance(bank, token=["dog"])]
    shared = with_provenance(bank, token=["cat", "cats", "bus"], tokens={"cat": 3, "bus": 2})
    assert explained_words([*banks, shared]) == ["dog", "cat", "bus"]


def test_what_there_is_to_warn_of_is_a_remark():
    book = load_lmm("picturebook", device="cpu")
    images = load_images("picturebook", "train").mentioning("dog")[:12]
    bank = ConceptBank.learn(book, extract(book, images, "dog", 4, cache=False), SemiNMF(2, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unlike = explain_picture(book, [bank], noise(3).resize((144, 144)))
        usual = explain_picture(book, [bank], images.picture(0))
    assert len(unlike.remarks) == 1 and "unlike a page" in unlike.remarks[0]
    assert usual.remarks == ()
