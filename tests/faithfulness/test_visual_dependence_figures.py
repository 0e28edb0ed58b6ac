"""Figures of visual dependence: every value is in the picture, and nothing lies outside it."""

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.faithfulness.visual_dependence import ORIGINAL, VisualDependence, cut_name
from coxlmm_utils.faithfulness.visual_dependence_figures import known_truth_falls, unchanged
from tests.evaluation.test_sweep_figures import inside


@pytest.fixture
def found(bank):
    original = np.full((4, 3), 10.0)
    activations = {
        ORIGINAL: original,
        "blank": original * [0.9, 0.2, 0.6],
        "patches grey": original * [0.95, 0.3, 1],
        cut_name(0): original * [0.1, 0, 0.42],
        cut_name(1): original * [0.5, 0.25, 0.75],
    }
    return VisualDependence(bank, list("abcd"), ["a"] * 4, activations, (0, 1))


def known(*conditions):
    rows = [
        {
            "concept": k,
            "factor": factor,
            "value": "",
            "condition": condition,
            "auc": 0.5 + place / 10 + (0, 1, 5)[k] / 100,
        }
        for place, condition in enumerate(conditions)
        for k, factor in enumerate(["place", "colour", "place"])
    ]
    return pd.DataFrame(rows)


def test_a_cell_for_every_concept_and_condition(found):
    altered, cut = unchanged(found).axes
    shares = altered.images[0].get_array().data
    assert shares == pytest.approx(np.array([[0.2, 0.3], [0.6, 1], [0.9, 0.95]]))  # most visual first
    assert [label.get_text() for label in altered.get_xticklabels()] == ["blank", "patches\ngrey"]
    assert [label.get_text() for label in cut.get_xticklabels()] == ["0", "1"]
    texts = [text.get_text() for text in cut.texts]
    assert texts == [".00", ".25", ".42", ".75", ".10", ".50", "from the picture", "mixed", "from the words"]
    assert [label.get_text().split()[-1] for label in altered.get_yticklabels()] == ["1", "2", "0"]
    assert inside(altered.figure)


def test_the_condition_of_the_verdicts_can_be_chosen(found):
    cut = unchanged(found, cut_name(0)).axes[1]
    assert [text.get_text() for text in cut.texts][-3:] == ["from the picture"] * 3
    assert cut.images[0].get_array()[:, 0].tolist() == pytest.approx([0, 0.1, 0.42])


def test_without_cuts_there_is_one_panel(bank, found):
    only = VisualDependence(bank, found.ids, found.prefixes, dict(list(found.activations.items())[:2]), ())
    figure = unchanged(only)
    assert len(figure.axes) == 1 and inside(figure)


def test_a_concept_that_is_never_active_has_empty_cells(bank):
    nothing = np.zeros((4, 3))
    found = VisualDependence(bank, list("abcd"), ["a"] * 4, {ORIGINAL: nothing, "blank": nothing}, ())
    texts = [text.get_text() for text in unchanged(found).axes[0].texts]
    assert texts == [""] * 3 + ["never active"] * 3


def test_a_line_for_every_concept_and_their_mean():
    figure = known_truth_falls(known(ORIGINAL, "noise", "blank", cut_name(0), cut_name(1)))
    altered, cut = figure.axes
    assert [label.get_text() for label in altered.get_xticklabels()] == [ORIGINAL, "noise", "blank"]
    assert [label.get_text() for label in cut.get_xticklabels()] == ["0", "1", "uncut"]
    assert [line.get_label() for line in cut.lines] == ["chance", "place", "colour", "place", "mean"]
    assert cut.lines[1].get_ydata().tolist() == pytest.approx([0.8, 0.9, 0.5])
    assert cut.lines[-1].get_ydata().tolist() == pytest.approx([0.82, 0.92, 0.52])
    assert altered.lines[-1].get_ydata().tolist() == pytest.approx([0.52, 0.62, 0.72])
    assert [text.get_text() for text in figure.legends[0].texts] == ["chance", "place", "colour", "mean"]
    assert inside(figure)


def test_a_panel_only_for_what_there_is():
    [cut] = known_truth_falls(known(ORIGINAL, cut_name(0))).axes
    assert [label.get_text() for label in cut.get_xticklabels()] == ["0", "uncut"]
    [altered] = known_truth_falls(known(ORIGINAL, "blank")).axes
    assert [label.get_text() for label in altered.get_xticklabels()] == [ORIGINAL, "blank"]
