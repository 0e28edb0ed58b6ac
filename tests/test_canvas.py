"""How figures are shown in notebooks, and what is put on them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from coxlmm_utils.canvas import COLOURS, UNSEEN, new_figure, put_line, put_picture, put_text
from tests.conftest import noise


def chart():
    figure = new_figure(4, 3)
    figure.subplots().plot(range(9), label="a line")
    return figure


def gallery():
    figure = new_figure(4, 4)
    put_picture(figure, 0, 0, 4, noise(0).resize((400, 400)))
    return figure


def test_a_chart_is_shown_as_png_of_few_colours_that_nobody_tells_from_the_drawing():
    figure = chart()
    shown = Image.open(BytesIO(figure._repr_png_()))
    assert shown.format == "PNG" and shown.mode == "P" and len(shown.getcolors()) <= COLOURS
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    change = np.abs(np.asarray(shown.convert("RGB"), float) - np.asarray(Image.open(buffer).convert("RGB")))
    assert change.mean() <= UNSEEN
    assert figure._repr_jpeg_() is None


def test_pictures_are_shown_as_jpeg():
    assert gallery()._repr_png_() is None
    assert gallery()._repr_jpeg_()[:2] == b"\xff\xd8"


@pytest.mark.parametrize("make", [chart, gallery])
def test_jupyter_is_given_one_of_the_two(make):
    assert [bool(make()._repr_png_()), bool(make()._repr_jpeg_())].count(True) == 1


def test_text_is_literal_and_a_line_keeps_to_its_room():
    figure = new_figure(3, 1)
    assert put_text(figure, 0, 0.5, "$x_1$").get_parse_math() is False
    line = put_line(figure, 0, 0.5, ["beach", "sand", "seaside", "shore", "waves"], 1.5)
    assert line.get_text() == "beach, sand …" and line.get_window_extent().width <= 1.5 * figure.dpi
