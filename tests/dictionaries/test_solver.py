"""The rounds of Semi-NMF: starts side by side, extrapolation that never harms, and concepts that are re-drawn."""

import pytest
import torch

from coxlmm_utils.dictionaries.base import squared_norms
from coxlmm_utils.dictionaries.initialization import initial_concepts
from coxlmm_utils.dictionaries.solver import Alternation, best_of_restarts, descend, into_ball
from tests.dictionaries.test_semi_nmf import objective, planted


@pytest.fixture(scope="module")
def Z():
    return torch.tensor(planted(samples=60, width=10, concepts=4)[0])


@pytest.fixture(scope="module")
def U(Z):
    return initial_concepts(Z, squared_norms(Z), 4, 3, seed=1)


def begun(Z, U, lam=1.0, tol=1e-9):
    return Alternation(Z, squared_norms(Z), U.clone(), lam, tol)


def test_objective_is_that_of_the_concepts_and_activations_it_holds(Z, U):
    rounds = begun(Z, U)
    for _ in range(5):
        rounds.step()
        values = [objective(Z, V.T * rounds.scale, U, 1.0) for U, V in zip(rounds.U, rounds.V)]
        assert rounds.objective == pytest.approx(values, rel=1e-10)
        assert rounds.U.norm(dim=2).max() <= 1 + 1e-12 and rounds.V.min() >= 0


def test_starts_do_not_touch_one_another(Z, U):
    together, alone = begun(Z, U), [begun(Z, start[None]) for start in U]
    for _ in range(20):
        together.step()
        for one in alone:
            one.step()
    assert together.objective == pytest.approx([one.objective[0] for one in alone], rel=1e-9)


def test_extrapolation_saves_rounds(Z, U):
    def rounds_needed(extrapolate):
        rounds = begun(Z, U[:1], lam=0.1, tol=1e-10)
        for number in range(2000):
            if not extrapolate:
                rounds.factor *= 0
            if rounds.step().all():
                return number

    assert rounds_needed(True) < 0.7 * rounds_needed(False)


def test_a_round_that_does_harm_is_not_kept(Z, U):
    rounds = begun(Z, U)
    for _ in range(4):
        rounds.step()
    rounds.factor[:] = 50.0  # leaps far too long
    before, kept = rounds.objective, rounds.U.clone()
    rounds.plain[:] = False
    rounds.step()
    assert rounds.objective == before and torch.equal(rounds.U, kept)
    assert rounds.plain.all() and (rounds.factor < 50).all()


def test_select_goes_on_with_some(Z, U):
    some, all_three = begun(Z, U), begun(Z, U)
    some.select(torch.tensor([True, False, True]))
    for _ in range(3):
        some.step(), all_three.step()
    assert len(some) == 2
    assert some.objective == pytest.approx([all_three.objective[0], all_three.objective[2]], rel=1e-12)


def test_the_lowest_end_is_kept_and_every_round_counted(Z, U):
    end, n_under_way = best_of_restarts(Z, squared_norms(Z), U.clone(), 1.0, 1e-6, 300)
    ends = [best_of_restarts(Z, squared_norms(Z), start[None].clone(), 1.0, 1e-6, 300)[0] for start in U]
    assert end.objective[-1] == pytest.approx(min(one.objective[-1] for one in ends), rel=1e-9)
    assert end.settled
    assert sum(n_under_way) == pytest.approx(sum(len(one.objective) for one in ends), abs=3)
    assert sorted(n_under_way, reverse=True) == n_under_way and n_under_way[0] == 3


def test_an_unused_concept_is_redrawn_to_what_the_worst_sample_lacks():
    Z = torch.tensor([[4.0, 0, 0], [4, 0, 0], [0, 3, 0], [0, 0, 1]]).double()
    U = torch.eye(3).double()[None, :2].clone()
    U[0, 1] = -U[0, 0]  # which no sample uses
    rounds = begun(Z, U, lam=0.5)
    assert rounds.U[0, 1].tolist() == pytest.approx([0, 1, 0])
    value = rounds.objective[0]
    rounds.step()
    assert rounds.objective[0] < value - 5  # from 9, the square of the third state, to about 3 * 0.5


def test_a_concept_is_not_redrawn_where_nothing_is_left_to_explain():
    Z = torch.tensor([[4.0, 0], [4, 0], [0, 0.2]]).double()
    U = torch.tensor([[[1.0, 0], [-1, 0]]]).double()
    rounds = begun(Z, U, lam=0.5)  # the last state is shorter than lam / 2
    assert rounds.U[0, 1].tolist() == [-1, 0]
    assert best_of_restarts(Z, squared_norms(Z), U, 0.5, 1e-6, 50)[0].settled


def test_descend_ends_at_the_minimum_of_a_quadratic():
    H = torch.tensor([[[2.0, 0.5], [0.5, 1.0]]]).double()
    T = torch.tensor([[[1.0, -1.0], [1.0, 1.0]]]).double()
    X = torch.zeros(1, 2, 2).double()
    descend(X, H, T, lambda row: row, sweeps=60)
    assert torch.allclose(H @ X, T)
    descend(X, H, T, torch.relu_, sweeps=60)
    assert X[0].tolist() == [pytest.approx([2 / 7, 0]), pytest.approx([6 / 7, 1])]


def test_into_ball_shortens_only_what_is_too_long():
    assert into_ball(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0, 0]])).tolist() == [
        pytest.approx([0.6, 0.8]),
        pytest.approx([0.3, 0.4]),
        [0, 0],
    ]
