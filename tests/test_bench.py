"""The benchmark measures what it says: states, objective, curve and table."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "bench"


def script(name: str):
    """A benchmark, which is a script and no part of a package."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(FOLDER))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


bench, measuring = script("semi_nmf"), script("measuring")


def test_objective_by_hand():
    Z, U, V = np.array([[3.0, 4.0]]), np.array([[0.6, 0.8]]), np.array([[4.0]])
    assert bench.objective(Z, U, V) == pytest.approx(1 + 2 * 4)


def test_concepts_beyond_the_unit_ball_pay_for_their_length():
    Z, U, V = np.array([[3.0, 4.0]]), np.array([[0.6, 0.8]]), np.array([[4.0]])
    assert bench.objective(Z, 10 * U, V / 10) == pytest.approx(bench.objective(Z, U, V))


def test_planted_states_are_made_of_their_concepts():
    Z = bench.planted(samples=60, width=40, concepts=3, noise=0.0)
    assert Z.dtype == np.float32 and np.linalg.matrix_rank(Z, tol=1e-3) == 3


def test_the_mean_dominates_massive_states():
    Z = bench.massive(samples=60, width=40, concepts=3).astype(float)
    assert Z.shape == (60, 40) and (np.abs(Z.mean(axis=0)) > 1000).sum() == 3
    assert len(Z) * (Z.mean(axis=0) ** 2).sum() > 0.999 * (Z**2).sum()


@pytest.mark.filterwarnings("ignore:Semi-NMF has not converged")
def test_ours_is_timed_with_its_curve():
    Z = bench.planted(samples=100, width=30, concepts=3)
    result = bench.fit_ours(Z, n_concepts=3, max_iter=50)
    times, values = zip(*result["curve"])
    assert 0 < times[0] and times[-1] == result["seconds"]
    reached = bench.objective(Z.astype(float), result["U"], result["V"])
    assert min(values) == values[-1] == result["reported_objective"] == pytest.approx(reached, rel=1e-6)
    assert result["float64_objective"] == pytest.approx(reached, rel=1e-6)


def test_table_has_a_row_for_each_system_and_gaps_where_one_is_missing():
    ours = {"seconds": 2.0, "objective": 10.0, "seconds_to_sklearn": None, "rounds": 3}
    systems = {"ours": ours, "sklearn": {"seconds": 50.0, "objective": 11.0}, "overcomplete": {"missing": "no"}}
    results = {"digits": systems | {"float64_objective": 10.0}}
    rows = bench.table(results)
    assert rows.loc[("digits", "sklearn"), "ratio"] == 25
    assert rows.loc[("digits", "sklearn"), "above ours"] == pytest.approx(0.1)
    assert np.isnan(rows.loc[("digits", "overcomplete"), "seconds"])


def test_results_of_one_benchmark_leave_the_others(tmp_path):
    out = tmp_path / "bench.json"
    measuring.keep("semi_nmf", {"digits": 1, "planted": 2}, out)
    measuring.keep("extraction", {"ours": 3}, out)
    measuring.keep("semi_nmf", {"digits": 4}, out)
    assert json.loads(out.read_text()) == {"semi_nmf": {"digits": 4, "planted": 2}, "extraction": {"ours": 3}}
