"""What figures are made of: one palette, the style of charts, and pictures, boxes and words placed in inches."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from textwrap import shorten, wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from .files import atomic_write

INK = "#2b2d42"  # text
QUIET = "#6b7489"  # less important text
ACCENT = "#e07a5f"  # what a figure is about: bars, our method
NEGATIVE = "#3d5a80"  # bars of negative values
BLUE, GREEN, MAUVE, GOLD, SLATE = "#3d7ea6", "#5a9367", "#b08bbb", "#c9a227", "#7a8794"
GREY = "#9aa3b2"  # controls
PANEL = "#f6f4ef"  # behind a card
PALE = "#e8e8ec"  # a grid
EDGE = "#c8ccd4"  # an axis
PALETTE = (ACCENT, BLUE, GREEN, MAUVE, GOLD, SLATE, "#a44a3f", "#3d405b")  # of series, in this order

DPI = 100
JPEG_QUALITY = 85  # of pictures in a notebook
MAX_COLOURS = 256  # of a chart in a notebook
MAX_DESCRIBED = 600  # letters of a figure's alternative text
MAX_CHANGE = 16  # of a pixel, of 255, by so few colours: nobody sees it


class NotebookFigure(Figure):
    """A figure that notebooks show by itself; a plain one they show only where pyplot was imported before.

    A notebook is to stay small. A chart is shown as PNG of few colours, which is half as large as JPEG and sharper;
    where that would be seen, and wherever there are pictures, whose shades few colours cut into bands, as JPEG.
    `savefig` writes any format.
    """

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict[str, str], dict[str, dict]]:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        drawn, kind = Image.open(buffer).convert("RGB"), "png"
        few = drawn.quantize(MAX_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        change = np.abs(np.asarray(few.convert("RGB"), float) - np.asarray(drawn))
        if change.max() > MAX_CHANGE or _has_pictures(self):
            few, kind = drawn, "jpeg"
        buffer = BytesIO()
        few.save(buffer, format=kind, quality=JPEG_QUALITY, optimize=True)
        encoded = b64encode(buffer.getvalue()).decode()
        return {f"image/{kind}": encoded}, {f"image/{kind}": {"alt": described(self)}}


def _has_pictures(figure: Figure) -> bool:
    """Whether a picture is on it: an image that has colours, not the values of a heat map."""
    return any(np.ndim(image.get_array()) == 3 for axes in figure.axes for image in axes.images)


def described(figure: Figure) -> str:
    """What a figure says in words, for those who do not see it: titles, axes, series and texts, but no tick labels."""
    texts = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        texts += [axes.get_title("left") or axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
        legend = axes.get_legend()
        texts += [text.get_text() for text in [*(legend.get_texts() if legend else ()), *axes.texts]]
    words = "; ".join(dict.fromkeys(" ".join(text.split()) for text in texts if text.strip()))
    return shorten(f"Figure: {words}" if words else "Figure", MAX_DESCRIBED, placeholder=" …")


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


def captioned(
    pictures: Sequence[Image.Image], captions: Sequence[str], notes: Sequence[str] = (), n_columns: int = 4
) -> NotebookFigure:
    """Pictures with what is said of each below it, and under that a note in the accent colour (ours).

    Parameters
    ----------
    pictures : sequence of PIL.Image.Image
    captions : sequence of str
        One for each picture.
    notes : sequence of str, default none
        One for each picture; may be empty.
    n_columns : int, default 4
    """
    side, line, gap, letters = 2.1, 0.155, 0.15, 33  # inches, and letters in a line
    notes = list(notes) or [""] * len(pictures)
    texts = [(wrap(caption, letters), wrap(note, letters)) for caption, note in zip(captions, notes)]
    height = side + 0.1 + line * max(len(caption) + len(note) for caption, note in texts) + gap
    n_columns, n_rows = min(n_columns, len(pictures)), -(-len(pictures) // n_columns)
    figure = new_figure(n_columns * (side + gap) - gap, n_rows * height)
    for i, (picture, (caption, note)) in enumerate(zip(pictures, texts)):
        left, bottom = i % n_columns * (side + gap), (n_rows - i // n_columns) * height - side
        put_picture(figure, left, bottom, side, picture)
        for row, text in enumerate(caption + note):
            colour = ACCENT if row >= len(caption) else INK
            put_text(figure, left, bottom - 0.1 - line * row, text, color=colour, size=8.5, va="top")
    return figure


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


def style_axes(axes: Axes, title: str, below: str) -> None:
    """Style a chart: a literal title at the left, what the horizontal axis measures below, a pale grid behind."""
    axes.set_title(title, loc="left", fontsize=10, color=INK, parse_math=False)
    axes.set_xlabel(below, fontsize=9, color=QUIET)
    axes.tick_params(labelsize=8.5, colors=QUIET)
    axes.grid(color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(EDGE)


def row_labels(axes: Axes, labels: Sequence[str], size: float = 8.5, top_first: bool = False) -> None:
    """Name the rows of a chart, at 0, 1, ..., from the bottom or from the top; no grid lines across them."""
    axes.set_yticks(range(len(labels)), labels, fontsize=size, color=INK, parse_math=False)
    ends = (-0.6, len(labels) - 0.4)
    axes.set_ylim(ends[::-1] if top_first else ends)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(visible=False, axis="y")


def interval_dots(
    axes: Axes, positions, values, lows, highs, colour: str, label: str | None = None, filled=True, **style
) -> None:
    """A dot per row at its value, on a line over its interval; `filled`, one bool or one per row, else hollow."""
    axes.hlines(positions, lows, highs, color=colour, linewidth=2, alpha=0.6)
    style = {"marker": "o", "markersize": 5, "linestyle": "none", "color": colour} | style
    positions, values, filled = np.broadcast_arrays(*map(np.atleast_1d, (positions, values, filled)))
    if not filled.all():
        axes.plot(values[~filled], positions[~filled], markerfacecolor="white", **style)
    axes.plot(values[filled], positions[filled], label=label, **style)


def band(axes: Axes, x, values, lows, highs, colour: str, label: str | None = None, **style) -> None:
    """A line with its interval as a band."""
    axes.plot(x, values, color=colour, label=label, **{"linewidth": 1.8} | style)
    axes.fill_between(x, lows, highs, color=colour, alpha=0.2, linewidth=0)


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
