"""Shares of concepts with an effect, and areas under curves, from tables with known answers."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.faithfulness.ablation_summary import MIN_SAMPLES, ablation_over, ablation_summary, areas
from coxlmm_utils.statistics import share_of

N = 20
EFFECTS = {  # of each concept's removal: own words, a random direction's, others' words
    0: (-1.0, 0.1, 0.2),  # an effect of its own
    1: (-1.0, -1.5, 0.0),  # a random direction does more
    2: (-1.0, 0.0, 1.5),  # others' words rise by more
    3: (-1.0, 0.0, 1.1),  # they move a little more
    4: (0.5, 0.9, 0.0),  # its words rise, if by less than at random
}


def removal_table(effects=EFFECTS, n: int = N, noise: float = 0.01, measure: str = "step") -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for concept, (own, random, others) in effects.items():
        for sample in range(n):
            case = {"sample": f"s{sample}", "concept": concept}
            own_now, random_now, others_now = np.add((own, random, others), noise * rng.standard_normal(3))
            others_now = abs(others_now)  # a table has magnitudes
            rows.append(case | {"edit": "concept", f"own_{measure}": own_now, f"others_{measure}": others_now})
            rows.append(case | {"edit": "random", f"own_{measure}": random_now, f"others_{measure}": 9.0})
    return pd.DataFrame(rows).assign(n_concepts=len(effects))


def test_a_concept_counts_if_it_does_more_than_both_controls():
    summary = ablation_summary(removal_table())
    assert summary.concepts["negative"].tolist() == summary.concepts["significant"].tolist() == [True] + 4 * [False]
    assert summary.share.value == summary.share_negative.value == pytest.approx(0.2)
    assert (summary.share.n, summary.n_excluded, summary.measure) == (5, 0, "own_step")
    first = summary.concepts.loc[0]
    assert first[["own", "random", "others"]].tolist() == pytest.approx([-1, 0.1, 0.2], abs=0.01)
    assert first[["minus_random", "margin_over_others"]].tolist() == pytest.approx([-1.1, -0.8], abs=0.02)
    assert summary.concepts["margin_over_others"].tolist() == pytest.approx([-0.8, -1, 0.5, 0.1, 0.5], abs=0.02)
    assert (summary.concepts["own_low"] < summary.concepts["own"]).all()
    assert (summary.concepts["own"] < summary.concepts["own_high"]).all()


def test_a_mean_below_zero_is_not_significant_where_its_interval_is_not():
    table = removal_table({0: (-0.7, 0, 0), 1: (-5, 0, 0)}, noise=2.0).assign(others_step=0.0)
    summary = ablation_summary(table, level=0.9)
    concepts = summary.concepts
    assert (summary.share, summary.share_negative) == (share_of([0, 1], 0.9), share_of([1, 1], 0.9))
    assert concepts["minus_random_low"][0] < concepts["minus_random"][0] < 0 < concepts["minus_random_high"][0]
    assert concepts["negative"].tolist() == [True, True] and concepts["significant"].tolist() == [False, True]
    certain = ablation_summary(removal_table({0: (-0.2, 0, 0), 1: (-5, 0, 0)}, noise=0))
    assert certain.concepts["significant"].all() and certain.share == share_of([True, True])


def test_the_difference_is_over_samples():
    table = removal_table({0: (-1, 0, 0), 1: (-3, 1, 0)}, noise=0)
    both = ablation_summary(table).minus_random
    assert (both.value, both.n) == (pytest.approx(-2.5), N)
    uneven = table.drop(table.index[(table["concept"] == 1) & (table["sample"] > "s5")].tolist())
    n_both = uneven[uneven["concept"] == 1]["sample"].nunique()
    mean = (n_both * -2.5 + (N - n_both) * -1) / N  # each sample counts once
    assert 10 <= n_both < N and ablation_summary(uneven).minus_random.value == pytest.approx(mean)


def test_concepts_of_few_samples_or_without_words_are_not_tested():
    few = removal_table({5: (-1, 0, 0)}, n=MIN_SAMPLES - 1)
    enough = removal_table({6: (-1, 0, 0)}, n=MIN_SAMPLES)
    bare = removal_table({7: (np.nan, np.nan, 0)})
    table = pd.concat([removal_table(), few, enough, bare]).assign(n_concepts=9)  # the last was never removed
    summary = ablation_summary(table)
    assert summary.concepts.index.tolist() == [0, 1, 2, 3, 4, 6] and summary.n_excluded == 3
    assert summary.concepts["n"].tolist() == [N] * 5 + [MIN_SAMPLES]
    assert str(summary).startswith("2 of 6 concepts") and str(summary).endswith("; 3 not tested")
    assert "not tested" not in str(ablation_summary(removal_table()))


def test_where_no_other_concept_is_active_its_own_words_need_only_fall():
    table = removal_table({0: (-1, 0, np.nan), 1: (1, 2, np.nan)})
    assert ablation_summary(table).concepts["significant"].tolist() == [True, False]


@pytest.mark.parametrize("measure", ["later", "mentions"])
def test_the_measure_can_be_another(measure):
    other = removal_table({k: (1, 0, 0) for k in EFFECTS}).drop(columns=["sample", "concept", "edit", "n_concepts"])
    table = pd.concat([removal_table(measure=measure), other], axis=1)
    summary = ablation_summary(table, measure)
    assert (summary.share.value, summary.measure) == (pytest.approx(0.2), measure)
    assert ablation_summary(table).share.value == 0
    with pytest.raises(ValueError, match="no measure 'words' of words: choose one of own_step, later, mentions"):
        ablation_summary(table, "words")


def test_too_few_are_refused():
    with pytest.raises(ValueError, match="^1 concepts were removed from at least 10 samples"):
        ablation_summary(removal_table({0: (-1, 0, 0)}))


def all_measures(effects=EFFECTS) -> pd.DataFrame:
    """A removal table with an effect at the own step and in mentions, none at later steps."""
    table = pd.concat([removal_table(effects, measure=measure) for measure in ("step", "later", "mentions")], axis=1)
    return table.loc[:, ~table.columns.duplicated()].assign(own_later=1.0)


def fake(monkeypatch, removed) -> list:
    """Let `ablation_over` find what `removed` gives for a seed; the calls of `extract`."""
    asked = []
    given = {
        "extract": lambda lmm, images, token, layer, position: asked.append((images, token, layer, position)) or images,
        "ConceptBank": SimpleNamespace(learn=lambda lmm, states, dictionary: dictionary.random_state),
        "remove_concepts": lambda lmm, bank, tested: removed(bank),
    }
    for name, stand_in in given.items():
        monkeypatch.setattr(sys.modules["coxlmm_utils.faithfulness.ablation_summary"], name, stand_in)
    return asked


def test_every_token_and_position_has_a_row(monkeypatch):
    asked = fake(monkeypatch, lambda seed: all_measures())
    rows = ablation_over(None, {"dog": ("dogs", "other dogs"), "cat": ("cats", "other cats")}, 4)
    assert rows[["token", "position"]].to_numpy().tolist() == [
        [token, position] for token in ("dog", "cat") for position in ("predicts", "own")
    ]
    assert asked[:2] == [("dogs", "dog", 4, "predicts"), ("other dogs", "dog", 4, "predicts")] and len(asked) == 8
    first, share = rows.loc[0], share_of([1, 0, 0, 0, 0])
    assert first[["own_step", "own_step_low", "own_step_high"]].tolist() == [share.value, share.low, share.high]
    assert (first["later"], first["mentions"], first["tested"], first["n_excluded"]) == (0, 0.2, 5, 0)
    assert first["minus_random_low"] <= first["minus_random"] <= first["minus_random_high"]
    assert first["minus_random"] == pytest.approx(first["own"] - first["random"]) and first["seeds"] == 5


def test_seeds_have_the_same_weight_and_widen_the_interval(monkeypatch):
    """All concepts of one seed pass, none of the other's, of which one is on too few samples."""
    seeds = all_measures({k: (-2, 0, 0) for k in range(4)}), all_measures({k: (2, 0, 0) for k in range(4)})
    few = seeds[1]["concept"].eq(0) & ~seeds[1]["sample"].isin(["s1", "s2"])
    fake(monkeypatch, lambda seed: seeds[1][~few] if seed else seeds[0])
    [row] = ablation_over(None, {"dog": ("dogs", "other dogs")}, 4, ["own"], seeds=(0, 1)).to_dict("records")
    assert (row["own_step"], row["tested"], row["n_excluded"], row["seeds"]) == (0.5, 3.5, 0.5, 2)
    assert row["own_step_high"] - row["own_step_low"] > 0.95
    assert row["minus_random"] == pytest.approx(0, abs=0.02)
    assert row["minus_random_low"] < -1.9 and row["minus_random_high"] > 1.9


def curve_table(n: int = 3) -> pd.DataFrame:
    """Deletion falls by 4 at once in order of activation, and at the end at random; insertion the other way round."""
    shapes = {"activation": ((0, -4, -4), (-4, 0, 0)), "random": ((0, 0, -4), (-4, -4, 0))}
    rows = []
    for sample in range(n):
        for order, draws in (("activation", 1), ("random", 2)):
            for draw in range(draws):
                for curve, values in zip(("deletion", "insertion"), shapes[order]):
                    for n_concepts, value in enumerate(values):
                        point = {"n_concepts": n_concepts, "share": n_concepts / 2, "caption": value * (sample + 1)}
                        rows.append({"sample": sample, "curve": curve, "order": order, "draw": draw} | point)
    return pd.DataFrame(rows)


def test_areas_are_means_over_shares_with_paired_differences():
    table = areas(curve_table()).set_index(["curve", "order"])
    assert table["value"].to_dict() == pytest.approx(
        {
            ("deletion", "activation"): -6.0,  # of -3, -6 and -9
            ("deletion", "random"): -2.0,
            ("deletion", "difference"): -4.0,
            ("insertion", "activation"): -2.0,
            ("insertion", "random"): -6.0,
            ("insertion", "difference"): 4.0,
        }
    )
    assert (table["n"] == 3).all() and (table["low"] < table["value"]).all() and (table["value"] < table["high"]).all()


def test_draws_of_an_order_count_as_one_sample():
    table = curve_table()
    flat = (table["order"] == "random") & (table["draw"] == 1)
    table.loc[flat, "caption"] = 0.0
    assert areas(table).set_index(["curve", "order"])["value"]["deletion", "random"] == pytest.approx(-1)


def test_samples_with_more_concepts_count_alike():
    table = curve_table(2)
    longer = table["sample"] == 1
    halves = table[longer].assign(edited=lambda t: 2 * t["n_concepts"])
    between = halves.assign(edited=halves["n_concepts"] + 1, share=halves["share"] + 0.25)
    between["caption"] = (halves["caption"] + halves["caption"].shift(-1)) / 2
    finer = pd.concat([table[~longer], halves, between[between["share"] < 1]]).sort_values(["sample", "share"])
    pd.testing.assert_frame_equal(areas(finer), areas(table))


def test_areas_can_be_of_the_target():
    table = curve_table().rename(columns={"caption": "target"})
    pd.testing.assert_frame_equal(areas(table, "target"), areas(curve_table()))


def test_the_level_widens_intervals():
    narrow, wide = (areas(curve_table(), level=level) for level in (0.5, 0.95))
    assert (narrow["high"] - narrow["low"] < wide["high"] - wide["low"]).all()
