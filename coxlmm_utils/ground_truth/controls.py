"""Factor recovery of Semi-NMF between a ceiling and its floors, beside the other dictionaries (ours).

The ceiling is supervised: a linear probe for each factor value. The floors keep one thing of the dictionary each: its span
(rotated), its samples, its size (random directions), the architecture (randomly initialised), the activations (shuffled).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd

from ..concepts import ground_words
from ..dictionaries import PCA, Dictionary, KMeans, RandomDictionary, SemiNMF, Simple, largest_useful_lam
from ..extraction import States, extract_many, require_same, reread
from ..faithfulness import linear_probe
from ..images import CaptionedImages
from ..models import LMM, POSITIONS, Layer, randomly_initialised
from ..picturebook import Factors
from ..statistics import SEEDS
from .factor_matching import pages_of, scorable_labels
from .factor_recovery import FactorRecovery, over_seeds, score_against_factors
from .word_accuracy import WordAccuracy, mean_of_known, word_accuracy

SYSTEMS = {  # in the order of tables and figures
    "probe": "linear probes, supervised",
    "semi_nmf": "Semi-NMF",
    "kmeans": "K-Means",
    "pca": "PCA, both sides of each axis",
    "simple": "Simple",
    "rotated": "Semi-NMF's span, rotated",
    "samples": "random samples as concepts",
    "random": "random directions",
    "random_init": "Semi-NMF, randomly initialised LMM",
    "shuffled": "Semi-NMF, shuffled",
}


@dataclass(frozen=True)
class SystemRecovery:
    """How well the concepts of one system recover the known factors."""

    activations: np.ndarray  # (pages, concepts)
    held_out: np.ndarray  # (held-out pages, concepts)
    recovery: FactorRecovery
    words: WordAccuracy | None  # on held-out pages; probes have no words


def recover_factors(
    lmm: LMM,
    states: States,
    held_out: States,
    n_concepts: int = 20,
    seeds: Sequence[int] = SEEDS,
    systems: Collection[str] = tuple(SYSTEMS),
) -> dict[str, list[SystemRecovery]]:
    """Score Semi-NMF, its ceiling and its floors on the same held-out pages (ours).

    Parameters
    ----------
    states : States
        Of one subject's pages at one layer, to learn from and to match on.
    held_out : States
        Of other pages of the subject, at the same layer and position.
    n_concepts : int, default 20
        Of each system. Lambda is 1; for the randomly initialised LMM, whose states are far shorter, it is the same
        fraction of the largest useful one.
    seeds : sequence of int, default 0 to 4
        Of everything random. PCA, Simple and the probes have none, and the randomly initialised LMM takes the first
        alone, since each reads all pages anew.
    systems : collection of str, default all of `SYSTEMS`
        Which to score.

    Returns
    -------
    dict of str to list of SystemRecovery
        One for each seed, by the keys of `SYSTEMS`: linear probes, one for each factor value, learned from the same
        states and told the value (logistic regression, L2 penalty, C = 1, on standardised states); Semi-NMF; K-Means,
        PCA (each side of an axis counts as a concept) and Simple; a random orthonormal basis of Semi-NMF's span; random
        samples as concepts; random directions; Semi-NMF of a randomly initialised LMM's states for the same captions;
        and Semi-NMF's activations permuted over pages.

    Raises
    ------
    ValueError
        If the states are of several layers, not of one token, layer and position, or held-out pages were learned from.
    """
    scorer = _Scorer.of(lmm, states, held_out)
    learned = {seed: _fit(SemiNMF(n_concepts, random_state=seed, verbose=False), states) for seed in seeds}
    concepts = {seed: dictionary.components_ for seed, dictionary in learned.items()}
    runs = {
        "probe": lambda: [scorer.probed()],
        "semi_nmf": lambda: [scorer.scored(dictionary) for dictionary in learned.values()],
        "kmeans": lambda: [scorer.scored(_fit(KMeans(n_concepts, seed), states)) for seed in seeds],
        "pca": lambda: [scorer.scored(_fit(PCA(n_concepts), states))],
        "simple": lambda: [scorer.scored(_fit(Simple(n_concepts), states))],
        "rotated": lambda: [scorer.scored(_unit(rotated(U, seed))) for seed, U in concepts.items()],
        "samples": lambda: [scorer.scored(_unit(_drawn(states.Z, n_concepts, seed))) for seed in seeds],
        "random": lambda: [scorer.scored(_fit(RandomDictionary(n_concepts, random_state=s), states)) for s in seeds],
        "random_init": lambda: [scorer.randomly_initialised(n_concepts, seeds[0])],
        "shuffled": lambda: [scorer.scored(dictionary, seed) for seed, dictionary in learned.items()],
    }
    return {name: runs[name]() for name in SYSTEMS if name in systems}


def comparison(results: Mapping[str, Sequence[SystemRecovery]]) -> pd.DataFrame:
    """Systems side by side, means over seeds; and the difference of Semi-NMF from each on the same resampled pages.

    `mean_auc` is over the values matched: all of them for probes, for others at most as many as concepts (K).
    """
    semi_nmf, rows = [run.recovery for run in results["semi_nmf"]], {}
    for name, runs in results.items():
        first, recoveries = runs[0].recovery, [run.recovery for run in runs]
        row = {"seeds": len(runs), "n_concepts": len(first.table), "n_values": first.n_values}
        for measure, mean in over_seeds(recoveries).items():
            row |= mean.named(measure)
        for measure, mean in over_seeds(semi_nmf, minus=recoveries).items():
            row |= mean.named(f"{measure}_difference")
        if first_words := runs[0].words:
            row |= mean_of_known([run.words.table["true"] for run in runs]).named("word_accuracy")
            row |= {"words_chance": first_words.chance.value, "n_wordless": first_words.true.n_missing}
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def recover_factors_over(
    lmm: LMM,
    images: CaptionedImages,
    held_out: CaptionedImages,
    tokens: Sequence[str],
    layers: Sequence[Layer],
    positions: Sequence[str] = POSITIONS,
    n_concepts: int = 20,
    seeds: Sequence[int] = SEEDS,
) -> pd.DataFrame:
    """Semi-NMF's factor recovery over tokens, layers and positions, means over seeds, beside shuffled activations."""
    learned, tested = (extract_many(lmm, some, tokens, layers, positions) for some in (images, held_out))
    rows = []
    for (token, position), states in learned.items():
        for layer in layers:
            at_layer = states.at(layer), tested[token, position].at(layer)
            setting = {"token": token, "layer": layer, "position": position}
            rows += [setting | row for row in _rows(lmm, *at_layer, n_concepts, seeds)]
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Scorer:
    """Scores the activations of all systems on the same pages."""

    lmm: LMM
    states: States
    held_out: States
    pages: list[Factors]
    held_out_pages: list[Factors]

    @classmethod
    def of(cls, lmm: LMM, states: States, held_out: States) -> Self:
        """States that may be scored on each other's pages."""
        _check_held_out(states, held_out)
        return cls(lmm, states, held_out, pages_of(states.images.ids), pages_of(held_out.images.ids))

    def scored(self, dictionary: Dictionary, permuted_by: int | None = None) -> SystemRecovery:
        """A dictionary, with the words of its concepts; of a signed one each side is a concept."""
        activations, held_out = self.activations(dictionary, permuted_by)
        directions, layer = dictionary.side_directions(), self.states.layer
        words = ground_words(self.lmm, directions, layer, n_kept=self.lmm.words_kept)
        accuracy = word_accuracy(words, held_out, self.held_out_pages)
        return SystemRecovery(activations, held_out, self.recovery(activations, held_out), accuracy)

    def probed(self) -> SystemRecovery:
        """One logistic regression for each factor value; its logits in the place of activations."""
        Z, held_out = np.asarray(self.states.Z), np.asarray(self.held_out.Z)
        logits = []
        for shown in scorable_labels(self.pages).values():
            probe = linear_probe(Z, shown)
            logits.append((probe.decision_function(Z), probe.decision_function(held_out)))
        both = [np.column_stack(columns) for columns in zip(*logits)]  # (pages, values) each
        return SystemRecovery(*both, self.recovery(*both), None)

    def randomly_initialised(self, n_concepts: int, seed: int) -> SystemRecovery:
        """Semi-NMF on a randomly initialised LMM's states of the same pages and captions, as sparse as lambda 1 on these."""
        fresh = randomly_initialised(self.lmm, seed)
        lam = min(1.0 / largest_useful_lam(self.states.Z), 0.99)
        states, held_out = (reread(fresh, trained, self.states.layer) for trained in (self.states, self.held_out))
        dictionary = SemiNMF(n_concepts, relative_lam=lam, random_state=seed, verbose=False)
        return replace(self, lmm=fresh, states=states, held_out=held_out).scored(_fit(dictionary, states))

    def activations(self, dictionary: Dictionary, permuted_by: int | None = None) -> list[np.ndarray]:
        """Of the pages and of the held-out ones, (pages, concepts or sides) each; permuted over pages if given a seed."""
        both = [dictionary.side_activations(dictionary.transform(part.Z)) for part in (self.states, self.held_out)]
        rng = np.random.default_rng(permuted_by)
        return both if permuted_by is None else [rng.permutation(activations) for activations in both]

    def recovery(self, activations: np.ndarray, held_out: np.ndarray) -> FactorRecovery:
        """Activations alone, without words."""
        return score_against_factors(activations, self.pages, held_out, self.held_out_pages)


def _rows(lmm: LMM, states: States, held_out: States, n_concepts: int, seeds: Sequence[int]) -> list[dict]:
    """Semi-NMF's row at one token, layer and position, and that of its shuffled activations."""
    scorer, rows = _Scorer.of(lmm, states, held_out), []
    learned = {seed: _fit(SemiNMF(n_concepts, random_state=seed, verbose=False), states) for seed in seeds}
    for system in ("semi_nmf", "shuffled"):
        activations = [scorer.activations(fit, seed if system == "shuffled" else None) for seed, fit in learned.items()]
        runs = [scorer.recovery(*both) for both in activations]
        row = {"system": system, "samples": len(states), "n_concepts": n_concepts, "n_values": runs[0].n_values}
        for measure, mean in over_seeds(runs).items():
            row |= mean.named(measure)
        rows.append(row | {"n_excluded": np.mean([run.n_excluded for run in runs]), "seeds": len(runs)})
    return rows


def _fit(dictionary: Dictionary, states: States) -> Dictionary:
    """A dictionary fitted to the states."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Concepts that no sample uses")  # they are counted
        return dictionary.fit(states.Z)


def rotated(U: np.ndarray, seed: int) -> np.ndarray:
    """A random orthonormal basis of the span of concepts, (concepts, width): what the span holds by itself."""
    basis = np.linalg.svd(U, full_matrices=False)[2]  # (concepts, width)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(U), len(U))))
    return rotation @ basis


def _drawn(Z: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Some of the states: (n, width)."""
    return np.asarray(Z)[np.random.default_rng(seed).choice(len(Z), n, replace=False)]


def _unit(directions: np.ndarray) -> SemiNMF:
    """Given directions as concepts of norm 1, with Semi-NMF's activations under lambda 1."""
    return SemiNMF.from_components(directions / np.linalg.norm(directions, axis=1, keepdims=True))


def _check_held_out(states: States, held_out: States) -> None:
    """Refuse held-out states of another token, layer or position, or of pages that were learned from."""
    require_same(states, held_out, "layer", "token", "position", names=("the states", "the held-out ones"))
    common = len(set(states.images.ids) & set(held_out.images.ids))
    if common:
        raise ValueError(f"{common} of the held-out pages were learned from: hold out others.")
