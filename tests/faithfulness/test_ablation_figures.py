"""Figures of ablations: every value is in the picture, and nothing lies outside it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from coxlmm_utils.concepts.grounding import Words
from coxlmm_utils.faithfulness.ablation_figures import EFFECTS, SHARES, ablation_effects, deletion_insertion
from coxlmm_utils.faithfulness.ablation_summary import ablation_summary
from tests.evaluation.test_sweep_figures import inside
from tests.faithfulness.test_ablation_summary import curve_table, removal_table

SIGNS = {"own": 1, "others": -1, "random": 1}  # how far others' words move is drawn to the left
WORDS = [("snow", "hill"), ("red",), ("$\\frac$ long " * 3,), ("dog",), ("ball", "tree")]


@pytest.fixture(scope="module")
def bank():
    words = [Words(words, ()) for words in WORDS]
    label = lambda k, n_words: f"{', '.join(words[k].kept[:n_words])}   {k}"  # noqa: E731
    return SimpleNamespace(label=label, token="$\\frac$", where="layer 4, its own position (ours)")


@pytest.fixture(scope="module")
def summary():
    return ablation_summary(removal_table())


def dots(axes, colour: str, hollow: bool) -> dict[float, float]:
    """Value by (rounded) row of the dots of one colour."""
    return {
        round(y): x
        for line in axes.lines
        if line.get_color() == colour and (line.get_markerfacecolor() == "white") == hollow
        for x, y in zip(line.get_xdata(), line.get_ydata())
    }


def test_every_effect_of_every_concept_is_a_dot(summary, bank):
    figure = ablation_effects(summary, bank)
    axes = figure.axes[0]
    table = summary.concepts.sort_values("own", ascending=False)
    for name, (colour, *_) in EFFECTS.items():
        drawn = dots(axes, colour, hollow=False) | dots(axes, colour, hollow=True)
        assert [drawn[row] for row in range(len(table))] == pytest.approx((SIGNS[name] * table[name]).tolist())
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [f"{', '.join(WORDS[k])}   {k}" for k in table.index]
    assert inside(figure)  # and a $ begins no formula


def test_intervals_go_from_end_to_end(summary, bank):
    axes = ablation_effects(summary, bank).axes[0]
    table = summary.concepts.sort_values("own", ascending=False)
    for lines, name in zip(axes.collections, EFFECTS):
        ends = np.array([segment[:, 0] for segment in lines.get_segments()])
        expected = np.sort(SIGNS[name] * table[[f"{name}_low", f"{name}_high"]].to_numpy())
        assert ends == pytest.approx(expected)


def test_a_concept_that_is_not_significant_is_hollow(summary, bank):
    axes, colour = ablation_effects(summary, bank).axes[0], EFFECTS["own"][0]
    assert len(dots(axes, colour, hollow=False)) == 1 and len(dots(axes, colour, hollow=True)) == 4
    assert dots(axes, colour, hollow=False).popitem()[1] == pytest.approx(summary.concepts.loc[0, "own"])


def test_the_title_counts(summary, bank):
    figure = ablation_effects(summary, bank)
    title = figure.legends[0].get_title().get_text()
    assert title == "1 of 5 concepts lower their own words at the state's own step beyond both controls"
    assert figure.axes[0].get_title(loc="left") == "“$\\frac$”, layer 4, its own position (ours)"
    excluded = ablation_effects(replace(summary, n_excluded=2), bank).legends[0].get_title().get_text()
    assert excluded.endswith("(2 not tested)")


def test_words_are_as_many_as_asked(summary, bank):
    labels = [label.get_text() for label in ablation_effects(summary, bank, n_words=1).axes[0].get_yticklabels()]
    assert "snow   0" in labels and "ball   4" in labels


def test_curves_are_means_over_samples_at_the_same_shares():
    figure = deletion_insertion(curve_table())
    deletion, insertion = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["deletion", "insertion"]
    most, random = deletion.lines[:2]
    expected = np.interp(SHARES, [0, 0.5, 1], [0, -8, -8])  # of -4, -8 and -12
    assert most.get_ydata() == pytest.approx(expected) and most.get_xdata() == pytest.approx(SHARES)
    assert random.get_ydata() == pytest.approx(np.interp(SHARES, [0, 0.5, 1], [0, 0, -8]))
    assert insertion.lines[0].get_ydata() == pytest.approx(np.interp(SHARES, [0, 0.5, 1], [-8, 0, 0]))
    assert [text.get_text() for text in insertion.get_legend().get_texts()] == ["most active first", "random order"]
    assert inside(figure)


def test_bands_are_of_samples_not_of_draws():
    table = curve_table()
    band = deletion_insertion(table).axes[0].collections[1].get_paths()[0].vertices  # of the random order
    opposite = table["order"] == "random"
    moved = table["caption"] + np.where(table["draw"] == 0, 50, -50) * (table["share"] > 0)
    table.loc[opposite, "caption"] = moved[opposite]
    again = deletion_insertion(table).axes[0].collections[1].get_paths()[0].vertices
    np.testing.assert_allclose(again, band, atol=1e-9)


def test_curves_can_be_of_the_target():
    figure = deletion_insertion(curve_table().rename(columns={"caption": "target"}), "target")
    assert figure.axes[0].get_ylabel().startswith("change of the word's")
