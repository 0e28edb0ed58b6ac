"""Judges of words: by a CLIP model, and by people's captions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from coxlmm_utils.concepts.word_filter import WordFilter
from coxlmm_utils.faithfulness import word_scorers as word_scorers
from coxlmm_utils.faithfulness.agreement import agreement
from coxlmm_utils.faithfulness.word_scorers import ClipWords, ReferenceWords, candidate_words
from tests.conftest import in_memory
from tests.faithfulness.test_agreement import WORDS, bank_of, mentioned, scorer_of


def test_references_are_counted_against_those_of_all_pictures():
    images = mentioned(("a Dog on snow", "snow, snow"), ("a dog",), ("grass",), ("dog on grass", "dog"), (), ("hill",))
    bank = bank_of([("snow",), ("grass",), ("hill",)], n_pictures=2)
    scores = ReferenceWords(images, WORDS).scores(bank)
    everywhere = np.array([1, 1, 1.5, 0, 2.5]) / 5  # of p4 nobody said anything: it is left out
    expected = [[0.5, 0, 0, 0, 0.75], [0, 0, 0.75, 0, 0.5], [0, 1, 0, 0, 0]] - everywhere
    assert scores == pytest.approx(expected)


def test_only_pictures_of_positive_activation_count():
    images = mentioned(("snow",), ("hill",), ("dog",), ("grass",))
    signed = [[3, -9, 0], [-4, 8, 0], [1, 1, 0], [2, -2, 0]]
    bank = bank_of(activations=signed, n_pictures=2)
    assert bank.top.tolist()[:2] == [[1, 0], [0, 1]]
    scores = ReferenceWords(images, WORDS).scores(bank)
    everywhere = np.array([1, 1, 1, 0, 1]) / 4
    assert scores[0] == pytest.approx([1, 0, 0, 0, 0] - everywhere)
    assert scores[1] == pytest.approx([0, 1, 0, 0, 0] - everywhere)
    assert np.isnan(scores[2]).all()  # never active


def test_without_references_there_is_nothing_to_go_by():
    assert np.isnan(
        ReferenceWords(mentioned((), (), ("dog",)), WORDS).scores(bank_of([("dog",)], [[1], [1], [0]]))
    ).all()
    assert np.isnan(ReferenceWords(mentioned((), ()), WORDS).scores(bank_of([("dog",)]))).all()


def test_one_page_tells_no_concept_from_another():
    images = mentioned(("a dog on snow",))
    bank = bank_of(activations=[[1, 2, 3]])
    scores = ReferenceWords(images, WORDS).scores(bank)
    assert (scores == 0).all()
    assert agreement(bank, scorer_of(scores)).rank.value == 0.5


def test_pictures_are_found_by_their_ids():
    images = mentioned(("snow",), ("grass",), ("hill",))
    scorer, bank = ReferenceWords(images, WORDS), bank_of([("snow",), ("hill",)], np.eye(2), 1)
    bank.ids = ["p2", "p0"]
    assert scorer.scores(bank).tolist() == [[-0.5, 0.5, 0, 0, 0], [0.5, -0.5, 0, 0, 0]]
    bank.ids = ["p2", "elsewhere"]
    with pytest.raises(ValueError, match="no picture 'elsewhere'"):
        scorer.scores(bank)


class Eyes:
    """A judge of colours: a picture's vector is its colour, a word's one channel."""

    channels = {"snow": [1, 0, 0], "hill": [0, 1, 0], "dog": [0, 0, 1]}

    def __init__(self):
        self.texts, self.sizes = [], []

    def encode_pictures(self, pictures: list[Image.Image]) -> torch.Tensor:
        self.sizes.append(len(pictures))
        return torch.tensor([picture.getpixel((0, 0)) for picture in pictures]) / 255

    def encode_texts(self, texts: list[str]) -> torch.Tensor:
        self.texts += texts
        return torch.tensor([self.channels[text.split()[-1].rstrip(".")] for text in texts]).float()


def test_clip_scores_are_against_the_mean_of_all_pictures(monkeypatch):
    monkeypatch.setattr("coxlmm_utils.evaluation.judges.BATCH_SIZE", 3)
    monkeypatch.setattr(word_scorers, "BATCH_SIZE", 3)
    colours = ["#ff00ff", "#00ffff", "#0000ff", "#00ff00"]
    eyes, images = Eyes(), in_memory([Image.new("RGB", (4, 4), colour) for colour in colours], ())
    scorer = ClipWords(images, eyes, ["snow", "hill", "dog"])
    assert eyes.sizes == [3, 1]
    assert eyes.texts == [f"A photo is described by the words {word}." for word in scorer.words]
    bank = bank_of([("snow",), ("hill",), ("dog",)], [[1, 0, 0], [0, 2, 0], [0, 0, 0], [0, 1, 0]])
    scores = scorer.scores(bank)
    everywhere = np.array([1, 2, 3]) / 4
    assert scores[:2] == pytest.approx([[1, 0, 1], [0, 1, 0.5]] - everywhere) and np.isnan(scores[2]).all()


def test_candidates_are_what_the_filter_lets_pass_each_once():
    lmm = SimpleNamespace(tokenizer=Tokens(["▁Dog", "dog", "▁the", "snow", "##", "xqzt", "Hill", "ox"]))
    assert candidate_words(lmm) == ["dog", "snow", "hill"]
    assert candidate_words(lmm, WordFilter(min_length=2, drop_words={"snow"})) == ["dog", "hill", "ox"]


class Tokens(list):
    def decode(self, ids: list[int]) -> str:
        return self[ids[0]]

    convert_ids_to_tokens = list.__getitem__
