"""The activations of states on fixed concepts: a small convex problem for each state, solved to the end.

    v = argmin_{v >= 0} ||z - v U||^2 + lam * sum(v)

Notation, with samples in columns, so that a concept is one contiguous row

    G = U U^T   (concepts, concepts)      T = U Z^T - lam / 2   (concepts, samples)
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from .base import in_chunks
from .solver import sweep_rows

KKT_TOLERANCE = 1e-8  # of a solved activation, relative to the norm of its state
MAX_BLOCK = 1024  # samples that are solved at a time
MAX_STEPS = 1_000  # of the active set; a few dozen do, even for concepts that are nearly alike


def solve_activations(Z: Tensor, squares: Tensor, U: Tensor, lam: float) -> tuple[Tensor, float]:
    """The activations of states, (samples, concepts) in float64, and ||Z - V U||_F^2 (paper section 3).

    Each state is solved from zero, in float64, until its optimality (KKT) residual is at most 1e-8 of its norm.
    Warns where that takes too long. `squares`, (samples,), are the states' squared norms, in float64.
    """
    U = U.double()
    G = U @ U.T
    T = torch.cat([U @ chunk.T for chunk in in_chunks(Z)], dim=1) - lam / 2
    V, n_unsolved = torch.zeros_like(T), 0
    for block in torch.arange(len(Z), device=Z.device).split(MAX_BLOCK):
        V[:, block], unsolved = _solve(G, T[:, block], squares[block].sqrt())
        n_unsolved += unsolved
    if n_unsolved:
        warnings.warn(
            f"The activations of {n_unsolved} of {len(Z)} samples are not solved to a relative "
            f"{KKT_TOLERANCE:.0e}: some concepts are nearly alike, ask for fewer.",
            stacklevel=3,
        )
    square = squares.sum() + (V * (G @ V - 2 * T - lam)).sum()
    return V.T, max(float(square), 0.0)


def _solve(G: Tensor, T: Tensor, norms: Tensor) -> tuple[Tensor, int]:
    """The optimal V, and the number of samples that are not solved. A solved sample is not touched again."""
    V, unsolved = torch.zeros_like(T), torch.arange(T.shape[1], device=T.device)
    sweep_rows(V[None], G[None], T[None], torch.relu_, n_sweeps=10)  # mostly finds which concepts are active
    for _ in range(MAX_STEPS):
        # KKT: v >= 0, half the gradient g = G v - t >= 0, and one of the two is zero for every concept: |min(v, g)| is
        # how far a concept is from that.
        residual = torch.minimum(V[:, unsolved], G @ V[:, unsolved] - T[:, unsolved]).abs().amax(dim=0)
        unsolved = unsolved[residual > KKT_TOLERANCE * norms[unsolved]]
        if not len(unsolved):
            break
        V[:, unsolved] = _active_set_step(V[:, unsolved], G, T[:, unsolved])
    return V, len(unsolved)


def _active_set_step(V: Tensor, G: Tensor, T: Tensor) -> Tensor:
    """Newton's step on each sample's active concepts, as far as V >= 0; then the worst KKT violator is solved alone."""
    active = (V > 0).T  # (samples, concepts)
    # On the active concepts the problem is a linear system; the others keep a step of zero, since their right side is
    # zero. The ridge keeps the system solvable where concepts are nearly alike; the loop around corrects what it costs.
    ridge = 1e-8 * G.diagonal().max() * torch.eye(len(G)).to(G)
    step = torch.linalg.solve(G * (active[:, :, None] & active[:, None]) + ridge, active * (T - G @ V).T).T
    length = torch.where(step < 0, -V / step, 1).amin(dim=0).clamp(max=1)  # (samples,): as far as V stays positive
    # The concept that limits the length leaves: rounding, some 1e-16 of it, must not keep it above zero.
    V = torch.where(V + length * step > 1e-14 * V, V + length * step, 0)
    # The concept that violates optimality most is minimised alone: so an inactive one can enter the active set.
    gradient = G @ V - T  # half of it
    worst = torch.minimum(V, gradient).abs().argmax(dim=0, keepdim=True)  # (1, samples)
    alone = V.gather(0, worst) - gradient.gather(0, worst) / G.diagonal()[worst].clamp(min=1e-300)
    return V.scatter(0, worst, alone.clamp(min=0))
