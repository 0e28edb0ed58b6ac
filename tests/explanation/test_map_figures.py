"""Concept maps beside other maps of the same token, in one figure."""

import numpy as np
import pytest

from coxlmm_utils.explanation.concept_maps import patch_map
from coxlmm_utils.explanation.explain import explain
from coxlmm_utils.explanation.localization import MaskScores
from coxlmm_utils.explanation.map_figures import MAPS, concept_maps, explanation_maps, maps_figure, token_maps
from coxlmm_utils.explanation.token_maps import attention, gradient_times_input, occlusion
from coxlmm_utils.models.image_tokens import seen_box


@pytest.fixture(scope="module")
def explained(llava, bank, pictures):
    return explain(llava, bank, pictures[int(bank.ids[0][1:])])


@pytest.fixture(scope="module")
def maps(llava, explained):
    return explanation_maps(llava, explained, 1, span=2)


def test_all_maps_of_one_explanation(llava, explained, maps):
    assert list(maps) == list(MAPS)
    assert {map.shape for map in maps.values()} == {(4, 4)}
    np.testing.assert_array_equal(maps["attention"], attention(llava, explained))
    np.testing.assert_array_equal(maps["gradient_times_input"], gradient_times_input(llava, explained))
    np.testing.assert_array_equal(maps["occlusion"], occlusion(llava, explained, span=2))
    for way in ("projection", "gradient"):
        np.testing.assert_array_equal(maps[f"concept_{way}"], patch_map(llava, explained, 1, way).values)


def test_maps_of_the_token_know_of_no_concept(llava, explained, maps):
    assert list(token_maps(llava, explained)) + list(concept_maps(llava, explained, 0)) == list(maps)
    other = concept_maps(llava, explained, 0)
    assert not np.allclose(other["concept_gradient"], maps["concept_gradient"])


def test_there_must_be_such_a_concept(llava, explained):
    with pytest.raises(ValueError, match="there is no concept 9"):
        concept_maps(llava, explained, 9)


def drawn(llava, explained, maps, n=2, **known):
    boxes = [seen_box(llava, explained.picture.size)] * n
    return maps_figure([explained] * n, [1] * n, [maps] * n, boxes, **known)


def test_a_row_for_each_picture(llava, explained, maps):
    figure = drawn(llava, explained, maps)
    assert len(figure.axes) == 2 * (1 + len(MAPS))
    assert [axes.get_title() for axes in figure.axes[:6]] == ["the picture", *MAPS.values()]
    assert f"concept 1: {explained.bank.title(1)}" in figure.axes[0].texts[0].get_text()
    assert not figure.axes[0].collections  # no outline where no mask is known


def test_what_is_known_is_outlined_and_scored(llava, explained, maps):
    mask = np.zeros(explained.picture.size[::-1], bool)
    mask[5:20, 30:45] = True
    hits = {name: MaskScores(name == "attention", 0.25, 0.5) for name in MAPS}
    figure = drawn(llava, explained, maps, n=1, masks=[mask], scores=[hits])
    (x0, y0), (x1, y1) = figure.axes[2].collections[0].get_paths()[0].get_extents().get_points()
    assert (x0, x1) == pytest.approx((30, 45), abs=1) and (y0, y1) == pytest.approx((5, 20), abs=1)
    assert figure.axes[2].get_ylim() == (mask.shape[0], 0)  # the first row is above
    texts = [axes.texts[0].get_text() for axes in figure.axes[1:]]
    assert texts[0] == "●   IoU 0.25" and set(texts[1:]) == {"○   IoU 0.25"}


def test_all_that_is_shown_is_inside_the_figure(llava, explained, maps):
    figure = drawn(llava, explained, maps)
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    for axes in figure.axes:
        for text in (axes.title, *axes.texts):
            box = text.get_window_extent()
            assert 0 <= box.y0 and box.y1 <= height and 0 <= box.x0 and box.x1 <= width + 1
