"""What figures are made of: colours, an empty figure, and pictures, boxes and words placed in inches."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from .files import atomic_write

INK = "#2b2d42"
QUIET = "#6b7489"
BAR = "#e07a5f"
NEGATIVE_BAR = "#3d5a80"
PANEL = "#f6f4ef"

DPI = 100
QUALITY = 85  # of pictures in a notebook
COLOURS = 256  # of a chart in a notebook
UNSEEN = 16  # the most that so few colours may change a pixel, of 255


class NotebookFigure(Figure):
    """A figure that notebooks show by itself; a plain one they show only where pyplot was imported before.

    A notebook is to stay small. A chart is shown as PNG of few colours, which is half as large as JPEG and sharper; what
    that would change, as pictures, as JPEG. `savefig` writes any format.
    """

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        drawn, kind = Image.open(buffer).convert("RGB"), "png"
        few = drawn.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        change = np.abs(np.asarray(few.convert("RGB"), float) - np.asarray(drawn))
        if change.max() > UNSEEN:
            few, kind = drawn, "jpeg"
        buffer = BytesIO()
        few.save(buffer, format=kind, quality=QUALITY, optimize=True)
        return {f"image/{kind}": b64encode(buffer.getvalue()).decode()}


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


PALE = "#e8e8ec"  # of a grid
EDGE = "#c8ccd4"  # of the two axes that are drawn


def style_axes(axes: Axes, title: str, below: str) -> None:
    """Dress a chart: title above, what is measured below, a pale grid behind (ours).

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    title : str
        Shown literally, also with $ or _ in it.
    below : str
        Of the horizontal axis.
    """
    axes.set_title(title, loc="left", fontsize=10, color=INK, parse_math=False)
    axes.set_xlabel(below, fontsize=9, color=QUIET)
    axes.tick_params(labelsize=8.5, colors=QUIET)
    axes.grid(color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(EDGE)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Export a figure to PDF and PNG.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or Path
        Without an ending: `path.pdf` and `path.png` are written, each whole or not at all.
    """
    path = Path(path)
    for ending in (".pdf", ".png"):
        atomic_write(path.with_name(path.name + ending), partial(figure.savefig, dpi=2 * DPI))
