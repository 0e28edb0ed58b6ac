"""Shift vectors: how the states behind each concept move when the model is fine-tuned (arXiv 2501.03012)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ..concepts import ConceptBank, active_mean
from ..dictionaries import cosines_between, unit_rows
from ..extraction import StatePair, require_same


@dataclass(frozen=True)
class ShiftVectors:
    """The move of every sample's state, and its mean over each concept's samples.

    Attributes
    ----------
    bank : ConceptBank
        The concepts before.
    moves : numpy.ndarray
        (samples, width): delta_m, each state after minus the same sample's before.
    concepts : numpy.ndarray
        (samples,): the concept of each, the most active one by magnitude; -1 where none is active.
    """

    bank: ConceptBank
    moves: np.ndarray
    concepts: np.ndarray

    @cached_property
    def vectors(self) -> np.ndarray:
        """Delta_k, the mean move of each concept's samples: (concepts, width); NaN for a concept without samples."""
        return np.array([self._own(k).mean(axis=0) if (self.concepts == k).any() else self._none for k in self._all])

    @property
    def table(self) -> pd.DataFrame:
        """A row for each concept: title, samples, and of its moves magnitude, consistency and pairwise_consistency.

        magnitude: the length of Delta_k. consistency: the mean cosine of its moves with it, as in the paper;
        pairwise_consistency: the mean cosine of two of its moves, as the released code plots, NaN of fewer than two.
        """
        rows = {
            "title": [self.bank.title(k) for k in self._all],
            "samples": [int((self.concepts == k).sum()) for k in self._all],
            "magnitude": np.linalg.norm(self.vectors, axis=1),
            "consistency": [_consistency(self._own(k)) for k in self._all],
            "pairwise_consistency": [_pairwise(self._own(k)) for k in self._all],
        }
        return pd.DataFrame(rows).rename_axis("concept")

    def shifted(self, alpha: float = 1.0) -> np.ndarray:
        """The shifted concepts u_k + alpha Delta_k: (concepts, width); u_k as long as `sized_concepts` has it."""
        return sized_concepts(self.bank) + alpha * self.vectors

    @property
    def _all(self) -> range:
        return range(len(self.bank))

    @property
    def _none(self) -> np.ndarray:
        return np.full(self.moves.shape[1], np.nan)

    def _own(self, k: int) -> np.ndarray:
        """The moves of one concept's samples."""
        return self.moves[self.concepts == k]


def shift_vectors(pair: StatePair, bank: ConceptBank) -> ShiftVectors:
    """How the states of each concept move.

    Parameters
    ----------
    pair : StatePair
        The samples that the bank was learned from, or others (ours): then nothing of what the concepts after
        fine-tuning were learned from is in the vectors.
    bank : ConceptBank
        Of the model before.

    Returns
    -------
    ShiftVectors

    Raises
    ------
    ValueError
        If the bank is of another model than the pair's states before, or of another layer or position.
    """
    if bank.fingerprint != pair.before.fingerprint:
        raise ValueError(
            f"the bank is of {bank.model_name} ({bank.fingerprint}), and the states before of "
            f"{pair.before.model_name} ({pair.before.fingerprint}): learn it from pair.before"
        )
    require_same(bank, pair.before, "layer", "position", "prompt", names=("the bank", "the states before"))
    before, after = (states.Z.double().numpy() for states in (pair.before, pair.after))
    activations = np.abs(bank.project(pair.before.Z))  # (samples, concepts)
    return ShiftVectors(bank, after - before, np.where(activations.any(axis=1), activations.argmax(axis=1), -1))


def sized_concepts(bank: ConceptBank) -> np.ndarray:
    """A bank's concepts in the unit of states, to which moves can be added: (concepts, width).

    Centres of clusters, as the paper has them, are states already. Of concepts whose length says nothing (Semi-NMF),
    each is as long as it is active on average where it is active (ours).
    """
    unsized = bank.dictionary.additive and not bank.dictionary.signed
    return bank.concepts * active_mean(bank.activations)[:, None] if unsized else bank.concepts


def _consistency(moves: np.ndarray) -> float:
    """The mean cosine of moves with their mean."""
    return float(cosines_between(moves, moves.mean(axis=0, keepdims=True)).mean()) if len(moves) else np.nan


def _pairwise(moves: np.ndarray) -> float:
    """The mean cosine of two different moves: of unit vectors (|sum|^2 - n) / (n (n - 1))."""
    n, units = len(moves), unit_rows(moves)
    return float((np.square(units.sum(axis=0)).sum() - np.square(units).sum()) / (n * (n - 1))) if n > 1 else np.nan
