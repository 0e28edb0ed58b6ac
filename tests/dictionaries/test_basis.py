"""Wide states in few directions."""

import numpy as np
import pytest
import torch

from coxlmm_utils.dictionaries import basis
from coxlmm_utils.dictionaries.basis import (
    coordinates,
    directions_of,
    inner_products,
    leading_directions,
    outside,
    times_states,
)


def decaying(samples=80, width=400, power=0.5, n=80):
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((size, n)))[0] for size in (samples, width))
    return torch.as_tensor(left * np.arange(1.0, n + 1) ** -power @ right.T)


def orthonormal(W):
    return torch.allclose(W @ W.T, torch.eye(len(W), dtype=torch.float64), atol=1e-12)


def test_narrow_states_are_their_own_coordinates():
    Z = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    W = leading_directions(Z, 3, seed=0)
    assert torch.equal(W, torch.eye(8).double()) and torch.equal(coordinates(Z, W), Z.double())


def test_leading_directions_hold_nearly_as_much_as_singular_vectors_do(monkeypatch):
    monkeypatch.setattr(basis, "N_FEW", 10)
    monkeypatch.setattr(basis, "NOISE", 1e9)
    Z = decaying(power=1)
    W = leading_directions(Z, 5, seed=0)
    assert W.shape == (15, 400) and orthonormal(W)
    most = torch.linalg.svdvals(Z)[:5].square().sum()
    assert coordinates(Z, W).square().sum() > most


def test_more_directions_where_the_rest_is_no_noise(monkeypatch):
    monkeypatch.setattr(basis, "N_MANY", 40)
    noise = torch.randn(200, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert len(leading_directions(noise, 5, seed=0)) == 15
    assert len(leading_directions(decaying(samples=200, n=200), 5, seed=0)) == 45


def test_few_samples_have_few_directions():
    Z = decaying(samples=7, n=7)
    W = leading_directions(Z, 20, seed=0)
    assert W.shape == (7, 400) and outside(Z, W).norm() < 1e-12


def test_products_in_float64_whatever_the_states_are_in():
    Z = 1e3 + torch.randn(300, 2000, generator=torch.Generator().manual_seed(0))
    X, V = torch.randn(2, 2000, dtype=torch.float64), torch.randn(2, 300, dtype=torch.float64)
    assert inner_products(X, Z).numpy() == pytest.approx((X @ Z.double().T).numpy(), rel=1e-9)
    assert times_states(V, Z).numpy() == pytest.approx((V @ Z.double()).numpy(), rel=1e-9)


def test_what_is_outside_and_its_directions():
    W = torch.eye(2, 5).double()
    X = torch.tensor([[1.0, 2, 3, 0, 0], [0, 0, 6, 0, 0]]).double()
    assert outside(X, W).tolist() == [[0, 0, 3, 0, 0], [0, 0, 6, 0, 0]]
    D = directions_of(outside(X, W))
    assert D.abs().tolist() == [[0, 0, 1, 0, 0]]
    assert directions_of(torch.zeros(2, 5).double()).shape == (0, 5)
