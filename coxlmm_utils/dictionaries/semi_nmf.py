"""Semi-NMF: the dictionary of concepts behind the states of a token.

Notation (samples are rows here; the paper's Z, U and V are the transposes)

    Z   (samples, width)      states, unscaled
    U   (concepts, width)     concepts, each in the unit ball: `components_`
    V   (samples, concepts)   activations, none negative: `activations_`

    minimise  ||Z - V U||_F^2 + lam * sum(V)    with V >= 0 and ||u_k||_2 <= 1

Initial concepts come from initialization.py, solver.py improves them, and activations.py solves a state's activations.
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
from .solver import Result, best_of_restarts, into_ball

MAX_SMALL = 2**22  # numbers in Z, up to which float64 and more restarts cost next to nothing
N_INIT_SMALL, N_INIT_LARGE = 8, 4


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

    The objective (top of this file) is the paper's (section 3, arXiv 2406.08074), the solver ours: block
    coordinate descent by exact projected gradient steps, extrapolated, for all restarts together, on the device of the
    states (the CPU if it has no float64). Beside the states it needs memory for about six times `n_init` dictionaries
    and their activations.

    Parameters
    ----------
    n_concepts : int, default=20
        The paper's K.
    lam : float, default=1.0
        Weight of the L1 term, in the unit of a state: the paper's lambda, twice scikit-learn's ``alpha``.
    max_iter : int, default=2000
        Largest number of iterations of a restart; reaching it warns.
    tol : float, default=1e-6
        A restart has converged when an un-extrapolated iteration lowers the objective by no more than this fraction of
        it.
    n_init : int, optional
        Number of restarts: the first from the singular vectors of the states, the others from samples drawn far apart;
        the lowest objective is kept.
        Default: 8, but 4 if the states are more than four million numbers, where each restart costs.
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
        ``transform(Z)``: solved to the end after the last iteration.
    lam_ : float
        The lambda in use: `lam`, or what `relative_lam` comes to.
    objective_ : list of float
        Value after each iteration of the best restart; never rises.
    n_iter_ : int
    n_running_ : list of int
        How many restarts ran in each iteration: all that the fit did.
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
            Initial concepts of one more restart, beside the `n_init` others; concepts that are missing are drawn
            (ours).

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
        result, self.n_running_ = self._best_of_restarts(Z.double() if Z.numel() <= MAX_SMALL else Z, squares, start)
        self.objective_, self.n_iter_ = result.objective, len(result.objective)
        self.components_ = result.U.float().cpu().numpy()
        V, square = solve_activations(Z, squares, torch.as_tensor(self.components_).to(Z), self.lam_)
        self.activations_ = V.float().contiguous().cpu().numpy()
        self.reconstruction_error_ = (square / (float(squares.sum()) or 1.0)) ** 0.5
        self._warn_of_poor_fit(result)
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

    def _best_of_restarts(
        self, Z: Tensor, squares: Tensor, given: np.ndarray | Tensor | None
    ) -> tuple[Result, list[int]]:
        """The result of lowest objective, and how many restarts ran in each iteration."""
        n_init = self.n_init or (N_INIT_SMALL if Z.numel() <= MAX_SMALL else N_INIT_LARGE)
        n_init += given is not None
        U = initial_concepts(Z, squares, self.n_concepts, n_init, self.random_state)  # (restarts, concepts, width)
        if given is not None:
            given = into_ball(as_matrix(given, "concept").to(Z, copy=True))
            if given.shape[1] != Z.shape[1] or len(given) > self.n_concepts:
                raise ValueError(f"start has shape {tuple(given.shape)}: it must fit {tuple(U.shape[1:])}.")
            U[-1, : len(given)] = given
        return best_of_restarts(Z, squares, U, self.lam_, self.tol, self.max_iter, self.verbose)

    def _warn_of_poor_fit(self, result: Result) -> None:
        """Warn of a fit that was cut off, and of concepts that no sample uses."""
        if not result.converged:
            warnings.warn(
                f"Semi-NMF has not converged in max_iter={self.max_iter}: the last iteration lowered "
                f"the objective by {result.decrease:.1e} of it (tol={self.tol:.1e}).",
                stacklevel=3,
            )
        if n_unused := int((self.activations_ == 0).all(axis=0).sum()):
            warnings.warn(
                f"Concepts that no sample uses: {n_unused} of {self.n_concepts}; lower n_concepts "
                f"or lam (now {self.lam_:g}).",
                stacklevel=3,
            )
