"""Means with intervals; expected values are worked out by hand."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from coxlmm_utils.statistics import (
    Mean,
    aucs,
    bootstrap_mean,
    nested_bootstrap,
    share_of,
    share_over_seeds,
    weighted_aucs,
)


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


SEEDS = np.array([0.200, 0.124, 0.200])  # of a dictionary's overlap, as dog's were


def test_an_interval_over_seeds_holds_the_seeds_that_a_pooled_one_leaves_out():
    values = SEEDS[:, None] + np.random.default_rng(0).normal(0, 0.01, (3, 20))
    means = values.mean(axis=1)
    nested, pooled = nested_bootstrap(values), bootstrap_mean(values.ravel())
    assert nested.value == pytest.approx(pooled.value) and (nested.n, nested.n_seeds) == (60, 3)
    assert nested.low <= means.min() and nested.high >= means.max()
    assert not ((pooled.low < means) & (means < pooled.high)).any()


def test_two_seeds_without_spread_within_by_hand():
    """One of two seeds is drawn: a resample's mean is that of either."""
    assert nested_bootstrap([[1, 1, 1], [2, 2]]) == Mean(1.5, 1, 2, 5, 0, 2)


@pytest.mark.parametrize("crossed", [False, True])
def test_the_variance_over_seeds_is_that_of_their_mean(crossed):
    """Of seeds alone: s^2 / S, where drawing all S of them would give (1 - 1 / S) of it."""
    seeds = np.random.default_rng(0).standard_normal(40)
    result = nested_bootstrap(np.repeat(seeds[:, None], 3, axis=1), crossed)
    assert (result.high - result.low) / 2 == pytest.approx(1.96 * seeds.std(ddof=1) / np.sqrt(40), rel=0.03)


def test_seeds_that_agree_are_no_more_cases_than_one():
    case = [1, 1, 1, 0]
    assert share_over_seeds([case] * 5) == replace(share_of(case), n=20, n_seeds=5)
    assert share_over_seeds([[1] * 16] * 5) == replace(share_of([1] * 16), n=80, n_seeds=5)


def test_seeds_that_disagree_widen_the_interval():
    """Shares 0 and 1, of which the mean has the variance 1/4: as one case with the share 1/2 has."""
    result = share_over_seeds([[0] * 20, [1] * 20])
    ends = stats.beta.ppf(0.025, 0.5, 1.5), stats.beta.ppf(0.975, 1.5, 0.5)
    assert result == Mean(0.5, pytest.approx(ends[0]), pytest.approx(ends[1]), 40, n_seeds=2)


def test_each_seed_has_the_same_weight_in_a_share():
    assert share_over_seeds([[1, np.nan], [0, 0, 0]]).value == 0.5
    assert share_over_seeds([[1, np.nan], [0, 0, 0]]).n_missing == 1
    with pytest.raises(ValueError, match="at least one value, but 0 of 2"):
        share_over_seeds([[1, 0, 1], [np.nan, np.nan]])


def test_samples_that_all_seeds_share_are_no_independent_ones():
    """What differs between samples stays when seeds are averaged over, unless each seed has samples of its own."""
    samples = np.random.default_rng(0).standard_normal(400)
    shared, own = (nested_bootstrap(np.tile(samples, (4, 1)), crossed) for crossed in (True, False))
    assert shared.high - shared.low == pytest.approx(2 * 1.96 * samples.std() / 20, rel=0.05)
    assert own.high - own.low == pytest.approx((shared.high - shared.low) / np.sqrt(3), rel=0.05)
    assert (shared.n, own.n) == (400, 1600)


@pytest.mark.parametrize("crossed", [False, True])
def test_a_single_seed_is_a_plain_bootstrap(crossed):
    values = [0.1, 0.5, np.nan, 0.7]
    assert nested_bootstrap([values], crossed) == bootstrap_mean(values)
    assert nested_bootstrap(np.array([values]), crossed, 0.5, 3) == bootstrap_mean(values, level=0.5, seed=3)


def test_missing_values_of_seeds():
    nan = np.nan
    assert nested_bootstrap([[1, nan, 1], [nan, nan, nan], [3, 3]]) == Mean(2, 1, 3, n=4, n_missing=4, n_seeds=2)
    assert nested_bootstrap([[1, nan, 1], [3, 3, 3]], crossed=True) == Mean(2, 1, 3, n=2, n_missing=1, n_seeds=2)
    assert nested_bootstrap([[nan], [1, 2]]) == replace(bootstrap_mean([1, 2]), n_missing=1)


@pytest.mark.parametrize(
    "values, crossed, message",
    [
        ([], False, "at least two values, but 0 of 0"),
        ([[np.nan, 1], [1, np.nan]], True, "at least two values"),
        ([[1, 2], [1, 2, 3]], True, r"the seeds scored \[2, 3\] samples"),
        ([[1, 2], [1, np.inf]], False, "values of a seed are no list of finite numbers"),
    ],
)
def test_what_has_no_interval_over_seeds(values, crossed, message):
    with pytest.raises(ValueError, match=message):
        nested_bootstrap(values, crossed)


def test_aucs_are_those_of_scikit_learn_with_ties():
    rng = np.random.default_rng(0)
    activations = rng.integers(0, 4, (60, 3)).astype(float)  # many ties
    labels = rng.random((60, 5)) < 0.4
    expected = [[roc_auc_score(labels[:, value], activations[:, k]) for value in range(5)] for k in range(3)]
    np.testing.assert_allclose(aucs(activations, labels), expected, atol=1e-12)


def test_an_auc_of_a_resample_is_that_of_the_samples_it_drew():
    scores, has = np.array([3.0, 1.0, 2.0, 2.0]), np.array([True, True, False, False])
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 1], [0, 2, 1, 1], [2, 2, 0, 0]])
    np.testing.assert_allclose(weighted_aucs(scores, has, weights), [0.5, 1, 0, np.nan])
    drawn = np.repeat(np.arange(4), [1, 3, 2, 1])
    expected = roc_auc_score(has[drawn], scores[drawn])
    np.testing.assert_allclose(weighted_aucs(scores, has, np.array([[1, 3, 2, 1]])), expected)
