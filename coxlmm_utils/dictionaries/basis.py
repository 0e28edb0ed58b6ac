"""States as coordinates in few directions: what Semi-NMF works on instead of states that are wide.

    Z   (samples, width)            states
    W   (directions, width)         orthonormal rows
    P   (samples, directions)       Z W^T, in float64

For concepts within the span of W, U = X W, nothing is approximated, whatever W is:

    ||Z - V U||^2 = ||P - V X||^2 + (||Z||^2 - ||P||^2)    and    ||u_k|| = ||x_k||

So W only limits which concepts there are. It begins as the leading directions of the states, and is widened by those
that the concepts still ask for (refinement.py). All sums are in float64: where a few dimensions or the mean dominate,
the numbers cancel to less than float32 resolves.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .base import in_chunks, squared_norms
from .blocks import Blocks, in_blocks
from .streamed import StreamedStates

MAX_WIDTH = 256  # up to which states are cheap to work on as they are: W is the identity
MAX_SAMPLES = 512  # from which the leading directions are estimated
N_FEW, N_MANY = 10, 120  # directions beyond the number of concepts, where the rest is noise, and where it is not
NOISE = 2  # times the energy of an average direction outside: pure noise has up to 1.5 in its largest


def leading_directions(Z: Tensor | StreamedStates, n_concepts: int, seed: int) -> Tensor:
    """The first W: the identity where states are narrow; else the leading right singular vectors, estimated.

    Many directions where also the last of a few hold more than noise does. Of many samples, 512 random ones tell.
    """
    width, rng = Z.shape[1], np.random.default_rng(seed)
    if width <= MAX_WIDTH:
        return torch.eye(width, dtype=torch.float64, device=Z.device)
    if len(Z) > MAX_SAMPLES:
        Z = Z[torch.from_numpy(np.sort(rng.choice(len(Z), MAX_SAMPLES, replace=False))).to(Z.device)]
    W, energies = _subspace_iteration(Z, n_concepts + N_FEW, rng)
    rest = (squared_norms(Z).sum() - energies.sum()) / max(1, min(Z.shape) - len(W))  # of a direction outside
    if energies[-N_FEW // 2 :].mean() > NOISE * rest:
        W, _ = _subspace_iteration(Z, n_concepts + N_MANY, rng)
    return W


def _subspace_iteration(Z: Tensor, n: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Up to n directions, (n, width), by one step from random ones, and the energies of Z in them, largest first."""
    n = min(n, *Z.shape)
    R = inner_products(torch.as_tensor(rng.standard_normal((n, Z.shape[1]))).to(Z.device), Z)  # (n, samples)
    Y = times_states(R / R.abs().max().clamp(min=1e-300), Z)  # (n, width)
    W = torch.linalg.qr(Y.T).Q.T.contiguous()
    R = inner_products(W, Z)
    return W, torch.linalg.eigvalsh(R @ R.T).flip(0).clamp(min=0)


def inner_products(X: Tensor, Z: Tensor) -> Tensor:
    """X Z^T, (rows, samples)."""
    products, first = X.new_empty(len(X), len(Z)), 0
    for chunk in in_chunks(Z):
        products[:, first : first + len(chunk)] = X @ chunk.T
        first += len(chunk)
    return products


def coordinates(Z: Tensor, W: Tensor) -> Tensor:
    """P = Z W^T, (samples, directions)."""
    return inner_products(W, Z).T.contiguous()


def coordinates_in_blocks(Z: Tensor | StreamedStates, W: Tensor) -> Blocks:
    """The same in one block; of states that are streamed from disk, in blocks in a scratch file."""
    P = getattr(Z, "kind", list)()
    for states in in_blocks(Z, type(P)):
        P.append(coordinates(states, W))
    return P


def times_states(V: Tensor, Z: Tensor) -> Tensor:
    """V Z, (rows, width), of V (rows, samples)."""
    total, first = V.new_zeros(len(V), Z.shape[1]), 0
    for chunk in in_chunks(Z):
        total.addmm_(V[:, first : first + len(chunk)], chunk)
        first += len(chunk)
    return total


def outside(X: Tensor, W: Tensor) -> Tensor:
    """What of the rows of X, (rows, width), lies outside the span of W."""
    for _ in range(2):  # the second time removes what rounding left
        X = X - (X @ W.T) @ W
    return X


def directions_of(X: Tensor) -> Tensor:
    """Orthonormal rows, (directions, width), that span the rows of X."""
    _, lengths, D = torch.linalg.svd(X, full_matrices=False)
    return D[lengths > 1e-9 * lengths.max()]
