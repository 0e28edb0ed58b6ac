"""Do shift vectors bring the concepts of a model to those of its fine-tuned copy? (arXiv 2501.03012)"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
import pandas as pd
from scipy.stats import pearsonr

from ..concepts import ConceptBank, WordFilter, Words, ground_pictures, ground_words
from ..dictionaries import match
from ..extraction import States, require_same
from ..models import LMM
from ..statistics import Mean, derangement
from .compare import SAME, t_overlaps
from .vectors import ShiftVectors, sized_concepts

SHIFTED, UNSHIFTED, RANDOM, PERMUTED = KINDS = "shifted", "unshifted", "random", "permuted"
N_PICTURES = 50  # of a concept, as the paper's script has; fewer where there are few samples
N_RESAMPLES = 2_000


def recovery(
    lmm: LMM,
    vectors: ShiftVectors,
    after: ConceptBank,
    states: States,
    alphas: Sequence[float] = (1.0,),
    word_filter: WordFilter | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """How near shifted concepts are to those of the fine-tuned model, beside controls.

    Each kind is matched one to one with the concepts after, so that its cosines sum to the most (Hungarian, as the
    paper does for shifted concepts); unshifted ones thus have the partners that suit them best.

    Parameters
    ----------
    lmm : LMM
        The fine-tuned one: words are read by its unembedding.
    vectors : ShiftVectors
    after : ConceptBank
        Of the fine-tuned model.
    states : States
        What that bank was learned from, for the pictures.
    alphas : sequence of float, default (1,)
    word_filter : WordFilter, optional
        The one that the bank's words were filtered by, if it is not the default.
    seed : int, default 0
        Of the controls.

    Returns
    -------
    pandas.DataFrame
        A row for each kind, alpha and concept that has samples: kind ("shifted"; "unshifted"; ours: "random", moved as
        far in a random direction, and "permuted", moved by another concept's vector, if there is another), alpha,
        concept, match, and of the two cosine, distance (L2), words (T-Overlap, in percent) and pictures (the share of the
        match's most activating pictures, up to 50, that are its own, too; NaN where it is active on none).

    Raises
    ------
    ValueError
        If the concepts before and after are of different tokens, layers, positions, prompts or kinds of samples, the
        states are not those of the bank after, the model is another, or no concept has samples.
    """
    after.check_model(lmm)
    require_same(vectors.bank, after, *SAME, names=("the bank of the shift vectors", "the bank after"))
    same_origin = (states.fingerprint, states.layer) == (after.fingerprint, after.layer)  # not the pair's other side
    if not same_origin or list(states.images.ids) != list(after.ids):
        raise ValueError("the states are not those that the bank after fine-tuning was learned from: give its own")
    known = np.flatnonzero(np.isfinite(vectors.vectors).all(axis=1))
    if not len(known):
        raise ValueError("no concept has samples, so there is no shift vector: give a pair with more samples")
    moves, rng = vectors.vectors[known], np.random.default_rng(seed)
    changes = {SHIFTED: moves, RANDOM: _random(moves, rng)}
    if len(known) > 1:
        changes[PERMUTED] = moves[derangement(len(known), rng)]
    runs = [(UNSHIFTED, 0.0, np.zeros_like(moves))]
    runs += [(kind, alpha, alpha * change) for alpha in alphas for kind, change in changes.items()]
    tables = []
    for kind, alpha, change in runs:
        concepts = (sized_concepts(vectors.bank)[known] + change).astype(np.float32)
        compared = _compared(concepts, _words(lmm, concepts, after, word_filter), after, states)
        tables.append(compared.assign(kind=kind, alpha=float(alpha), concept=known))
    return pd.concat(tables, ignore_index=True)


def gains(table: pd.DataFrame, alpha: float = 1.0, kind: str = SHIFTED) -> pd.DataFrame:
    """What shifting gains each concept over leaving it: a row each, with nearer, cosine_gain, distance_gain, words_gain.

    cosine_gain is (cos - cos unshifted) / |cos unshifted|, as in the released code; distance_gain the share of the distance
    that is gone; nearer 1 if the cosine rose, else 0; NaN where a concept has no partner.
    """
    before = table[table["kind"] == UNSHIFTED].set_index("concept")
    moved = table[(table["kind"] == kind) & np.isclose(table["alpha"], alpha)].set_index("concept")
    rise = moved["cosine"] - before["cosine"]
    columns = {
        "nearer": (rise > 0).astype(float).where(rise.notna()),
        "cosine_gain": rise / before["cosine"].abs(),
        "distance_gain": 1 - moved["distance"] / before["distance"],
        "words_gain": moved["words"] - before["words"],
    }
    return pd.DataFrame(columns)


def correlation(x: Sequence[float], y: Sequence[float], level: float = 0.95, seed: int = 0) -> Mean:
    """Pearson's r with its interval over resampled pairs; NaN where there are fewer than three, or one is constant (ours)."""
    pairs = pd.DataFrame({"x": list(x), "y": list(y)}, dtype=float).dropna().to_numpy()
    rng, n = np.random.default_rng(seed), len(pairs)
    draws = [_pearson(pairs[rng.integers(n, size=n)]) for _ in range(N_RESAMPLES if n > 2 else 0)]
    tail = (1 - level) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail]) if np.isfinite(draws).any() else (np.nan, np.nan)
    return Mean(_pearson(pairs), float(low), float(high), n)


def _pearson(pairs: np.ndarray) -> float:
    """Pearson's r of pairs, (n, 2)."""
    return float(pearsonr(*pairs.T).statistic) if len(pairs) > 2 and (np.ptp(pairs, axis=0) > 0).all() else np.nan


def _compared(concepts: np.ndarray, words: list[Words], after: ConceptBank, states: States) -> pd.DataFrame:
    """Concepts matched one to one with those of a bank: a row each; unmatched ones are NaN."""
    partners, cosines = match(concepts, after.concepts)
    rows = {
        "match": partners,
        "cosine": cosines,
        "distance": np.linalg.norm(concepts - sized_concepts(after)[partners], axis=1),
        "words": t_overlaps(words, after.words)[np.arange(len(concepts)), partners],
        "pictures": _shared_pictures(concepts, after, states, partners),
    }
    table = pd.DataFrame(rows, dtype=float)
    table.loc[partners < 0] = np.nan
    return table


def _words(lmm: LMM, concepts: np.ndarray, after: ConceptBank, word_filter: WordFilter | None) -> list[Words]:
    """The words of concepts, read as the bank's were."""
    settings = after.provenance["grounding"]
    n_decoded, n_kept, norm = (settings[name] for name in ("n_decoded", "n_kept", "norm"))
    return ground_words(lmm, concepts, after.layer, n_decoded, n_kept, word_filter, norm)


def _shared_pictures(concepts: np.ndarray, after: ConceptBank, states: States, partners: np.ndarray) -> list[float]:
    """For each concept, put in the place of the bank's, the share of its partner's pictures that are its own, too."""
    dictionary = copy(after.dictionary)
    if sized_concepts(after) is not after.concepts:  # as the dictionary has them: of length 1
        concepts = concepts / np.linalg.norm(concepts, axis=1, keepdims=True).clip(min=1e-12)
    dictionary.components_ = concepts.astype(np.float32)
    n = min(N_PICTURES, max(1, len(states) // len(after)))
    own, others = (_most_active(V, n) for V in (dictionary.transform(states.Z), after.activations))
    pairs = [(top, others[partner]) for top, partner in zip(own, partners)]
    return [len(top & other) / len(other) if other else np.nan for top, other in pairs]


def _most_active(V: np.ndarray, n: int) -> list[set[int]]:
    """The samples that activate each concept most, and none that does not."""
    return [{row for row in rows if V[row, k] != 0} for k, rows in enumerate(ground_pictures(V, n).tolist())]


def _random(moves: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random directions, each as long as one of the moves."""
    directions = rng.standard_normal(moves.shape)
    lengths = np.linalg.norm(moves, axis=1, keepdims=True)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True) * lengths
