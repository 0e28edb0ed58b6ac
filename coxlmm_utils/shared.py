"""One dictionary for several tokens, and how much of each concept belongs to which (ours; the paper leaves it open)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from .captioned_images import CaptionedImages
from .states import States

SAME = ("model", "prompt", "position", "references", "max_new_tokens")  # what makes states comparable


def join_states(several: Sequence[States]) -> States:
    """The states of several tokens as one Z, one token's samples after the other's.

    Parameters
    ----------
    several : sequence of States
        Of one model, prompt, position and reference rule; layers that they have in common are kept. Give about as
        many samples of each: a token with more weighs more in the fit.

    Returns
    -------
    States
        A sample's id is "token/id": one picture may be a sample of two tokens.

    Raises
    ------
    ValueError
        If they differ in what they must share, have no layer in common, or a token comes twice.
    """
    first = several[0]
    for states in several[1:]:
        for name in SAME:
            if states.provenance[name] != first.provenance[name]:
                raise ValueError(f"the states differ in {name}: {first.provenance[name]} and {states.provenance[name]}")
    layers = [layer for layer in first.vectors if all(layer in states.vectors for states in several)]
    if not layers:
        raise ValueError(f"the states have no layer in common: {[list(states.vectors) for states in several]}")
    vectors = {layer: torch.cat([states.vectors[layer] for states in several]) for layer in layers}
    captions = [caption for states in several for caption in states.captions]
    return States(vectors, _joined_images(several), captions, _joined_provenance(several))


def _joined_images(several: Sequence[States]) -> CaptionedImages:
    """The samples' pictures under the names "token/id"."""
    opened = {}
    for states in several:
        token = states.provenance["token"][0]
        opened |= {f"{token}/{id}": (states.images, id) for id in states.images.ids}
    if len(opened) < sum(map(len, several)):
        raise ValueError(f"a token comes twice: {[states.provenance['token'][0] for states in several]}")
    references = tuple(references for states in several for references in states.images.references)
    first = several[0].images

    def open_one(id: str):
        images, own_id = opened[id]
        return images.open(own_id)

    return replace(first, source="", ids=tuple(opened), references=references, open=open_one, version=None)


def _joined_provenance(several: Sequence[States]) -> dict:
    """The first one's, with the tokens, their numbers of samples, and the counts of all together."""
    first = several[0].provenance
    counts = {name: sum(states.provenance["counts"][name] for states in several) for name in first["counts"]}
    return {
        **first,
        "token": [spelling for states in several for spelling in states.provenance["token"]],
        "tokens": {states.provenance["token"][0]: len(states) for states in several},
        "data": {**first["data"], "source": ""},
        "counts": counts,
    }


def token_shares(bank) -> pd.DataFrame:
    """How much of each concept's activation belongs to each token.

    Parameters
    ----------
    bank : ConceptBank
        Learned from joined states.

    Returns
    -------
    pandas.DataFrame
        Concepts x tokens; a row sums to 1. Mean activation over a token's samples, so that a token with more
        samples has no more of a share; magnitudes, for dictionaries with signed activations.

    Raises
    ------
    ValueError
        If the bank is of one token.
    """
    tokens = bank.provenance.get("tokens")
    if not tokens:
        raise ValueError(f"this bank is of {bank.token!r} alone; learn one from states of several tokens")
    ends = np.cumsum(list(tokens.values()))[:-1]
    means = np.stack([np.abs(part).mean(axis=0) for part in np.split(bank.activations, ends)], axis=1)
    totals = means.sum(axis=1, keepdims=True)  # (concepts, 1)
    shares = means / np.where(totals > 0, totals, 1)
    return pd.DataFrame(shares, columns=list(tokens)).rename_axis("concept")
