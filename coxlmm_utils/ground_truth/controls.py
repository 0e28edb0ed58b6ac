"""What do shuffled activations, other dictionaries and an untrained model score against the known answers? (ours)"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..concepts import ground_words
from ..dictionaries import PCA, Dictionary, KMeans, RandomDictionary, SemiNMF, Simple, largest_useful_lam
from ..extraction import States, extract_many, reread
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
    "untrained": "Semi-NMF, untrained LMM",
    "random": "random directions",
    "shuffled": "Semi-NMF, shuffled",
}


@dataclass(frozen=True)
class Answers:
    """How well one system's concepts do against the known answers.

    Attributes
    ----------
    activations, held_out : numpy.ndarray
        (pages, concepts): on the pages that it was learned from, and on held-out ones.
    known : FactorRecovery
    words : WordAccuracy
        Of its words, on held-out pages.
    """

    activations: np.ndarray
    held_out: np.ndarray
    known: FactorRecovery
    words: WordAccuracy


def factor_recovery(
    lmm: LMM, states: States, held_out: States, n_concepts: int = 16, seed: int = 0
) -> dict[str, Answers]:
    """Score Semi-NMF and its controls on the same held-out pages (ours).

    Parameters
    ----------
    lmm : LMM
    states : States
        Of one subject's pages at one layer, to learn from and to match on.
    held_out : States
        Of other pages of the subject, at the same layer and position.
    n_concepts : int, default 16
        Of each system. The lambda is 1, the paper's; of the untrained LMM, whose states are far shorter, it is the same
        fraction of the largest useful one.
    seed : int, default 0
        Of all that is drawn.

    Returns
    -------
    dict of str to Answers
        By the keys of `SYSTEMS`: Semi-NMF; K-Means, PCA and Simple (the paper's); Semi-NMF of an untrained LMM's states
        for the same captions; random directions; and Semi-NMF's activations dealt to the wrong pages.

    Raises
    ------
    ValueError
        If the states are of several layers, not of one token, layer and position, or held-out pages were learned from.
    """
    _check_held_out(states, held_out)
    score = _Scorer(lmm, states.layer, _pages(states), _pages(held_out), seed)
    ours = SemiNMF(n_concepts, random_state=seed, verbose=False)
    rivals = {
        "semi_nmf": ours,
        "kmeans": KMeans(n_concepts, random_state=seed),
        "pca": PCA(n_concepts, random_state=seed),
        "simple": Simple(n_concepts),
        "random": RandomDictionary(n_concepts, random_state=seed),
    }
    found = {name: score.fitted(dictionary, states, held_out) for name, dictionary in rivals.items()}
    found["shuffled"] = score.shuffled(ours, found["semi_nmf"])
    found["untrained"] = score.randomly_initialised(states, held_out, n_concepts)
    return {name: found[name] for name in SYSTEMS}


def comparison(found: dict[str, Answers]) -> pd.DataFrame:
    """Systems side by side, and what Semi-NMF has over each (ours).

    Parameters
    ----------
    found : dict of str to Answers
        From `factor_recovery`.

    Returns
    -------
    pandas.DataFrame
        A row for each system, by its name; each mean with the ends of its interval (`covered`, `covered_low`, ...):

        - n_concepts, n_values; n_unjudged: concepts without an AUC;
        - covered, mean_auc: see `FactorRecovery`;
        - covered_less, mean_auc_less: Semi-NMF's minus the system's, on the same resamples of the same pages;
        - word_accuracy, words_chance: see `WordAccuracy`, on held-out pages; n_wordless: concepts without an answer.
    """
    ours, rows = found["semi_nmf"].known, {}
    for name, answers in found.items():
        known, words = answers.known, answers.words
        row = {"n_concepts": len(known.table), "n_values": known.n_values, "n_unjudged": known.n_unjudged}
        row |= known.covered.named("covered") | known.mean_auc.named("mean_auc")
        for measure, mean in ours.minus(known).items():
            row |= mean.named(f"{measure}_less")
        row |= words.true.named("word_accuracy") | words.chance.named("words_chance")
        rows[name] = row | {"n_wordless": words.true.n_missing}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def known_answers_over(
    lmm: LMM,
    images: CaptionedImages,
    held_out: CaptionedImages,
    tokens: Sequence[str],
    layers: Sequence[Layer],
    positions: Sequence[str] = POSITIONS,
    n_concepts: int = 16,
    seed: int = 0,
) -> pd.DataFrame:
    """Semi-NMF's known answers over tokens, layers and positions, beside shuffled activations (ours).

    Parameters
    ----------
    lmm : LMM
    images, held_out : CaptionedImages
        Pages of the picture book to learn from, and others to score on; all tokens, layers and positions are read in
        one pass over each.
    tokens : sequence of str
        Nouns of subjects.
    layers : sequence of layer
    positions : sequence of {"predicts", "own"}
    n_concepts : int, default 16
    seed : int, default 0
        Of all that is drawn.

    Returns
    -------
    pandas.DataFrame
        Two rows for each, system "semi_nmf" and "shuffled": token, layer, position, system, samples, n_concepts,
        n_values, covered and mean_auc with the ends of their intervals, n_unjudged.

    Raises
    ------
    ValueError
        If held-out pages were learned from.
    """
    asked = tokens, layers, positions
    learned, tested = extract_many(lmm, images, *asked), extract_many(lmm, held_out, *asked)
    rows = []
    for (token, position), states in learned.items():
        for layer in layers:
            one, other = states.at(layer), tested[token, position].at(layer)
            place = {"token": token, "layer": layer, "position": position}
            rows += [place | row for row in _rows_of(lmm, one, other, n_concepts, seed)]
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Scorer:
    """Scores activations always on the same pages."""

    lmm: LMM
    layer: Layer
    pages: list[Factors]
    held_out_pages: list[Factors]
    seed: int

    def fitted(self, dictionary: Dictionary, states: States, held_out: States) -> Answers:
        """Of a dictionary that is first fitted to the states."""
        return self.scored(dictionary, *_fit(dictionary, states, held_out))

    def shuffled(self, dictionary: Dictionary, answers: Answers) -> Answers:
        """Of the same activations, dealt to the wrong pages."""
        return self.scored(dictionary, *self.dealt(answers.activations, answers.held_out))

    def dealt(self, activations: np.ndarray, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both, (pages, concepts) each, dealt to the wrong pages."""
        rng = np.random.default_rng(self.seed)
        return rng.permutation(activations), rng.permutation(held_out)

    def randomly_initialised(self, states: States, held_out: States, n_concepts: int) -> Answers:
        """Of Semi-NMF on what an untrained LMM makes of the same pages and captions, as sparse as lambda 1 on these."""
        fresh = randomly_initialised(self.lmm, self.seed)
        lam = min(1.0 / largest_useful_lam(states.Z), 0.99)
        dictionary = SemiNMF(n_concepts, relative_lam=lam, random_state=self.seed, verbose=False)
        read = (reread(fresh, each, self.layer) for each in (states, held_out))
        return replace(self, lmm=fresh).fitted(dictionary, *read)

    def scored(self, dictionary: Dictionary, activations: np.ndarray, held_out: np.ndarray) -> Answers:
        """Of activations, with the words of the dictionary's concepts."""
        words = ground_words(self.lmm, dictionary.components_, self.layer, n_kept=self.lmm.words_kept)
        true = word_accuracy(words, held_out, self.held_out_pages, seed=self.seed)
        return Answers(activations, held_out, self.known(activations, held_out), true)

    def known(self, activations: np.ndarray, held_out: np.ndarray) -> FactorRecovery:
        """Of activations alone, without words."""
        return score_against_factors(activations, self.pages, held_out, self.held_out_pages, seed=self.seed)


def _rows_of(lmm: LMM, states: States, held_out: States, n_concepts: int, seed: int) -> list[dict]:
    """Semi-NMF's row at one token, layer and position, and that of its shuffled activations."""
    _check_held_out(states, held_out)
    score = _Scorer(lmm, states.layer, _pages(states), _pages(held_out), seed)
    ours = _fit(SemiNMF(n_concepts, random_state=seed, verbose=False), states, held_out)
    rows = []
    for system, activations in {"semi_nmf": ours, "shuffled": score.dealt(*ours)}.items():
        known = score.known(*activations)
        row = {"system": system, "samples": len(states), "n_concepts": n_concepts, "n_values": known.n_values}
        row |= known.covered.named("covered") | known.mean_auc.named("mean_auc")
        rows.append(row | {"n_unjudged": known.n_unjudged})
    return rows


def _fit(dictionary: Dictionary, states: States, held_out: States) -> tuple[np.ndarray, np.ndarray]:
    """Fit a dictionary to the states; its activations on them and on the held-out ones, (pages, concepts) each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Concepts that no sample uses")  # they are counted
        dictionary.fit(states.Z)
    return dictionary.activations_, dictionary.transform(held_out.Z)


def _check_held_out(states: States, held_out: States) -> None:
    """Refuse held-out states of another token, layer or position, or of pages that were learned from."""
    one, other = (
        {"layer": each.layer} | {name: each.provenance[name] for name in ("token", "position")}
        for each in (states, held_out)
    )
    if one != other:
        raise ValueError(f"the states are of {one}, the held-out ones of {other}: extract both in the same way.")
    common = len(set(states.images.ids) & set(held_out.images.ids))
    if common:
        raise ValueError(f"{common} of the held-out pages were learned from: hold out others.")


def _pages(states: States) -> list[Factors]:
    """What is on the samples' pages."""
    return [factors_of(int(id)) for id in states.images.ids]
