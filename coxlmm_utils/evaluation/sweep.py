"""Fit dictionaries over a grid of settings and measure each: the numbers behind the choice of K, lambda and layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from torch import Tensor
from tqdm.auto import tqdm

from ..concepts import concept_stability, ground_pictures, ground_words, overlaps, words_mentioned
from ..dictionaries import SemiNMF, as_matrix, best_of_restarts, initial_concepts, squared_norms
from ..extraction import States
from ..models import LMM, Layer

SETTING = ["layer", "lam", "n_concepts"]  # what the dictionaries of several seeds have in common


def sweep(
    states: States,
    n_concepts: Sequence[int] = (10, 20, 30, 50),
    lams: Sequence[float] = (1.0,),
    seeds: Sequence[int] = (0,),
    layers: Sequence[Layer] | None = None,
    relative: bool = False,
    lmm: LMM | None = None,
    truth: Callable[..., float | Mapping[str, float]] | None = None,
    held_out: States | None = None,
) -> pd.DataFrame:
    """Fit a Semi-NMF dictionary for every layer, seed, lambda and K, and measure it (ours).

    For one layer, seed and lambda, K goes up, and each fit has the concepts of the last K as one restart more: the
    objective can only fall with K, as it should.

    Parameters
    ----------
    states : States
        Of one token, or several joined; of as many layers as are to be compared.
    n_concepts : sequence of int
        K; the default is what the paper's appendix compares.
    lams : sequence of float
        Lambda in the paper's convention.
    seeds : sequence of int
        With two or more, stability is measured; of the dictionaries, and of single restarts.
    layers : sequence of layer, optional
        Default: all of the states.
    relative : bool
        Take `lams` as fractions of the lambda at which all activations are zero; see `SemiNMF`. Layers differ in
        norm, so that one lambda does not mean the same in each.
    lmm : LMM, optional
        The states' model; with it, words are measured.
    truth : callable, optional
        What activations, (samples, concepts), are worth by ground truth, such as `ground_truth.mean_best_auc`: the
        column auc, or several by name. With `held_out` it is also given the activations of these.
    held_out : States, optional
        Samples that were not learned from, of the same layers, to measure `explained` and ground truth on.

    Returns
    -------
    pandas.DataFrame
        One row per dictionary: layer, n_concepts, lam (the fraction, if relative), relative, seed; reconstruction_error
        (relative), explained (share of the states' variance around their mean, on held-out samples if there
        are any), active (concepts per sample), objective; overlap (mean over concepts) and mentioned (share of a
        concept's words that its pictures' references mention) if there is an `lmm`; what `truth` measures. With several
        seeds stability (mean matched cosine with the other seeds' dictionaries, each the best of several restarts) and
        stability_single (the same of one restart a seed, from samples drawn at random).

    Raises
    ------
    ValueError
        Before anything is fitted: for an empty grid, a layer that was not extracted, or a K above the samples.
    """
    layers = list(states.vectors) if layers is None else list(layers)
    _check(states, n_concepts, lams, seeds, layers, held_out)
    rows, concepts = [], {"stability": [], "stability_single": []}
    with tqdm(total=len(layers) * len(seeds) * len(lams) * len(n_concepts), desc="sweep", unit="fits") as bar:
        for layer, seed, lam in product(layers, seeds, lams):
            dictionary = None
            for k in sorted(n_concepts):
                dictionary = _fitted(states.at(layer).Z, k, lam, seed, relative, dictionary)
                measured = _measured(dictionary, states.at(layer), held_out and held_out.at(layer), lmm, truth)
                setting = {"layer": layer, "n_concepts": k, "lam": lam, "relative": relative, "seed": seed}
                rows.append(setting | measured)
                concepts["stability"].append(dictionary.components_)
                if len(seeds) > 1:
                    concepts["stability_single"].append(_single_restart(states.at(layer).Z, dictionary))
                bar.update()
    table = pd.DataFrame(rows)
    if len(seeds) > 1:
        for name, of_rows in concepts.items():
            table[name] = _stability(table, of_rows)
    return table


def _stability(table: pd.DataFrame, concepts: Sequence[np.ndarray]) -> pd.Series:
    """Each row's mean matched cosine with the concepts of the other seeds."""
    stability = pd.Series(np.nan, table.index)
    for _, runs in table.groupby(SETTING, sort=False):
        for row in runs.index:
            others = [concepts[other] for other in runs.index if other != row]
            stability[row] = np.nanmean(concept_stability(concepts[row], others))
    return stability


def _check(
    states: States,
    n_concepts: Sequence,
    lams: Sequence,
    seeds: Sequence,
    layers: Sequence[Layer],
    held_out: States | None,
) -> None:
    """Refuse what would fail only after hours."""
    grid = {"n_concepts": n_concepts, "lams": lams, "seeds": seeds, "layers": layers}
    for name, values in grid.items():
        if not len(values):
            raise ValueError(f"{name} is empty: give at least one value to sweep over")
    for layer in layers:
        states.at(layer)
        if held_out is not None:
            held_out.at(layer)
    if max(n_concepts) > len(states):
        raise ValueError(f"n_concepts={max(n_concepts)} is more than the {len(states)} samples: leave it out")


def _fitted(Z, k: int, lam: float, seed: int, relative: bool, smaller: SemiNMF | None) -> SemiNMF:
    """One dictionary, with the concepts of a smaller one as one more restart."""
    strength = {"relative_lam": lam} if relative else {"lam": lam}
    return SemiNMF(k, random_state=seed, verbose=False, **strength).fit(Z, smaller and smaller.components_)


def _single_restart(Z: Tensor, dictionary: SemiNMF) -> np.ndarray:
    """The concepts of one restart with a dictionary's settings: the best of several hides how much restarts differ."""
    Z = as_matrix(Z, "sample").double()
    squares, k = squared_norms(Z), dictionary.n_concepts
    U = initial_concepts(Z, squares, k, 2, dictionary.random_state)[1:]  # the first is the same for every seed
    best, _ = best_of_restarts(Z, squares, U, dictionary.lam_, dictionary.tol, dictionary.max_iter)
    return best.U.numpy()


def _measured(
    dictionary: SemiNMF, states: States, held_out: States | None, lmm: LMM | None, truth: Callable | None
) -> dict:
    """The measures of one dictionary."""
    V = dictionary.activations_  # (samples, concepts)
    tested, V_tested = (states, V) if held_out is None else (held_out, dictionary.transform(held_out.Z))
    measured = {
        "reconstruction_error": dictionary.reconstruction_error_,
        "explained": _explained(tested.Z, V_tested @ dictionary.components_, states.Z),
        "active": float((V > 0).sum(axis=1).mean()),
        "objective": dictionary.objective_[-1],
    }
    if lmm is not None:
        words = ground_words(lmm, dictionary.components_, states.layer, n_kept=lmm.words_kept)
        measured["overlap"] = pd.Series(overlaps(words)).mean()  # leaves NaN out
        measured["mentioned"] = float(np.mean(words_mentioned(words, ground_pictures(V), states.images.references)))
    if truth is not None:
        told = truth(V) if held_out is None else truth(V, V_tested)
        measured |= told if isinstance(told, Mapping) else {"auc": told}
    return measured


def _explained(Z: Tensor, reconstructed: np.ndarray, learned_from: Tensor) -> float:
    """The share of the variance of states around the mean of those that were learned from."""
    Z, mean = Z.double().numpy(), learned_from.double().mean(dim=0).numpy()
    return float(1 - ((Z - reconstructed) ** 2).sum() / (((Z - mean) ** 2).sum() or 1.0))
