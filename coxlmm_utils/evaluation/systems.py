"""The systems that the paper's tables compare: Semi-NMF, other dictionaries, random words, and noise for pictures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm.auto import tqdm

from ..concepts import WordFilter, Words, ground_words
from ..dictionaries import PCA, Dictionary, KMeans, SemiNMF, Simple
from ..extraction import States, reread
from ..images import noise_images
from ..models import LMM, OutOfDomainWarning
from .random_words import random_words

NAMES = {  # in the order of tables; the first five are Table 1's columns
    "rnd_words": "Rnd-Words",
    "noise_imgs": "Noise-Imgs",
    "simple": "Simple",
    "semi_nmf": "Semi-NMF",
    "gt_captions": "GT-captions",
    "pca": "PCA, active side",
    "pca_released": "PCA, words of +u only",
    "kmeans": "K-Means",
    "rnd_words_gaussian": "Rnd-Words, any direction",
    "rnd_words_vocabulary": "Rnd-Words, any word",
    "semi_nmf_other": "Semi-NMF, another picture's",
}
# The paper has all others, PCA by words of +u only.
OURS = ("pca", "rnd_words_gaussian", "rnd_words_vocabulary", "semi_nmf_other")
RANDOM = {"rnd_words": "uniform", "rnd_words_gaussian": "gaussian", "rnd_words_vocabulary": "vocabulary"}


def heading(system: str) -> str:
    """A system's name in tables and figures; ours say so."""
    return NAMES[system] + (" (ours)" if system in OURS else "")


@dataclass(frozen=True)
class System:
    """Concepts of one origin, as the test pictures activate them."""

    name: str  # a key of `NAMES`
    seed: int  # of the dictionary, and of random words
    words: list[Words]  # of each concept; of a signed dictionary of each side, see `Dictionary.side_directions`
    activations: np.ndarray  # (test pictures, concepts or sides)

    @property
    def heading(self) -> str:
        """Its name in tables and figures."""
        return heading(self.name)

    def explanations(self, n_concepts: int = 3) -> list[list[tuple[str, ...]]]:
        """Per picture the words of its most active concepts, the largest activation first.

        A signed concept speaks with the words of the side that is active (ours). Only concepts that are active at all;
        a picture without any has one empty explanation, ``[()]`` (ours; the paper does not say)."""
        order = np.argsort(-self.activations, axis=1, kind="stable")[:, :n_concepts]
        active = np.take_along_axis(self.activations, order, axis=1) != 0  # (pictures, n_concepts)
        return [
            [self.words[k].kept for k in concepts[mask]] or [()] for concepts, mask in zip(order, active, strict=True)
        ]

    def union_words(self, n_concepts: int = 3) -> list[tuple[str, ...]]:
        """Per picture the words of its most active concepts as one list, each word once (ours)."""
        lists = self.explanations(n_concepts)
        return [tuple(dict.fromkeys(word for words in concepts for word in words)) for concepts in lists]


def make_systems(
    lmm: LMM,
    states: States,
    test_states: States,
    dictionary: SemiNMF,
    seeds: Sequence[int] = (0, 1, 2),
    word_filter: WordFilter | None = None,
) -> list[System]:
    """All systems but the ground truth: learned from states, and applied to those of test pictures.

    As the paper (arXiv 2406.08074). Rnd-Words are as many random words as each concept of Semi-NMF has; besides the
    paper's, words of any direction and any words of the vocabulary (ours; see `random_words`), and Semi-NMF's words for
    another test picture (ours). Noise-Imgs learns from noise in the place of the pictures, also of the test pictures,
    with the true pictures' captions read (as we take it; no code of it was released). Words are found as
    `ConceptBank.learn` finds them.
    """
    systems = learn_systems(lmm, states, test_states, dictionary, seeds, word_filter)
    for system in [system for system in systems if system.name == "semi_nmf"]:
        systems.append(_of_another_picture(system, test_states.images.ids))
        for name, source in RANDOM.items():
            words = random_words(lmm, system.words, states.layer, source, word_filter, system.seed)
            systems.append(replace(system, name=name, words=words))
    noise, noise_test = _of_noise(lmm, states), _of_noise(lmm, test_states)
    for seed in seeds:
        on_noise = dictionary.clone(random_state=seed, verbose=False)
        systems.append(_learned("noise_imgs", seed, on_noise, lmm, noise, noise_test, word_filter))
    return systems


def learn_systems(
    lmm: LMM,
    states: States,
    test_states: States,
    dictionary: SemiNMF,
    seeds: Sequence[int] = (0, 1, 2),
    word_filter: WordFilter | None = None,
) -> list[System]:
    """The systems that learn from the pictures: Simple, PCA, K-Means and Semi-NMF (paper, Table 2, arXiv 2406.08074).

    Parameters
    ----------
    states, test_states : States
        To learn from, and of the test pictures: of the same token, layer and position.
    dictionary : SemiNMF
        Its settings, and the number of concepts for all.
    seeds : sequence of int
        Of K-Means and Semi-NMF; Simple and PCA have none.
    word_filter : WordFilter, optional

    Returns
    -------
    list of System
        Simple, PCA by the side that is active (ours), PCA by the words of +u only, then for each seed K-Means and
        Semi-NMF.
    """
    n, given = dictionary.n_concepts, (lmm, states, test_states, word_filter)
    simple = _learned("simple", seeds[0], Simple(n), *given)
    pca = _learned("pca", seeds[0], PCA(n), *given)
    # the released code sorts signed scores, and reads no words of -u
    signed = pca.activations[:, :n] - pca.activations[:, n:]
    systems = [simple, pca, System("pca_released", seeds[0], pca.words[:n], signed)]
    for seed in tqdm(seeds, desc="dictionaries", unit="seeds"):
        systems.append(_learned("kmeans", seed, KMeans(n, random_state=seed), *given))
        systems.append(_learned("semi_nmf", seed, dictionary.clone(random_state=seed, verbose=False), *given))
    return systems


def _learned(
    name: str,
    seed: int,
    dictionary: Dictionary,
    lmm: LMM,
    states: States,
    test_states: States,
    word_filter: WordFilter | None,
) -> System:
    """A dictionary of some states, grounded in words, the same way for all systems, and applied to others."""
    directions = dictionary.fit(states.Z).side_directions()
    words = ground_words(lmm, directions, states.layer, n_kept=lmm.words_kept, word_filter=word_filter)
    return System(name, seed, words, dictionary.side_activations(dictionary.transform(test_states.Z)))


def _of_another_picture(system: System, ids: Sequence[str]) -> System:
    """The same concepts as the picture before activates them, in the order of ids; before the first is the last."""
    order = np.argsort(ids)
    before = np.empty_like(order)
    before[order] = np.roll(order, 1)
    return replace(system, name="semi_nmf_other", activations=system.activations[before])


def _of_noise(lmm: LMM, states: States) -> States:
    """The states of noise in the place of the pictures, at the same words of the same captions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfDomainWarning)  # noise is meant to be
        return reread(lmm, states, states.layer, noise_images(states.images))
