"""The rules that choose K, lambda and layer from a sweep."""

import pandas as pd
import pytest

from coxlmm_utils.evaluation.selection import choose_lam, choose_layer, choose_n_concepts, with_score


def table(setting, values, **measures):
    return pd.DataFrame({setting: values, **measures})


CURVES = dict(explained=[0.5, 0.8, 0.9, 0.95], stability=[1.0, 0.9, 0.8, 0.5])


def test_k_of_the_highest_score_with_its_reason():
    result = choose_n_concepts(table("n_concepts", [5, 10, 20, 40], **CURVES, overlap=0.25, reconstruction_error=0.5))
    assert (result.setting, result.value) == ("n_concepts", 10)
    assert "explained variance 0.800 x stability across seeds 0.900 = 0.720; next 0.720 at K = 20" in str(result)
    assert result.reason.endswith("There: overlap of words 0.250.")


def test_recovery_is_weighed_where_it_is_known():
    recovered = choose_n_concepts(table("n_concepts", [5, 10, 20, 40], **CURVES, recovered=[0.2, 0.5, 0.8, 0.8]))
    assert recovered.value == 20 and "x factor values recovered 0.800 = 0.576" in recovered.reason


def test_seeds_are_averaged_before_the_choice():
    by_seed = table("n_concepts", [5, 5, 10, 10], explained=[1.0, 0.2, 0.7, 0.7], stability=1.0)
    assert choose_n_concepts(by_seed).value == 10


def test_a_coarser_grid_only_leaves_values_out():
    """The score of a K is its own: without the best K the next best is chosen, and ends of the grid do not matter."""
    fine = table("n_concepts", [2, 5, 10, 20, 40], explained=[0.1, 0.5, 0.9, 0.9, 0.9], stability=[1, 1, 0.9, 0.8, 0.2])
    scores = with_score(fine).set_index("n_concepts")["score"]
    assert choose_n_concepts(fine).value == choose_n_concepts(fine.iloc[1:4]).value == 10
    without = fine[fine["n_concepts"] != 10]
    assert choose_n_concepts(without).value == 20 == scores.drop(10).idxmax()


def test_lam_is_the_largest_whose_score_is_near_the_best():
    result = choose_lam(
        table(
            "lam",
            [8.0, 0.5, 1.0, 2.0],
            explained=[0.5, 0.9, 0.9, 0.9],
            stability=[1, 1, 0.9, 0.96],
            active=[2, 9, 8, 6.0],
        )
    )
    assert result.value == 2.0
    assert "at least 95% of the best (0.900 at 0.5)" in result.reason and "6.0 concepts instead of 9.0" in result.reason


@pytest.mark.parametrize("relative, name", [(True, "relative lambda = 20"), (False, "lambda = 20")])
def test_a_fraction_is_called_relative(relative, name):
    assert choose_lam(table("lam", [5, 10, 20, 40], **CURVES, active=1.0, relative=relative)).reason.startswith(name)


@pytest.mark.parametrize("choose", [choose_n_concepts, choose_lam])
def test_without_stability_nothing_is_chosen(choose):
    one_seed = pd.DataFrame({"n_concepts": [2, 5], "lam": [1.0, 2.0], "explained": [0.5, 0.9]})
    with pytest.raises(ValueError, match="the sweep has no stability: sweep over two seeds or more"):
        choose(one_seed)


def test_layer_by_ground_truth_else_by_words():
    both = table("layer", [0, 1, "norm"], auc=[0.6, 0.9, 0.8], mentioned=[0.1, 0.2, 0.3], reconstruction_error=1.0)
    assert choose_layer(both).value == 1
    assert "0.900; next 0.800 at layer norm; the lowest is 0.600 at layer 0" in choose_layer(both).reason
    assert choose_layer(both.drop(columns="auc")).value == "norm"
    with pytest.raises(ValueError, match="sweep with truth= or lmm="):
        choose_layer(both[["layer", "reconstruction_error"]])
