"""The book's model beside its fine-tuned copies: states of the same pages, banks of both, and what concepts are about (ours)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..concepts import ConceptBank
from ..dictionaries import Dictionary, KMeans
from ..extraction import StatePair, States, extract
from ..images import CaptionedImages, load_images
from ..models import LMM, Layer, load_lmm
from ..picturebook import QUESTION_TOPICS
from ..shift import ShiftVectors, recovery, shift_vectors
from .factor_matching import MIN_SAMPLES, pages_of
from .model_scores import share_answered, topic_questions, yes_no_questions

TOKEN = "dog"
N_PAGES = 1400  # that mention it: half to learn from, half held out
N_ASKED = 400  # test pages
MIN_SHARE = 0.9  # of a concept's samples that show one value


@dataclass(frozen=True)
class FineTuned:
    """One fine-tuned copy beside the model that it was made of.

    Attributes
    ----------
    before, after : LMM
    learned, held_out : StatePair
        States of the same samples in both: those that banks are learned from, and others.
    """

    before: LMM
    after: LMM
    learned: StatePair
    held_out: StatePair

    @classmethod
    def of(cls, before: LMM, after: LMM, states: States, images: CaptionedImages) -> FineTuned:
        """The pages of which both say the word; `states` are those before."""
        pair = StatePair.of(states, extract(after, images, TOKEN, states.layer))
        ids = list(pair.before.images.ids)
        halves = (ids[::2], ids[1::2])
        return cls(before, after, *(StatePair(pair.before.subset(some), pair.after.subset(some)) for some in halves))

    def banks(self, dictionary: Dictionary) -> tuple[ConceptBank, ConceptBank]:
        """Concepts before and after, of the same samples."""
        before = ConceptBank.learn(self.before, self.learned.before, dictionary)
        return before, ConceptBank.learn(self.after, self.learned.after, dictionary)

    def vectors(self, bank: ConceptBank) -> ShiftVectors:
        """Shift vectors by held-out samples, of which the concepts after know nothing."""
        return shift_vectors(self.held_out, bank)

    def recovery(self, banks: tuple[ConceptBank, ConceptBank], alphas: Sequence[float] = (1.0,), seed: int = 0):
        """`recovery` of the concepts after by held-out shift vectors."""
        return recovery(self.after, self.vectors(banks[0]), banks[1], self.learned.after, alphas, seed=seed)

    @cached_property
    def forgotten(self) -> dict[str, list[float]]:
        """Of each kind of question the share of right answers, before and after."""
        return {topic: list(pair) for topic, pair in zip(TOPICS, zip(answered(self.before), answered(self.after)))}


TOPICS = (*QUESTION_TOPICS, "presence")


def fine_tuned(name: str, before: LMM, layer: Layer, n_pages: int = N_PAGES) -> FineTuned:
    """A fine-tuned copy, by its adapter's name or folder, beside the model `before`, which was loaded by name or folder."""
    images = load_images("picturebook").mentioning(TOKEN)[:n_pages]
    return FineTuned.of(before, load_lmm(before.name, adapter=name), extract(before, images, TOKEN, layer), images)


def answered(lmm: LMM) -> list[float]:
    """The share of right answers to questions of each of `TOPICS` about test pages, word for word."""
    images = load_images("picturebook", split="test")[:N_ASKED]
    pages = pages_of(images.ids)
    asked = [*topic_questions(pages), *yes_no_questions(pages)]
    by_topic = {topic: [row for row in asked if row[1].topic == topic] for topic in TOPICS}
    return [share_answered(lmm, images, some) for some in by_topic.values()]


def n_about(bank: ConceptBank, states: States, factor: str) -> int:
    """How many concepts are about one value of a factor: it is on 90% or more of the samples on which they lead."""
    leading = np.abs(bank.project(states.Z)).argmax(axis=1)
    values = np.array([getattr(page, factor) for page in pages_of(states.images.ids)])
    shares = [max_share(values[leading == k]) for k in range(len(bank))]
    return int(sum(share >= MIN_SHARE for share in shares))


def max_share(values: np.ndarray) -> float:
    """The share of the most frequent value; 0 of fewer than `MIN_SAMPLES`."""
    return np.unique(values, return_counts=True)[1].max() / len(values) if len(values) >= MIN_SAMPLES else 0.0


def kmeans(seed: int, n_concepts: int) -> KMeans:
    """The paper's dictionary for concept shift."""
    return KMeans(n_concepts, random_state=seed)
