"""Words and pictures of a concept."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from coxlmm_utils.concepts.grounding import Words, ground_pictures, ground_words
from coxlmm_utils.concepts.word_filter import WordFilter
from coxlmm_utils.models.lmm import LMM
from tests.models.test_caption_tokens import byte_fallback

VOCABULARY = ["dog", " Brown", "the", "sand", "##", "beach"]


class Swapping(nn.Module):
    """A final norm that anyone can compute: it swaps neighbours."""

    def forward(self, states):
        return states[:, [1, 0, 3, 2, 5, 4]]


@pytest.fixture
def lmm() -> LMM:
    """An unembedding that is the identity: entry i of a concept is the logit of word i."""
    unembedding = nn.Linear(6, 6, bias=False)
    unembedding.weight.data = torch.eye(6)
    model = SimpleNamespace(device=torch.device("cpu"), dtype=torch.float32)
    tokenizer = SimpleNamespace(decode=lambda ids: VOCABULARY[ids[0]], convert_ids_to_tokens=VOCABULARY.__getitem__)
    return LMM("eye", model, SimpleNamespace(tokenizer=tokenizer), nn.ModuleList(), Swapping(), unembedding, "")


CONCEPTS = np.array([[0.5, 0.4, 0.9, 0.1, 0.2, 0.0], [0.1, 0.0, 0.0, 0.3, 0.2, 0.9]], np.float32)


def test_words_are_the_most_probable_that_pass(lmm):
    first, second = ground_words(lmm, CONCEPTS, "norm", n_decoded=4)
    assert first == Words(("dog", "Brown"), (("the", "function word"), ("##", "not letters")))
    assert second.kept == ("beach", "sand", "dog") and second.dropped == (("##", "not letters"),)


def test_how_many_are_decoded_and_kept(lmm):
    assert ground_words(lmm, CONCEPTS, "norm", n_decoded=1)[0] == Words((), (("the", "function word"),))
    assert ground_words(lmm, CONCEPTS, "norm", n_decoded=99)[0].kept == ("dog", "Brown", "sand", "beach")
    kept = ground_words(lmm, CONCEPTS, "norm", n_decoded=99, n_kept=2)[0]
    assert kept.kept == ("dog", "Brown") and len(kept.dropped) == 2


def test_the_norm_is_applied_where_the_layer_needs_it(lmm):
    def best(layer, norm=None):
        return ground_words(lmm, CONCEPTS[:1], layer, 2, norm=norm)[0].kept

    assert best("norm") == best(0, norm=False) == ("dog",)  # "the", "dog"
    assert best(0) == best("norm", norm=True) == ("sand", "Brown")  # its neighbours


def test_the_filter_can_be_changed(lmm):
    changed = WordFilter(keep_words=frozenset({"the"}), drop_words=frozenset({"dog"}))
    assert ground_words(lmm, CONCEPTS, "norm", word_filter=changed)[0].kept == (
        "the",
        "Brown",
        "sand",
        "beach",
    )


def test_words_as_text():
    assert str(Words(("dog", "Brown"), ())) == "dog, Brown"
    assert str(Words((), (("the", "function word"),))) == "(no words)"


def test_pictures_are_those_of_largest_magnitude_and_earlier_ones_of_equals():
    activations = np.array([[0.0, 1.0], [3.0, 1.0], [-4.0, 1.0], [3.0, 2.0]])
    assert ground_pictures(activations, 3).tolist() == [[2, 1, 3], [3, 0, 1]]
    assert ground_pictures(activations, 9).shape == (2, 4)
    assert ground_pictures(activations).tolist() == [[2, 1, 3, 0], [3, 0, 1, 2]]


def test_whole_words_are_told_from_pieces_by_the_tokens_themselves():
    """Llama's tokenizer drops the mark of a word's start when it decodes one token."""
    pieces = ["▁dog", "board", "▁snow", "s", "▁skate"]
    tokenizer = byte_fallback(["dog", "snow", "skate"]).tokenizer
    best = tokenizer.convert_tokens_to_ids(pieces)
    logits = torch.zeros(1, len(tokenizer))
    logits[0, best] = torch.arange(9.0, 4, -1)
    model = SimpleNamespace(tokenizer=tokenizer, unembed=lambda vectors, layer, norm: logits)
    assert not any(tokenizer.decode([token]).startswith(" ") for token in best)
    [words] = ground_words(model, np.zeros((1, 4)), 3, n_decoded=5, word_filter=WordFilter(whole_words_only=True))
    assert words.kept == ("dog", "snow", "skate")
    assert words.dropped == (("board", "piece of a word"), ("s", "piece of a word"))
