"""Banks and states of given numbers, of no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.concepts.grounding import Words
from coxlmm_utils.dictionaries.base import Dictionary
from coxlmm_utils.dictionaries.baselines import PCA
from coxlmm_utils.extraction.states import States
from tests.conftest import in_memory, noise

BEFORE, AFTER = ({"name": name, "fingerprint": name[-1] * 16} for name in ("model a", "model b"))


def provenance_of(model: dict, **other) -> dict:
    """Of states or a bank at layer 2; `other` replaces some of it."""
    plain = {"token": ["dog"], "layer": 2, "position": "predicts", "prompt": "Describe.", "samples": "said and there"}
    return plain | {"model": model} | other


def axes(concepts: Sequence[Sequence[float]]) -> PCA:
    """A dictionary whose activations are the states' products with these concepts."""
    dictionary = PCA(len(concepts))
    dictionary.components_ = np.array(concepts, np.float32)
    dictionary.mean_ = np.zeros(dictionary.components_.shape[1], np.float32)
    return dictionary


def bank_of(
    concepts: Sequence[Sequence[float]] | Dictionary,
    words: Sequence[str] = (),
    ids: Sequence[str] = ("p0", "p1"),
    model: dict = BEFORE,
    **other,
) -> ConceptBank:
    """A bank of these concepts, or of a dictionary, with each concept's words in one string."""
    dictionary = concepts if isinstance(concepts, Dictionary) else axes(concepts)
    n = len(dictionary.components_)
    kept = [Words(tuple(text.split()), ()) for text in words or [""] * n]
    activations, top = np.zeros((len(ids), n), np.float32), np.zeros((n, 0), int)
    return ConceptBank(
        dictionary, activations, kept, list(ids), [""] * len(ids), top, {}, provenance_of(model, **other)
    )


def states_of(Z: Sequence[Sequence[float]], model: dict = BEFORE, **other) -> States:
    """States p0, p1, ... of these values."""
    Z = torch.as_tensor(np.asarray(Z, np.float32))
    provenance = provenance_of(model, **other)
    images = in_memory([noise(0)] * len(Z), ("a dog",))
    return States({provenance.pop("layer"): Z}, images, ["a dog"] * len(Z), provenance)
