"""Layer by layer: what the mean state takes, whether words fit pictures (the paper's Fig 6), what is recovered (ours)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from torch import Tensor
from tqdm.auto import tqdm

from ..concepts import ConceptBank, words_mentioned
from ..dictionaries import SemiNMF, largest_useful_lam
from ..evaluation import ClipJudge, random_words, score_words_with_pictures
from ..extraction import States
from ..models import LMM, Layer
from ..statistics import bootstrap_mean
from .factor_matching import pages_of
from .factor_recovery import score_against_factors


def layer_scores(
    lmm: LMM,
    states: States,
    clip: ClipJudge,
    at: Layer,
    dictionary: SemiNMF,
    held_out: States | None = None,
    layers: Sequence[Layer] | None = None,
) -> pd.DataFrame:
    """Learn a dictionary at each layer and measure it (the CLIPScore is the paper's Fig 6; the rest is ours).

    Parameters
    ----------
    states : States
        Of one token, at all layers to be compared.
    clip : ClipJudge
    at : layer
        Where the dictionary's `lam` is meant: at the others it is the same fraction of the largest useful one, since
        layers differ in norm.
    dictionary : SemiNMF
        Its parameters are used; it stays as it is. With `n_init=1` a curve takes about half as long.
    held_out : States, optional
        Of other pages of the picture book, at the same layers: known factor values are recovered on these.
    layers : sequence of layer, optional
        Default: all of the states.

    Returns
    -------
    pandas.DataFrame
        One row for each layer: token, layer; clipscore, the mean over concepts of that of their words with the five
        pictures that activate them most, with clipscore_low and clipscore_high (95 % interval over concepts), and
        clipscore_random (as many random words); n_words, how many a concept has after the filter, without which its
        score is that of an empty text; mentioned, the share of a concept's words that the references of
        these pictures have; the columns of `mean_and_peak`; and of `held_out` recovered (values with AUC above .9,
        with its interval over pages), n_values and auc.
    """
    relative = dictionary.lam / largest_useful_lam(states.at(at).Z)
    dictionary = dictionary.clone(relative_lam=relative, verbose=False)
    rows = []
    for layer in tqdm(list(states.vectors) if layers is None else layers, desc="layers"):
        bank = ConceptBank.learn(lmm, states.at(layer), dictionary)
        row = {"token": states.spellings[0], "layer": layer} | _word_scores(lmm, bank, states.at(layer), clip)
        rows.append(row | mean_and_peak(states.at(layer).Z))
        if held_out is not None:
            rows[-1] |= _recovery(bank, states, held_out.at(layer))
    return pd.DataFrame(rows)


def mean_and_peak(Z: Tensor) -> dict[str, float]:
    """What a few dimensions and the mean take of states: norm, mean_share and peak (ours).

    Parameters
    ----------
    Z : Tensor
        (samples, width).

    Returns
    -------
    dict of str to float
        norm, of a state, on average; mean_share, of the states' energy in their mean, from 0 to 1; peak, the largest
        mean magnitude of a dimension, in units of the median one.
    """
    Z = Z.double()
    mean, magnitudes = Z.mean(dim=0), Z.abs().mean(dim=0)  # (width,)
    share = mean.square().sum() / Z.square().sum(dim=1).mean()
    peak = magnitudes.max() / magnitudes.median()
    return {"norm": Z.norm(dim=1).mean().item(), "mean_share": share.item(), "peak": peak.item()}


def _word_scores(lmm: LMM, bank: ConceptBank, states: States, clip: ClipJudge) -> dict[str, float]:
    """How well words fit pictures."""
    words = {"": bank.words, "_random": random_words(lmm, bank.words, states.layer)}
    scores = score_words_with_pictures(words, bank.activations, bank.top, states.images, clip, None)
    row = bootstrap_mean(scores["clipscore"]).named("clipscore")
    mentioned = words_mentioned(bank.words, bank.top, states.images.references)
    return row | {
        "clipscore_random": scores["clipscore_random"].mean(),
        "n_words": float(pd.Series([len(words.kept) for words in bank.words]).mean()),
        "mentioned": float(pd.Series(mentioned).mean()),
    }


def _recovery(bank: ConceptBank, states: States, held_out: States) -> dict[str, float]:
    """Known factor values that concepts recover on pages that they were not learned from."""
    pages = [pages_of(part.images.ids) for part in (states, held_out)]
    scores = score_against_factors(bank.activations, pages[0], bank.project(held_out.Z), pages[1])
    return scores.recovered.named("recovered") | {"n_values": scores.n_values, "auc": scores.mean_auc.value}
