"""Semi-NMF: the dictionary of concepts behind the states of a token.

Notation (samples are rows here; the paper's Z, U and V are the transposes)

    Z   (samples, width)      states, unscaled
    U   (concepts, width)     concepts, each in the unit ball: `components_`
    V   (samples, concepts)   activations, none negative: `activations_`
    G = U U^T   (concepts, concepts)        B = U Z^T   (concepts, samples)
    A = V^T V   (concepts, concepts)        C = V^T Z   (concepts, width)

    minimise  ||Z - V U||_F^2 + lam * sum(V)    with V >= 0 and ||u_k||_2 <= 1

A round improves V with U fixed, then U with V fixed. It reads Z twice, for B and for C; all else is small.
The functions below the class hold V transposed, (concepts, samples), so that a concept is one contiguous row.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

SWEEPS = 4  # passes over the concepts in each half of a round; cheap beside reading Z
KKT_TOLERANCE = 1e-8  # of a solved activation, relative to the norm of its state
MAX_STEPS = 1_000  # of the active set in `transform`; a few dozen do, even for concepts that are nearly alike


class SemiNMF:
    """A dictionary of concepts by sparse semi-non-negative matrix factorisation.

    The objective (top of this file) is the paper's (section 3, arXiv 2406.08074), the solver ours: projected
    gradient on one concept at a time, in float64, on the device of the states (the CPU if it has no float64).

    A concept that no sample uses is re-drawn when the next round begins: it becomes the direction of the
    residual of the worst reconstructed sample. Its activations are all zero, so the objective stays as it is,
    and the round can only lower it. Nothing is re-drawn after the last round.

    Parameters
    ----------
    n_concepts : int, default=20
        The paper's K.
    lam : float, default=1.0
        Weight of the L1 term, in the unit of a state: the paper's lambda, twice scikit-learn's ``alpha``.
    max_rounds : int, default=500
        Most rounds of a start; reaching it warns.
    tol : float, default=1e-6
        A start ends when a round lowers the objective by no more than this fraction of it.
    n_starts : int, default=4
        First the singular vectors of the states, then samples drawn far apart; the lowest objective is kept.
    random_state : int, default=0
        Seed. One seed gives one answer, to the last bit on one machine.
    verbose : bool, default=False
        Show a progress bar over the starts.

    Attributes
    ----------
    components_ : ndarray of float32, shape (concepts, width)
    activations_ : ndarray of float32, shape (samples, concepts)
        ``transform(Z)``: solved to the end after the last round.
    objective_ : list of float
        Value after each round of the kept start; never rises, up to float64 rounding of ``||Z||_F^2``.
    n_rounds_ : int
    reconstruction_error_ : float
        ``||Z - V U||_F / ||Z||_F``, or 0 if all states are zero.
    """

    def __init__(
        self,
        n_concepts: int = 20,
        lam: float = 1.0,
        max_rounds: int = 500,
        tol: float = 1e-6,
        n_starts: int = 4,
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.n_concepts, self.lam = n_concepts, lam
        self.max_rounds, self.tol, self.n_starts = max_rounds, tol, n_starts
        self.random_state, self.verbose = random_state, verbose

    def __repr__(self) -> str:
        return f"SemiNMF({', '.join(f'{name}={value}' for name, value in self.get_params().items())})"

    def get_params(self) -> dict:
        """The parameters that it was made with, as json can hold them (as scikit-learn's estimators do)."""
        kinds = {"n_concepts": int, "lam": float, "max_rounds": int, "tol": float, "n_starts": int, "random_state": int}
        return {name: kind(getattr(self, name)) for name, kind in kinds.items()}

    @classmethod
    def from_components(cls, components: np.ndarray | Tensor, lam: float = 1.0) -> SemiNMF:
        """A dictionary from saved concepts, ready for `transform` but without the other attributes (ours).

        Parameters
        ----------
        components : array or tensor, shape (concepts, width)
            `components_` of a fitted dictionary; ValueError unless a finite matrix.
        lam : float, default=1.0
            The `lam` that it was fitted with; ValueError if negative.
        """
        components = _as_matrix(components, "concept")
        dictionary = cls(n_concepts=len(components), lam=lam)
        dictionary._check_parameters()
        dictionary.components_ = components.float().cpu().numpy()
        return dictionary

    def fit(self, Z: np.ndarray | Tensor) -> SemiNMF:
        """Learn the concepts of some states (paper section 3); returns itself.

        Parameters
        ----------
        Z : array or tensor, shape (samples, width)
            States, of any float type.

        Raises
        ------
        ValueError
            If `Z` is no finite matrix, has fewer samples than concepts, or a parameter is out of range.
        """
        self._check_parameters()
        Z = _as_matrix(Z, "sample")
        if self.n_concepts > len(Z):
            raise ValueError(f"n_concepts={self.n_concepts} is more than the {len(Z)} samples: lower it.")
        starts = tqdm(range(self.n_starts), desc="Semi-NMF starts", disable=not self.verbose)
        ends = (self._run(Z, start) for start in starts)
        U, self.objective_, decrease = min(ends, key=lambda end: end[1][-1])
        self.n_rounds_ = len(self.objective_)
        self.components_ = U.float().cpu().numpy()
        self.activations_ = self.transform(Z)
        V, U = torch.as_tensor(self.activations_).to(Z), torch.as_tensor(self.components_).to(Z)
        self.reconstruction_error_ = float((Z - V @ U).norm() / Z.norm()) if Z.any() else 0.0
        self._warn_of_poor_fit(decrease)
        return self

    def fit_transform(self, Z: np.ndarray | Tensor) -> np.ndarray:
        """`fit`, then `activations_`, shape (samples, concepts); parameters and errors are those of `fit`."""
        return self.fit(Z).activations_

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
        if not hasattr(self, "components_"):
            raise ValueError("This SemiNMF has no concepts yet: call fit, or make it by from_components.")
        Z = _as_matrix(Z, "sample")
        U = torch.as_tensor(self.components_).to(Z)
        if Z.shape[1] != U.shape[1]:
            raise ValueError(f"The states have width {Z.shape[1]}, not {U.shape[1]}: use the same model.")
        V = _solve_activations(U @ U.T, U @ Z.T - self.lam / 2, Z.norm(dim=1))  # (concepts, samples)
        return V.T.float().contiguous().cpu().numpy()

    def _check_parameters(self) -> None:
        """Refuse parameters that are out of range."""
        for name in ("n_concepts", "max_rounds", "n_starts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if not 0 <= self.lam < np.inf:
            raise ValueError(f"lam must be finite and at least 0, not {self.lam}.")

    def _run(self, Z: Tensor, start: int) -> tuple[Tensor, list[float], float]:
        """One start to its end: concepts, the objective after each round, and the last relative decrease."""
        rng, energy = np.random.default_rng([self.random_state, start]), float(Z.norm()) ** 2
        U, V = Z.new_zeros(self.n_concepts, Z.shape[1]), Z.new_zeros(self.n_concepts, len(Z))
        if start == 0:
            singular = _singular_vectors(Z, self.n_concepts, rng)
            U[: len(singular)] = singular  # a small Z has too few; the second round re-draws the rest
        else:
            _draw(U, range(self.n_concepts), Z, self.lam, rng)
        objective, decrease = [_round(Z, U, V, energy, self.lam)], np.inf
        while len(objective) < self.max_rounds and decrease > self.tol:
            unused = (V == 0).all(dim=1).nonzero()[:, 0].tolist()
            if unused:
                _draw(U, unused, Z - V.T @ U, self.lam)
            objective.append(_round(Z, U, V, energy, self.lam))
            decrease = (objective[-2] - objective[-1]) / (objective[-1] or 1.0)
        return U, objective, decrease

    def _warn_of_poor_fit(self, decrease: float) -> None:
        """Warn of a fit that was cut off, and of concepts that no sample uses."""
        if decrease > self.tol:
            warnings.warn(
                f"Semi-NMF has not settled in max_rounds={self.max_rounds}: the last round lowered "
                f"the objective by {decrease:.1e} of it (tol={self.tol:.1e}).",
                stacklevel=3,
            )
        if n_unused := int((self.activations_ == 0).all(axis=0).sum()):
            warnings.warn(
                f"Concepts that no sample uses: {n_unused} of {self.n_concepts}; lower n_concepts "
                f"or lam (now {self.lam}).",
                stacklevel=3,
            )


def _round(Z: Tensor, U: Tensor, V: Tensor, energy: float, lam: float) -> float:
    """Improve V, then U, in place; returns the objective. `energy` is ||Z||_F^2."""
    _descend(V, U @ U.T, U @ Z.T - lam / 2, torch.relu, SWEEPS)
    A, C = V @ V.T, V @ Z
    _descend(U, A, C, lambda concept: concept / concept.norm().clamp(min=1), SWEEPS)  # into the unit ball
    square = energy - 2 * (U * C).sum() + (A * (U @ U.T)).sum()  # ||Z - V U||_F^2
    return max(float(square), 0.0) + lam * float(V.sum())


def _descend(X: Tensor, H: Tensor, T: Tensor, project: Callable[[Tensor], Tensor], sweeps: int) -> None:
    """Lower <X, H X> - 2 <X, T>, in place, by projected gradient on one row of X at a time."""
    curvatures = H.diagonal().tolist()  # alike in all directions of a row: a step ends at its minimum
    for k in [k for k, curvature in enumerate(curvatures) if curvature > 0] * sweeps:
        X[k] = project(X[k] + (T[k] - H[k] @ X) / curvatures[k])


def _singular_vectors(Z: Tensor, n: int, rng: np.random.Generator) -> Tensor:
    """Up to n right singular vectors, by subspace iteration, each signed to fit more of the energy."""
    Q = torch.as_tensor(rng.standard_normal((len(Z), min(n + 10, *Z.shape)))).to(Z)  # 10 spare sharpen the n
    for _ in range(3):
        Q = Z @ torch.linalg.qr(Z.T @ Q).Q
    W = torch.linalg.svd(torch.linalg.qr(Q).Q.T @ Z, full_matrices=False).Vh[:n]
    scores = Z @ W.T  # (samples, n)
    return torch.where((scores * scores.abs()).sum(dim=0) < 0, -1, 1)[:, None] * W


def _draw(U: Tensor, which: Sequence[int], R: Tensor, lam: float, rng: np.random.Generator | None = None) -> None:
    """Turn concepts, in place, to rows of R that those turned before cover worst (with rng: badly)."""
    energy = R.square().sum(dim=1)
    floor = max((lam / 2) ** 2, 1e-12 * float(energy.max()))  # a row no longer than lam / 2 activates nothing
    left = energy  # what the best of the turned concepts leaves of each row
    for k in which:
        left = left * (left > floor)
        if not left.any():
            return
        i = int(left.argmax()) if rng is None else rng.choice(len(left), p=(left / left.sum()).cpu().numpy())
        U[k] = R[i] / R[i].norm()
        left = torch.minimum(left, energy - (R @ U[k]).clamp(min=0).square())


def _solve_activations(G: Tensor, T: Tensor, norms: Tensor) -> Tensor:
    """The best V, from zero; T is B - lam / 2. A sample that is solved is not touched again."""
    V, unsolved = torch.zeros_like(T), torch.arange(T.shape[1], device=T.device)
    _descend(V, G, T, torch.relu, sweeps=10)
    for _ in range(MAX_STEPS):
        residual = torch.minimum(V[:, unsolved], G @ V[:, unsolved] - T[:, unsolved]).abs().amax(dim=0)
        unsolved = unsolved[residual > KKT_TOLERANCE * norms[unsolved]]
        if not len(unsolved):
            return V
        V[:, unsolved] = _active_set_step(V[:, unsolved], G, T[:, unsolved])
    warnings.warn(
        f"The activations of {len(unsolved)} of {len(norms)} samples are not solved to a relative "
        f"{KKT_TOLERANCE:.0e}: some concepts are nearly alike, ask for fewer.",
        stacklevel=3,
    )
    return V


def _active_set_step(V: Tensor, G: Tensor, T: Tensor) -> Tensor:
    """Solve for the concepts that a sample uses, until one of them ends; then move its worst concept."""
    used = (V > 0).T  # (samples, concepts)
    ridge = 1e-8 * G.diagonal().max() * torch.eye(len(G)).to(G)  # keeps like concepts solvable
    step = torch.linalg.solve(G * (used[:, :, None] & used[:, None]) + ridge, used * (T - G @ V).T).T
    reach = torch.where(step < 0, -V / step, 1).amin(dim=0).clamp(max=1)
    V = torch.where(V + reach * step > 1e-14 * V, V + reach * step, 0)  # exactly zero where it ends
    slope = G @ V - T
    worst = torch.minimum(V, slope).abs().argmax(dim=0, keepdim=True)  # (1, samples)
    alone = V.gather(0, worst) - slope.gather(0, worst) / G.diagonal()[worst].clamp(min=1e-300)
    return V.scatter(0, worst, alone.clamp(min=0))


def _as_matrix(rows: np.ndarray | Tensor, name: str) -> Tensor:
    """A finite float64 matrix, on the device of `rows` where that has float64."""
    rows = rows if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows, dtype=np.float64, order="C"))
    rows = rows.detach().to("cpu" if rows.device.type == "mps" else rows.device).double().contiguous()
    if rows.ndim != 2:
        raise ValueError(f"Expected a matrix with one row for each {name}, got shape {tuple(rows.shape)}.")
    bad = (~rows.isfinite().all(dim=1)).nonzero()
    if len(bad):
        raise ValueError(f"{name.capitalize()} {int(bad[0])} has a NaN or infinite value: drop or redo it.")
    return rows
