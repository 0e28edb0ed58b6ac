"""Known truth that is left without the picture."""

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.faithfulness.visual_dependence import ORIGINAL, PERTURBATIONS, knockout_name, visual_dependence
from coxlmm_utils.ground_truth.factor_matching import MIN_SAMPLES
from coxlmm_utils.ground_truth.without_picture import best_values, recovery_falls, recovery_without_picture
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.picturebook.factors import factors_of
from coxlmm_utils.picturebook.page import page
from tests.evaluation.test_sweep_figures import inside
from tests.faithfulness.test_visual_dependence import dependence_of

COLOURS = ["brown", "white", "black", "golden"] * 10
PAGES = [page(kind="dog", colour=colour).factors for colour in COLOURS]
IS = {colour: np.array([item == colour for item in COLOURS], dtype=float) for colour in set(COLOURS)}
COLUMNS = np.column_stack([IS["white"], IS["brown"], IS["black"] - IS["golden"]])


def test_the_value_that_a_concept_tells_best():
    values = best_values(COLUMNS, ["a"] * 40, PAGES)
    assert values == [("colour", "white"), ("colour", "brown"), ("colour", "black")]


def test_known_truth_with_and_without_the_picture(bank):
    table = recovery_without_picture(dependence_of(bank, COLUMNS, np.ones((40, 3)), prefixes=["a"] * 40), PAGES)
    assert table["auc"].tolist() == pytest.approx([1] * 3 + [0.5] * 3)
    assert table["condition"].tolist() == [ORIGINAL] * 3 + ["blank"] * 3
    assert table["value"].tolist() == ["white", "brown", "black"] * 2 and set(table["samples"]) == {40}


def test_values_may_be_chosen_on_other_pages(bank):
    table = recovery_without_picture(
        dependence_of(bank, COLUMNS, prefixes=["a"] * 40), PAGES, [("colour", "golden")] * 3
    )
    assert table["auc"].tolist() == pytest.approx([1 / 3, 1 / 3, 0])


def test_samples_whose_words_name_the_factor_are_left_out(bank):
    prefixes = ["a" if row < 30 else "a big" if row < 35 else "a golden" for row in range(40)]
    altered = COLUMNS.copy()
    altered[35:] = 1 - altered[35:]  # which would lower the AUC
    table = recovery_without_picture(dependence_of(bank, COLUMNS, altered, prefixes=prefixes), PAGES)
    assert set(table["samples"]) == {35} and table["auc"].tolist() == pytest.approx([1] * 6)


def test_too_few_samples_that_the_words_leave_open(bank):
    white = np.flatnonzero(IS["white"])
    prefixes = np.array(["a"] * 40, dtype=object)
    prefixes[white[MIN_SAMPLES:]] = "a white"
    values = [("colour", "white")] * 3
    assert recovery_without_picture(dependence_of(bank, COLUMNS, prefixes=prefixes), PAGES, values)["auc"][0] == 1
    prefixes[white[MIN_SAMPLES - 1]] = "a white"
    table = recovery_without_picture(dependence_of(bank, COLUMNS, prefixes=prefixes), PAGES, values)
    assert table["auc"].isna().all() and set(table["samples"]) == {0}


def test_blank_pages_leave_no_known_truth():
    lmm, images = load_lmm("picturebook", device="cpu"), load_images("picturebook", split="test")
    dogs = images[[row for row, id in enumerate(images.ids) if factors_of(int(id)).kind == "dog"][:48]]
    states = extract(lmm, dogs, "dog", 4, position="own", cache=False)
    bank = ConceptBank.learn(lmm, states, SemiNMF(8, random_state=0))
    results = visual_dependence(lmm, bank, states, {"blank": PERTURBATIONS["blank"]}, knockout_from=[3])
    table = recovery_without_picture(results, [factors_of(int(id)) for id in results.ids])
    means = table.groupby("condition")["auc"].mean()
    assert means[ORIGINAL] > 0.9 and abs(means["blank"] - 0.5) < 0.1
    assert means["blank"] < means[knockout_name(3)] <= means[ORIGINAL]
    assert set(results.verdicts()) == {"from the picture"}


# Figure


def recovery(*conditions):
    rows = [
        {
            "concept": k,
            "factor": factor,
            "value": "",
            "condition": condition,
            "auc": 0.5 + index / 10 + (0, 1, 5)[k] / 100,
        }
        for index, condition in enumerate(conditions)
        for k, factor in enumerate(["place", "colour", "place"])
    ]
    return pd.DataFrame(rows)


def test_a_line_for_every_concept_and_their_mean():
    figure = recovery_falls(recovery(ORIGINAL, "noise", "blank", knockout_name(0), knockout_name(1)))
    perturbed, knockout = figure.axes
    assert [label.get_text() for label in perturbed.get_xticklabels()] == [ORIGINAL, "noise", "blank"]
    assert [label.get_text() for label in knockout.get_xticklabels()] == ["0", "1", "none"]
    assert [line.get_label() for line in knockout.lines] == ["chance", "place", "colour", "place", "mean"]
    assert knockout.lines[1].get_ydata().tolist() == pytest.approx([0.8, 0.9, 0.5])
    assert knockout.lines[-1].get_ydata().tolist() == pytest.approx([0.82, 0.92, 0.52])
    assert perturbed.lines[-1].get_ydata().tolist() == pytest.approx([0.52, 0.62, 0.72])
    assert [text.get_text() for text in figure.legends[0].texts] == ["chance", "place", "colour", "mean"]
    assert inside(figure)


def test_a_panel_only_for_what_there_is():
    [knockout] = recovery_falls(recovery(ORIGINAL, knockout_name(0))).axes
    assert [label.get_text() for label in knockout.get_xticklabels()] == ["0", "none"]
    [perturbed] = recovery_falls(recovery(ORIGINAL, "blank")).axes
    assert [label.get_text() for label in perturbed.get_xticklabels()] == [ORIGINAL, "blank"]
