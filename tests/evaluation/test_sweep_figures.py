"""Figures of sweeps: every value is in the picture, and nothing lies outside it."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from coxlmm_utils import ConceptBank, SemiNMF
from coxlmm_utils.evaluation.paper import FIG6_CLIPSCORE, FIG6_LAYERS
from coxlmm_utils.evaluation.selection import MEASURES, Choice
from coxlmm_utils.evaluation.sweep_figures import curves, grounding_by_layer, layers_beside_the_paper, shares
from coxlmm_utils.extraction.states import join_states


def table(setting="n_concepts", values=(2, 4, 8)):
    rows = [
        {"token": token, setting: value, "seed": seed, "auc": place + seed / 10, "mentioned": place / 9}
        for token in ("dog", "cat")
        for place, value in enumerate(values)
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows)


def inside(figure):
    """Whether all that is drawn lies within the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box, (width, height) = figure.get_tightbbox(canvas.get_renderer()), figure.get_size_inches()  # inches
    return box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_a_panel_for_each_measure_and_a_line_for_each_token():
    figure = curves(table(), "n_concepts", ["auc", "mentioned"], Choice("n_concepts", 4, ""))
    first, second = figure.axes
    lines = [line for line in first.lines if len(line.get_xdata()) == 3]
    assert [line.get_label() for line in lines] == ["dog", "cat"]
    assert lines[0].get_xdata().tolist() == [2, 4, 8]
    assert lines[0].get_ydata() == pytest.approx([0.05, 1.05, 2.05])
    assert first.lines[-1].get_xdata() == [4, 4]  # the choice
    assert [axes.get_title(loc="left") for axes in figure.axes] == [MEASURES["auc"], MEASURES["mentioned"]]
    assert inside(figure)


@pytest.mark.parametrize("relative", [True, False])
def test_the_axis_of_fractions_says_so(relative):
    axes = curves(table("lam").assign(relative=relative), "lam", ["auc"]).axes[0]
    assert axes.get_xlabel() == ("relative λ" if relative else "λ")


def test_of_many_layers_every_fifth_is_named():
    axes = curves(table("layer", [*range(1, 31), "norm"]), "layer", ["auc"]).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5", "10", "15", "20", "25", "30", "norm"]
    assert axes.get_xticks().tolist() == [4, 9, 14, 19, 24, 29, 33]


def test_without_tokens_there_is_no_legend():
    assert curves(table().drop(columns="token"), "n_concepts", ["auc"]).axes[0].get_legend() is None


def test_the_papers_layers_are_beside_ours():
    figure = layers_beside_the_paper(table("layer", (0, 1, "norm")))
    ours, _, paper = figure.axes
    assert [label.get_text() for label in ours.get_xticklabels()] == ["0", "1", "norm"]
    assert ours.get_title(loc="left").startswith("ours") and paper.get_title(loc="left").startswith("paper")
    assert {line.get_label(): tuple(line.get_ydata()) for line in paper.lines} == FIG6_CLIPSCORE
    assert all(len(scores) == len(FIG6_LAYERS) for scores in FIG6_CLIPSCORE.values())
    colours = [{line.get_label(): line.get_color() for line in axes.lines} for axes in (ours, paper)]
    assert colours[0]["dog"] == colours[1]["dog"] and colours[0]["cat"] == colours[1]["cat"] != colours[0]["dog"]
    assert inside(figure)


@pytest.mark.filterwarnings("ignore:Concepts that no sample uses")
def test_bars_of_shares_fill_the_width(llava, states):
    other = type(states)(states.vectors, states.images, states.captions, {**states.provenance, "token": ["blue"]})
    bank = ConceptBank.learn(llava, join_states([states, other]), SemiNMF(3, lam=0.01))
    axes = shares(bank).axes[0]
    widths = np.array([bar.get_width() for bar in axes.patches]).reshape(2, 3)
    assert widths.sum(axis=0) == pytest.approx(np.ones(3))
    assert widths == pytest.approx(np.full((2, 3), 0.5))
    assert inside(axes.figure)


@pytest.mark.parametrize("n_layers, layers", [(5, (1, 5, "norm")), (32, (1, 20, 32, "norm"))])
def test_our_layers_are_drawn_on_their_own_axis_beside_the_papers(n_layers, layers):
    scores = {"clipscore": 0.6, "clipscore_low": 0.5, "clipscore_high": 0.7, "clipscore_random": 0.4}
    rows = [{"token": token, "layer": layer, **scores} for token in ("dog", "a $x$") for layer in layers]
    figure = grounding_by_layer(pd.DataFrame(rows), n_layers)
    ours, paper = figure.axes
    lines = {line.get_label(): line for line in ours.lines}
    assert list(lines) == ["dog", "a $x$", "random words"]
    assert lines["dog"].get_xdata().tolist()[:-1] == list(layers[:-1]) and lines["dog"].get_xdata()[-1] > n_layers
    assert lines["random words"].get_ydata() == pytest.approx([0.4] * len(layers))
    labels = [label.get_text() for label in ours.get_xticklabels()]
    assert labels[0] == "1" and labels[-1] == "norm" and 6 <= len(labels) <= 8
    assert {line.get_label(): tuple(line.get_ydata()) for line in paper.lines} == FIG6_CLIPSCORE
    assert inside(figure)
