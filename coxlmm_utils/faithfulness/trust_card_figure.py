"""A trust card as a figure: a line for each question, then a row of answers for each concept (ours)."""

from __future__ import annotations

from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from ..plots import ACCENT, INK, PANEL, QUIET, new_figure, put_box, put_line, put_picture, put_text

WIDTH = 10.6  # inches, as are all sizes here
MARGIN = 0.15
TITLE = 0.5
FACT = 0.22  # a line of what the bank was learned from
QUESTION = 0.68  # a question, its rule, its bar and its finding
HEADS = 0.5  # of the columns of answers
ROW = 0.42  # a concept
NOTE = 0.6
BAR_AT, BAR_LONG = 5.0, 1.15
FINDING_AT = 7.0
TITLE_AT, SAMPLES_AT = 0.62, 3.75  # in a concept's row
ANSWERS_AT, STEP = 4.7, 0.99
LETTERS = 15.5  # of small text, to an inch
ANSWERS = {1.0: ("●", ACCENT), 0.0: ("○", INK)}
NOTES = (
    "● yes   ○ no   – not evaluated. Samples: on how many it is active. The numbers: AUC; share that a blank picture leaves; "
    "nats against a random\ndirection, at the state's own step; how much more its own factor moves it than the runner-up, in "
    "standard deviations; rank of its words,\n1 nearest; cosine. All checks are ours."
)


def trust_card(card) -> Figure:
    """The card on one page.

    Parameters
    ----------
    card : TrustCard

    Returns
    -------
    matplotlib.figure.Figure
    """
    bank, n_facts = card.bank, len(card.facts)
    questions, concepts = QUESTION * len(card.checks), ROW * len(bank)
    height = MARGIN + TITLE + FACT * n_facts + 0.25 + questions + HEADS + concepts + NOTE
    figure, top = new_figure(WIDTH, height), height - MARGIN
    put_text(
        figure, MARGIN, top, f"What was checked of “{bank.token}”", color=INK, fontsize=16, weight="bold", va="top"
    )
    top -= TITLE
    for line, (name, fact) in enumerate(card.facts.items()):
        middle = top - (line + 0.5) * FACT
        put_text(figure, MARGIN, middle, name, color=QUIET, fontsize=9, va="center")
        put_text(figure, 1.2, middle, fact, color=INK, fontsize=9, va="center")
    top -= FACT * n_facts + 0.2
    for row, check in enumerate(card.checks):
        _question(figure, top - row * QUESTION, check)
    top -= questions + HEADS
    _heads(figure, top, card.checks)
    for number in range(len(bank)):
        _concept(figure, top - (number + 1) * ROW, card, number)
    put_text(figure, MARGIN, 0.08, NOTES, color=QUIET, fontsize=8.5, va="bottom", linespacing=1.3)
    return figure


def _question(figure: Figure, top: float, check) -> None:
    """A question with its rule, for how many concepts the answer is yes, and the numbers."""
    put_text(figure, MARGIN, top - 0.08, check.question, color=INK, fontsize=11, weight="bold", va="top")
    rule = fill(f"{check.name}: {check.rule}", int(LETTERS * (BAR_AT - 2 * MARGIN)))
    put_text(figure, MARGIN, top - 0.28, rule, color=QUIET, fontsize=8.5, va="top", linespacing=1.15)
    if check.answers is None:
        put_text(figure, BAR_AT, top - 0.22, "not measured", color=QUIET, fontsize=9.5, va="center")
        finding, colour = f"measure it with {check.how}", QUIET
    else:
        put_box(figure, BAR_AT, top - 0.32, BAR_LONG, 0.2, PANEL)
        put_box(figure, BAR_AT, top - 0.32, BAR_LONG * check.n_yes / max(check.n_evaluated, 1), 0.2, ACCENT)
        count = f"{check.n_yes} of {check.n_evaluated}"
        put_text(figure, BAR_AT + BAR_LONG + 0.08, top - 0.22, count, color=INK, fontsize=9.5, va="center")
        finding, colour = check.answers.finding, INK
    finding = fill(finding, int(LETTERS * (WIDTH - FINDING_AT - MARGIN)))
    put_text(figure, FINDING_AT, top - 0.12, finding, color=colour, fontsize=8.5, va="top", linespacing=1.2)


def _heads(figure: Figure, bottom: float, checks) -> None:
    """What each column tells."""
    style = dict(color=QUIET, fontsize=9, va="bottom")
    put_text(figure, MARGIN, bottom + 0.06, "concept", **style)
    put_text(figure, SAMPLES_AT + 0.4, bottom + 0.06, "samples", ha="right", **style)
    for column, check in enumerate(checks):
        put_text(figure, ANSWERS_AT + column * STEP, bottom + 0.06, check.name, **style)


def _concept(figure: Figure, bottom: float, card, number: int) -> None:
    """A concept's picture, title and samples, and its answers."""
    middle, bank = bottom + ROW / 2, card.bank
    if number % 2 == 0:
        put_box(figure, 0, bottom, WIDTH, ROW, PANEL)
    for picture in bank.pictures(number)[:1]:
        put_picture(figure, MARGIN, bottom + 0.03, ROW - 0.06, picture)
    put_text(figure, TITLE_AT, middle, str(number), color=ACCENT, fontsize=9.5, weight="bold", va="center")
    room = SAMPLES_AT - TITLE_AT - 0.4
    put_line(figure, TITLE_AT + 0.3, middle, bank.title(number).split(", "), room, size=10)
    samples = f"{card.samples[number]:,}"
    put_text(figure, SAMPLES_AT + 0.4, middle, samples, color=INK, fontsize=9.5, va="center", ha="right")
    for column, check in enumerate(card.checks):
        if check.answers:
            left = ANSWERS_AT + column * STEP
            _answer(figure, left, middle, check.answers.holds[number], check.answers.values[number])


def _answer(figure: Figure, left: float, middle: float, holds: float, value: float) -> None:
    """Yes, no or neither, and the number behind it."""
    if np.isnan(holds):
        put_text(figure, left, middle, "–", color=QUIET, fontsize=10, va="center")
        return
    sign, colour = ANSWERS[float(holds)]
    put_text(figure, left, middle, sign, color=colour, fontsize=11, va="center")
    put_text(figure, left + 0.2, middle, f"{value:z.2f}", color=INK, fontsize=9.5, va="center")
