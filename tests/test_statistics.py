"""Means with intervals, and comparisons of systems; expected values are worked out by hand."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from coxlmm_utils.statistics import Mean, bootstrap_mean, compare, holm, share_of

SCORES = {"ours": [0.5, 0.7, 0.9, 0.8], "words": [0.4, 0.5, 0.6, 0.4], "noise": [0.5, 0.8, 0.8, 0.8]}
TESTS = ["p_paired_t", "p_wilcoxon", "p_independent_t_paper"]


def test_a_mean_as_text():
    assert str(Mean(0.61, 0.598, 0.6219, 200)) == "0.610 [0.598, 0.622]"
    assert str(Mean(-0.0001, -0.25, 0.0, 2)) == "0.000 [-0.250, 0.000]"


def test_a_mean_as_columns_of_a_table():
    assert Mean(0.5, 0.2, 0.9, 7).named("auc") == {"auc": 0.5, "auc_low": 0.2, "auc_high": 0.9}


def test_two_values_by_hand():
    """A resample of 0 and 1 has the mean 0 or 1 a quarter of the time each, and 0.5 half of the time."""
    assert bootstrap_mean([0, 1]) == Mean(0.5, 0, 1, 2)
    assert bootstrap_mean([0, 1], level=0.4) == Mean(0.5, 0.5, 0.5, 2)


def test_the_interval_is_that_of_the_normal_law_where_there_are_many():
    values = np.random.default_rng(0).standard_normal(400)
    result, half = bootstrap_mean(values), 1.96 * values.std() / 20
    assert result.value == pytest.approx(values.mean())
    assert (result.low, result.high) == pytest.approx((result.value - half, result.value + half), abs=0.1 * half)
    narrower = bootstrap_mean(values, level=0.5)
    assert result.low < narrower.low < narrower.high < result.high


def test_missing_values_are_left_out_and_counted():
    result = bootstrap_mean([np.nan, 0, 1, np.nan, np.nan])
    assert result == Mean(0.5, 0, 1, n=2, n_missing=3)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).random(30)
    assert bootstrap_mean(values, 200) == bootstrap_mean(values, 200)
    assert bootstrap_mean(values, 200, seed=1) != bootstrap_mean(values, 200)


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_equal_values_have_an_interval_of_no_width(value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = bootstrap_mean([value] * 7)
    assert (result.value, result.low, result.high) == pytest.approx((value, value, value))


@pytest.mark.parametrize(
    "values, level, message",
    [
        ([], 0.95, "at least two values, but 0 of 0"),
        ([0.3, np.nan], 0.95, "at least two values, but 1 of 2"),
        ([0.3, np.inf], 0.95, "no list of finite numbers"),
        ([[0.3, 0.4]], 0.95, "no list of finite numbers"),
        ([0.3, 0.4], 95, "level=95 is no share"),
    ],
)
def test_no_mean_without_two_finite_values(values, level, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(values, level=level)


def test_a_share_by_hand():
    """All n hold as often as 2.5% of the time if the true share is 0.025^(1/n); of 2, one or more if 1 - (1-p)^2 is."""
    low = 0.025 ** (1 / 16)
    assert share_of([True] * 16) == Mean(1, pytest.approx(low), 1, 16)
    assert share_of([0] * 16) == Mean(0, 0, pytest.approx(1 - low), 16)
    single = 1 - np.sqrt(0.975)
    assert share_of(np.array([1, 0])) == Mean(0.5, pytest.approx(single), pytest.approx(1 - single), 2)
    assert share_of([True], level=0.8) == Mean(1, pytest.approx(0.1), 1, 1)


def test_unknown_cases_of_a_share_are_left_out_and_counted():
    assert share_of([np.nan, 1, 0, np.nan, 1]) == replace(share_of([1, 0, 1]), n_missing=2)


@pytest.mark.parametrize(
    "holds, level, message",
    [
        ([], 0.95, "at least one value, but 0 of 0 are there"),
        ([np.nan, np.nan], 0.95, "at least one value, but 0 of 2 are there"),
        ([1, 0.5], 0.95, "true or false: give 1 or 0 for each"),
        ([[True]], 0.95, "no list of finite numbers"),
        ([True], 1, "level=1 is no share"),
    ],
)
def test_no_share_without_true_or_false(holds, level, message):
    with pytest.raises(ValueError, match=message):
        share_of(holds, level)


def test_holm_by_hand():
    """0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1, which may not be less than the one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    assert holm([0.2]).tolist() == [0.2]


def test_a_comparison_by_hand():
    """Differences 0.1, 0.2, 0.3, 0.4: mean 0.25, variance 0.05 / 3; all of one sign, as 2 of 16 signings are."""
    row = compare(SCORES, "ours").loc["words"]
    assert row[["n", "n_missing"]].tolist() == [4, 0]
    assert row["difference"] == pytest.approx(0.25) and 0.1 <= row["low"] < 0.2 < 0.3 < row["high"] <= 0.4
    assert row["p_paired_t"] == pytest.approx(2 * student.sf(0.25 / np.sqrt(0.05 / 3 / 4), 3))
    assert row["p_wilcoxon"] == pytest.approx(2 / 16)
    spread = np.var(SCORES["ours"], ddof=1) + np.var(SCORES["words"], ddof=1)
    assert row["p_independent_t_paper"] == pytest.approx(2 * student.sf(0.25 / np.sqrt(spread / 4), 6))


def test_one_row_for_each_other_system_corrected_over_the_rows():
    table = compare(SCORES, "ours")
    assert table.index.tolist() == ["words", "noise"] and table.index.name == "other"
    assert table.loc["noise", "difference"] == pytest.approx(0)
    for test in ("p_paired_t", "p_wilcoxon"):
        assert table[f"{test}_holm"].tolist() == holm(table[test]).tolist() != table[test].tolist()
    assert table.columns.tolist()[-5:] == [
        "p_paired_t",
        "p_paired_t_holm",
        "p_wilcoxon",
        "p_wilcoxon_holm",
        "p_independent_t_paper",
    ]


def test_the_difference_is_ours_minus_the_other():
    assert compare(SCORES, "words", 50).loc["ours", "difference"] == pytest.approx(-0.25)


def test_the_options_of_the_interval_are_passed_on():
    result = compare(SCORES, "ours", 60, 0.8, 3).loc["words", ["low", "high"]].tolist()
    mean = bootstrap_mean(np.subtract(SCORES["ours"], SCORES["words"]), 60, 0.8, 3)
    assert result == [mean.low, mean.high]


def test_pictures_without_a_score_are_left_out_pair_by_pair():
    nan = np.nan
    holes = {"ours": [nan, 5, 0, 1, 2], "a": [7, nan, 0, 0, 0], "b": [9, 1, 0, 0, 0]}
    table = compare(holes, "ours", 50)
    assert table["n"].tolist() == [3, 4] and table["n_missing"].tolist() == [2, 1]
    assert table["difference"].tolist() == pytest.approx([3 / 3, 7 / 4])


@pytest.mark.parametrize("n", [2, 80])
@pytest.mark.parametrize("ours, other, p", [("zero", "same", 1), ("zero", "half", 0)])
def test_equal_scores_neither_fail_nor_warn(n, ours, other, p):
    scores = {"zero": np.zeros(n), "same": np.zeros(n), "half": np.full(n, 0.5)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = compare(scores, ours, 50).loc[other]
    assert row[["p_paired_t", "p_independent_t_paper"]].tolist() == [p, p]
    assert 0 <= row["p_wilcoxon"] <= 1 and row["low"] == row["high"] == row["difference"]


def test_the_same_scores_in_all_pictures_of_a_varied_list_tell_no_difference():
    row = compare({"ours": [0.1, 0.5, 0.7], "other": [0.1, 0.5, 0.7]}, "ours", 50).loc["other"]
    assert row[TESTS].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "scores, message",
    [
        ({"a": [1, 2]}, "no scores of 'ours': choose one of 'a'"),
        ({"ours": [1, 2]}, "scores of 'ours' only"),
        ({"ours": [1, 2], "a": [1, 2, 3]}, "different numbers of pictures, {'ours': 2, 'a': 3}"),
        ({"ours": [1, np.nan, 2], "a": [np.nan, 1, 2]}, "'ours' and 'a' have 1 scored pictures in common"),
        ({"ours": [1, 2], "a": [1, np.inf]}, "the scores of 'a' are no list of finite numbers"),
    ],
)
def test_what_cannot_be_compared(scores, message):
    with pytest.raises(ValueError, match=message):
        compare(scores, "ours", 50)
