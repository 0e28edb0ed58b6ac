"""Semi-NMF: the dictionary of concepts behind the states of a token.

Notation (samples are rows here; the paper's Z, U and V are the transposes)

    Z   (samples, width)      states, unscaled
    U   (concepts, width)     concepts, each in the unit ball: `components_`
    V   (samples, concepts)   activations, none negative: `activations_`

    minimise  ||Z - V U||_F^2 + lam * sum(V)    with V >= 0 and ||u_k||_2 <= 1

basis.py turns wide states into coordinates in few directions. There initial concepts come from initialization.py,
solver.py improves all restarts, and refinement.py the best one, until the states themselves ask for no more.
activations.py solves a state's activations.
"""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ..text import check_counts
from .activations import solve_activations
from .base import Dictionary, as_matrix, squared_norms
from .basis import coordinates_in_blocks, directions_of, leading_directions, outside, times_states
from .initialization import initial_concepts
from .refinement import Refinement
from .solver import best_of_restarts, into_ball
from .streamed import StreamedStates, as_states

MAX_SMALL = 2**22  # numbers in Z, up to which more restarts cost next to nothing
N_INIT_SMALL, N_INIT_LARGE = 8, 4
SMALLEST_TOL = 1e-6  # of the restarts, which only have to be told apart: the refinement is faster from there
SMALLEST_OBJECTIVE = 1e-9  # of the states' energy: below, rounding of some 1e-15 of the energy is more than 1e-6 of it


def largest_useful_lam(Z: np.ndarray | Tensor) -> float:
    """The lambda from which on every activation is zero, whatever the concepts: twice the longest state's norm (ours).

    Parameters
    ----------
    Z : array or tensor, shape (samples, width)
        States; ValueError unless a finite matrix.
    """
    return _largest_useful_lam(squared_norms(as_states(Z)))


def _largest_useful_lam(squares: Tensor) -> float:
    """The same from the squared norms of the states, (samples,)."""
    return 2 * float(squares.max()) ** 0.5


class SemiNMF(Dictionary):
    """A dictionary of concepts by sparse semi-non-negative matrix factorisation.

    The objective (top of this file) is the paper's (arXiv 2406.08074), the solver ours: block coordinate
    descent by exact projected gradient steps, one concept at a time (hierarchical alternating least squares, Cichocki
    and Phan 2009), with extrapolation (Ang and Gillis 2019). All sums are in float64, whatever the states are in: where
    a few dimensions or the mean dominate, float32 cannot tell progress from rounding. States wider than 256 are solved
    in their leading directions first; the best restart then gets every further direction that lowers the objective.

    It runs on the device of the states (the CPU if it has no float64), or on `device`. Beside the states it needs memory
    for about six times `n_init` sets of activations, and for the coordinates of the states, some 40 to 300 numbers each.

    States of more than four million numbers that lie on disk, as ``np.load(path, mmap_mode="r")``, ``np.memmap`` or
    ``torch.from_file`` give them, are read a few rows at a time, and the coordinates and three sets of activations for
    each restart lie in scratch files in the temporary directory (`TMPDIR`). Measured: 100,000 states of 512 (205 MB), 20
    concepts, take 33 MB at most, and reach the objective in memory to 1e-15 of it (ours).

    Parameters
    ----------
    n_concepts : int, default=20
        The paper's K.
    lam : float, default=1.0
        Weight of the L1 term, in the unit of a state: the paper's lambda, twice scikit-learn's ``alpha``.
    max_iter : int, default=10_000
        Largest number of iterations of a restart, refinement included; reaching it warns.
    tol : float, default=1e-6
        The refinement, or a restart, has converged when an un-extrapolated iteration lowers the objective by no more
        than this fraction of it (a restart: than 1e-6 of it, if that is more).
    n_init : int, optional
        Number of restarts: the first from the singular vectors of the states, the others from samples drawn far apart;
        the lowest objective is kept.
        Default: 8, but 4 if the states are more than four million numbers.
    random_state : int, default=0
        Seed. One seed gives one answer, to the last bit on one machine.
    relative_lam : float, optional
        Instead of `lam`: as a fraction, from 0 to 1, of `largest_useful_lam` of the states that it is fitted to (ours).
        It means the same sparsity for states of another norm, which no fixed `lam` does.
    verbose : bool, default=True
        Show a progress bar once a fit has taken three seconds.
    centre : bool, default=False
        Explain the difference of a state from the mean state of those it is fitted to (ours), where the mean would
        take most of every activation. A concept is then a direction away from the mean, and its words and pictures
        are those that set some states apart; what all states share is in `mean_`. `lam` weighs, and `relative_lam` is
        a fraction of, these differences.
    device : str or torch.device, optional
        Where to compute, such as "cuda": states that lie elsewhere, on disk too, are sent there a few rows at a time,
        while coordinates and activations stay in its memory (ours). No part of what is saved. Default: where they are.

    Attributes
    ----------
    components_ : ndarray of float32, shape (concepts, width)
    activations_ : ndarray of float32, shape (samples, concepts)
        ``transform(Z)``: solved to the end after the last iteration.
    lam_ : float
        The lambda in use: `lam`, or what `relative_lam` comes to.
    objective_ : list of float
        Value after each iteration of the best restart and of its refinement; never rises. The last is that of
        `components_` and `activations_`.
    n_iter_ : int
    n_running_ : list of int
        How many restarts ran in each iteration: all that the fit did.
    reconstruction_error_ : float
        ``||Z - reconstruct(V)||_F / ||Z||_F``, or 0 if all states are zero.
    mean_ : ndarray of float32, shape (width,), or None
        The mean state, if `centre`.
    mean_cosine_ : ndarray of float64, shape (concepts,)
        Cosine of each concept with the mean state: near 1, it says what all states share (ours).
    kkt_V_ : float
        How far the activations are from optimal for these concepts: the largest ``|min(v, g)|``, where g is half the
        gradient, relative to the norm of its state (ours). 1e-8 or less, unless a warning says otherwise.
    kkt_U_ : float
        How far the concepts are from optimal for these activations: the largest distance, from 0 to 2, between a
        concept and the best one in the unit ball, all else fixed (ours).
    """

    label = "Semi-NMF"
    learned = ("components_", "lam_")

    def __init__(
        self,
        n_concepts: int = 20,
        lam: float = 1.0,
        max_iter: int = 10_000,
        tol: float = 1e-6,
        n_init: int | None = None,
        random_state: int = 0,
        relative_lam: float | None = None,
        verbose: bool = True,
        centre: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        self.n_concepts, self.lam, self.relative_lam = n_concepts, lam, relative_lam
        self.max_iter, self.tol, self.n_init = max_iter, tol, n_init
        self.random_state, self.verbose, self.centre, self.device = random_state, verbose, centre, device
        self.mean_ = None
        if centre:
            self.learned = (*self.learned, "mean_")

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
        """Learn the concepts of some states (arXiv 2406.08074); returns itself.

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
        Z = self.matrix(Z)
        self.check_number(Z)
        mean = times_states(torch.ones(1, len(Z), dtype=torch.float64, device=Z.device), Z)[0] / len(Z)  # (width,)
        squares = squared_norms(Z)  # (samples,)
        energy = float(squares.sum())
        if self.centre:
            self.mean_ = mean.float().cpu().numpy()
            Z = self._without_mean(Z)
            squares = squared_norms(Z)
        self.lam_ = self.lam if self.relative_lam is None else self.relative_lam * _largest_useful_lam(squares)
        refined, converged = self._refined(Z, squares, start)
        U = refined.now.U @ refined.W  # (concepts, width)
        self.components_ = U.float().cpu().numpy()
        self.mean_cosine_ = cosine_similarity(U, mean[None]).cpu().numpy()
        U = torch.as_tensor(self.components_)  # rounded, as they are kept
        self.activations_, square, self.kkt_V_ = solve_activations(Z, U, self.lam_, squares)
        self.reconstruction_error_ = (square / (energy or 1.0)) ** 0.5
        self.kkt_U_ = refined.kkt
        self._warn_of_poor_fit(converged, refined.decrease, float(squares.sum()))
        return self

    def transform(self, Z: np.ndarray | Tensor) -> np.ndarray:
        """Activations of states: ``argmin_{v >= 0} ||z - v U||^2 + lam * sum(v)`` (arXiv 2406.08074).

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
        Z = self._without_mean(self.check_states(Z))
        return solve_activations(Z, torch.as_tensor(self.components_), self.lam_)[0]

    def matrix(self, Z: np.ndarray | Tensor) -> Tensor | StreamedStates:
        """States as they are worked on: streamed where they lie on disk, or on another device."""
        return as_states(Z, self.device)

    def reconstruct(self, V: np.ndarray) -> np.ndarray:
        """``V U``, and the mean state if it was taken off: (samples, concepts) to float32 (samples, width)."""
        return super().reconstruct(V) if self.mean_ is None else self.mean_ + super().reconstruct(V)

    def _check_parameters(self) -> None:
        """Refuse parameters that are out of range."""
        check_counts(n_concepts=self.n_concepts, max_iter=self.max_iter, n_init=self.n_init)
        for name, value in (("lam", self.lam), ("tol", self.tol)):
            if not (isinstance(value, Real) and 0 <= value < np.inf):
                raise ValueError(f"{name} must be finite and at least 0, not {value!r}.")
        if self.relative_lam is not None and not (isinstance(self.relative_lam, Real) and 0 <= self.relative_lam < 1):
            raise ValueError(f"relative_lam must be at least 0 and below 1, not {self.relative_lam!r}.")

    def _refined(
        self, Z: Tensor | StreamedStates, squares: Tensor, given: np.ndarray | Tensor | None
    ) -> tuple[Refinement, bool]:
        """The best restart, refined, and whether it converged."""
        W = leading_directions(Z, self.n_concepts, self.random_state)
        n_init = self.n_init or (N_INIT_SMALL if Z.numel() <= MAX_SMALL else N_INIT_LARGE)
        if given is not None:
            n_init += 1
            given = into_ball(as_matrix(given, "concept").to(W, copy=True))
            if given.shape[1] != Z.shape[1] or len(given) > self.n_concepts:
                needed = (self.n_concepts, Z.shape[1])
                raise ValueError(f"start has shape {tuple(given.shape)}: it must fit {needed}.")
            W = torch.cat([W, directions_of(outside(given, W))])
        P = coordinates_in_blocks(Z, W)
        U = initial_concepts(P, squares, self.n_concepts, n_init, self.random_state)  # (restarts, concepts, directions)
        if given is not None:
            U[-1, : len(given)] = given @ W.T
        tol = max(self.tol, SMALLEST_TOL)
        best, self.n_running_ = best_of_restarts(P, squares, U, self.lam_, tol, self.max_iter, self.verbose)
        refined = Refinement(Z, squares, W, P, best, self.lam_)
        converged = refined.run(self.tol, self.max_iter)
        self.objective_, self.n_iter_ = refined.objective, len(refined.objective)
        self.n_running_ += [1] * (self.n_iter_ - len(best.objective))
        return refined, converged

    def _without_mean(self, Z: Tensor | StreamedStates) -> Tensor | StreamedStates:
        """States as they are explained: their difference from the mean state, if this was asked for."""
        return Z if self.mean_ is None else Z - torch.as_tensor(self.mean_).to(Z.device)

    def _warn_of_poor_fit(self, converged: bool, decrease: float, energy: float) -> None:
        """Warn of a fit that was cut off, of one that float64 cannot measure, and of concepts that no sample uses."""
        if not converged:
            warnings.warn(
                f"Semi-NMF has not converged in max_iter={self.max_iter}: the last iteration lowered "
                f"the objective by {decrease:.1e} of it (tol={self.tol:.1e}).",
                stacklevel=3,
            )
        if self.objective_[-1] < SMALLEST_OBJECTIVE * energy:
            warnings.warn(
                f"The objective is {self.objective_[-1] / energy:.0e} of the states' energy, less than float64 sums "
                "resolve: the fit may have stopped early. If the mean state dominates, try centre=True.",
                stacklevel=3,
            )
        if n_unused := int((self.activations_ == 0).all(axis=0).sum()):
            warnings.warn(
                f"Concepts that no sample uses: {n_unused} of {self.n_concepts}; lower n_concepts "
                f"or lam (now {self.lam_:g}).",
                stacklevel=3,
            )
