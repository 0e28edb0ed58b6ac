"""The paper's figures, each a function that returns a matplotlib Figure.

Everything is placed in inches from the figure's lower left corner, so that nothing overlaps or is cut off,
whatever the pictures and words are; words are shown literally, also those with $ or _.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
from matplotlib.figure import Figure

from ..dictionaries import SemiNMF
from ..plots import ACCENT, INK, NEGATIVE, PALETTE, PANEL, QUIET, new_figure, put_box, put_line, put_picture, put_text
from ..text import whole_word

MARGIN = 0.12  # inches, as are all sizes here: around cards, and inside them
LINE = 0.3  # a line of text
GAP = 0.06  # between pictures
SIDE = 0.95  # of the square that a gallery's picture is fitted into
CONCEPT_SIDE = 1.7  # the same, for one concept
EXPLAINING_SIDE = 1.0  # the same, beside the bars
EXPLAINED_SIDE = 3.2  # of the picture that is explained
BARS = 2.0  # width of the bars
SIGNED = "  ·  each concept above zero (+) and below (−)"
MIN_ROOM = 0.8  # for words beside a concept's name; with less they are left out


def gallery(bank, concepts: Sequence[int] | None = None, n_words: int = 5) -> Figure:
    """Concepts with their most activating pictures and their words: the paper's Figs 4 and 7.

    A concept whose activations have both signs has a card for each: above zero at the left, below at the right (ours).

    Parameters
    ----------
    bank : ConceptBank
    concepts : sequence of int, optional
        Which ones, in this order. Default: all, those with the most activation (of either sign) over the samples first.
    n_words : int
        Words shown for each, as far as there is room.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there are no concepts to show, or one that the bank does not have.
    """
    if concepts is None:
        concepts = np.argsort(-np.abs(bank.activations).sum(0), kind="stable").tolist()
    concepts = np.atleast_1d(concepts).tolist()
    _check(bank, concepts)
    cards = [(number, sign) for number in concepts for sign in bank.sides]
    n_pictures = bank.top.shape[1]
    n_columns = min(2, len(cards))
    n_rows = -(-len(cards) // n_columns)
    width, height = card_size(n_pictures, SIDE)
    figure = new_figure(n_columns * (width + MARGIN) + MARGIN, n_rows * (height + MARGIN) + 2 * LINE + MARGIN)
    top = figure.get_figheight() - MARGIN
    share = f"{len(concepts)} of {len(bank)}" if len(concepts) < len(bank) else f"{len(bank)}"
    method = "" if bank.method == SemiNMF.label else f" ({bank.method})"
    title = f"“{bank.token}”: {share} concepts{method}"
    inside = figure.get_figwidth() - 2 * MARGIN
    put_line(figure, MARGIN, top - LINE / 2, [title], inside, size=13, weight="bold")
    samples = f"{bank.where}  ·  {len(bank.ids):,} samples" + SIGNED * bank.dictionary.signed
    put_line(figure, MARGIN, top - LINE * 1.4, [samples], inside, color=QUIET)
    for index, of in enumerate(cards):
        row, column = divmod(index, n_columns)
        bottom = top - 2 * LINE - (row + 1) * (height + MARGIN) + MARGIN
        card(figure, MARGIN + column * (width + MARGIN), bottom, bank, of, n_words, n_pictures, SIDE)
    return figure


def concept(bank, number: int, n_words: int = 5) -> Figure:
    """One concept, large, with a card for each of its sides: the paper's Fig 2."""
    _check(bank, [number])
    n_pictures = bank.top.shape[1]
    width, height = card_size(n_pictures, CONCEPT_SIDE)
    step = height + MARGIN
    figure = new_figure(width + 2 * MARGIN, len(bank.sides) * step + MARGIN)
    for row, sign in enumerate(reversed(bank.sides)):
        card(figure, MARGIN, MARGIN + row * step, bank, (number, sign), n_words, n_pictures, CONCEPT_SIDE)
    return figure


def explanation(explained, n: int = 3) -> Figure:
    """One picture, its top concepts as bars, and each concept's words and pictures: the paper's Fig 5."""
    bank, top, n_pictures = explained.bank, explained.top(n), min(4, explained.bank.top.shape[1])
    lines = wrap(_marked(explained), 38)
    width, height = card_size(n_pictures, EXPLAINING_SIDE)
    step = height + MARGIN
    shown = EXPLAINED_SIDE * min(1, explained.picture.height / explained.picture.width)  # height of the picture
    room = BARS + MARGIN + width  # of the bars and cards
    key = wrap(f"bars: activation / largest; {explained.share_text(n)}", int(room / 0.0685))  # inches a letter
    tall = max(shown + MARGIN + 0.21 * len(lines), len(top) * step + 2 * LINE - MARGIN + 0.16 * max(0, len(key) - 2))
    cards_left = EXPLAINED_SIDE + BARS + 4 * MARGIN
    figure = new_figure(cards_left + width + MARGIN, tall + 2 * MARGIN)
    head = tall + MARGIN
    put_picture(figure, MARGIN, head - EXPLAINED_SIDE, EXPLAINED_SIDE, explained.picture, anchor="NW")
    style = dict(fontsize=11, color=INK, va="top", linespacing=1.3)
    put_text(figure, MARGIN, head - shown - MARGIN, "\n".join(lines), **style)
    heading = [f"Concepts behind “{bank.token}”"] if top else [f"No concept is active behind “{bank.token}”"]
    bars_left = EXPLAINED_SIDE + 3 * MARGIN
    put_line(figure, bars_left, head - LINE / 2, heading, room, weight="bold")
    for row, number in enumerate(top):
        bottom, relative = head - LINE - (row + 1) * step + MARGIN, float(explained.relative[number])
        _bar(figure, bars_left, bottom + height / 2, bank, number, relative)
        card(figure, cards_left, bottom, bank, (number, relative), 5, n_pictures, EXPLAINING_SIDE)
    if top:
        below = head - LINE - len(top) * step + MARGIN / 2
        put_text(figure, bars_left, below, "\n".join(key), color=QUIET, fontsize=9, va="top")
    return figure


def objective(fits: dict[str, Sequence[float]]) -> Figure:
    """The objective after every iteration of some fits (ours)."""
    figure = new_figure(6.5, 2.8, layout="constrained")
    axes = figure.subplots()
    for (name, values), colour in zip(fits.items(), PALETTE, strict=False):
        axes.plot(range(1, len(values) + 1), np.array(values) / values[-1] - 1, color=colour, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("iteration")
    axes.set_ylabel("objective / last - 1")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def _check(bank, concepts: list[int]) -> None:
    """Refuse concepts that there are not."""
    if not concepts or not all(number in range(len(bank)) for number in concepts):
        raise ValueError(f"concepts {concepts} cannot be shown: give some of 0 to {len(bank) - 1}")


def card_size(n_pictures: int, side: float) -> tuple[float, float]:
    """Width and height of a concept's card."""
    return n_pictures * (side + GAP) - GAP + 2 * MARGIN, side + LINE + 1.5 * MARGIN


def card(
    figure: Figure,
    left: float,
    bottom: float,
    bank,
    of: tuple[int, float],
    n_words: int,
    n_pictures: int,
    side: float,
) -> None:
    """The number and words above a strip of pictures, of a concept and of the side that an activation is on."""
    (number, activation), (width, height) = of, card_size(n_pictures, side)
    mark = "" if not bank.dictionary.signed else "−" if activation < 0 else "+"
    put_box(figure, left, bottom, width, height, PANEL)
    left, middle = left + MARGIN, bottom + height - MARGIN / 2 - LINE / 2
    put_text(figure, left, middle, f"{number}{mark}", color=ACCENT, fontsize=11, weight="bold", va="center")
    indent = 0.45 if mark else 0.35
    _heading(figure, left + indent, middle, bank, of, n_words, width - 2 * MARGIN - indent)
    pictures = bank.pictures(*of)[:n_pictures]
    for column, picture in enumerate(pictures):
        put_picture(figure, left + column * (side + GAP), bottom + MARGIN, side, picture)
    if not pictures:
        put_text(figure, left, bottom + MARGIN, "no picture activates it", color=QUIET, style="italic", fontsize=11)


def _heading(
    figure: Figure, left: float, middle: float, bank, of: tuple[int, float], n_words: int, room: float
) -> None:
    """A concept's words, after the name that its user gave it, as far as there is room."""
    words, style = list(bank.words_of(*of).kept[:n_words]), {}
    if of[0] in bank.names:
        name = put_line(figure, left, middle, [bank.title(*of)], room, weight="bold")
        taken = name.get_window_extent().width / figure.dpi + MARGIN
        left, room, style = left + taken, room - taken, {"color": QUIET}
        if room < MIN_ROOM:
            return
    if not words:
        words, style = ["no words left by the filter"], {"color": QUIET, "style": "italic"}
    put_line(figure, left, middle, words, room, **style)


def _bar(figure: Figure, left: float, middle: float, bank, number: int, value: float) -> None:
    """One relative activation, from -1 to 1: a bar as long as its magnitude, with its concept and value."""
    room = BARS - 0.45  # beside it stands the value
    put_line(figure, left, middle + 0.23, bank.title(number, value).split(", "), BARS, size=10)
    put_box(figure, left, middle - 0.11, room, 0.22, PANEL)
    put_box(figure, left, middle - 0.11, room * abs(value), 0.22, ACCENT if value > 0 else NEGATIVE)
    put_text(figure, left + room + 0.07, middle, f"{value:.2f}", color=INK, fontsize=10, va="center")


def _marked(explained) -> str:
    """The caption with the token set apart."""
    match = whole_word(*explained.bank.spellings).search(explained.caption)
    if match is None:
        return explained.caption
    return f"{explained.caption[: match.start()]}[{match.group()}]{explained.caption[match.end() :]}"
