"""Where Semi-NMF starts from: the leading singular vectors of the states, and samples drawn far apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SPARE = 10  # directions more than there are concepts; they sharpen the ones that are used
ENOUGH = 1024  # samples to find starts among


def initial_concepts(Z: Tensor, squares: Tensor, n_concepts: int, n_init: int, seed: int) -> Tensor:
    """Concepts to start from, (starts, concepts, width), unit vectors or zero where the states have too few (ours).

    First the leading right singular vectors, as scikit-learn's dictionary starts from them; then, for each other
    start, samples drawn one after the other with a chance in proportion to what those before leave of them
    (as k-means++ does for distances). Samples are drawn, and cleaned, within the leading singular directions.
    Of many samples, 1,024 random ones stand for all. `squares`, (samples,), are the squared norms of the states.
    """
    rng = np.random.default_rng(seed)
    if len(Z) > ENOUGH:
        some = torch.from_numpy(np.sort(rng.choice(len(Z), ENOUGH, replace=False))).to(Z.device)
        Z, squares = Z[some], squares[some]
    W = _singular_vectors(Z, n_concepts + SPARE, rng)  # (directions, width)
    P = (Z @ W.T).double()  # (samples, directions)
    U = Z.new_zeros(n_init, n_concepts, Z.shape[1])
    towards = torch.where((P * P.abs()).sum(dim=0) < 0, -1, 1)  # each is signed to fit more of the energy
    U[0, : len(W)] = (towards[:, None] * W)[:n_concepts]
    for start in range(1, n_init):
        U[start] = _draw(P, squares, n_concepts, rng).to(Z) @ W
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
    """Directions of n samples far apart, (n, directions); zero once nothing is left of any sample."""
    drawn = P.new_zeros(n, P.shape[1])
    lengths = P.norm(dim=1)
    left = torch.where(lengths > 1e-6 * lengths.max(), squares, 0)  # (samples,): not yet covered by one drawn
    for k in range(n):
        if not (left > 0).any():
            break
        chance = (left / left.sum()).cpu().numpy()
        sample = int(rng.choice(len(chance), p=chance / chance.sum()))
        drawn[k] = P[sample] / lengths[sample]
        covered = (P @ drawn[k]).clamp(min=0).square()
        left = torch.minimum(left, squares - covered).clamp(min=0) * (left > 0)
        left[left < 1e-6 * squares] = 0
    return drawn
