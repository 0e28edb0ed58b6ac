"""The best restart, refined: exact steps, in as many directions as the concepts ask for."""

import numpy as np
import pytest
import torch

from coxlmm_utils.dictionaries.base import squared_norms
from coxlmm_utils.dictionaries.basis import coordinates
from coxlmm_utils.dictionaries.refinement import Refinement, best_concepts
from coxlmm_utils.dictionaries.solver import Result
from tests.dictionaries.test_semi_nmf import objective, planted


def begun(n_directions: int, U=None):
    """From random concepts within the first so many of 40 dimensions, or from given ones."""
    Z = torch.tensor(planted(samples=80, width=40)[0])
    W = torch.eye(n_directions, 40).double()
    if U is None:
        U = torch.randn(3, n_directions, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    best = Result(U / U.norm(dim=1, keepdim=True), [float("inf")], 1.0, True)
    return Z, Refinement(Z, squared_norms(Z), W, [coordinates(Z, W)], best, 1.0)


def test_it_widens_until_no_direction_lowers_the_objective():
    Z, narrow = begun(4)
    assert narrow.run(tol=1e-10, max_iter=500)
    U = narrow.now.U @ narrow.W
    assert narrow.kkt < 1e-4 and U.norm(dim=1).max() <= 1 + 1e-12
    assert narrow.now.value == pytest.approx(objective(Z, narrow.now.V[0].T, U, 1.0), rel=1e-10)
    _, whole = begun(40, U)
    assert whole.run(tol=1e-10, max_iter=500)
    assert narrow.now.value == pytest.approx(whole.now.value, rel=1e-6)


def test_the_objective_never_rises_and_counts_what_came_before():
    _, refined = begun(4)
    assert not refined.run(tol=0.0, max_iter=9)
    assert len(refined.objective) == 9 and np.diff(refined.objective).max() <= 0


def test_a_step_that_is_extrapolated_too_far_is_made_without():
    _, refined = begun(40)
    refined._step(extrapolate=False)
    refined.factor, before = 1e6, refined.now.value
    refined._step(extrapolate=True)
    assert refined.now.value < before and refined.factor < 1e6


def test_best_concepts_of_given_activations():
    Z, refined = begun(40)
    [V] = refined.now.V
    U = best_concepts(refined.now.U, [V], [Z])
    free = torch.linalg.lstsq(V.T, Z).solution  # without the unit ball
    inside = free.norm(dim=1) <= 1
    pull = V @ (Z - V.T @ U)  # minus half the gradient
    assert pull[inside].norm() < 1e-3
    cosine = torch.nn.functional.cosine_similarity(pull[~inside], U[~inside])
    assert (U.norm(dim=1) <= 1 + 1e-12).all() and (cosine > 0.999).all()  # it leads straight out of the ball
