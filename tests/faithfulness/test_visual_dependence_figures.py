"""Figures of visual dependence: every value is in the picture, and nothing lies outside it."""

import numpy as np
import pytest

from coxlmm_utils.faithfulness.visual_dependence import ORIGINAL, VisualDependence, knockout_name
from coxlmm_utils.faithfulness.visual_dependence_figures import dependence
from tests.evaluation.test_sweep_figures import inside


@pytest.fixture
def result(bank):
    original = np.full((4, 3), 10.0)
    activations = {
        ORIGINAL: original,
        "blank": original * [0.9, 0.2, 0.6],
        "patches grey": original * [0.95, 0.3, 1],
        knockout_name(0): original * [0.1, 0, 0.42],
        knockout_name(1): original * [0.5, 0.25, 0.75],
    }
    return VisualDependence(bank, list("abcd"), ["a"] * 4, activations, (0, 1))


def test_a_cell_for_every_concept_and_condition(result):
    perturbed, knockout = dependence(result).axes
    shares = perturbed.images[0].get_array().data
    assert shares == pytest.approx(np.array([[0.2, 0.3], [0.6, 1], [0.9, 0.95]]))  # most visual first
    assert [label.get_text() for label in perturbed.get_xticklabels()] == ["blank", "patches\ngrey"]
    assert [label.get_text() for label in knockout.get_xticklabels()] == ["0", "1"]
    texts = [text.get_text() for text in knockout.texts]
    assert texts == [".00", ".25", ".42", ".75", ".10", ".50", "from the picture", "mixed", "from the words"]
    assert [label.get_text().split()[-1] for label in perturbed.get_yticklabels()] == ["1", "2", "0"]
    assert inside(perturbed.figure)


def test_the_condition_of_the_verdicts_can_be_chosen(result):
    knockout = dependence(result, knockout_name(0)).axes[1]
    assert [text.get_text() for text in knockout.texts][-3:] == ["from the picture"] * 3
    assert knockout.images[0].get_array()[:, 0].tolist() == pytest.approx([0, 0.1, 0.42])


def test_without_cuts_there_is_one_panel(bank, result):
    only = VisualDependence(bank, result.ids, result.prefixes, dict(list(result.activations.items())[:2]), ())
    figure = dependence(only)
    assert len(figure.axes) == 1 and inside(figure)


def test_a_concept_that_is_never_active_has_empty_cells(bank):
    nothing = np.zeros((4, 3))
    result = VisualDependence(bank, list("abcd"), ["a"] * 4, {ORIGINAL: nothing, "blank": nothing}, ())
    texts = [text.get_text() for text in dependence(result).axes[0].texts]
    assert texts == [""] * 3 + ["never active"] * 3
