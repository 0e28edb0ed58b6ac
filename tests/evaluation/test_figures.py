"""Figures of evaluations: what is drawn where."""

from __future__ import annotations

import warnings

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from coxlmm_utils.evaluation.figures import grounding_figure, systems_figure
from coxlmm_utils.plots import ACCENT, INK
from tests.evaluation.test_tables import NAN, NOT_BERT, SCORES, evaluation

ORDER = ["rnd_words", "simple", "semi_nmf", "gt_captions", "rnd_words_gaussian"]


def drawn(figure):
    """The same figure, drawn; whatever warns (a glyph, a layout that does not fit, no handles) is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FigureCanvasAgg(figure).draw()
    return figure


def dots(axes) -> dict[float, tuple[float, str]]:
    """What each dot of a panel shows, and its colour, by its place from the top."""
    return {
        line.get_ydata()[0]: (line.get_xdata()[0], to_hex(line.get_color()))
        for line in axes.lines
        if line.get_marker() == "o"
    }


def intervals(axes) -> list[tuple[float, float]]:
    return [tuple(ends[:, 0]) for lines in axes.collections for ends in lines.get_segments()]


# Systems


@pytest.mark.parametrize("top", [1, 3, "union"])
def test_every_system_has_its_mean_and_its_interval(top):
    single = evaluation()
    figure = drawn(systems_figure([single, evaluation("bus")], top))
    assert len(figure.axes) == 4
    clip, bert = figure.axes[0], figure.axes[2]
    for axes, metric in ((clip, "clipscore"), (bert, "bertscore")):
        means = [single.mean(name, metric, top) for name in ORDER]
        assert [dots(axes)[place][0] for place in range(5)] == [mean.value for mean in means]
        assert intervals(axes) == [(mean.low, mean.high) for mean in means]
    strokes = [line for line in clip.lines if line.get_marker() == "|"]  # of the seeds, of what has several
    assert [line.get_xdata().tolist() for line in strokes] == [single.seed_means("semi_nmf", "clipscore", top).tolist()]
    assert [colour for _, colour in dots(clip).values()] == [INK, INK, ACCENT, INK, INK]
    assert means[2].value == pytest.approx(0.55 - 0.4 + {1: 0, 3: 0.1, "union": 0.2}[top])


def test_panels_are_titled_and_rows_named_from_top_to_bottom():
    figure = drawn(systems_figure([evaluation("a_b%"), evaluation("$x$")]))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["a_b% · CLIPScore", "$x$ · CLIPScore", "a_b% · BERTScore", "$x$ · BERTScore"]
    assert not any(text.get_parse_math() for axes in figure.axes for text in (axes._left_title,))  # a word is a word
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["Rnd-Words", "Simple", "Semi-NMF", "GT-captions", "Rnd-Words, any direction (ours)"]
    low, high = figure.axes[0].get_ylim()
    assert low > high


def test_what_could_not_be_judged_has_no_dot_and_no_other_place_moves():
    without = {name: scores for name, scores in SCORES.items() if name != "simple"}
    bare = evaluation("bus", clip=without | {"gt_captions": [NAN] * 4}, bert=NOT_BERT)
    figure = drawn(systems_figure([evaluation(), bare]))
    assert sorted(dots(figure.axes[0])) == [0, 1, 2, 3, 4] and sorted(dots(figure.axes[1])) == [0, 2, 4]
    assert dots(figure.axes[3]) == {} == dict.fromkeys(intervals(figure.axes[3]))


# Fig 3


def quality(token: str = "dog", **columns) -> pd.DataFrame:
    """As `grounding_quality` gives it."""
    scores = {"clipscore": [0.6, 0.7, 0.4], "clipscore_random": [0.4, 0.5, 0.5]}
    scores |= {"bertscore": [0.3, 0.1, 0.2], "bertscore_random": [0.2, 0.1, 0.3]}
    return pd.DataFrame({"token": token, "concept": range(3), "words": "dog, brown"} | scores | columns)


def places(axes) -> list[list[list[float]]]:
    return [points.get_offsets().data.tolist() for points in axes.collections]


def test_a_dot_for_each_concept_random_across_and_its_own_up():
    figure = drawn(grounding_figure([quality(), quality("a_b%", bertscore=[0.9, 0.8, 0.7])]))
    clip, bert = figure.axes
    assert places(clip) == [[[0.4, 0.6], [0.5, 0.7], [0.5, 0.4]]] * 2
    assert places(bert) == [[[0.2, 0.3], [0.1, 0.1], [0.3, 0.2]], [[0.2, 0.9], [0.1, 0.8], [0.3, 0.7]]]
    assert clip.get_title(loc="left") == "CLIPScore · 4 of 6 concepts above the line"
    assert bert.get_title(loc="left") == "BERTScore · 4 of 6 concepts above the line"  # one lies on it
    assert (clip.get_xlabel(), clip.get_ylabel()) == ("with random words", "with the concept's own words")
    assert [text.get_text() for text in clip.get_legend().get_texts()] == ["dog", "a_b%"]
    colours = [to_hex(points.get_facecolor()[0]) for points in clip.collections]
    assert len(set(colours)) == 2 == len({*colours, *(to_hex(p.get_facecolor()[0]) for p in bert.collections)})


def test_the_line_is_where_random_words_are_as_good():
    axes = drawn(grounding_figure([quality()])).axes[0]
    (line,) = axes.lines
    assert list(line.get_xdata()) == list(line.get_ydata()) == list(axes.get_xlim()) == list(axes.get_ylim())
    assert axes.get_xlim()[0] < 0.4 and axes.get_xlim()[1] > 0.7 and axes.get_aspect() == 1


def test_concepts_without_a_score_are_left_out():
    figure = drawn(grounding_figure([quality(bertscore=[NAN, 0.3, NAN]), quality("bus", bertscore=[NAN] * 3)]))
    assert [len(item) for item in places(figure.axes[0])] == [3, 3] and places(figure.axes[1]) == [[[0.1, 0.3]]]
    assert figure.axes[1].get_title(loc="left") == "BERTScore · 1 of 1 concepts above the line"


@pytest.mark.parametrize("empty", [quality().iloc[:0], quality(bertscore=[NAN] * 3, bertscore_random=[NAN] * 3)])
def test_nothing_to_draw(empty):
    figure = drawn(grounding_figure([empty]))
    assert figure.axes[1].get_title(loc="left") == "BERTScore · 0 of 0 concepts above the line"
    assert places(figure.axes[1]) == []


def test_words_in_the_legend_are_literal():
    texts = drawn(grounding_figure([quality("$x$")])).axes[0].get_legend().get_texts()
    assert [(text.get_text(), text.get_parse_math()) for text in texts] == [("$x$", False)]


def test_more_tokens_than_colours():
    figure = drawn(grounding_figure([quality(f"word {number}") for number in range(11)]))
    assert len(places(figure.axes[0])) == len(places(figure.axes[1])) == 11


def test_scores_that_are_all_the_same():
    same = {name: [0.5] * 3 for name in ("clipscore", "clipscore_random", "bertscore", "bertscore_random")}
    axes = drawn(grounding_figure([quality(**same)])).axes[0]
    assert axes.get_title(loc="left") == "CLIPScore · 0 of 3 concepts above the line"
    assert axes.get_xlim()[0] < 0.5 < axes.get_xlim()[1]
