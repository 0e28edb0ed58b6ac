"""Effects of steering on the picture book: by hand, and with the bundled model."""

import numpy as np
import pandas as pd
import pytest
import torch

from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.ground_truth.steering_effects import (
    best_setting,
    compared,
    effect_means,
    effects_table,
    facts_of,
    random_directions,
    steering_effects,
    value_directions,
)
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.picturebook.factors import factors_of


def test_facts_are_the_different_values_that_a_caption_names():
    assert facts_of("a brown dog running on the sand by the sea") == {
        "kind": ("dog",),
        "colour": ("brown",),
        "action": ("running",),
        "place": ("beach",),
    }
    assert facts_of("a dog in the snow on the street")["place"] == ("snow", "street") and facts_of("a thing") == {}


@pytest.mark.parametrize(
    "steered, hit, same",
    [
        ("a brown dog on the beach", True, True),
        ("a brown dog by the sea", True, True),  # another word of the same value
        ("a black dog on the beach", True, False),
        ("a brown cat on the beach", True, False),
        ("a brown dog on the beach at night", True, True),  # and a fact that was not said before
        ("a dog on the beach", True, False),
        ("a brown dog", False, True),
        ("a brown dog on the grass on the beach", False, True),  # both values
        ("beach beach beach", True, False),
    ],
)
def test_a_hit_names_the_wanted_value_alone_and_same_is_all_else(steered, hit, same):
    result = compared("a brown dog on the grass", steered, "place", "beach")
    assert (result["hit"], result["same"], result["added"]) == (hit, same, "at night" in steered)


def test_means_are_over_pages_and_then_over_values():
    rows = [("1", "beach", 1), ("2", "beach", 1), ("3", "beach", 0), ("3", "snow", 0), ("4", "snow", 0)]
    table = pd.DataFrame(rows, columns=["id", "wanted", "hit"]).assign(same=1, added=0)
    means = effect_means(table)
    assert means["hit"].value == pytest.approx((2 / 3 + 0) / 2) and means["hit"].n == 4
    assert means["hit"].low < means["hit"].value < means["hit"].high
    assert str(means["same"]) == "1.000 [1.000, 1.000]"


def test_a_table_has_a_row_for_each_setting_and_the_best_keeps_to_the_bound():
    rows = pd.DataFrame(
        [("1", "beach", alpha, hit, same) for alpha, hit, same in ((1.0, 0.5, 1), (2.0, 1, 0.9), (4.0, 1, 0))],
        columns=["id", "wanted", "alpha", "hit", "same"],
    ).assign(added=0)
    table = effects_table(rows)
    assert table.index.tolist() == [1.0, 2.0, 4.0] and table["hit"].tolist() == [0.5, 1, 1]
    assert best_setting(table) == 2.0 and best_setting(table, 0.95) == 1.0 and best_setting(table, 1.1) == 2.0
    both = effects_table(rows.assign(layer=3), ["layer", "alpha"])
    assert best_setting(both) == (3, 2.0)


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


@pytest.fixture(scope="module")
def states(lmm):
    return extract(lmm, load_images("picturebook").mentioning("dog")[:150], "dog", 3, cache=False)


def test_directions_lead_from_one_mean_to_another(states):
    values = np.array([factors_of(int(id)).place for id in states.images.ids])
    mean = {value: states.Z[torch.tensor(values == value)].mean(0) for value in ("grass", "beach")}
    own = value_directions(states, "place")
    torch.testing.assert_close(own["grass", "beach"].vector, mean["beach"] - mean["grass"], rtol=1e-4, atol=1e-5)
    assert len(own) == 6 * 5 and ("beach", "beach") not in own
    random = random_directions(own)
    assert all(random[change].norm == pytest.approx(own[change].norm, rel=1e-5) for change in own)
    assert not torch.equal(random["grass", "beach"].vector, random["beach", "grass"].vector)


def test_the_bundled_model_changes_the_place_and_little_else(lmm, states):
    pages = load_images("picturebook", split="test").mentioning("dog")[:24]
    edits = {
        (own, wanted): edit for (own, wanted), edit in value_directions(states, "place").items() if wanted == "beach"
    }
    table = steering_effects(lmm, pages, "place", edits, (0.0, 1.0))
    by_alpha = table.groupby("alpha")[["hit", "same"]].mean()
    assert set(table["wanted"]) == {"beach"} and (table["own"] != "beach").all()
    assert (table.loc[table["alpha"] == 0, "steered"] == table.loc[table["alpha"] == 0, "unsteered"]).all()
    assert by_alpha.loc[0.0].tolist() == [0, 1] and (by_alpha.loc[1.0] > 0.6).all()
    nothing = steering_effects(lmm, pages[:2], "place", {}, (1.0,))
    assert len(nothing) == 0 and "hit" in nothing
