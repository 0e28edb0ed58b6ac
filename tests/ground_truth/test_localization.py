"""Maps scored on pages whose objects' places are known."""

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.explanation.explain import explain
from coxlmm_utils.explanation.localization import mask_scores
from coxlmm_utils.explanation.map_figures import MAPS, explanation_maps
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.ground_truth.localization import RANDOM, concept_of, map_means, map_scores_figure, score_maps
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.picturebook.factors import Factors
from coxlmm_utils.picturebook.page import page
from coxlmm_utils.statistics import share_of

DOG = Factors("dog", "white", "large", "running", "beach", "ball", "day")
VALUES = [("place", "beach"), None, ("companion", "ball"), ("action", "running"), ("colour", "white")]


@pytest.mark.parametrize("thing, concept", [("subject", 4), ("companion", 2)])
def test_the_concept_of_an_object_is_that_of_a_value_it_has(thing, concept):
    assert concept_of(VALUES, DOG, thing) == concept


def test_of_what_no_concept_tells_there_is_none():
    assert concept_of(VALUES[:2], DOG, "companion") is None
    assert concept_of([("companion", "tree")], DOG, "companion") is None
    alone = Factors("dog", "white", "large", "running", "beach", "none", "day")
    assert concept_of([("companion", "none")], alone, "companion") is None  # nothing to see


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


@pytest.fixture(scope="module")
def bank(lmm):
    states = extract(lmm, load_images("picturebook", split="test", limit=160), "dog", 4, cache=False)
    return ConceptBank.learn(lmm, states, SemiNMF(4, random_state=0, verbose=False))


@pytest.fixture(scope="module")
def numbers(bank):
    with_ball = [int(id) for id in bank.ids if page(int(id)).factors.companion == "ball"][:2]
    return [*with_ball, 1_000_001]  # the last is no dog


@pytest.fixture(scope="module")
def table(lmm, bank, numbers):
    return score_maps(lmm, bank, [("companion", "ball"), ("size", "small"), ("size", "large"), None], numbers)


def test_every_map_is_scored_on_every_object(table, numbers):
    assert table["page"].unique().tolist() == numbers[:2]
    assert len(table) == 2 * 2 * (len(MAPS) + 1)
    assert set(table["map"]) == {*MAPS, RANDOM}
    assert table[table["object"] == "companion"]["concept"].eq(0).all()
    assert table[table["object"] == "subject"]["concept"].isin([1, 2]).all()


def test_the_scores_are_those_of_each_map_with_the_mask(lmm, bank, table, numbers):
    shown = page(numbers[0])
    maps = explanation_maps(lmm, explain(lmm, bank, shown.picture), 0)
    rows = table[(table["page"] == numbers[0]) & (table["object"] == "companion")].set_index("map")
    for name, map in maps.items():
        expected = mask_scores(map, shown.masks["companion"])
        assert rows.loc[name, "pointing"] == expected.pointing
        assert rows.loc[name, "iou"] == pytest.approx(expected.iou)


def test_random_maps_are_the_same_again_and_differ_between_pages(lmm, bank, table, numbers):
    again = score_maps(lmm, bank, [("companion", "ball")], numbers[:1])
    random = table[(table["map"] == RANDOM) & (table["object"] == "companion")]
    assert again[again["map"] == RANDOM]["energy"].tolist() == random["energy"].tolist()[:1]
    assert random["energy"].nunique() == 2


def made():
    rows = [
        {"page": number, "object": thing, "concept": 0, "map": name, "pointing": number < hits, "iou": number / 10}
        for thing, hits in (("subject", 3), ("companion", 1))
        for name in (*MAPS, RANDOM)
        for number in range(4 if thing == "subject" else 2)
    ]
    return pd.DataFrame(rows)


def test_means_over_pages():
    means = map_means(made())
    assert means.loc[("subject", "occlusion"), ("pointing", "value")] == 3 / 4
    assert means.loc[("companion", RANDOM), ("iou", "value")] == pytest.approx(0.05)
    assert means[("n", "")].unique().tolist() == [4, 2]
    assert means.loc[("subject", "occlusion"), "pointing_minus_random"].tolist() == [0, 0, 0]
    better = made()
    better.loc[better["map"] == RANDOM, "pointing"] = False
    better = map_means(better).loc[("subject", "occlusion")]
    assert better["pointing"].tolist() == pytest.approx([0.75, share_of([1, 1, 1, 0]).low, share_of([1, 1, 1, 0]).high])
    assert better["pointing_minus_random", "value"] == 0.75
    assert (means[("pointing", "low")] <= means[("pointing", "value")]).all()


def test_the_figure_has_every_mean():
    figure = map_scores_figure(made())
    pointing = figure.axes[0]
    dots = [line for line in pointing.lines if line.get_marker() == "o"]
    assert sorted({float(x) for dot in dots for x in dot.get_xdata()}) == [0.5, 0.75]
    assert [len(dot.get_xdata()) for dot in dots] == 2 * [len(MAPS) + 1]
    assert [label.get_text() for label in pointing.get_yticklabels()] == [*MAPS.values(), "random"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["on the subject (4 pages)", "on the companion (2 pages)"]


def test_one_kind_of_object_may_be_missing():
    subject = made()[lambda table: table["object"] == "subject"]
    assert np.isfinite(map_means(subject).to_numpy(dtype=float)).all()
    assert len(map_scores_figure(subject).legends[0].get_texts()) == 1
