"""Baselines of Semi-NMF: the paper's three (arXiv 2406.08074), and random directions (ours).

The paper's are those of its released code, which leaves K-Means and PCA unseeded; here they have a seed (ours).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np
import torch
from sklearn import cluster, decomposition
from torch import Tensor

from .base import Dictionary, as_matrix, in_chunks, squared_norms
from .semi_nmf import SemiNMF


class _Baseline(Dictionary):
    """A fit is the concepts that `_learn` makes of the states, and the activations of the states on them."""

    def fit(self, Z: np.ndarray | Tensor) -> Self:
        Z = as_matrix(Z, "sample")
        self.check_number(Z)
        self.components_ = self._learn(Z).astype(np.float32, order="C")
        self.activations_ = self.transform(Z)
        errors = squared_norms(Z.cpu() - torch.from_numpy(self.reconstruct(self.activations_)))  # (samples,)
        self.reconstruction_error_ = (float(errors.sum()) / (float(squared_norms(Z).sum()) or 1.0)) ** 0.5
        return self

    @abstractmethod
    def _learn(self, Z: Tensor) -> np.ndarray:
        """The concepts of checked states: (samples, width) to (concepts, width)."""


class _Nearest(_Baseline):
    """Concepts that are points among the states: the nearer, the more active."""

    additive = False

    def transform(self, Z: np.ndarray | Tensor) -> np.ndarray:
        """Activations of states: ``1 / (1 + distance)`` to each concept, Euclidean (the paper's code)."""
        Z = self.check_states(Z)
        U = torch.as_tensor(self.components_).to(Z).double()
        exact = "donot_use_mm_for_euclid_dist"  # else a concept would be at a small distance from itself
        distances = torch.cat([torch.cdist(chunk, U, compute_mode=exact) for chunk in in_chunks(Z)])
        return (1 / (1 + distances)).float().cpu().numpy()

    def reconstruct(self, V: np.ndarray) -> np.ndarray:
        """The most active concept, which is the nearest: (samples, concepts) to float32 (samples, width)."""
        return self.components_[np.asarray(V).argmax(axis=1)]

    def activation_gradient(self, z: Tensor, k: int) -> Tensor:
        """Towards the concept, steepest close to it; zero where the state is the concept."""
        difference = torch.as_tensor(self.components_[k]).double() - z.double().cpu()
        distance = difference.norm().clamp(min=1e-12)
        return difference / distance / (1 + distance) ** 2


class Simple(_Nearest):
    """The states of largest norm as concepts: the paper's baseline Simple.

    Parameters
    ----------
    n_concepts : int, default=20
        How many states, longest first; of equally long ones the earlier first.
    """

    label = "Simple"

    def __init__(self, n_concepts: int = 20) -> None:
        self.n_concepts = n_concepts

    def _learn(self, Z: Tensor) -> np.ndarray:
        longest = squared_norms(Z).sort(descending=True, stable=True).indices[: self.n_concepts]
        return Z[longest].cpu().numpy()


class KMeans(_Nearest):
    """The centres of clusters as concepts: the paper's baseline K-Means, by scikit-learn at its own settings.

    Parameters
    ----------
    n_concepts : int, default=20
    random_state : int, default=0
        Seed (ours).
    """

    label = "K-Means"

    def __init__(self, n_concepts: int = 20, random_state: int = 0) -> None:
        self.n_concepts, self.random_state = n_concepts, random_state

    def _learn(self, Z: Tensor) -> np.ndarray:
        clusters = cluster.KMeans(self.n_concepts, random_state=self.random_state)
        return clusters.fit(Z.double().cpu().numpy()).cluster_centers_


class PCA(_Baseline):
    """Principal axes of the centred states as concepts: the paper's baseline PCA, by scikit-learn.

    Its activations have a sign, since a state may lie on either side of the mean: of a concept that is active below zero,
    the state holds -u_k, not u_k (see `side_directions`).

    Parameters
    ----------
    n_concepts : int, default=20
        No more than the width of the states.
    random_state : int, default=0
        Seed (ours), for states so many that scikit-learn estimates the axes.

    Attributes
    ----------
    mean_ : ndarray of float32, shape (width,)
        Of the states.
    """

    label = "PCA"
    learned = ("components_", "mean_")
    signed = True

    def __init__(self, n_concepts: int = 20, random_state: int = 0) -> None:
        self.n_concepts, self.random_state = n_concepts, random_state

    def check_number(self, Z: Tensor) -> None:
        """Refuse also more concepts than the states have axes (ValueError)."""
        super().check_number(Z)
        if self.n_concepts > Z.shape[1]:
            raise ValueError(f"n_concepts={self.n_concepts} is more than the width of {Z.shape[1]}: lower it.")

    def transform(self, Z: np.ndarray | Tensor) -> np.ndarray:
        """Activations of states: their signed scores ``(z - mean) . u_k`` (the paper's code)."""
        Z = self.check_states(Z)
        U, mean = (torch.as_tensor(array).to(Z).double() for array in (self.components_, self.mean_))
        return torch.cat([(chunk - mean) @ U.T for chunk in in_chunks(Z)]).float().cpu().numpy()

    def reconstruct(self, V: np.ndarray) -> np.ndarray:
        """``mean + V U``: (samples, concepts) to float32 (samples, width)."""
        return self.mean_ + super().reconstruct(V)

    def _learn(self, Z: Tensor) -> np.ndarray:
        axes = decomposition.PCA(self.n_concepts, random_state=self.random_state)
        with np.errstate(
            invalid="ignore", divide="ignore"
        ):  # explained shares of a variance of zero, which are not used
            axes.fit(Z.double().cpu().numpy())
        self.mean_ = axes.mean_.astype(np.float32)
        return axes.components_


class RandomDictionary(_Baseline):
    """Random directions as concepts, with Semi-NMF's activations: what any dictionary has to beat (ours).

    Parameters
    ----------
    n_concepts : int, default=20
        Unit vectors, equally likely in all directions; of the states, they have the width only.
    lam : float, default=1.0
        Of the activations, as Semi-NMF's.
    random_state : int, default=0
        Seed.
    """

    label = "Random"

    def __init__(self, n_concepts: int = 20, lam: float = 1.0, random_state: int = 0) -> None:
        self.n_concepts, self.lam, self.random_state = n_concepts, lam, random_state

    def transform(self, Z: np.ndarray | Tensor) -> np.ndarray:
        """Activations of states, as Semi-NMF's; see `SemiNMF.transform`."""
        Z = self.check_states(Z)
        return SemiNMF.from_components(self.components_, self.lam).transform(Z)

    def _learn(self, Z: Tensor) -> np.ndarray:
        directions = np.random.default_rng(self.random_state).standard_normal((self.n_concepts, Z.shape[1]))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return SemiNMF.from_components(directions, self.lam).components_  # which checks lam


METHODS = {cls.__name__: cls for cls in (SemiNMF, Simple, PCA, KMeans, RandomDictionary)}  # by name, as banks save them
