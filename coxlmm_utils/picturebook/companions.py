"""Ball, child and tree: what stands beside the subject. Drawn around their feet, one unit high or so."""

from __future__ import annotations

import math
import random

from .brush import CREAM, INK, WOOD, Brush, Colour

BALL_STRIPES: tuple[Colour, ...] = ((228, 62, 66), (250, 196, 54), (62, 124, 214))
SHIRTS: tuple[Colour, ...] = ((236, 98, 128), (84, 160, 216), (250, 182, 72), (124, 190, 122))
SKINS: tuple[Colour, ...] = ((250, 214, 180), (214, 164, 122), (150, 104, 74))
HAIRS: tuple[Colour, ...] = ((70, 48, 40), (40, 36, 40), (190, 130, 66))
TROUSERS: Colour = (72, 86, 134)
LEAF: Colour = (70, 148, 76)
LEAF_LIGHT: Colour = (112, 186, 96)
FIR: Colour = (52, 116, 88)
SNOW_CAP: Colour = (244, 249, 252)
POT: Colour = (204, 106, 76)


def ball(brush: Brush) -> None:
    """A big beach ball in three colours (ours)."""
    brush.oval(0, -0.5, 0.5, 0.5, CREAM)
    for number, colour in enumerate(BALL_STRIPES):
        angles = [math.radians(120 * number + step) for step in range(10, 71, 6)]
        rim = [(0.5 * math.cos(angle), -0.5 + 0.5 * math.sin(angle)) for angle in angles]
        brush.polygon([(-0.04, -0.56), *rim], colour)
    brush.oval(-0.04, -0.56, 0.10, 0.10, CREAM)


def child(brush: Brush, seed: int) -> None:
    """A child that waves; the seed picks shirt, skin and hair (ours)."""
    rng = random.Random(f"{seed} child")
    shirt, skin, hair = rng.choice(SHIRTS), rng.choice(SKINS), rng.choice(HAIRS)
    for x in (-0.085, 0.085):
        brush.stroke([(x, -0.32), (x * 1.1, -0.07)], 0.115, TROUSERS)
        brush.stroke([(x * 1.1, -0.035), (x * 1.1 + 0.05, -0.035)], 0.075, INK)  # shoes
    brush.stroke([(-0.13, -0.58), (-0.25, -0.40)], 0.085, skin)
    brush.stroke([(0.13, -0.58), (0.27, -0.76)], 0.085, skin)  # waves
    brush.blob([(-0.17, -0.62), (0, -0.66), (0.17, -0.62), (0.18, -0.29), (0, -0.27), (-0.18, -0.29)], shirt)
    _child_head(brush.at(0, -0.80), skin, hair)


def _child_head(brush: Brush, skin: Colour, hair: Colour) -> None:
    brush.oval(0, -0.02, 0.205, 0.20, hair)
    brush.oval(0.01, 0.02, 0.175, 0.165, skin)
    fringe = [(-0.19, 0), (-0.17, -0.15), (0, -0.22), (0.17, -0.15), (0.19, 0), (0.08, -0.10), (-0.08, -0.09)]
    brush.blob(fringe, hair)
    for x in (-0.06, 0.08):
        brush.oval(x, 0.02, 0.024, 0.03, INK)
    for x in (-0.10, 0.125):
        brush.oval(x, 0.08, 0.032, 0.022, (240, 146, 132))  # cheeks
    brush.curve([(-0.04, 0.095), (0.01, 0.12), (0.06, 0.095)], 0.018, (176, 66, 70))


def tree(brush: Brush, place: str) -> None:
    """The tree that grows in a place: palm, fir, potted plant or leafy tree (ours).

    Parameters
    ----------
    brush : Brush
    place : str
        A place of the book.
    """
    kinds = {"beach": _palm, "snow": _fir, "room": _potted_plant, "water": _island_tree}
    kinds.get(place, _leafy_tree)(brush)


def _leafy_tree(brush: Brush) -> None:
    brush.polygon([(-0.06, -0.6), (0.06, -0.6), (0.09, 0), (-0.09, 0)], WOOD)
    brush.stroke([(0, -0.42), (0.12, -0.58)], 0.05, WOOD)
    for x, y, radius in (
        (-0.17, -0.62, 0.21), (0.17, -0.62, 0.21), (-0.11, -0.86, 0.22), (0.13, -0.86, 0.21), (0, -0.72, 0.26)
    ):
        brush.oval(x, y, radius, radius, LEAF)
    for x, y, radius in ((-0.13, -0.90, 0.11), (0.10, -0.95, 0.08), (-0.17, -0.66, 0.08)):
        brush.oval(x, y, radius, radius * 0.9, LEAF_LIGHT)


def _palm(brush: Brush) -> None:
    brush.curve([(-0.04, 0), (0.04, -0.4), (0, -0.82)], 0.09, (164, 118, 76))
    for y in (-0.18, -0.34, -0.5, -0.66):
        brush.stroke([(-0.03, y), (0.06, y + 0.02)], 0.02, (122, 84, 54))
    for angle, leaf in (
        (-152, LEAF), (-28, LEAF), (-100, LEAF), (172, LEAF_LIGHT), (8, LEAF_LIGHT), (-62, LEAF_LIGHT),
    ):
        _palm_leaf(brush, math.cos(math.radians(angle)), math.sin(math.radians(angle)), leaf)
    for x in (-0.04, 0.05):
        brush.oval(x, -0.79, 0.045, 0.045, (112, 74, 48))  # coconuts


def _palm_leaf(brush: Brush, across: float, down: float, colour: Colour) -> None:
    """One leaf from the top of the trunk in this direction, its tip hanging."""
    brush.blob([(0, -0.86), (0.22 * across, -0.94 + 0.2 * down), (0.37 * across, -0.74 + 0.30 * down),
                (0.2 * across, -0.82 + 0.15 * down)], colour)


def _fir(brush: Brush) -> None:
    brush.box(-0.06, -0.2, 0.06, 0, WOOD)
    for foot, half_width in ((-0.12, 0.38), (-0.40, 0.31), (-0.66, 0.23)):
        brush.polygon([(-half_width, foot), (half_width, foot), (0, foot - 0.46)], FIR)
        cap = half_width * 0.45
        brush.polygon([(-cap, foot - 0.25), (-cap * 0.4, foot - 0.2), (0, foot - 0.25),
                       (cap * 0.4, foot - 0.19), (cap, foot - 0.25), (0, foot - 0.46)], SNOW_CAP)


def _potted_plant(brush: Brush) -> None:
    """A little tree in a pot."""
    brush.polygon([(-0.16, -0.24), (0.16, -0.24), (0.12, 0), (-0.12, 0)], POT)
    brush.box(-0.19, -0.29, 0.19, -0.21, (182, 88, 62), 0.02)
    _leafy_tree(brush.at(0, -0.24, scale=0.78))


def _island_tree(brush: Brush) -> None:
    """A leafy tree on a tiny island."""
    island = [(-0.36, 0.06), (-0.27, -0.05), (0, -0.09), (0.27, -0.05), (0.36, 0.06), (0, 0.11)]
    brush.blob(island, (150, 196, 108))
    _leafy_tree(brush)
