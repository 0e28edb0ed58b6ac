"""Initial concepts of Semi-NMF: the leading singular vectors of the states, and samples drawn far apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .blocks import Blocks, as_blocks, rows_at

N_EXTRA = 10  # directions beyond the number of concepts: oversampling sharpens the ones that are used
MAX_SAMPLES = 1024  # among which initial concepts are sought


def initial_concepts(Z: Tensor | Blocks, squares: Tensor, n_concepts: int, n_init: int, seed: int) -> Tensor:
    """Initial concepts, (restarts, concepts, width): unit vectors, or zero where the states have too few directions.

    The first restart begins at the leading right singular vectors, as scikit-learn's dictionary does; each other one at
    samples drawn one after the other with a probability in proportion to their squared residual on those before, as
    k-means++ does for distances. Samples are drawn, and denoised, within the leading singular directions. Of many
    samples, 1,024 random ones represent all. `squares`, (samples,), are the squared norms of the states.
    """
    rng, subset = np.random.default_rng(seed), np.arange(len(squares))
    if len(subset) > MAX_SAMPLES:
        subset = np.sort(rng.choice(subset, MAX_SAMPLES, replace=False))
    subset = torch.from_numpy(subset).to(squares.device)
    Z, squares = rows_at(as_blocks(Z), subset), squares[subset]
    W = _singular_vectors(Z, n_concepts + N_EXTRA, rng)  # (directions, width)
    P = (Z @ W.T).double()  # (samples, directions)
    U = Z.new_zeros(n_init, n_concepts, Z.shape[1])
    # V is never negative: a singular vector fits the samples on one side only, the sign picks the heavier side.
    signs = torch.where((P * P.abs()).sum(dim=0) < 0, -1, 1)
    U[0, : len(W)] = (signs[:, None] * W)[:n_concepts]
    for restart in range(1, n_init):
        U[restart] = _draw(P, squares, n_concepts, rng).to(Z) @ W
    return U


def _singular_vectors(Z: Tensor, n: int, rng: np.random.Generator) -> Tensor:
    """Up to n leading right singular vectors, (n, width), by one step of subspace iteration from random vectors."""
    n = min(n, *Z.shape)
    Q = torch.as_tensor(rng.standard_normal((Z.shape[1], n))).to(Z)
    P = Z @ Q  # (samples, n)
    Q = torch.linalg.qr(Z.T @ (P / P.abs().max().clamp(min=1e-30))).Q  # (width, n)
    P = (Z @ Q).double()
    _, order = torch.linalg.eigh(P.T @ P)  # smallest first
    return (Q @ order.flip(1).to(Z)).T.contiguous()


def _draw(P: Tensor, squares: Tensor, n: int, rng: np.random.Generator) -> Tensor:
    """Directions of n samples drawn far apart, (n, directions); zero once no sample has a residual."""
    drawn = P.new_zeros(n, P.shape[1])
    lengths = P.norm(dim=1)
    residual = torch.where(lengths > 1e-6 * lengths.max(), squares, 0)  # (samples,): squared, on what was drawn
    for k in range(n):
        if not (residual > 0).any():
            break
        probability = (residual / residual.sum()).cpu().numpy()
        sample = int(rng.choice(len(probability), p=probability / probability.sum()))
        drawn[k] = P[sample] / lengths[sample]
        explained = (P @ drawn[k]).clamp(min=0).square()  # by this concept alone, with an activation >= 0
        residual = torch.minimum(residual, squares - explained).clamp(min=0) * (residual > 0)
        residual[residual < 1e-6 * squares] = 0
    return drawn
