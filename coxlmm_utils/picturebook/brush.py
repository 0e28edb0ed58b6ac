"""The picture book's brush: flat shapes in the units of the thing that is drawn, and the book's paints.

A thing is drawn around its feet: x grows towards where it faces, y grows downwards, (0, 0) is the ground
below it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]
Light = tuple[float, float, float]  # share of red, green and blue that a paint keeps

DAYLIGHT: Light = (1.0, 1.0, 1.0)

INK: Colour = (54, 46, 56)  # outlines, eyes
CREAM: Colour = (254, 243, 222)
WHITE: Colour = (255, 255, 255)
WOOD: Colour = (150, 104, 66)
LAMPLIGHT: Colour = (255, 236, 140)

PAINTS: dict[str, Colour] = {  # the colours of animals' coats and of vehicles
    "black": (50, 49, 58),
    "white": (248, 246, 240),
    "grey": (150, 155, 166),
    "brown": (130, 78, 46),
    "golden": (238, 188, 92),
    "orange": (240, 134, 48),
    "red": (218, 58, 54),
    "blue": (58, 112, 212),
    "yellow": (250, 208, 58),
    "green": (64, 156, 88),
}

_CIRCLE = np.array([(math.cos(t), math.sin(t)) for t in np.linspace(0, 2 * math.pi, 25)[:-1]])  # (24, 2)
_CURVE_STEPS = 8  # straight pieces between two points of a curve


def _catmull_rom(steps: int) -> np.ndarray:
    """Weights of four neighbouring points along the piece between the middle two."""
    t = np.arange(steps)[:, None] / steps
    powers = np.hstack([np.ones_like(t), t, t**2, t**3])  # (steps, 4)
    basis = [[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]
    return powers @ np.array(basis) / 2  # (steps, 4)


_CURVE_WEIGHTS = _catmull_rom(_CURVE_STEPS)


def darker(colour: Colour, share: float = 0.7) -> Colour:
    """The colour with only this share of its light (ours)."""
    return tuple(int(value * share) for value in colour)


def lighter(colour: Colour, share: float = 0.35) -> Colour:
    """The colour moved this share of the way to white (ours)."""
    return _mixed(colour, WHITE, share)


def _mixed(colour: Colour, other: Colour, share: float) -> Colour:
    return tuple(int(value + (goal - value) * share) for value, goal in zip(colour, other))


@dataclass(frozen=True)
class Coat:
    """The paints of one animal or vehicle, all derived from its colour (ours).

    Parameters
    ----------
    main, shade, pale : tuple of int
        The body, its parts in the shade (far legs, wings), and its bright parts (belly, muzzle).
    line : tuple of int
        A paint that can be seen on `main`: closed eyes, mouths.
    stripe : tuple of int
        Stripes and manes.
    """

    main: Colour
    shade: Colour
    pale: Colour
    line: Colour
    stripe: Colour


def coat(colour: str) -> Coat:
    """The coat of a colour of the book (ours).

    Black is shaded with lighter paints, since nothing darker can be seen on it.
    """
    main = PAINTS[colour]
    if colour == "black":
        return Coat(main, (76, 75, 88), (92, 91, 104), (196, 194, 204), (98, 96, 112))
    if colour == "white":
        return Coat(main, (214, 211, 208), WHITE, INK, (190, 184, 180))
    return Coat(main, darker(main, 0.8), _mixed(main, CREAM, 0.45), INK, darker(main, 0.58))


class Brush:
    """Draws flat shapes on an image, in units of the thing that is drawn (ours).

    Parameters
    ----------
    image : PIL.Image.Image
        What is drawn on.
    x, y : float
        Where the thing's (0, 0) lies, in pixels.
    unit : float
        How many pixels one unit of the thing is.
    flip : bool, default False
        Whether the thing faces left.
    light : tuple of float, default `DAYLIGHT`
        The light it stands in.
    """

    def __init__(
        self, image: Image.Image, x: float, y: float, unit: float, flip: bool = False, light: Light = DAYLIGHT
    ):
        self.image = image
        self.unit = unit
        self.light = light
        self._draw = ImageDraw.Draw(image)
        self._origin = np.array([x, y], dtype=float)
        self._axes = np.array([[-unit if flip else unit, 0.0], [0.0, unit]])  # rows: where x and y point

    def at(self, x: float, y: float, scale: float = 1.0, turn: float = 0.0) -> Brush:
        """A brush for a part: its (0, 0) is at (x, y) here, scaled, and turned clockwise by degrees."""
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        part = Brush(self.image, *self._to_pixels([(x, y)])[0], self.unit * scale, light=self.light)
        part._axes = scale * np.array([[cos, sin], [-sin, cos]]) @ self._axes
        return part

    def upright(self) -> Brush:
        """The same brush for letters: neither mirrored nor turned."""
        part = self.at(0, 0)
        part._axes = np.eye(2) * self.unit
        return part

    def glowing(self) -> Brush:
        """The same brush for things that shine: the light they stand in does not dim them."""
        part = self.at(0, 0)
        part.light = DAYLIGHT
        return part

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill the polygon through the points."""
        self._draw.polygon(self._to_pixels(points).ravel().tolist(), fill=self._lit(colour))

    def blob(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill the smooth closed curve through the points."""
        corners = np.asarray(points, dtype=float)  # (points, 2)
        around = np.stack([np.roll(corners, shift, axis=0) for shift in (1, 0, -1, -2)])  # (4, points, 2)
        self.polygon(np.einsum("sk,kpd->psd", _CURVE_WEIGHTS, around).reshape(-1, 2), colour)

    def oval(self, x: float, y: float, across: float, high: float, colour: Colour, turn: float = 0.0) -> None:
        """Fill the oval around (x, y) with these half axes, turned clockwise by degrees."""
        points = _CIRCLE * (across, high)
        if turn:
            cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
            points = points @ np.array([[cos, sin], [-sin, cos]])
        self.polygon(points + (x, y), colour)

    def box(
        self, left: float, top: float, right: float, bottom: float, colour: Colour, round_by: float = 0.0
    ) -> None:
        """Fill the rectangle, its corners rounded with this radius."""
        if not round_by:
            self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)
            return
        corners = np.repeat([(1, 1), (-1, 1), (-1, -1), (1, -1)], 6, axis=0)  # (24, 2), one per circle point
        half = np.array([(right - left) / 2 - round_by, (bottom - top) / 2 - round_by])
        self.polygon(_CIRCLE * round_by + corners * half + ((left + right) / 2, (top + bottom) / 2), colour)

    def stroke(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw the line through the points, with round ends and joints."""
        pixels, thick = self._to_pixels(points).tolist(), max(1.0, width * self.unit)
        fill, radius = self._lit(colour), thick / 2
        self._draw.line([value for point in pixels for value in point], fill=fill, width=round(thick))
        for x, y in pixels:
            self._draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)

    def curve(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw the smooth line through the points, with round ends."""
        ends = np.asarray([points[0], *points, points[-1]], dtype=float)  # (points + 2, 2)
        around = np.stack([ends[shift : len(ends) - 3 + shift] for shift in range(4)])  # (4, points - 1, 2)
        path = np.einsum("sk,kpd->psd", _CURVE_WEIGHTS, around).reshape(-1, 2)
        self.stroke(np.vstack([path, ends[-1:]]), width, colour)

    def _to_pixels(self, points: Sequence[Point]) -> np.ndarray:
        return np.asarray(points, dtype=float) @ self._axes + self._origin  # (points, 2)

    def _lit(self, colour: Colour) -> Colour:
        return tuple(int(value * share) for value, share in zip(colour, self.light))
