"""The activations of states on fixed concepts: a small convex problem for each state, solved to the end.

    v = argmin_{v >= 0} ||z - v U||^2 + lam * sum(v)

Notation, with samples in columns, so that a concept is one contiguous row

    G = U U^T   (concepts, concepts)      T = U Z^T - lam / 2   (concepts, samples)
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from .base import squared_norms
from .basis import inner_products
from .blocks import in_blocks
from .solver import sweep_rows
from .streamed import StreamedStates

KKT_TOLERANCE = 1e-8  # of a solved activation, relative to the norm of its state
MAX_BLOCK = 1024  # samples that are solved at a time
MAX_STEPS = 1_000  # of the active set; a few dozen do, even for concepts that are nearly alike


@dataclass(frozen=True)
class Solved:
    """The activations of some states."""

    V: Tensor  # (concepts, samples), in float64
    square: float  # ||Z - V^T U||_F^2
    kkt: float  # the largest optimality (KKT) residual, relative to the norm of its state
    n_unsolved: int  # samples with a larger one than KKT_TOLERANCE


def solve_activations(
    Z: Tensor | StreamedStates, U: Tensor, lam: float, squares: Tensor | None = None
) -> tuple[np.ndarray, float, float]:
    """The activations of states (arXiv 2406.08074), each solved from zero, in float64, to a residual of 1e-8.

    They are rounded to float32, (samples, concepts); beside them, `square` and `kkt` as in `Solved`. Warns where that
    takes too long. `squares`, (samples,), are the states' squared norms in float64, if they are known.
    """
    U, kind = U.to(Z.device, torch.float64), getattr(Z, "kind", list)
    V, first, square, kkt, n_unsolved = np.empty((len(Z), len(U)), dtype=np.float32), 0, 0.0, 0.0, 0
    known = repeat(None) if squares is None else in_blocks(squares, kind)
    for states, norms in zip(in_blocks(Z, kind), known):
        norms = squared_norms(states) if norms is None else norms
        solved = solve(U @ U.T, inner_products(U, states) - lam / 2, norms, lam)
        V[first : first + len(states)] = solved.V.T.float().cpu().numpy()
        first, n_unsolved = first + len(states), n_unsolved + solved.n_unsolved
        square, kkt = square + solved.square, max(kkt, solved.kkt)
    if n_unsolved:
        warnings.warn(
            f"The activations of {n_unsolved} of {len(Z)} samples are not solved to a relative "
            f"{KKT_TOLERANCE:.0e}: some concepts are nearly alike, ask for fewer.",
            stacklevel=3,
        )
    return V, square, kkt


def solve(G: Tensor, T: Tensor, squares: Tensor, lam: float, start: Tensor | None = None) -> Solved:
    """The same in float64 from G and T alone; `start`, (concepts, samples), are activations to begin at instead of zero.

    `squares`, (samples,), are the states' squared norms, in float64.
    """
    V, n_unsolved, norms = torch.zeros_like(T) if start is None else start.clone(), 0, squares.sqrt()
    for block in torch.arange(T.shape[1], device=T.device).split(MAX_BLOCK):
        V[:, block], unsolved = _solve(G, T[:, block], norms[block], V[:, block])
        n_unsolved += unsolved
    gradient = G @ V - T  # half of it
    square = squares.sum() + (V * (gradient - T - lam)).sum()
    kkt = (_violation(V, gradient) / norms.clamp(min=1e-300)).amax() if V.numel() else 0
    return Solved(V, max(float(square), 0.0), float(kkt), n_unsolved)


def _solve(G: Tensor, T: Tensor, norms: Tensor, V: Tensor) -> tuple[Tensor, int]:
    """The optimal V, and the number of samples that are not solved. A solved sample is not touched again."""
    sweep_rows(V[None], G[None], T[None], torch.relu_, n_sweeps=10)  # mostly finds which concepts are active
    unsolved = torch.arange(T.shape[1], device=T.device)
    for _ in range(MAX_STEPS):
        residual = _violation(V[:, unsolved], G @ V[:, unsolved] - T[:, unsolved]).amax(dim=0)
        unsolved = unsolved[residual > KKT_TOLERANCE * norms[unsolved]]
        if not len(unsolved):
            break
        V[:, unsolved] = _active_set_step(V[:, unsolved], G, T[:, unsolved])
    return V, len(unsolved)


def _violation(V: Tensor, gradient: Tensor) -> Tensor:
    """How far each activation is from optimal (KKT): v >= 0, half the gradient >= 0, and one of the two is zero."""
    return torch.minimum(V, gradient).abs()


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
    worst = _violation(V, gradient).argmax(dim=0, keepdim=True)  # (1, samples)
    alone = V.gather(0, worst) - gradient.gather(0, worst) / G.diagonal()[worst].clamp(min=1e-300)
    return V.scatter(0, worst, alone.clamp(min=0))
