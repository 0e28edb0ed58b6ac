"""Figures of concept shift: what is drawn where, in which colour, with literal text, and nothing cut off."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from coxlmm_utils.concepts.grounding import ground_pictures
from coxlmm_utils.plots import ACCENT, PALETTE
from coxlmm_utils.shift.compare import DIMINISHED, EMERGED, REFINED, UNCHANGED, Cuts, compare
from coxlmm_utils.shift.figures import (
    COLOURS,
    LOOKS,
    about_bars,
    changes,
    emerged,
    gain_scatter,
    groundings,
    over_steps,
    recovery_curves,
)
from coxlmm_utils.shift.recovery import KINDS, PERMUTED, RANDOM, SHIFTED, UNSHIFTED
from coxlmm_utils.statistics import Mean
from tests.concepts.test_figures import check_layout, texts
from tests.conftest import noise
from tests.shift.by_hand import bank_of

N, N_PICTURES = 12, 3
BEFORE, AFTER = ({"name": name, "fingerprint": name} for name in ("book $x$", "book $x$ + a_b^2$"))
IDS = [f"p{row}" for row in range(N)]


def shown_bank(concepts, words, model):
    """A bank with pictures; its last concept is active on none."""
    bank = bank_of(concepts, words, IDS, model)
    activations = np.random.default_rng(0).gamma(1, 1, (N, len(bank))).astype(np.float32)
    activations[:, -1] = 0
    thumbnails = {id: noise(row) for row, id in enumerate(IDS)}
    return replace(bank, activations=activations, top=ground_pictures(activations, N_PICTURES), thumbnails=thumbnails)


@pytest.fixture(scope="module")
def shift():
    """Of those before one stays, one is refined and the last, of no words, is diminished; the last after has emerged."""
    before = shown_bank(np.eye(3), ["dog $5 a_b", "beach sand", ""], BEFORE)
    after = shown_bank([[1, 0, 0], [0, 4, 3], [-5, 0, -12]], ["$5 dog a_b", "sand $x$", r"\frac snow"], AFTER)
    return compare(before, after, Cuts(0.9, 40.0))


def drawn(figure):
    """The same figure, drawn; whatever warns (a glyph, a layout that does not fit, no handles) is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FigureCanvasAgg(figure).draw()
    return figure


def legend_of(figure) -> list[str]:
    [legend] = figure.legends
    assert not any(text.get_parse_math() for text in legend.get_texts())
    return [text.get_text() for text in legend.get_texts()]


def titles(figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


# Side by side


def numbers(figure) -> list[tuple[int, int]]:
    """The concepts of each row, before and after."""
    cards = [int(text.rstrip("+")) for text in texts(figure) if text.rstrip("+").isdigit()]
    return list(zip(cards[::2], cards[1::2]))


def test_each_concept_before_is_beside_its_nearest_those_that_changed_most_first(shift):
    figure = groundings(shift)
    check_layout(figure)
    assert numbers(figure) == [(2, 1), (1, 1), (0, 0)]
    assert [text for text in texts(figure) if text in COLOURS] == [DIMINISHED, REFINED, UNCHANGED]
    assert [text for text in texts(figure) if text.startswith("cosine")] == [
        "cosine 0.60",
        "cosine 0.80",
        "cosine 1.00",
    ]
    assert len(figure.axes) == N_PICTURES * (1 + 2 + 2)  # nothing activates the last one
    assert {"book $x$", "book $x$ + a_b^2$", "“dog”, layer 2, position that predicts it (the paper's)"} <= set(
        texts(figure)
    )


def test_what_became_of_a_concept_has_its_colour(shift):
    for figure in (groundings(shift), emerged(shift)):
        verdicts = [text for text in figure.texts if text.get_text() in COLOURS]
        assert len(verdicts) == 3 and all(text.get_color() == COLOURS[text.get_text()] for text in verdicts)


def test_without_words_there_is_no_t_overlap(shift):
    figure = groundings(shift)
    assert [text for text in texts(figure) if text.startswith("T-Overlap ")] == ["T-Overlap 50 %", "T-Overlap 100 %"]
    assert not any("nan" in text for text in texts(figure))


def test_words_and_names_are_literal(shift):
    figure = drawn(groundings(shift))
    assert not any(text.get_parse_math() for text in figure.texts)
    assert {"dog, $5, a_b", "beach, sand", "sand, $x$"} <= set(texts(figure))
    assert any(text.startswith("no words") for text in texts(figure))


def test_those_after_are_at_the_right_and_the_emerged_first(shift):
    figure = emerged(shift)
    check_layout(figure)
    assert numbers(figure)[1:] == [(1, 1), (0, 0)] and numbers(figure)[0][1] == 2
    assert [text for text in texts(figure) if text in COLOURS] == [EMERGED, REFINED, UNCHANGED]
    right = [text.get_position()[0] for text in figure.texts if text.get_text() == r"\frac, snow"]
    assert right and right[0] > figure.get_figwidth() / 2


@pytest.mark.parametrize("draw", [groundings, emerged])
def test_concepts_and_words_can_be_chosen(shift, draw):
    figure = draw(shift, [1, 0], n_words=1)
    check_layout(figure)
    assert numbers(figure) == [(1, 1), (0, 0)] and {"sand", "beach", "dog", "$5"} <= set(texts(figure))
    assert figure.get_figheight() < draw(shift).get_figheight()


# Charts


def test_each_concept_is_a_dot_of_its_change_over_those_of_the_null(shift):
    null = compare(shift.before, shift.before)
    figure = drawn(changes(shift, [null, null]))
    assert titles(figure) == ["Concepts before, with the nearest after", "Concepts after, with the nearest before"]
    for axes, table in zip(figure.axes, (shift.before_table, shift.after_table)):
        nulls, dots = axes.collections[:2], axes.collections[2:]
        assert [len(dot.get_offsets()) for dot in nulls] == [3, 3]
        assert {dot.get_label() for dot in dots} == set(table["change"])
        for dot in dots:
            own = table[
                (table["change"] == dot.get_label()) & table["t_overlap"].notna()
            ]  # without words there is none
            shown = dot.get_offsets()[~np.ma.getmaskarray(dot.get_offsets()).any(axis=1)]
            assert to_hex(dot.get_facecolor()[0]) == COLOURS[dot.get_label()]
            assert shown[:, 0].tolist() == pytest.approx(own["cosine"].tolist())
            assert (np.abs(shown[:, 1] - own["t_overlap"]) <= 2.5).all()
        vertical, horizontal = axes.lines
        assert vertical.get_xdata() == [0.9, 0.9] and horizontal.get_ydata() == [40, 40]
    assert sorted(legend_of(figure)) == sorted([UNCHANGED, REFINED, EMERGED, DIMINISHED, "no change (null)", *CUTS])


CUTS = ("cut of the cosine", "of the T-Overlap")


def recovered(kinds=KINDS) -> pd.DataFrame:
    rows = [
        (kind, alpha, k) for kind in kinds for alpha in ([0.0] if kind == UNSHIFTED else [0.5, 1.0]) for k in (0, 1)
    ]
    table = pd.DataFrame(rows, columns=["kind", "alpha", "concept"])
    value = table["kind"].map(KINDS.index) + table["alpha"] + table["concept"]
    return table.assign(cosine=value, distance=2 * value, words=3 * value, pictures=4 * value)


def test_recovery_begins_at_the_unshifted_value():
    figure = drawn(recovery_curves(recovered()))
    assert titles(figure) == ["cosine", "L2 distance", "T-Overlap, percent", "pictures shared"]
    for factor, axes in enumerate(figure.axes, start=1):
        start = factor * (KINDS.index(UNSHIFTED) + 0.5)
        *curves, unshifted = axes.lines
        assert [line.get_label() for line in curves] == [kind for kind in KINDS if kind != UNSHIFTED]
        for line in curves:
            end = factor * (KINDS.index(line.get_label()) + 1.5)
            assert line.get_xdata().tolist() == [0, 0.5, 1] and line.get_color() == LOOKS[line.get_label()]
            assert line.get_ydata().tolist() == [start, end - 0.5 * factor, end]
        assert list(unshifted.get_ydata()) == [start, start]
    assert legend_of(figure) == [SHIFTED, RANDOM, PERMUTED, UNSHIFTED]


def test_of_one_concept_there_is_no_permuted_curve():
    figure = drawn(recovery_curves(recovered((SHIFTED, UNSHIFTED, RANDOM))))
    assert legend_of(figure) == [SHIFTED, RANDOM, UNSHIFTED]


SETS = ("place $x$", "a_b")


def test_gains_have_a_colour_for_each_set_and_the_correlation_above():
    table = pd.DataFrame({"magnitude": [1.0, 2.0], "consistency": [0.3, 0.9], "cosine_gain": [0.1, 0.4]})
    r = {"magnitude": Mean(0.5, 0.25, 0.75, 4), "consistency": Mean(-0.1, -0.5, 0.3, 4)}
    figure = drawn(gain_scatter({SETS[0]: table, SETS[1]: table + 1}, r))
    assert titles(figure) == ["r = 0.50 [0.25, 0.75]", "r = -0.10 [-0.50, 0.30]"] and legend_of(figure) == list(SETS)
    for axes, name in zip(figure.axes, r):
        assert axes.get_xlabel() == f"{name} of the shift vector"
        for dots, shown, colour in zip(axes.collections, (table, table + 1), PALETTE, strict=False):
            assert dots.get_offsets().tolist() == shown[[name, "cosine_gain"]].to_numpy().tolist()
            assert to_hex(dots.get_facecolor()[0]) == colour


def test_steps_have_a_line_for_each_set():
    table = pd.DataFrame({"cosine": [0.9, 0.6], "t_overlap": [80.0, 20.0]}, index=[15, 40])
    figure = drawn(over_steps(dict.fromkeys(SETS, table)))
    assert titles(figure) == ["Cosine with the concepts before", "T-Overlap, percent, with the concepts before"]
    for axes, name in zip(figure.axes, table):
        assert [line.get_xydata().tolist() for line in axes.lines] == [
            table[[name]].reset_index().to_numpy().tolist()
        ] * 2
        assert [line.get_color() for line in axes.lines] == list(PALETTE[:2])
    assert legend_of(figure) == list(SETS)


def test_factors_are_rows_from_the_top_with_before_and_after():
    figure = drawn(about_bars(pd.DataFrame({"before": [1.0, 2.5], "after": [4.0, 0.0]}, index=["place $x$", "a_b"])))
    [axes] = figure.axes
    labels = axes.get_yticklabels()
    assert [label.get_text() for label in labels] == ["place $x$", "a_b"] and axes.yaxis_inverted()
    assert not any(label.get_parse_math() for label in labels)
    spans, before, after = axes.collections
    assert [span[:, 0].tolist() for span in spans.get_segments()] == [[1, 4], [2.5, 0]]
    assert before.get_offsets().tolist() == [[1, 0], [2.5, 1]] and after.get_offsets().tolist() == [[4, 0], [0, 1]]
    assert to_hex(after.get_facecolor()[0]) == ACCENT and legend_of(figure) == ["before", "after"]


@pytest.mark.parametrize("draw", [groundings, emerged])
def test_concepts_that_there_are_not_are_refused(shift, draw):
    with pytest.raises(ValueError, match=r"concepts \[99\] cannot be shown: give some of 0 to"):
        draw(shift, [99])
