"""Scorers of words: how well each word fits the pictures of a concept, whatever the LMM reads from it (ours)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import csr_array
from tqdm.auto import tqdm

from ..concepts import ConceptBank, WordFilter
from ..evaluation import ClipJudge, encode_images, words_as_text
from ..images import CaptionedImages
from ..models import LMM, vocabulary
from ..text import words_in

BATCH_SIZE = 256  # words between two steps of the bar


class ClipWords:
    """Words scored by a CLIP model from pictures; pictures and words are encoded once, now, for any number of banks.

    A word's score is the cosine of its text, in the released code's template (`words_as_text`), with the mean of the
    concept's pictures, minus that with the mean of all the bank's pictures. Without the second part a few words would
    be nearest to every concept: those that fit what all the pictures have in common, the target word above all.
    """

    def __init__(self, images: CaptionedImages, clip: ClipJudge, words: Sequence[str]):
        self.images, self.words = images, list(words)
        self._pictures = encode_images(images, clip).numpy()  # (pictures, CLIP's width)
        self._texts = _encoded(clip, [words_as_text([word]) for word in words])  # (words, CLIP's width)

    def scores(self, bank: ConceptBank) -> np.ndarray:
        """(concepts, words); NaN of a concept that is not active (above 0) on its pictures."""
        rows = [self.images.index(id) for id in bank.ids]
        pictures = _contrast(bank, self._pictures[rows], np.full(len(rows), True))  # (concepts, CLIP's width)
        return pictures @ self._texts.T


class ReferenceWords:
    """Words scored by people's captions of the pictures, with no model; knows no synonyms.

    A word's score is the share of references that have it, averaged over the concept's pictures, minus the same over
    all the bank's pictures; pictures without references are left out. Words in no reference have 0.
    """

    def __init__(self, images: CaptionedImages, words: Sequence[str]):
        self.images, self.words = images, list(words)
        column = {word.lower(): index for index, word in enumerate(words)}
        cells = [
            (row, column[word], 1 / len(texts))
            for row, texts in enumerate(images.references)
            for text in texts
            for word in set(words_in(text)) & column.keys()
        ]
        rows, columns, shares = map(np.array, zip(*cells)) if cells else (np.zeros(0, int),) * 3
        self._shares = csr_array((shares, (rows, columns)), shape=(len(images), len(words)), dtype=float)
        self._known = np.array([bool(texts) for texts in images.references])

    def scores(self, bank: ConceptBank) -> np.ndarray:
        """(concepts, words); NaN of a concept without active pictures that have references."""
        rows = [self.images.index(id) for id in bank.ids]
        return _contrast(bank, self._shares[rows], self._known[rows])


def candidate_words(lmm: LMM, word_filter: WordFilter | None = None) -> list[str]:
    """All words that a concept of this model can be grounded in (ours)."""
    return [word.lower() for word in (word_filter or WordFilter()).split(vocabulary(lmm))[0]]


def _encoded(clip: ClipJudge, texts: list[str]) -> np.ndarray:
    """Texts as vectors of a CLIP judge, with a bar: (texts, width)."""
    starts = tqdm(range(0, len(texts), BATCH_SIZE), desc="encoding words", unit="batches")
    return torch.cat([clip.encode_texts(texts[start : start + BATCH_SIZE]) for start in starts]).numpy()


def _contrast(bank: ConceptBank, values: np.ndarray | csr_array, known: np.ndarray) -> np.ndarray:
    """The mean of values, (samples, width), over each concept's pictures minus that over all: (concepts, width)."""
    weights = np.zeros(bank.activations.T.shape)  # (concepts, samples)
    for concept, rows in enumerate(bank.top):
        active = rows[(bank.activations[rows, concept] > 0) & known[rows]]
        weights[concept, active] = 1 / max(1, len(active))
    contrast = (weights - known / max(1, known.sum())) @ values
    contrast[~weights.any(axis=1)] = np.nan
    return contrast
