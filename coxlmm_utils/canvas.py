"""What figures are made of: colours, an empty figure, and pictures, boxes and words placed in inches."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

INK = "#2b2d42"
QUIET = "#6b7489"
BAR = "#e07a5f"
NEGATIVE_BAR = "#3d5a80"
PANEL = "#f6f4ef"

DPI = 100
COLOURS = 256  # of a chart in a notebook
UNSEEN = 0.5  # mean change of a pixel by so few colours, of 255, that nobody sees


class NotebookFigure(Figure):
    """A figure that notebooks show by itself; a plain one they show only where pyplot was imported before.

    A notebook is to stay small. A chart is shown as PNG of few colours, which is half as large as JPEG and sharper; what
    that would change, as pictures, as JPEG. `savefig` writes any format.
    """

    def _repr_png_(self) -> bytes | None:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        drawn = Image.open(buffer).convert("RGB")
        few = drawn.quantize(COLOURS, dither=Image.Dither.NONE)
        if np.abs(np.asarray(few.convert("RGB"), float) - np.asarray(drawn)).mean() > UNSEEN:
            return None
        buffer = BytesIO()
        few.save(buffer, format="png", optimize=True)
        return buffer.getvalue()

    def _repr_jpeg_(self) -> bytes | None:
        if self._repr_png_():
            return None
        buffer = BytesIO()
        self.savefig(buffer, format="jpeg", pil_kwargs={"quality": 85})
        return buffer.getvalue()


def new_figure(width: float, height: float, **style) -> NotebookFigure:
    """An empty figure of this size in inches."""
    return NotebookFigure(figsize=(width, height), dpi=DPI, facecolor="white", **style)


def put_picture(
    figure: Figure, left: float, bottom: float, side: float, picture: Image.Image, anchor: str = "C"
) -> None:
    """A whole picture, fitted into a square."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes([left / width, bottom / height, side / width, side / height], anchor=anchor)
    fine = 2 * side * figure.dpi / max(picture.size)  # two pixels for each one shown: smooth when enlarged
    if fine > 1:
        picture = picture.resize([round(fine * length) for length in picture.size], Image.Resampling.LANCZOS)
    axes.imshow(picture, interpolation="hanning")
    axes.set_axis_off()


def put_box(figure: Figure, left: float, bottom: float, width: float, height: float, colour: str) -> None:
    """A filled rectangle behind everything else."""
    style = dict(color=colour, linewidth=0, zorder=-1, transform=figure.dpi_scale_trans)
    figure.add_artist(Rectangle((left, bottom), width, height, **style))


def put_text(figure: Figure, x: float, y: float, text: str, **style) -> Text:
    """Literal text: a $ in it begins no formula."""
    return figure.text(x, y, text, transform=figure.dpi_scale_trans, parse_math=False, **style)


def put_line(figure: Figure, x: float, y: float, words: Sequence[str], width: float, **style) -> Text:
    """As many of the words as there is room for; a word too long for the whole line is cut."""
    style = {"color": INK, "size": 11, "va": "center", **style}
    text = put_text(figure, x, y, ", ".join(words), **style)
    shown, first = len(words), words[0]
    while text.get_window_extent().width > width * figure.dpi and first:
        shown, first = max(shown - 1, 1), first if shown > 1 else first[:-1]
        text.set_text(", ".join([first, *words[1:shown]]) + " …")
    return text
