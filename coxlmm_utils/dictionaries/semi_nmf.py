"""Semi-NMF: the dictionary of concepts behind the states of a token.

Notation (samples are rows here; the paper's Z, U and V are the transposes)

    Z   (samples, width)      states, unscaled
    U   (concepts, width)     concepts, each in the unit ball: `components_`
    V   (samples, concepts)   activations, none negative: `activations_`

    minimise  ||Z - V U||_F^2 + lam * sum(V)    with V >= 0 and ||u_k||_2 <= 1

Starts are drawn in starts.py, improved in alternation.py, and a state's activations are solved in activations.py.
"""

from __future__ import annotations

import warnings
from typing import Self

import numpy as np
import torch
from torch import Tensor

from .activations import solve_activations
from .base import Dictionary, as_matrix, squared_norms
from .initialization import initial_concepts
from .solver import End, best_of_restarts, into_ball

SMALL = 2**22  # states of no more numbers are worked on in float64, and from more starts, at next to no cost
MANY_STARTS, FEW_STARTS = 8, 4


def largest_useful_lam(Z: np.ndarray | Tensor) -> float:
    """The lambda from which on every activation is zero, whatever the concepts: twice the longest state's norm (ours).

    Parameters
    ----------
    Z : array or tensor, shape (samples, width)
        States; ValueError unless a finite matrix.
    """
    return _largest_useful_lam(squared_norms(as_matrix(Z, "sample")))


def _largest_useful_lam(squares: Tensor) -> float:
    """The same from the squared norms of the states, (samples,)."""
    return 2 * float(squares.max()) ** 0.5


class SemiNMF(Dictionary):
    """A dictionary of concepts by sparse semi-non-negative matrix factorisation.

    The objective (top of this file) is the paper's (section 3, arXiv 2406.08074), the solver ours: projected
    gradient on one concept at a time, for all starts together, on the device of the states (the CPU if it has no
    float64). Beside the states it needs memory for about six times `n_init` dictionaries and their activations.

    Parameters
    ----------
    n_concepts : int, default=20
        The paper's K.
    lam : float, default=1.0
        Weight of the L1 term, in the unit of a state: the paper's lambda, twice scikit-learn's ``alpha``.
    max_iter : int, default=2000
        Most rounds of a start; reaching it warns.
    tol : float, default=1e-6
        A start ends when a plain round lowers the objective by no more than this fraction of it.
    n_init : int, optional
        First the singular vectors of the states, then samples drawn far apart; the lowest objective is kept.
        Default: 8, but 4 if the states are more than four million numbers, where each start costs.
    random_state : int, default=0
        Seed. One seed gives one answer, to the last bit on one machine.
    relative_lam : float, optional
        Instead of `lam`: as a fraction, from 0 to 1, of `largest_useful_lam` of the states that it is fitted to (ours).
        It means the same sparsity for states of another norm, which no fixed `lam` does.
    verbose : bool, default=True
        Show a progress bar once a fit has taken three seconds.

    Attributes
    ----------
    components_ : ndarray of float32, shape (concepts, width)
    activations_ : ndarray of float32, shape (samples, concepts)
        ``transform(Z)``: solved to the end after the last round.
    lam_ : float
        The lambda in use: `lam`, or what `relative_lam` comes to.
    objective_ : list of float
        Value after each round of the kept start; never rises.
    n_iter_ : int
    n_running_ : list of int
        How many starts were under way in each round: all that the fit did.
    reconstruction_error_ : float
        ``||Z - V U||_F / ||Z||_F``, or 0 if all states are zero.
    """

    label = "Semi-NMF"
    learned = ("components_", "lam_")

    def __init__(
        self,
        n_concepts: int = 20,
        lam: float = 1.0,
        max_iter: int = 2000,
        tol: float = 1e-6,
        n_init: int | None = None,
        random_state: int = 0,
        relative_lam: float | None = None,
        verbose: bool = True,
    ) -> None:
        self.n_concepts, self.lam, self.relative_lam = n_concepts, lam, relative_lam
        self.max_iter, self.tol, self.n_init = max_iter, tol, n_init
        self.random_state, self.verbose = random_state, verbose

    @classmethod
    def from_components(cls, components: np.ndarray | Tensor, lam: float = 1.0) -> Self:
        """A dictionary of given concepts, ready for `transform` but without the other attributes (ours).

        Parameters
        ----------
        components : array or tensor, shape (concepts, width)
            ValueError unless a finite matrix.
        lam : float, default=1.0
            Of `transform`; ValueError if negative.
        """
        components = as_matrix(components, "concept")
        dictionary = cls(n_concepts=len(components), lam=lam)
        dictionary._check_parameters()
        dictionary.components_, dictionary.lam_ = components.float().cpu().numpy(), lam
        return dictionary

    def fit(self, Z: np.ndarray | Tensor, start: np.ndarray | Tensor | None = None) -> Self:
        """Learn the concepts of some states (paper section 3); returns itself.

        Parameters
        ----------
        Z : array or tensor, shape (samples, width)
            States, of any float type.
        start : array or tensor, shape (at most n_concepts, width), optional
            Concepts to start from, beside the `n_init` others; concepts that are missing are drawn (ours).

        Raises
        ------
        ValueError
            If `Z` is no finite matrix, has fewer samples than concepts, or a parameter is out of range.
        """
        self._check_parameters()
        Z = as_matrix(Z, "sample")
        self.check_number(Z)
        squares = squared_norms(Z)  # (samples,)
        self.lam_ = self.lam if self.relative_lam is None else self.relative_lam * _largest_useful_lam(squares)
        end, self.n_running_ = self._lowest_end(Z.double() if Z.numel() <= SMALL else Z, squares, start)
        self.objective_, self.n_iter_ = end.objective, len(end.objective)
        self.components_ = end.U.float().cpu().numpy()
        V, square = solve_activations(Z, squares, torch.as_tensor(self.components_).to(Z), self.lam_)
        self.activations_ = V.float().contiguous().cpu().numpy()
        self.reconstruction_error_ = (square / (float(squares.sum()) or 1.0)) ** 0.5
        self._warn_of_poor_fit(end)
        return self

    def transform(self, Z: np.ndarray | Tensor) -> np.ndarray:
        """Activations of states: ``argmin_{v >= 0} ||z - v U||^2 + lam * sum(v)`` (paper section 3).

        Each state is solved from zero, by itself, until its optimality (KKT) residual is at most 1e-8 of its
        norm: one state has one answer, whatever is given along with it. Warns where that takes too long.

        Parameters
        ----------
        Z : array or tensor, shape (samples, width)
            States, of any float type.

        Returns
        -------
        ndarray of float32, shape (samples, concepts)

        Raises
        ------
        ValueError
            If there are no concepts yet, or `Z` is no finite matrix of their width.
        """
        Z = self.check_states(Z)
        U = torch.as_tensor(self.components_).to(Z)
        V, _ = solve_activations(Z, squared_norms(Z), U, self.lam_)
        return V.float().contiguous().cpu().numpy()

    def _check_parameters(self) -> None:
        """Refuse parameters that are out of range."""
        counts = {"n_concepts": self.n_concepts, "max_iter": self.max_iter, "n_init": self.n_init}
        for name, count in counts.items():
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, not {count}.")
        if not 0 <= self.lam < np.inf:
            raise ValueError(f"lam must be finite and at least 0, not {self.lam}.")
        if self.relative_lam is not None and not 0 <= self.relative_lam < 1:
            raise ValueError(f"relative_lam must be at least 0 and below 1, not {self.relative_lam}.")

    def _lowest_end(self, Z: Tensor, squares: Tensor, given: np.ndarray | Tensor | None) -> tuple[End, list[int]]:
        """The start that ends lowest, and how many were under way in each round."""
        n_init = self.n_init or (MANY_STARTS if Z.numel() <= SMALL else FEW_STARTS)
        n_init += given is not None
        U = initial_concepts(Z, squares, self.n_concepts, n_init, self.random_state)  # (starts, concepts, width)
        if given is not None:
            given = into_ball(as_matrix(given, "concept").to(Z, copy=True))
            if given.shape[1] != Z.shape[1] or len(given) > self.n_concepts:
                raise ValueError(f"start has shape {tuple(given.shape)}: it must fit {tuple(U.shape[1:])}.")
            U[-1, : len(given)] = given
        return best_of_restarts(Z, squares, U, self.lam_, self.tol, self.max_iter, self.verbose)

    def _warn_of_poor_fit(self, end: End) -> None:
        """Warn of a fit that was cut off, and of concepts that no sample uses."""
        if not end.settled:
            warnings.warn(
                f"Semi-NMF has not settled in max_iter={self.max_rounds}: the last round lowered "
                f"the objective by {end.decrease:.1e} of it (tol={self.tol:.1e}).",
                stacklevel=3,
            )
        if n_unused := int((self.activations_ == 0).all(axis=0).sum()):
            warnings.warn(
                f"Concepts that no sample uses: {n_unused} of {self.n_concepts}; lower n_concepts "
                f"or lam (now {self.lam_:g}).",
                stacklevel=3,
            )
