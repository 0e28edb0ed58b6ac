"""Curves of steering: every line is drawn, and what stays is told from what changes."""

import pandas as pd

from coxlmm_utils.ground_truth.steering_figures import effect_curves


def test_each_panel_has_both_lines_of_each_method():
    table = pd.DataFrame(
        {"hit": [0.1, 0.9], "hit_low": [0, 0.8], "hit_high": [0.2, 1], "same": [1, 0.7]}, index=[1.0, 2.0]
    )
    figure = effect_curves({"place": {"means": table, "reach": table}, "colour": {"reach": table}})
    place, colour = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["place", "colour"]
    assert [line.get_ydata().tolist() for line in place.lines] == [[0.1, 0.9], [1, 0.7]] * 2
    assert [line.get_linestyle() for line in colour.lines] == ["-", "--"]
    assert colour.lines[0].get_color() == place.lines[2].get_color() != place.lines[0].get_color()
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:2] == ["means", "reach"]
