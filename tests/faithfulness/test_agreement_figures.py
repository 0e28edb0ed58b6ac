"""Figures of agreement: every value is in the picture, and nothing lies outside it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from coxlmm_utils.faithfulness.agreement import agreement, agreement_over
from coxlmm_utils.faithfulness.agreement_figures import picture_and_word, stability
from coxlmm_utils.plots import ACCENT, BLUE, GREY
from tests.evaluation.test_sweep_figures import inside
from tests.faithfulness.test_agreement import OWN, SCORES, bank_of, scorer_of


@pytest.fixture(scope="module")
def bank() -> SimpleNamespace:
    bank = bank_of([*OWN, (), ("snow", "$\\frac$" * 9, "dog")])
    bank.token, bank.where, bank.names = "$\\frac$", "layer 4, its own position (ours)", {2: "a $\\frac$"}
    return bank


@pytest.fixture(scope="module")
def result(bank):
    scores = np.column_stack([np.vstack([SCORES, SCORES[:2] + 1]), np.zeros(5)])
    scores[4] = np.nan
    return agreement(bank, scorer_of(scores, ["snow", "hill", "grass", "lawn", "dog", "$\\frac$" * 9]))


def dots(axes, colour: str) -> list[float]:
    """Places of the dots of one colour, from below; NaN where there is none."""
    return next(line.get_xdata().tolist() for line in axes.lines if line.get_color() == colour)


def test_every_concept_has_its_row_and_the_unjudged_come_last(result, bank):
    figure = picture_and_word(result, bank)
    axes, other = figure.axes
    table = result.concepts
    order = [k for k in table["rank"].sort_values(kind="stable").index if k < 3]
    assert np.isnan(dots(axes, ACCENT)[:2]).all() and dots(axes, ACCENT)[2:] == table.loc[order, "rank"].tolist()
    assert dots(axes, GREY)[2:] == table.loc[order, "rank_others"].tolist()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["(no words)   3", "snow   4", *(f"{_called(k)}   {k}" for k in order)]
    nearest = [label.get_text() for label in other.get_yticklabels()]
    assert nearest == ["not scored", "not scored", *(", ".join(table["nearest"][k]) for k in order)]
    assert inside(figure)  # and a $ begins no formula


def _called(k: int) -> str:
    return {0: "snow, hill", 1: "Grass", 2: "a $\\frac$"}[k]


def test_lines_join_own_and_other_words(result, bank):
    (lines,) = picture_and_word(result, bank).axes[0].collections
    ends = np.array([segment[:, 0] for segment in lines.get_segments()[2:]])
    table = result.concepts.sort_values("rank", na_position="first", kind="stable").iloc[2:]
    assert ends == pytest.approx(table[["rank_others", "rank"]].to_numpy())


def test_chance_is_marked_and_the_title_counts(result, bank):
    figure = picture_and_word(result, bank)
    (chance,) = (line for line in figure.axes[0].lines if line.get_label() == "random words")
    assert list(chance.get_xdata()) == [0.5, 0.5]
    title = figure.get_suptitle()
    assert title.startswith("“$\\frac$”, layer 4") and title.replace("\n", " ").endswith("2 concepts not scored")


def test_words_are_as_many_as_asked(result, bank):
    figure = picture_and_word(result, bank, n_words=1)
    labels = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    assert "snow   0" in labels and "snow" in labels


def test_a_word_too_long_for_its_row_is_cut(bank, result):
    long = result.concepts.assign(nearest=[("x" * 50,)] * 5)
    figure = picture_and_word(SimpleNamespace(concepts=long), bank)
    shown = {label.get_text() for label in figure.axes[1].get_yticklabels()}
    assert shown == {"x" * 33 + "…"}


def test_every_bank_and_scorer_has_its_dot_and_interval():
    banks = {"seed $0": bank_of(), "half": bank_of([*OWN[:2], ()])}
    table, _ = agreement_over(banks, {"eyes": scorer_of(), "people": scorer_of(SCORES[::-1])})
    figure = stability(table)
    for axes, name in zip(figure.axes, ("rank_margin", "shared_margin")):
        for colour, scorer in ((ACCENT, "eyes"), (BLUE, "people")):
            assert dots(axes, colour) == table.loc[table["scorer"] == scorer, name].tolist()
        ends = [segment[:, 0] for lines in axes.collections for segment in lines.get_segments()]
        rows = table.sort_values("scorer", kind="stable")
        assert np.array(ends) == pytest.approx(rows[[f"{name}_low", f"{name}_high"]].to_numpy())
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_yticklabels()] == ["half", "seed $0"]
    assert [round(y) for line in first.lines[:2] for y in line.get_ydata()] == [1, 0, 1, 0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["eyes", "people"]
    assert inside(figure)
