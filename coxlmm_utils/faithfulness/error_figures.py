"""What an error looks like inside: the concepts that tell it, with pictures and words, beside their AUROCs (ours)."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..concepts import figures
from ..plots import ACCENT, GREY, INK, PANEL, QUIET, interval_dots, new_figure, put_box, put_line, put_text, style_axes
from .errors import READINGS, ErrorDetection

MARGIN, LINE = figures.MARGIN, figures.LINE  # inches, as all sizes here
SIDE = 1.0  # of a picture
N_SHOWN = 3
NOTE = 0.24  # a line below a picture
CHART = 3.0  # width of the chart
VALUE = 0.55  # room for a number at its right
BELOW = 0.55  # the chart's horizontal axis
REFERENCES = ("random", "direction", "random_direction", "probe")  # below the concepts, from above
SIDES = {1: "active in errors", -1: "active in right answers"}


def error_gallery(
    bank,
    detection: ErrorDetection,
    concepts: Sequence[int] | None = None,
    notes: Sequence[str] = (),
    wrong: Sequence[bool] = (),
) -> Figure:
    """The concepts that tell errors, and their AUROCs on held-out inputs beside those of a probe and of random ones.

    Parameters
    ----------
    bank : ConceptBank
        The one that `error_detection` was given.
    detection : ErrorDetection
    concepts : sequence of int, optional
        Which, in this order. Default: the three of highest AUROC on the inputs that were learned from.
    notes : sequence of str, default none
        A few words on each sample of the bank, to be read below its picture: what was asked and answered.
    wrong : sequence of bool, default none
        Whether the answer to each of these was wrong: its note then has the accent colour.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there are no concepts to show or not those of the bank, or there are notes but not one for each sample.
    """
    shown = detection.telling(N_SHOWN) if concepts is None else list(concepts)
    _check(bank, detection, shown, notes, wrong)
    n_pictures, note = bank.top.shape[1], NOTE * bool(notes)
    width, height = figures.card_size(n_pictures, SIDE)
    step = height + note + MARGIN
    tall = 2 * LINE + len(shown) * step + LINE * (len(REFERENCES) + 0.5) + BELOW + 2 * MARGIN
    figure = new_figure(width + CHART + VALUE + 4 * MARGIN, tall)
    _title(figure, bank, detection)
    middles = {}
    for row, concept in enumerate(shown):
        bottom = tall - 2 * LINE - MARGIN - row * step - height
        middles[concept] = bottom + height / 2
        put_box(figure, MARGIN, bottom - note, width, height, PANEL)
        figures.card(figure, MARGIN, bottom, bank, (concept, 1), 5, n_pictures, SIDE)
        _notes(figure, bank, concept, bottom, notes, wrong)
    top = tall - MARGIN - 2 * LINE - len(shown) * step - LINE / 2
    middles |= {name: top - (row + 0.5) * LINE for row, name in enumerate(REFERENCES)}
    _chart(figure, detection, middles, width + 2 * MARGIN, tall - 2 * LINE - MARGIN)
    return figure


def _check(bank, detection: ErrorDetection, shown: Sequence[int], notes: Sequence[str], wrong: Sequence[bool]) -> None:
    """Refuse what does not belong together."""
    if len(detection.table) != len(bank):
        raise ValueError(f"the errors were told by {len(detection.table)} concepts, and the bank has {len(bank)}")
    if not shown or not set(shown) <= set(range(len(bank))):
        raise ValueError(f"concepts {shown} cannot be shown: give some of 0 to {len(bank) - 1}")
    for name, given in (("notes", notes), ("wrong", wrong)):
        if len(given) not in (0, len(bank.ids)):
            raise ValueError(f"{name} are {len(given)}, and the bank has {len(bank.ids)} samples: give one for each")


def _title(figure: Figure, bank, detection: ErrorDetection) -> None:
    """What is shown, and of how many inputs."""
    top, room = figure.get_figheight() - MARGIN, figure.get_figwidth() - 2 * MARGIN
    put_line(
        figure,
        MARGIN,
        top - LINE / 2,
        ["Concepts that tell wrong answers from right ones"],
        room,
        size=13,
        weight="bold",
    )
    errors, right = detection.n_test
    counts = f"{bank.where}  ·  {errors:,} of {errors + right:,} held-out answers are wrong"
    put_line(figure, MARGIN, top - LINE * 1.4, [counts], room, color=QUIET)


def _notes(figure: Figure, bank, concept: int, bottom: float, notes: Sequence[str], wrong: Sequence[bool]) -> None:
    """What was asked and answered, below each picture of a card."""
    for column, row in enumerate(bank.top_of(concept) if notes else ()):
        centre = 2 * MARGIN + column * (SIDE + figures.GAP) + SIDE / 2
        colour = ACCENT if len(wrong) and wrong[row] else INK
        put_text(figure, centre, bottom - 0.03, notes[row], size=9, color=colour, ha="center", va="center")


def _chart(figure: Figure, detection: ErrorDetection, middles: dict, left: float, top: float) -> None:
    """AUROCs with intervals, each at the height of its card; the other readings below, with their names at the left."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes([left / width, BELOW / height, CHART / width, (top - BELOW) / height])
    means, lowest = detection.means, 0.5
    for name, y in middles.items():
        if name in READINGS:
            value, low, high = means[name].ends
            put_text(
                figure, left - MARGIN, y, _name(name, len(detection.table)), size=10, color=INK, ha="right", va="center"
            )
        else:
            row = detection.table.loc[name]
            value, low, high = row["auroc"], row["low"], row["high"]
            axes.text(value, y - 0.22, SIDES[int(row["side"])], fontsize=9, color=QUIET, ha="center", va="center")
        colour = GREY if "random" in str(name) else INK if name == "probe" else ACCENT
        interval_dots(axes, y, value, low, high, colour)
        put_text(figure, left + CHART + MARGIN, y, f"{value:.2f}", size=10, color=INK, va="center")
        lowest = min(lowest, low)
    _style(axes, lowest, (BELOW, top))


def _name(reading: str, n: int) -> str:
    """What a reading of the states is called below the concepts."""
    return READINGS[reading] + (f" (of {n})" if "random" in reading else "")


def _style(axes: Axes, lowest: float, ends: tuple[float, float]) -> None:
    """The chart's axes; heights are inches of the figure."""
    style_axes(axes, "", "AUROC on held-out answers")
    axes.axvline(0.5, color=INK, linewidth=0.9, linestyle=":")
    axes.set_xlim(min(0.45, lowest - 0.03), 1.02)
    axes.set_ylim(*ends)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
