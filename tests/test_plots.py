"""How figures are shown in notebooks, and what is put on them."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

import numpy as np
from PIL import Image

from coxlmm_utils.plots import (
    MAX_CHANGE,
    MAX_COLOURS,
    MAX_DESCRIBED,
    captioned,
    described,
    new_figure,
    put_line,
    put_picture,
    put_text,
)


def chart():
    figure = new_figure(4, 3)
    figure.subplots().plot(range(9), label="a line")
    return figure


def gallery():
    figure = new_figure(4, 4)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    put_picture(figure, 0, 0, 4, Image.fromarray(pixels))
    return figure


def shown(figure) -> Image.Image:
    """What a notebook shows."""
    ((kind, data),) = figure._repr_mimebundle_()[0].items()
    picture = Image.open(BytesIO(b64decode(data)))
    assert kind == f"image/{picture.format.lower()}"
    return picture


def test_a_chart_is_shown_as_png_of_few_colours_that_nobody_tells_from_the_drawing():
    figure, buffer = chart(), BytesIO()
    figure.savefig(buffer, format="png")
    result = shown(figure)
    assert result.format == "PNG" and result.mode == "P" and len(result.getcolors()) <= MAX_COLOURS
    change = np.abs(np.asarray(result.convert("RGB"), float) - np.asarray(Image.open(buffer).convert("RGB")))
    assert change.max() <= MAX_CHANGE and result.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_pictures_are_shown_as_jpeg_even_those_of_few_colours():
    assert shown(gallery()).format == "JPEG"
    figure = new_figure(2, 2)
    put_picture(figure, 0, 0, 1, Image.new("RGB", (8, 8), "red"))
    assert shown(figure).format == "JPEG"


def test_a_heat_map_is_a_chart():
    figure = new_figure(2, 2)
    figure.subplots().imshow(np.eye(4))
    assert shown(figure).format == "PNG"


def test_text_is_literal_and_a_line_keeps_to_its_room():
    figure = new_figure(3, 1)
    assert put_text(figure, 0, 0.5, "$x_1$").get_parse_math() is False
    line = put_line(figure, 0, 0.5, ["beach", "sand", "seaside", "shore", "waves"], 1.5)
    assert line.get_text() == "beach, sand …" and line.get_window_extent().width <= 1.5 * figure.dpi


def test_a_figure_has_its_words_as_alternative_text():
    figure = chart()
    figure.axes[0].set(title="Objective", xlabel="iteration")
    figure.axes[0].legend()
    put_text(figure, 0, 0.5, "beach,\n sand")
    assert described(figure) == "Figure: beach, sand; Objective; iteration; a line"
    assert set(figure._repr_mimebundle_()[1]) == set(figure._repr_mimebundle_()[0])
    put_text(figure, 0, 0, "sand " * 500)
    assert len(described(figure)) <= MAX_DESCRIBED and described(new_figure(1, 1)) == "Figure"


def test_pictures_stand_above_their_captions_and_notes():
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    long = "a dog that is said to be so much that it takes several lines of text below its picture"
    figure = captioned(pictures, ["a $dog$", long, "a cat"], ["", "not true: dog", ""], n_columns=2)
    texts = [text.get_text() for text in figure.texts]
    assert " ".join(texts) == f"a $dog$ {long} not true: dog a cat"
    [note] = [text for text in figure.texts if text.get_text() == "not true: dog"]
    assert {text.get_color() for text in figure.texts if text is not note} != {note.get_color()}
    tops = [axes.get_position().y0 for axes in figure.axes]
    assert len(figure.axes) == 3 and tops[0] == tops[1] > tops[2]
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= -0.01 and box.y0 >= -0.01 and box.x1 <= width + 0.01 and box.y1 <= height + 0.01
