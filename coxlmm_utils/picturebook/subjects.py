"""The book's subjects: who draws them, how deep they stand in water, and the signs of what they do.

Signs are what a picture book adds around a body: dust, speed lines, "Zz", smoke, a parking sign.
"""

from __future__ import annotations

from .animals import bird, cat, dog, horse
from .brush import CREAM, INK, LAMPLIGHT, WHITE, WOOD, Brush, Colour, coat
from .factors import Factors
from .vehicles import STEEL, boat, bus, car, train

PAINTERS = {
    "dog": dog, "cat": cat, "bird": bird, "horse": horse,
    "bus": bus, "car": car, "train": train, "boat": boat,
}
DRAUGHTS = {"dog": 0.15, "bird": 0.08, "horse": 0.2, "boat": 0.07}  # how much of those in water is under it
SIGNAL_RED: Colour = (230, 44, 40)
SIGN_BLUE: Colour = (40, 60, 132)
DUST: Colour = (244, 238, 226)
SMOKE: Colour = (236, 234, 238)
POST: Colour = (122, 84, 56)
AIR_BED: Colour = (244, 120, 140)


def draw_subject(brush: Brush, factors: Factors) -> None:
    """Draw the subject itself, its feet at the brush's (0, 0), one unit long (ours)."""
    PAINTERS[factors.kind](brush, coat(factors.colour), factors.action)


def draught(factors: Factors) -> float:
    """How much of the subject is under water, in units of its length; 0 outside the water (ours)."""
    if factors.place != "water" or factors.action == "flying":
        return 0.0
    return 0.0 if factors.action == "sleeping" else DRAUGHTS[factors.kind]  # sleepers have an air bed


def draw_signs(brush: Brush, factors: Factors) -> None:
    """Draw the signs of the subject's action, behind it (ours)."""
    if factors.action == "sleeping":
        _sleep_signs(brush)
        if factors.place == "water":
            _air_bed(brush)
    elif factors.action in ("running", "driving"):
        _speed_lines(brush, (-0.62, -0.42, -0.22) if factors.kind == "horse" else (-0.50, -0.36, -0.22))
        _dust(brush)
    if factors.kind in ("bus", "car"):
        {"driving": _light_rays, "parked": _parking_sign}[factors.action](brush)
    elif factors.kind == "train":
        {"driving": _smoke, "parked": _stop_signal}[factors.action](brush)
    elif factors.kind == "boat":
        {"sailing": _wind, "anchored": _mooring}[factors.action](brush)


def _sleep_signs(brush: Brush) -> None:
    """Two letters Z above the head."""
    for x, y, size in ((0.26, -0.48, 0.11), (0.40, -0.68, 0.16)):
        letter = brush.glowing().at(x, y, size).upright()
        letter.stroke([(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)], 0.28, WHITE)


def _air_bed(brush: Brush) -> None:
    """What a sleeper in the water lies on."""
    brush.box(-0.54, -0.09, 0.54, 0.07, AIR_BED, 0.06)
    for x in (-0.40, -0.16, 0.08, 0.32):
        brush.box(x, -0.09, x + 0.09, 0.07, CREAM)


def _speed_lines(brush: Brush, heights: tuple[float, ...]) -> None:
    for y in heights:
        brush.stroke([(-0.60, y), (-0.30, y)], 0.028, WHITE)


def _dust(brush: Brush) -> None:
    for x, y, radius in ((-0.38, -0.06, 0.07), (-0.47, -0.075, 0.085), (-0.56, -0.045, 0.05)):
        brush.oval(x, y, radius, radius, DUST)


def _light_rays(brush: Brush) -> None:
    """Light of the head lamp."""
    for y, slope in ((-0.28, -0.05), (-0.21, 0), (-0.14, 0.05)):
        brush.glowing().stroke([(0.53, y), (0.61, y + slope)], 0.034, LAMPLIGHT)


def _parking_sign(brush: Brush) -> None:
    """A big sign "P" on a pole behind the vehicle."""
    brush.stroke([(-0.34, -0.8), (-0.34, -0.1)], 0.035, STEEL)
    sign = brush.at(-0.34, -0.90).upright()
    sign.box(-0.14, -0.14, 0.14, 0.14, WHITE, 0.04)
    sign.box(-0.12, -0.12, 0.12, 0.12, SIGN_BLUE, 0.03)
    bow = [(-0.04, -0.065), (0.035, -0.065), (0.055, -0.025), (0.035, 0.015), (-0.04, 0.015)]
    sign.curve(bow, 0.036, WHITE)
    sign.stroke([(-0.045, -0.065), (-0.045, 0.075)], 0.036, WHITE)


def _smoke(brush: Brush) -> None:
    """A plume from the chimney, blown backwards."""
    for x, y, radius in (
        (0.2, -0.76, 0.07), (0.1, -0.86, 0.1), (-0.05, -0.92, 0.12), (-0.22, -0.97, 0.14), (-0.4, -0.98, 0.12)
    ):
        brush.oval(x, y, radius, radius * 0.92, SMOKE)


def _stop_signal(brush: Brush) -> None:
    """A buffer stop before the engine, and a signal with a red lamp."""
    brush.stroke([(0.42, -0.80), (0.42, -0.1)], 0.035, STEEL)
    brush.box(0.34, -1.02, 0.50, -0.72, INK, 0.05)
    brush.glowing().oval(0.42, -0.92, 0.062, 0.062, SIGNAL_RED)
    brush.oval(0.42, -0.795, 0.04, 0.04, STEEL)
    brush.box(0.53, -0.24, 0.59, 0, WOOD)
    for x in (0.49, 0.55):
        brush.box(x, -0.26, x + 0.06, -0.17, SIGNAL_RED if x < 0.5 else WHITE)


def _wind(brush: Brush) -> None:
    for y, left in ((-0.74, -0.46), (-0.60, -0.58), (-0.46, -0.60)):
        brush.curve([(left, y), (left + 0.1, y - 0.02), (left + 0.24, y)], 0.024, WHITE)


def _mooring(brush: Brush) -> None:
    """A mooring post before the bow, and the rope to it."""
    brush.box(0.46, -0.46, 0.56, 0.03, POST, 0.03)
    brush.box(0.46, -0.46, 0.56, -0.39, CREAM, 0.03)
    brush.curve([(0.26, -0.28), (0.38, -0.31), (0.50, -0.36)], 0.034, CREAM)
