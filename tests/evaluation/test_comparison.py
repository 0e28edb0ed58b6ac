"""Comparisons of systems; expected values are worked out by hand."""

import warnings

import numpy as np
import pytest
from scipy.stats import t as student

from coxlmm_utils.evaluation.comparison import compare, holm
from coxlmm_utils.statistics import nested_bootstrap

SCORES = {"ours": [0.5, 0.7, 0.9, 0.8], "words": [0.4, 0.5, 0.6, 0.4], "noise": [0.5, 0.8, 0.8, 0.8]}
TESTS = ["p_paired_t", "p_wilcoxon", "p_independent_t"]


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
    assert row["p_independent_t"] == pytest.approx(2 * student.sf(0.25 / np.sqrt(spread / 4), 6))


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
        "p_independent_t",
    ]


def test_the_difference_is_ours_minus_the_other():
    assert compare(SCORES, "words").loc["ours", "difference"] == pytest.approx(-0.25)


def test_tests_are_of_means_over_seeds_and_the_interval_is_over_seeds_too():
    spread = np.array([[0.3], [-0.1], [-0.2]])  # what three seeds differ by
    seeded = compare({"ours": SCORES["ours"] + spread, "words": SCORES["words"]}, "ours").loc["words"]
    plain = compare(SCORES, "ours").loc["words"]
    assert seeded[["difference", *TESTS]].tolist() == pytest.approx(plain[["difference", *TESTS]].tolist())
    mean = nested_bootstrap(np.subtract(SCORES["ours"], SCORES["words"]) + spread, crossed=True)
    assert seeded[["low", "high"]].tolist() == pytest.approx([mean.low, mean.high])
    assert seeded["low"] < plain["low"] and plain["high"] < seeded["high"]


def test_seeds_are_paired_in_their_order():
    """What two systems have in common at each seed, such as a dictionary, does not blur their difference."""
    seeded = {name: np.array(SCORES[name]) + [[0.0], [5.0]] for name in ("ours", "words")}
    plain = compare(SCORES, "ours").loc["words"]
    assert compare(seeded, "ours").loc["words", "high"] == pytest.approx(plain["high"], abs=0.03)


def test_pictures_without_a_score_are_left_out_pair_by_pair():
    nan = np.nan
    holes = {"ours": [nan, 5, 0, 1, 2], "a": [7, nan, 0, 0, 0], "b": [9, 1, 0, 0, 0]}
    table = compare(holes, "ours")
    assert table["n"].tolist() == [3, 4] and table["n_missing"].tolist() == [2, 1]
    assert table["difference"].tolist() == pytest.approx([3 / 3, 7 / 4])


@pytest.mark.parametrize("n", [2, 80])
@pytest.mark.parametrize("ours, other, p", [("zero", "same", 1), ("zero", "half", 0)])
def test_equal_scores_neither_fail_nor_warn(n, ours, other, p):
    scores = {"zero": np.zeros(n), "same": np.zeros(n), "half": np.full(n, 0.5)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = compare(scores, ours).loc[other]
    assert row[["p_paired_t", "p_independent_t"]].tolist() == [p, p]
    assert 0 <= row["p_wilcoxon"] <= 1 and row["low"] == row["high"] == row["difference"]


def test_the_same_scores_in_all_pictures_of_a_varied_list_tell_no_difference():
    row = compare({"ours": [0.1, 0.5, 0.7], "other": [0.1, 0.5, 0.7]}, "ours").loc["other"]
    assert row[TESTS].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "scores, message",
    [
        ({"a": [1, 2]}, "no scores of 'ours': choose one of 'a'"),
        ({"ours": [1, 2]}, "scores of 'ours' only"),
        ({"ours": [1, 2], "a": [1, 2, 3]}, "different numbers of pictures, {'ours': 2, 'a': 3}"),
        ({"ours": [1, np.nan, 2], "a": [np.nan, 1, 2]}, "'ours' and 'a' have 1 scored pictures in common"),
        ({"ours": [1, 2], "a": [1, np.inf]}, "the scores of 'a' are not all finite"),
        ({"ours": [[1, 2]] * 3, "a": [[1, 2]] * 2}, "'ours' has 3 seeds and 'a' 2: give as many, or one"),
    ],
)
def test_what_cannot_be_compared(scores, message):
    with pytest.raises(ValueError, match=message):
        compare(scores, "ours")
