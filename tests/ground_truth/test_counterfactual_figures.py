"""The figure of redrawn pages: every value is in the picture, and nothing lies outside it."""

from __future__ import annotations

import numpy as np
import pytest

from coxlmm_utils.ground_truth.counterfactual_figures import edits
from tests.evaluation.test_sweep_figures import inside
from tests.ground_truth.test_counterfactuals import DAY, GREEN, NIGHT, RED, VALUES, is_, made, still


@pytest.fixture
def changes():
    return made(is_(NIGHT, height=2), still, is_(RED), is_(GREEN))


def test_matched_pairs_lie_on_the_diagonal(changes):
    figure = edits(changes, [NIGHT, None, RED, GREEN])
    axes = figure.axes[0]
    shown = axes.images[0]
    assert np.allclose(shown.get_array(), changes.matrix()[[2, 3, 0, 1]].to_numpy())  # the one left over comes last
    assert shown.get_clim() == (-2, 2)
    assert [label.get_text().split()[-1] for label in axes.get_xticklabels()] == ["2", "3", "0", "1"]
    assert axes.get_xticklabels()[0].get_text() == "$\\frac$ words 2  2"
    assert [label.get_text() for label in axes.get_yticklabels()] == [value for _, value in VALUES]
    factors = {text.get_text(): text.xy[1] for text in axes.texts}
    assert factors == {"colour": 1.0, "time": 3.5}
    assert [line.get_ydata()[0] for line in axes.lines] == [2.5]  # between them
    assert inside(figure)  # and a $ begins no formula


def test_frames_are_dashed_where_another_value_raises_the_concept_more(changes):
    axes = edits(changes, [DAY, None, RED, GREEN]).axes[0]
    centres = [tuple(np.round(frame.get_center(), 6)) for frame in axes.patches]
    assert centres == [(0, 0), (1, 2), (2, 3)]
    assert [frame.get_linestyle() == "-" for frame in axes.patches] == [True, True, False]


def test_the_title_says_how_many_lie_on_the_diagonal(changes):
    lines = edits(changes, [DAY, None, RED, GREEN]).get_suptitle().splitlines()
    assert lines == [
        "“$\\frac$”, layer 4, its own position (ours): 4 pages edited",
        "3 of 3 concepts move most with their own factor, 1.7 by chance; 1 not matched",
        "2 of 3 concepts rise most with their own value, 0.7 by chance; 1 not matched",
    ]


def test_concepts_that_never_move_are_drawn_white():
    figure = edits(made(still, still), [RED, NIGHT])
    assert not np.any(figure.axes[0].images[0].get_array()) and figure.axes[0].images[0].get_clim() == (-1, 1)
    assert inside(figure)


def test_long_names_are_cut(changes):
    changes.bank.title = lambda concept: "n" * (30 + concept % 2)
    labels = [label.get_text() for label in edits(changes, [NIGHT, None, RED, GREEN]).axes[0].get_xticklabels()]
    assert labels == ["n" * 30 + "  2", "n" * 29 + "…  3", "n" * 30 + "  0", "n" * 29 + "…  1"]
