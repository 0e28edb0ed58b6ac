"""The activations of states on fixed concepts: exact, whatever the concepts are like."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import sparse_encode

from coxlmm_utils.dictionaries import activations
from coxlmm_utils.dictionaries.activations import solve, solve_activations
from coxlmm_utils.dictionaries.base import squared_norms
from tests.dictionaries.test_semi_nmf import alike_concepts, planted


def solved(Z, U, lam):
    Z, U = torch.as_tensor(Z), torch.as_tensor(U)
    return solve(U @ U.T, U @ Z.T - lam / 2, squared_norms(Z), lam)


@pytest.mark.parametrize("cosine", [0.5, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_optimal_for_concepts_nearly_alike(cosine, lam):
    U = torch.tensor(alike_concepts(10, 16, cosine))
    V = torch.rand(30, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    Z = V @ U + 0.1 * torch.randn(30, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = solved(Z, U, lam)
    V = found.V.T
    gradient = (V @ U - Z) @ U.T + lam / 2
    assert V.min() >= 0
    kkt = (torch.minimum(V, gradient).abs().amax(dim=1) / Z.norm(dim=1)).max()
    assert kkt <= 1e-8 and found.kkt == pytest.approx(float(kkt), abs=1e-12)
    assert found.square == pytest.approx(float((Z - V @ U).square().sum()), rel=1e-9)


def test_agrees_with_scikit_learn_to_1e_5():
    Z, U = planted(samples=60, concepts=6)
    second = sparse_encode(Z, U, algorithm="lasso_cd", alpha=1.0, positive=True, max_iter=100_000)
    ours, _, _ = solve_activations(torch.tensor(Z), torch.tensor(U), 2.0)
    assert np.linalg.norm(ours - second) <= 1e-5 * np.linalg.norm(second)


def test_blocks_give_the_same(monkeypatch):
    Z, U = planted(concepts=5)
    whole = solved(Z, U, 1.0).V
    monkeypatch.setattr(activations, "MAX_BLOCK", 7)
    assert solved(Z, U, 1.0).V == pytest.approx(whole, abs=1e-9)


def test_no_states():
    V, square, kkt = solve_activations(torch.zeros(0, 4), torch.eye(2, 4), 1.0)
    assert V.shape == (0, 2) and square == kkt == 0


def test_states_are_solved_in_float64_and_the_activations_rounded():
    Z, U = (torch.tensor(matrix) for matrix in planted(concepts=5))
    V, square, kkt = solve_activations(Z, U, 1.0)
    exact = solved(Z, U, 1.0)
    assert V.dtype == np.float32 and np.array_equal(V, exact.V.T.float().numpy())
    assert (square, kkt) == pytest.approx((exact.square, exact.kkt), rel=1e-12, abs=1e-15)
    known = solve_activations(Z, U, 1.0, squared_norms(Z))
    assert np.array_equal(V, known[0]) and known[1:] == (square, kkt)


def test_a_start_is_only_a_start():
    Z, U = (torch.as_tensor(matrix) for matrix in planted(concepts=5))
    problem = (U @ U.T, U @ Z.T - 0.5, squared_norms(Z), 1.0)
    cold = solve(*problem)
    assert solve(*problem, start=cold.V + 1).V.numpy() == pytest.approx(cold.V.numpy(), abs=1e-6)


def test_warns_when_not_solved(monkeypatch):
    monkeypatch.setattr(activations, "MAX_STEPS", 1)
    with pytest.warns(UserWarning, match="of 40 samples are not solved to a relative 1e-08"):
        solve_activations(torch.tensor(planted()[0]), torch.tensor(alike_concepts(8, 12, 0.9)), 1.0)
