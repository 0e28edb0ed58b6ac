"""The rules that choose K, lambda and layer from a sweep."""

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.evaluation.selection import choose_lam, choose_layer, choose_n_concepts, elbow


def table(setting, values, **measures):
    return pd.DataFrame({setting: values, **measures})


def test_elbow_is_where_the_curve_bends():
    assert elbow(np.array([0.0, 1, 2, 3, 4]), np.array([10.0, 4, 1, 0.5, 0])) == 2
    assert elbow(np.array([0.0, 1, 2]), np.array([1.0, 1, 1])) == 0  # flat


def test_elbow_does_not_depend_on_units():
    x, y = np.array([5.0, 10, 20, 50]), np.array([0.5, 0.3, 0.25, 0.2])
    assert elbow(x, y) == elbow(x, 1000 * y + 7) == 10


def test_k_at_the_elbow_with_its_reason():
    result = choose_n_concepts(
        table("n_concepts", [2, 2, 5, 5, 9, 9], reconstruction_error=[0.9, 0.7, 0.3, 0.1, 0.16, 0.16], stability=0.75)
    )
    assert (result.setting, result.value) == ("n_concepts", 5)
    assert "from 0.800 at K = 2 to 0.200 here, and only to 0.160 at K = 9" in str(result)
    assert "stability across seeds 0.750" in result.reason and "overlap" not in result.reason


def test_k_needs_three_points():
    with pytest.raises(ValueError, match=r"an elbow needs at least three n_concepts, not \[2, 5\]"):
        choose_n_concepts(table("n_concepts", [5, 2], reconstruction_error=[0.1, 0.2]))


def test_lam_is_the_largest_that_costs_little():
    result = choose_lam(
        table("lam", [8.0, 0.5, 1.0, 2.0], reconstruction_error=[0.3, 0.2, 0.201, 0.2199], active=[2.0, 9, 8, 6])
    )
    assert result.value == 2.0
    assert "at most a tenth more error" in result.reason and "6.0 concepts instead of 9.0" in result.reason


def test_layer_by_ground_truth_else_by_words():
    both = table("layer", [0, 1, "norm"], auc=[0.6, 0.9, 0.8], mentioned=[0.1, 0.2, 0.3], reconstruction_error=1.0)
    assert choose_layer(both).value == 1
    assert "the lowest is 0.600 at layer 0" in choose_layer(both).reason
    assert choose_layer(both.drop(columns="auc")).value == "norm"
    with pytest.raises(ValueError, match="sweep with truth= or lmm="):
        choose_layer(both[["layer", "reconstruction_error"]])
