"""Block coordinate descent: restarts side by side, extrapolation that never harms, and concepts that are replaced."""

import pytest
import torch
from tqdm.notebook import tqdm as notebook_bar

from coxlmm_utils.dictionaries import solver
from coxlmm_utils.dictionaries.base import squared_norms
from coxlmm_utils.dictionaries.initialization import initial_concepts
from coxlmm_utils.dictionaries.solver import BlockCoordinateDescent, best_of_restarts, into_ball, sweep_rows
from tests.dictionaries.test_semi_nmf import objective, planted


@pytest.fixture(scope="module")
def Z():
    return torch.tensor(planted(samples=60, width=10, concepts=4)[0])


@pytest.fixture(scope="module")
def U(Z):
    return initial_concepts(Z, squared_norms(Z), 4, 3, seed=1)


def begun(Z, U, lam=1.0, tol=1e-9):
    return BlockCoordinateDescent(Z, squared_norms(Z), U.clone(), lam, tol)


def test_objective_is_that_of_the_concepts_and_activations_it_holds(Z, U):
    descent = begun(Z, U)
    for _ in range(5):
        descent.step()
        values = [objective(Z, V.T * descent.scale, U, 1.0) for U, V in zip(descent.now.U, descent.now.V[0])]
        assert descent.objective == pytest.approx(values, rel=1e-10)
        assert descent.now.U.norm(dim=2).max() <= 1 + 1e-12 and descent.now.V[0].min() >= 0


def test_restarts_do_not_influence_one_another(Z, U):
    together, alone = begun(Z, U), [begun(Z, initial[None]) for initial in U]
    for _ in range(20):
        together.step()
        for single in alone:
            single.step()
    assert together.objective == pytest.approx([single.objective[0] for single in alone], rel=1e-9)


def test_extrapolation_saves_iterations(Z, U):
    def iterations_needed(extrapolate):
        descent = begun(Z, U[:1], lam=0.1, tol=1e-10)
        for iteration in range(2000):
            if not extrapolate:
                descent.now.factor *= 0
            if descent.step().all():
                return iteration

    assert iterations_needed(True) < 0.7 * iterations_needed(False)


def test_a_notebooks_bar_of_a_descent_that_converges_early_is_no_failure(Z, U, monkeypatch):
    bars = []
    monkeypatch.setattr(solver, "tqdm", lambda **options: bars.append(notebook_bar(**options)) or bars[0])
    result, n_running = best_of_restarts(Z, squared_norms(Z), U.clone(), 1.0, 1e-6, 5_000, progress=True)
    [bar] = bars
    assert result.converged and bar.n == bar.total == len(n_running) < 5_000
    assert bar.container.children[1].bar_style != "danger" and bar.container.layout.visibility == "hidden"


def test_an_iteration_that_raises_the_objective_is_not_kept(Z, U):
    descent = begun(Z, U)
    for _ in range(4):
        descent.step()
    descent.now.factor[:] = 50.0  # leaps far too long
    before, kept = descent.objective, descent.now.U.clone()
    descent.now.unextrapolated[:] = False
    descent.step()
    assert descent.objective == before and torch.equal(descent.now.U, kept)
    assert descent.now.unextrapolated.all() and (descent.now.factor < 50).all()


def test_selected_restarts_go_on_as_before(Z, U):
    some, all_three = begun(Z, U), begun(Z, U)
    some.now = some.now.select(torch.tensor([True, False, True]))
    for _ in range(3):
        some.step(), all_three.step()
    assert len(some) == 2
    assert some.objective == pytest.approx([all_three.objective[0], all_three.objective[2]], rel=1e-12)


def test_the_lowest_result_is_kept_and_every_iteration_counted(Z, U):
    result, n_running = best_of_restarts(Z, squared_norms(Z), U.clone(), 1.0, 1e-6, 300)
    singles = [best_of_restarts(Z, squared_norms(Z), initial[None].clone(), 1.0, 1e-6, 300)[0] for initial in U]
    assert result.objective[-1] == pytest.approx(min(single.objective[-1] for single in singles), rel=1e-9)
    assert result.converged
    assert sum(n_running) == pytest.approx(sum(len(single.objective) for single in singles), abs=3)
    assert sorted(n_running, reverse=True) == n_running and n_running[0] == 3


def test_an_unused_concept_is_replaced_to_the_residual_of_the_worst_sample():
    Z = torch.tensor([[4.0, 0, 0], [4, 0, 0], [0, 3, 0], [0, 0, 1]]).double()
    U = torch.eye(3).double()[None, :2].clone()
    U[0, 1] = -U[0, 0]  # which no sample uses
    descent = begun(Z, U, lam=0.5)
    assert descent.now.U[0, 1].tolist() == pytest.approx([0, 1, 0])
    value = descent.objective[0]
    descent.step()
    assert descent.objective[0] < value - 5  # from 9, the square of the third state, to about 3 * 0.5


def test_a_concept_is_not_replaced_where_nothing_is_left_to_explain():
    Z = torch.tensor([[4.0, 0], [4, 0], [0, 0.2]]).double()
    U = torch.tensor([[[1.0, 0], [-1, 0]]]).double()
    descent = begun(Z, U, lam=0.5)  # the last state is shorter than lam / 2
    assert descent.now.U[0, 1].tolist() == [-1, 0]
    assert best_of_restarts(Z, squared_norms(Z), U, 0.5, 1e-6, 50)[0].converged


def test_sweeps_ends_at_the_minimum_of_a_quadratic():
    H = torch.tensor([[[2.0, 0.5], [0.5, 1.0]]]).double()
    T = torch.tensor([[[1.0, -1.0], [1.0, 1.0]]]).double()
    X = torch.zeros(1, 2, 2).double()
    sweep_rows(X, H, T, lambda row: row, n_sweeps=60)
    assert torch.allclose(H @ X, T)
    sweep_rows(X, H, T, torch.relu_, n_sweeps=60)
    assert X[0].tolist() == [pytest.approx([2 / 7, 0]), pytest.approx([6 / 7, 1])]


def test_into_ball_shortens_only_what_is_too_long():
    assert into_ball(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0, 0]])).tolist() == [
        pytest.approx([0.6, 0.8]),
        pytest.approx([0.3, 0.4]),
        [0, 0],
    ]
