"""Factor recovery of Semi-NMF beside its controls: other dictionaries, a randomly initialised model, chance (ours)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..concepts import ground_words
from ..dictionaries import PCA, Dictionary, KMeans, RandomDictionary, SemiNMF, Simple, largest_useful_lam
from ..extraction import States, extract_many, require_same, reread
from ..images import CaptionedImages
from ..models import LMM, POSITIONS, Layer, randomly_initialised
from ..picturebook import Factors, factors_of
from .factor_recovery import FactorRecovery, score_against_factors
from .word_accuracy import WordAccuracy, word_accuracy

SYSTEMS = {  # in the order of tables and figures
    "semi_nmf": "Semi-NMF",
    "kmeans": "K-Means",
    "pca": "PCA",
    "simple": "Simple",
    "random_init": "Semi-NMF, randomly initialised LMM",
    "random": "random directions",
    "shuffled": "Semi-NMF, shuffled",
}


@dataclass(frozen=True)
class SystemRecovery:
    """How well the concepts of one system recover the known factors."""

    activations: np.ndarray  # (pages, concepts)
    held_out: np.ndarray  # (held-out pages, concepts)
    recovery: FactorRecovery
    words: WordAccuracy  # on held-out pages


def recover_factors(
    lmm: LMM, states: States, held_out: States, n_concepts: int = 16, seed: int = 0
) -> dict[str, SystemRecovery]:
    """Score Semi-NMF and its controls on the same held-out pages (ours).

    Parameters
    ----------
    states : States
        Of one subject's pages at one layer, to learn from and to match on.
    held_out : States
        Of other pages of the subject, at the same layer and position.
    n_concepts : int, default 16
        Of each system. The lambda is 1, the paper's; for the randomly initialised LMM, whose states are far shorter, it
        is the same fraction of the largest useful one.
    seed : int, default 0
        Of everything random.

    Returns
    -------
    dict of str to SystemRecovery
        By the keys of `SYSTEMS`: Semi-NMF; K-Means, PCA and Simple (the paper's); Semi-NMF of a randomly initialised
        LMM's states for the same captions; random directions; and Semi-NMF's activations permuted over pages.

    Raises
    ------
    ValueError
        If the states are of several layers, not of one token, layer and position, or held-out pages were learned from.
    """
    _check_held_out(states, held_out)
    scorer = _Scorer(lmm, states.layer, _pages(states), _pages(held_out), seed)
    semi_nmf = SemiNMF(n_concepts, random_state=seed, verbose=False)
    dictionaries = {
        "semi_nmf": semi_nmf,
        "kmeans": KMeans(n_concepts, random_state=seed),
        "pca": PCA(n_concepts, random_state=seed),
        "simple": Simple(n_concepts),
        "random": RandomDictionary(n_concepts, random_state=seed),
    }
    results = {name: scorer.fitted(dictionary, states, held_out) for name, dictionary in dictionaries.items()}
    results["shuffled"] = scorer.shuffled(semi_nmf, results["semi_nmf"])
    results["random_init"] = scorer.randomly_initialised(states, held_out, n_concepts)
    return {name: results[name] for name in SYSTEMS}


def comparison(results: dict[str, SystemRecovery]) -> pd.DataFrame:
    """Systems side by side, and the paired difference of Semi-NMF from each (`_difference`)."""
    semi_nmf, rows = results["semi_nmf"].recovery, {}
    for name, result in results.items():
        recovery, words = result.recovery, result.words
        row = {"n_concepts": len(recovery.table), "n_values": recovery.n_values, "n_excluded": recovery.n_excluded}
        row |= recovery.recovered.named("recovered") | recovery.mean_auc.named("mean_auc")
        for measure, mean in semi_nmf.minus(recovery).items():
            row |= mean.named(f"{measure}_difference")
        row |= words.true.named("word_accuracy") | words.chance.named("words_chance")
        rows[name] = row | {"n_wordless": words.true.n_missing}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def recover_factors_over(
    lmm: LMM,
    images: CaptionedImages,
    held_out: CaptionedImages,
    tokens: Sequence[str],
    layers: Sequence[Layer],
    positions: Sequence[str] = POSITIONS,
    n_concepts: int = 16,
    seed: int = 0,
) -> pd.DataFrame:
    """Semi-NMF's factor recovery over tokens, layers and positions, beside shuffled activations."""
    learned, tested = (extract_many(lmm, some, tokens, layers, positions) for some in (images, held_out))
    rows = []
    for (token, position), states in learned.items():
        for layer in layers:
            at_layer = states.at(layer), tested[token, position].at(layer)
            setting = {"token": token, "layer": layer, "position": position}
            rows += [setting | row for row in _rows(lmm, *at_layer, n_concepts, seed)]
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Scorer:
    """Scores the activations of all systems on the same pages."""

    lmm: LMM
    layer: Layer
    pages: list[Factors]
    held_out_pages: list[Factors]
    seed: int

    def fitted(self, dictionary: Dictionary, states: States, held_out: States) -> SystemRecovery:
        """A dictionary, fitted to the states first."""
        return self.scored(dictionary, *_fit(dictionary, states, held_out))

    def shuffled(self, dictionary: Dictionary, result: SystemRecovery) -> SystemRecovery:
        """The same activations, permuted over pages."""
        return self.scored(dictionary, *self.permuted(result.activations, result.held_out))

    def permuted(self, activations: np.ndarray, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both, (pages, concepts) each, permuted over pages."""
        rng = np.random.default_rng(self.seed)
        return rng.permutation(activations), rng.permutation(held_out)

    def randomly_initialised(self, states: States, held_out: States, n_concepts: int) -> SystemRecovery:
        """Semi-NMF on a randomly initialised LMM's states of the same pages and captions, as sparse as lambda 1 on these."""
        fresh = randomly_initialised(self.lmm, self.seed)
        lam = min(1.0 / largest_useful_lam(states.Z), 0.99)
        dictionary = SemiNMF(n_concepts, relative_lam=lam, random_state=self.seed, verbose=False)
        encoded = (reread(fresh, trained, self.layer) for trained in (states, held_out))
        return replace(self, lmm=fresh).fitted(dictionary, *encoded)

    def scored(self, dictionary: Dictionary, activations: np.ndarray, held_out: np.ndarray) -> SystemRecovery:
        """Activations, with the words of the dictionary's concepts."""
        words = ground_words(self.lmm, dictionary.components_, self.layer, n_kept=self.lmm.words_kept)
        accuracy = word_accuracy(words, held_out, self.held_out_pages, seed=self.seed)
        return SystemRecovery(activations, held_out, self.recovery(activations, held_out), accuracy)

    def recovery(self, activations: np.ndarray, held_out: np.ndarray) -> FactorRecovery:
        """Activations alone, without words."""
        return score_against_factors(activations, self.pages, held_out, self.held_out_pages, seed=self.seed)


def _rows(lmm: LMM, states: States, held_out: States, n_concepts: int, seed: int) -> list[dict]:
    """Semi-NMF's row at one token, layer and position, and that of its shuffled activations."""
    _check_held_out(states, held_out)
    scorer = _Scorer(lmm, states.layer, _pages(states), _pages(held_out), seed)
    fitted = _fit(SemiNMF(n_concepts, random_state=seed, verbose=False), states, held_out)
    rows = []
    for system, activations in {"semi_nmf": fitted, "shuffled": scorer.permuted(*fitted)}.items():
        recovery = scorer.recovery(*activations)
        row = {"system": system, "samples": len(states), "n_concepts": n_concepts, "n_values": recovery.n_values}
        row |= recovery.recovered.named("recovered") | recovery.mean_auc.named("mean_auc")
        rows.append(row | {"n_excluded": recovery.n_excluded})
    return rows


def _fit(dictionary: Dictionary, states: States, held_out: States) -> tuple[np.ndarray, np.ndarray]:
    """Fit a dictionary to the states; its activations on them and on the held-out ones, (pages, concepts) each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Concepts that no sample uses")  # they are counted
        dictionary.fit(states.Z)
    return dictionary.activations_, dictionary.transform(held_out.Z)


def _check_held_out(states: States, held_out: States) -> None:
    """Refuse held-out states of another token, layer or position, or of pages that were learned from."""
    require_same(states, held_out, "layer", "token", "position", names=("the states", "the held-out ones"))
    common = len(set(states.images.ids) & set(held_out.images.ids))
    if common:
        raise ValueError(f"{common} of the held-out pages were learned from: hold out others.")


def _pages(states: States) -> list[Factors]:
    """What is on the samples' pages."""
    return [factors_of(int(id)) for id in states.images.ids]
