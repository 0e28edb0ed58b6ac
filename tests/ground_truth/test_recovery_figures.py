"""Figures of known answers: every value is in the picture, and nothing lies outside it."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Annotation

from coxlmm_utils.ground_truth.controls import SYSTEMS
from coxlmm_utils.ground_truth.recovery_figures import over_layers, systems_compared, values_recovered
from coxlmm_utils.plots import ACCENT, BLUE, GREY
from tests.evaluation.test_sweep_figures import inside
from tests.ground_truth.test_factor_recovery import HELD_OUT, PAGES, VALUES, score_against_factors, showing


def with_ends(name: str, value: float, width: float) -> dict:
    return {name: value, f"{name}_low": value - width, f"{name}_high": value + width}


@pytest.fixture(scope="module")
def systems():
    rows = {
        name: with_ends("recovered", 14 - place, 1.0) | with_ends("mean_auc", 0.9 - place / 20, 0.01)
        for place, name in enumerate(SYSTEMS)
    }
    return pd.DataFrame.from_dict(rows, orient="index").assign(n_concepts=20, n_values=23, seeds=5)


@pytest.fixture(scope="module")
def layers():
    rows = []
    for token, n_values in (("dog", 23), ("cat", 12)):
        for position in ("predicts", "own"):
            for system, shift in (("semi_nmf", 5), ("shuffled", 0)):
                for layer in (0, 1, "norm"):
                    height = shift + len(rows) % 3 + (position == "own")
                    row = {"token": token, "position": position, "system": system, "layer": layer}
                    row |= with_ends("recovered", height, 0.5) | with_ends("mean_auc", 0.5 + height / 50, 0.01)
                    rows.append(row | {"n_values": n_values, "n_concepts": 16})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def known():
    noise = showing(HELD_OUT, noise=2.5)
    return score_against_factors(
        showing(PAGES), PAGES, np.column_stack([showing(HELD_OUT)[:, :2], noise[:, 2]]), HELD_OUT
    )


def test_every_system_is_a_dot_with_its_interval(systems):
    figure = systems_compared(systems, "$dog$, layer 4")
    for axes, measure in zip(figure.axes, ("recovered", "mean_auc")):
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        assert [dot.get_xdata()[0] for dot in dots] == pytest.approx(systems[measure].tolist())
        assert [dot.get_ydata()[0] for dot in dots] == list(range(len(systems)))  # from the top
        ends = [lines.get_segments()[0][:, 0] for lines in axes.collections]
        np.testing.assert_allclose(ends, systems[[f"{measure}_low", f"{measure}_high"]])
        colours = dict(zip(systems.index, [dot.get_color() for dot in dots]))
        assert [name for name, colour in colours.items() if colour == ACCENT] == ["semi_nmf"]
        assert {name for name, colour in colours.items() if colour == BLUE} == {"kmeans", "pca", "simple"}
        assert colours["rotated"] == colours["shuffled"] == GREY
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == list(SYSTEMS.values()) and inside(figure)
    sizes = "20 concepts (PCA: two sides of each axis; probes: one per value)"
    assert figure.get_suptitle() == f"$dog$, layer 4\n{sizes}, 23 factor values; up to 5 seeds each"


@pytest.mark.parametrize("measure", ["recovered", "mean_auc"])
def test_each_token_is_a_panel_with_a_line_for_each_position(layers, measure):
    figure = over_layers(layers, measure)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["“dog”", "“cat”"]
    for axes, (_, rows) in zip(figure.axes, layers.groupby("token", sort=False)):
        drawn = {line.get_color(): line.get_ydata() for line in axes.lines if len(line.get_xdata()) == 3}
        for position, colour in (("predicts", ACCENT), ("own", BLUE)):
            own = rows[(rows["position"] == position) & (rows["system"] == "semi_nmf")]
            assert drawn[colour] == pytest.approx(own[measure].tolist())
        assert [line.get_color() for line in axes.lines].count(GREY) == 2
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "norm"]
    first = layers[(layers["position"] == "predicts") & (layers["system"] == "semi_nmf")].iloc[:3]
    bands = {
        tuple(band.get_facecolor()[0][:3]): band.get_paths()[0].vertices[:, 1] for band in figure.axes[0].collections
    }
    assert max(map(max, bands.values())) <= layers[f"{measure}_high"].max() and len(bands) == 3
    assert any(np.isclose(band.min(), first[f"{measure}_low"].min()) for band in bands.values())
    assert len(figure.legends[0].get_texts()) == 3 and inside(figure)


def test_the_most_that_can_be_told_is_marked(layers):
    for axes, most, of in zip(over_layers(layers).axes, (16, 12), (23, 12)):
        assert [text.get_text() for text in axes.texts] == [f"at most {most} of {of}"]
        assert any(list(line.get_ydata()) == [most, most] for line in axes.lines) and axes.get_ylim()[1] > most
    assert not over_layers(layers, "mean_auc").axes[0].texts


def test_panels_beyond_four_go_to_another_row(layers):
    many = pd.concat([layers.assign(token=layers["token"] + str(copy)) for copy in range(3)])
    figure = over_layers(many)
    assert len(figure.axes) == 8 and sum(axes.get_visible() for axes in figure.axes) == 6 and inside(figure)


def test_every_value_has_its_concept_or_none(known):
    titles = ["winter", "$\\frac$ black", "a title of some length"]
    figure = values_recovered(known, titles, "“dog”")
    axes = figure.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == known.n_values and labels[0] == "black" and labels[-1] == "night"
    rows = dict(zip(labels, axes.get_yticks()))
    for k, (_, value) in enumerate(VALUES):
        row = known.table.loc[k]
        dots = [line for line in axes.lines if list(line.get_ydata()) == [rows[value]]]
        assert [dot.get_xdata()[0] for dot in dots] == [row["auc_matching"], row["auc"]]
        assert dots[1].get_color() == (ACCENT if row["auc"] > 0.9 else GREY)
        ends = [s[:, 0] for lines in axes.collections for s in lines.get_segments() if s[0, 1] == rows[value]]
        np.testing.assert_allclose(ends, [[row["low"], row["high"]]])
        beside = [text.get_text() for text in axes.texts if text.get_position()[1] == rows[value]]
        assert titles[k] in beside
    assert sum(text.get_text() == "no concept" for text in axes.texts) == known.n_values - 3
    assert known.recovered.value == 2 and axes.get_title(loc="left").endswith("of 23 values recovered by 3 concepts")
    assert axes.get_xlim()[0] < known.table["low"].min() and inside(figure)


def test_factors_are_named_beside_their_first_value(known):
    axes = values_recovered(known, ["", "", ""]).axes[0]
    named = {text.get_text(): text.xy[1] for text in axes.texts if isinstance(text, Annotation)}
    first = {
        "colour": "black",
        "size": "small",
        "action": "sitting",
        "place": "grass",
        "companion": "none",
        "time": "day",
    }
    rows = dict(zip([label.get_text() for label in axes.get_yticklabels()], axes.get_yticks()))
    assert named == {factor: rows[value] for factor, value in first.items()}


def test_concepts_that_are_not_judged_have_no_dot():
    silent = score_against_factors(np.zeros((400, 2)), PAGES, np.zeros((200, 2)), HELD_OUT)
    axes = values_recovered(silent, ["", ""]).axes[0]
    assert not axes.collections and sum(text.get_text() == "no concept" for text in axes.texts) == 23
