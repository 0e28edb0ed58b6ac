"""Scores against known factors: matched on some pages, measured on others."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from coxlmm_utils.ground_truth.factor_matching import factor_labels
from coxlmm_utils.ground_truth.factor_recovery import over_seeds, score_against_factors
from coxlmm_utils.picturebook.factors import factors_of

DOGS = [factors_of(number) for number in range(0, 4800, 8)]
PAGES, HELD_OUT = DOGS[:400], DOGS[400:]  # 400 and 200
VALUES = [("place", "snow"), ("colour", "black"), ("time", "night")]


def showing(pages, values=VALUES, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Activations of concepts that are 1 where a value is shown, with noise."""
    labels = factor_labels(pages)
    clear = np.column_stack([labels[value] for value in values]).astype(float)
    return clear + noise * np.random.default_rng(seed).random(clear.shape)


def scored(learned=None, tested=None, **options):
    learned = showing(PAGES) if learned is None else learned
    return score_against_factors(learned, PAGES, showing(HELD_OUT) if tested is None else tested, HELD_OUT, **options)


def test_values_are_recovered_on_held_out_pages():
    results = scored()
    assert (results.recovered.value, results.recovered.low, results.recovered.high, results.recovered.n) == (
        3,
        3,
        3,
        200,
    )
    assert (results.mean_auc.value, results.n_values, results.n_excluded) == (1, 23, 0)
    assert list(zip(results.table["factor"], results.table["value"])) == VALUES
    assert (results.table[["auc", "low", "high", "purity", "auc_matching", "best_auc"]] == 1).all(axis=None)
    shown = np.mean([page.place == "snow" for page in HELD_OUT])
    assert results.table["base"][0] == pytest.approx(shown)
    assert str(results).startswith(
        "3 [3, 3] of 23 values recovered at held-out AUC above 0.9 by 3 concepts; mean AUC of the values matched 1.000"
    )


def test_auc_is_of_held_out_pages_for_the_value_of_the_others():
    tested = showing(HELD_OUT, noise=1.5)
    row = scored(tested=tested).table.loc[0]
    snow = [page.place == "snow" for page in HELD_OUT]
    assert row["auc_matching"] == 1 and row["auc"] == pytest.approx(roc_auc_score(snow, tested[:, 0]))
    top = np.argsort(-tested[:, 0])[:5]
    assert row["purity"] == np.mean([snow[page] for page in top])
    other = scored(tested=showing(HELD_OUT, [("place", "beach"), *VALUES[1:]])).table.loc[0]
    assert other["value"] == "snow" and other["auc"] < 0.5  # chosen before the held-out pages were seen


def test_luck_on_the_pages_of_the_matching_does_not_count():
    rng = np.random.default_rng(0)
    results = scored(rng.random((400, 16)), rng.random((200, 16)))
    assert results.table["auc_matching"].min() > 0.5 and results.recovered.value == 0
    assert results.table["auc_matching"].mean() > 0.55
    assert results.mean_auc.low < 0.5 < results.mean_auc.high


def test_intervals_are_those_of_resampled_pages():
    tested = showing(HELD_OUT, noise=1.5).round(1)  # with ties
    results = scored(tested=tested, n_resamples=200, seed=3)
    snow = np.array([page.place == "snow" for page in HELD_OUT])
    weights = np.random.default_rng(3).multinomial(200, np.full(200, 1 / 200), size=200)
    by_hand = [roc_auc_score(np.repeat(snow, w), np.repeat(tested[:, 0], w)) for w in weights]
    np.testing.assert_allclose(results.draws[:, 0], by_hand, atol=1e-12)
    row = results.table.loc[0]
    assert [row["low"], row["high"]] == pytest.approx(np.percentile(by_hand, [2.5, 97.5]))
    assert row["low"] < row["auc"] < row["high"]
    assert results.mean_auc.low == pytest.approx(np.percentile(results.draws.mean(1), 2.5))
    assert results.recovered.high == np.percentile((results.draws > 0.9).sum(1), 97.5)
    narrow = scored(tested=tested, n_resamples=200, seed=3, level=0.5)
    assert row["low"] < narrow.table["low"][0] < narrow.table["high"][0] < row["high"]


def test_the_best_value_need_not_be_the_matched_one():
    twice = [VALUES[0], VALUES[0]]
    table = scored(showing(PAGES, twice), showing(HELD_OUT, twice)).table
    assert table["best_value"].tolist() == ["snow", "snow"] and table["best_auc"].tolist() == [1, 1]
    assert sorted(table["value"] == "snow") == [False, True] and sorted(table["auc"])[0] < 0.8


def test_a_signed_concept_may_tell_its_value_by_low_activations():
    two = VALUES[:2]  # low activations for night are high ones for day
    learned, tested = (0.5 - showing(pages, two) for pages in (PAGES, HELD_OUT))
    results = scored(learned, tested)
    assert results.table["side"].tolist() == [-1, -1] and results.recovered.value == 2
    assert results.table["purity"].tolist() == [1, 1] and results.table["best_auc"].tolist() == [1, 1]
    turned = scored(learned, showing(HELD_OUT, two) - 0.5).table  # the side is not chosen on held-out pages
    assert turned["auc"].tolist() == [0, 0]


def test_concepts_that_cannot_be_judged_are_counted():
    learned = np.column_stack([np.zeros(400), showing(PAGES)])
    results = scored(learned, np.column_stack([np.ones(200), showing(HELD_OUT)]))
    assert results.n_excluded == 1 and results.recovered.value == 3 and results.mean_auc.value == 1
    assert results.table.loc[0].drop("concept").isna().all() and str(results).endswith("; 1 not scored")
    nothing = scored(np.zeros((400, 2)), np.zeros((200, 2)))
    assert (nothing.recovered.value, nothing.recovered.high, nothing.n_excluded) == (0, 0, 2)
    assert np.isnan([nothing.mean_auc.value, nothing.mean_auc.low]).all()


def test_a_value_on_few_held_out_pages_is_not_judged():
    without = [page for page in HELD_OUT if page.place != "snow"]
    snowy = [page for page in HELD_OUT if page.place == "snow"]
    for n, judged in ((4, False), (5, True)):
        pages = without + snowy[:n]
        tested = np.array([[page.place == "snow", page.colour == "black"] for page in pages], dtype=float)
        results = score_against_factors(showing(PAGES)[:, :2], PAGES, tested, pages)
        row = results.table.loc[0]
        assert row["value"] == "snow" and row["auc_matching"] == 1
        assert np.isnan(row["auc"]) != judged and results.n_excluded == 1 - judged
        assert results.recovered.value == 1 + judged and results.mean_auc.value == 1


def test_a_concept_silent_on_held_out_pages_is_at_chance_with_no_purity():
    row = scored(tested=np.zeros((200, 3))).table.loc[0]
    assert row["auc"] == row["low"] == row["high"] == 0.5 and np.isnan(row["purity"])
    few = np.zeros((200, 3))
    snowy = [row for row, page in enumerate(HELD_OUT) if page.place == "snow"]
    few[snowy[:2], 0] = 1  # only two pages are active, and both show it
    assert scored(tested=few).table["purity"][0] == 1


def test_differences_are_paired():
    noisy = showing(HELD_OUT, noise=1.5)
    ours, other = scored(tested=noisy), scored(tested=noisy - 0.0)
    assert all((mean.value, mean.low, mean.high) == (0, 0, 0) for mean in over_seeds([ours], [other]).values())
    worse = scored(tested=showing(HELD_OUT, noise=2.5, seed=1))
    difference = over_seeds([ours], [worse])["mean_auc"]
    assert difference.value == pytest.approx(ours.mean_auc.value - worse.mean_auc.value) and difference.n == 200
    drawn = ours.draws.mean(1) - worse.draws.mean(1)
    assert [difference.low, difference.high] == pytest.approx(np.percentile(drawn, [2.5, 97.5]))
    assert over_seeds([worse], [ours])["recovered"].value == worse.recovered.value - ours.recovered.value < 0
    for stranger in (scored(seed=1), scored(n_resamples=10), score_against_factors(*2 * (showing(PAGES), PAGES))):
        with pytest.raises(ValueError, match="^these were scored on different held-out pages or resamples"):
            over_seeds([ours], [stranger])


def test_seeds_are_the_outer_level_of_intervals():
    good, bad = scored(), scored(tested=showing(HELD_OUT, noise=9, seed=2))
    assert over_seeds([good])["recovered"] == good.recovered  # one seed: its own interval
    mean = over_seeds([good, bad])["recovered"]
    assert (good.recovered.value, bad.recovered.value, mean.value, mean.n_seeds) == (3, 0, 1.5, 2)
    assert (mean.low, mean.high) == (0, 3)  # pooled, the two would have looked sure of 1.5


def test_dictionaries_must_not_be_mixed():
    with pytest.raises(ValueError, match="held-out activations are of 2 concepts, the others of 3"):
        scored(tested=showing(HELD_OUT)[:, :2])
    with pytest.raises(ValueError, match="of shape \\(400, 3\\) for 200 pages"):
        scored(tested=showing(PAGES))
