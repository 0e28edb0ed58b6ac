"""Sky and ground: the places of the book by day and by night.

Every random choice has a stream of its own ("sky", "houses", ...), so that changing one factor moves nothing
else. Coordinates are shares of the page: x to the right, y downwards, both from 0 to 1.
"""

from __future__ import annotations

import math
import random

import numpy as np
from PIL import Image

from .brush import CREAM, DAYLIGHT, LAMPLIGHT, WHITE, WOOD, Brush, Colour, Light, lighter

MOONLIGHT: Light = (0.56, 0.58, 0.76)  # on the ground, far from any lamp
EVENING_ROOM: Light = (0.68, 0.60, 0.64)

DAY_SKIES: dict[str, tuple[Colour, Colour]] = {  # at the top, at the horizon
    "grass": ((112, 186, 242), (216, 238, 250)),
    "snow": ((164, 194, 224), (228, 237, 245)),
    "beach": ((96, 190, 240), (252, 234, 208)),
    "street": ((124, 186, 236), (236, 234, 232)),
    "water": ((112, 186, 242), (220, 240, 248)),
}
NIGHT_SKY: tuple[Colour, Colour] = ((20, 26, 70), (70, 76, 138))
GROUNDS: dict[str, tuple[Colour, Colour]] = {  # at the horizon, at the bottom
    "grass": ((146, 208, 102), (92, 170, 76)),
    "snow": ((246, 249, 253), (212, 224, 240)),
    "beach": ((250, 226, 164), (236, 200, 130)),
    "street": ((134, 136, 146), (104, 106, 116)),
    "room": ((214, 158, 110), (178, 120, 80)),
    "water": ((98, 182, 222), (44, 120, 188)),
}
SUN: Colour = (255, 220, 84)
MOON: Colour = (253, 246, 206)
HOUSES: tuple[Colour, ...] = (
    (216, 134, 112), (228, 192, 142), (164, 172, 192), (192, 152, 172), (152, 188, 178),
)
DAY_PANE: Colour = (234, 244, 250)
DARK_PANE: Colour = (110, 128, 160)
WALLPAPERS: tuple[Colour, ...] = ((250, 222, 196), (214, 232, 214), (222, 218, 240), (250, 232, 180))
FLOWERS: tuple[Colour, ...] = ((255, 238, 120), (250, 150, 170), WHITE)
CURTAIN: Colour = (206, 96, 110)
PARASOL: Colour = (232, 84, 84)


def paint_scenery(image: Image.Image, place: str, night: bool, horizon: float, seed: int) -> None:
    """Paint the whole page with a place (ours).

    Parameters
    ----------
    image : PIL.Image.Image
        The square page, RGB.
    place : str
        A place of the book.
    night : bool
    horizon : float
        Height of the horizon, as a share of the page.
    seed : int
    """
    light = (EVENING_ROOM if place == "room" else MOONLIGHT) if night else DAYLIGHT
    side = image.width
    if place != "room":
        _gradient(image, 0, horizon + 0.02, *(NIGHT_SKY if night else DAY_SKIES[place]), DAYLIGHT)
        _paint_sky(Brush(image, 0, 0, side), night, horizon, seed)
    brush = Brush(image, 0, 0, side, light=light)
    _BACKDROPS[place](brush, horizon, night, seed)
    _gradient(image, horizon, 1, *GROUNDS[place], light)
    _GROUND_DETAILS[place](brush, horizon, night, seed)


def _gradient(
    image: Image.Image, top: float, bottom: float, above: Colour, below: Colour, light: Light
) -> None:
    """Fill the page between two heights with a smooth run of colours."""
    first, last = round(top * image.height), round(bottom * image.height)
    share = np.linspace(0, 1, last - first)[:, None]  # (rows, 1)
    rows = (np.array(above) * (1 - share) + np.array(below) * share) * np.array(light)  # (rows, 3)
    column = Image.fromarray(rows[:, None].astype(np.uint8))
    image.paste(column.resize((image.width, last - first)), (0, first))


def _paint_sky(brush: Brush, night: bool, horizon: float, seed: int) -> None:
    """Sun, or moon and stars; the clouds keep clear of them."""
    rng = random.Random(f"{seed} sky")
    x, y = rng.uniform(0.12, 0.88), rng.uniform(0.11, 0.15)
    if night:
        _stars(brush, horizon, seed)
        _moon(brush, x, y)
    else:
        _sun(brush, x, y)
    for distance in (0.36, 0.68):
        cloud_x = (x + distance + rng.uniform(-0.07, 0.07)) % 1
        _cloud(brush, cloud_x, rng.uniform(0.06, 0.22), (62, 70, 124) if night else WHITE)


def _sun(brush: Brush, x: float, y: float) -> None:
    for angle in np.radians(range(0, 360, 45)):
        ray = [(x + reach * math.cos(angle), y + reach * math.sin(angle)) for reach in (0.088, 0.105)]
        brush.stroke(ray, 0.012, SUN)
    brush.oval(x, y, 0.074, 0.074, SUN)
    brush.oval(x - 0.015, y - 0.015, 0.045, 0.045, lighter(SUN, 0.4))


def _stars(brush: Brush, horizon: float, seed: int) -> None:
    rng = random.Random(f"{seed} stars")
    for _ in range(18):
        star_x, star_y, size = rng.random(), rng.uniform(0.02, horizon * 0.8), rng.choice((0.006, 0.009))
        brush.oval(star_x, star_y, size, size, MOON)


def _moon(brush: Brush, x: float, y: float) -> None:
    """A crescent: along the outer arc of one circle, back along the arc of another."""
    outer = [(x + 0.08 * math.cos(a), y + 0.08 * math.sin(a)) for a in np.radians(np.arange(40, 321, 10))]
    back = np.radians(np.arange(290, 69, -10))
    inner = [(x + 0.045 + 0.054 * math.cos(a), y + 0.054 * math.sin(a)) for a in back]
    brush.polygon(outer + inner, MOON)


def _cloud(brush: Brush, x: float, y: float, colour: Colour) -> None:
    for shift, radius in ((-0.06, 0.034), (0, 0.05), (0.06, 0.036)):
        brush.oval(x + shift, y - radius * 0.4, radius * 1.3, radius * 0.8, colour)


def _hills(brush: Brush, horizon: float, night: bool, seed: int) -> None:
    """Two round hills behind the meadow."""
    brush.blob([(-0.2, horizon + 0.02), (0.1, horizon - 0.10), (0.45, horizon), (0.45, horizon + 0.1),
                (-0.2, horizon + 0.1)], (158, 212, 128))
    brush.blob([(0.4, horizon + 0.02), (0.75, horizon - 0.13), (1.2, horizon), (1.2, horizon + 0.1),
                (0.4, horizon + 0.1)], (130, 196, 108))


def _mountains(brush: Brush, horizon: float, night: bool, seed: int) -> None:
    """Two mountains with white tops."""
    for x, height in ((0.24, 0.27), (0.74, 0.20)):
        mountain = brush.at(x, horizon + 0.03, scale=height)
        mountain.polygon([(-1.2, 0), (0, -1), (1.2, 0)], (178, 194, 220))
        mountain.polygon([(-0.44, -0.63), (0, -1), (0.44, -0.63), (0.14, -0.70), (-0.12, -0.59)], WHITE)


def _sea(brush: Brush, horizon: float, night: bool, seed: int) -> None:
    """The sea behind the beach, with a few crests."""
    rng = random.Random(f"{seed} sea")
    brush.box(0, horizon - 0.13, 1, horizon + 0.03, (62, 164, 206))
    for i in range(6):
        x, y = i * 0.18 + rng.uniform(0, 0.08), horizon - rng.uniform(0.03, 0.10)
        brush.stroke([(x, y), (x + 0.06, y)], 0.008, (176, 226, 240))


def _houses(brush: Brush, horizon: float, night: bool, seed: int) -> None:
    """A row of houses; at night some windows are lit."""
    rng = random.Random(f"{seed} houses")
    x = -0.02
    while x < 1:
        width, height, colour = rng.uniform(0.17, 0.25), rng.uniform(0.22, 0.40), rng.choice(HOUSES)
        brush.box(x, horizon - height, x + width, horizon + 0.01, colour)
        roof = horizon - height
        brush.box(x - 0.005, roof - 0.012, x + width + 0.005, roof + 0.012, lighter(colour, 0.3))
        _house_windows(brush.at(x, roof), width, height, night, rng)
        x += width


def _house_windows(brush: Brush, width: float, height: float, night: bool, rng: random.Random) -> None:
    """Rows of three windows; (0, 0) is the upper left corner of the house."""
    for row in range(int((height - 0.04) / 0.085)):
        for column in range(3):
            lit = rng.random() < 0.6
            left, top = width * (0.1 + 0.3 * column), 0.035 + 0.085 * row
            pane = brush.glowing() if night and lit else brush
            colour = (LAMPLIGHT if lit else DARK_PANE) if night else DAY_PANE
            pane.box(left, top, left + width * 0.2, top + 0.048, colour)


def _wall(brush: Brush, horizon: float, night: bool, seed: int) -> None:
    """A papered wall with a window, in which the sky shows the time, and a framed picture."""
    rng = random.Random(f"{seed} room")
    wall, window_x = rng.choice(WALLPAPERS), rng.choice((0.24, 0.5, 0.76))
    brush.box(0, 0, 1, horizon + 0.02, wall)
    for i in range(10):
        brush.box(i * 0.1 + 0.03, 0, i * 0.1 + 0.06, horizon + 0.02, lighter(wall, 0.35))
    _window(brush, window_x, night)
    _framed_picture(brush.at(0.18 if window_x > 0.4 else 0.8, 0.19))


def _framed_picture(brush: Brush) -> None:
    """A picture of a mountain; (0, 0) is its middle."""
    brush.box(-0.085, -0.07, 0.085, 0.07, WOOD)
    brush.box(-0.066, -0.051, 0.066, 0.051, (240, 220, 170))
    brush.polygon([(-0.066, 0.051), (-0.01, -0.02), (0.05, 0.051)], (142, 160, 190))


def _window(brush: Brush, x: float, night: bool) -> None:
    shine = brush.glowing()
    brush.box(x - 0.14, 0.05, x + 0.14, 0.35, WHITE)
    shine.box(x - 0.12, 0.07, x + 0.12, 0.33, (34, 42, 96) if night else (150, 208, 246))
    shine.oval(x + 0.055, 0.135, 0.034, 0.034, MOON if night else SUN)
    if night:
        shine.oval(x + 0.072, 0.126, 0.029, 0.029, (34, 42, 96))
        for star_x, star_y in ((-0.07, 0.12), (-0.04, 0.25), (0.07, 0.27), (-0.085, 0.2)):
            shine.oval(x + star_x, star_y, 0.008, 0.008, MOON)
    brush.stroke([(x, 0.07), (x, 0.33)], 0.014, WHITE)
    brush.stroke([(x - 0.12, 0.2), (x + 0.12, 0.2)], 0.014, WHITE)
    for side in (-1, 1):
        curtain = ((0.17, 0.03), (0.07, 0.04), (0.10, 0.2), (0.13, 0.38), (0.19, 0.38))
        brush.blob([(x + side * away, y) for away, y in curtain], CURTAIN)


def _far_shore(brush: Brush, horizon: float, night: bool, seed: int) -> None:
    for left, height, colour in ((-0.2, 0.07, (112, 174, 126)), (0.5, 0.06, (130, 188, 136))):
        bank = brush.at(left, horizon)
        bank.blob([(0, 0.02), (0.35, -height), (0.7, 0.01), (0.4, 0.05)], colour)


def _meadow(brush: Brush, horizon: float, night: bool, seed: int) -> None:
    """Tufts of grass and flowers."""
    rng = random.Random(f"{seed} meadow")
    for _ in range(14):
        x, y = rng.random(), rng.uniform(horizon + 0.05, 0.98)
        for tip in (-0.012, 0.012):
            brush.stroke([(x, y), (x + tip, y - 0.025)], 0.008, (76, 150, 64))
    for _ in range(10):
        x, y, colour = rng.random(), rng.uniform(horizon + 0.06, 0.98), rng.choice(FLOWERS)
        brush.stroke([(x, y), (x, y + 0.026)], 0.008, (60, 132, 60))
        brush.oval(x, y, 0.015, 0.015, colour)


def _snowfall(brush: Brush, horizon: float, night: bool, seed: int) -> None:
    rng = random.Random(f"{seed} snowfall")
    drift = [(-0.1, 0.78), (0.3, 0.72), (0.7, 0.80), (1.1, 0.74), (1.1, 1.1), (-0.1, 1.1)]
    brush.blob(drift, (236, 242, 250))
    for _ in range(36):
        x, y, size = rng.random(), rng.random(), rng.uniform(0.006, 0.012)
        brush.oval(x, y, size, size, WHITE)


def _sand(brush: Brush, horizon: float, night: bool, seed: int) -> None:
    """Foam along the sea, shells, and a parasol."""
    rng = random.Random(f"{seed} sand")
    wave = [(i / 20, horizon + 0.012 + 0.012 * math.sin(i * 1.6)) for i in range(21)]
    brush.polygon([(0, horizon - 0.015), *wave, (1, horizon - 0.015)], (250, 250, 246))
    for _ in range(12):
        x, y = rng.random(), rng.uniform(horizon + 0.08, 0.98)
        brush.oval(x, y, 0.009, 0.006, (212, 172, 104))
    _parasol(brush.at(rng.choice((0.09, 0.91)), horizon + 0.10))


def _parasol(brush: Brush) -> None:
    brush.stroke([(0, 0), (0, -0.22)], 0.014, WOOD)
    for i in range(6):
        left, right = -0.14 + i * 0.28 / 6, -0.14 + (i + 1) * 0.28 / 6
        brush.polygon([(0, -0.28), (left, -0.17), (right, -0.17)], PARASOL if i % 2 == 0 else CREAM)


def _road(brush: Brush, horizon: float, night: bool, seed: int) -> None:
    """The pavement, and the marks on the road."""
    brush.box(0, horizon, 1, horizon + 0.09, (200, 196, 192))
    brush.box(0, horizon + 0.09, 1, horizon + 0.105, (154, 152, 154))
    for i in range(5):
        left = i * 0.24 - 0.05
        brush.polygon([(left, 0.945), (left + 0.12, 0.945), (left + 0.11, 0.97), (left - 0.01, 0.97)], CREAM)


def _floor(brush: Brush, horizon: float, night: bool, seed: int) -> None:
    """Floor boards, a skirting board and a rug."""
    for i in range(6):
        brush.box(0, horizon + 0.05 + i * 0.075, 1, horizon + 0.056 + i * 0.075, (164, 110, 72))
    brush.box(0, horizon - 0.03, 1, horizon + 0.02, CREAM)
    brush.oval(0.5, 0.87, 0.46, 0.095, (190, 88, 92))
    brush.oval(0.5, 0.87, 0.40, 0.075, (236, 168, 138))


def _waves(brush: Brush, horizon: float, night: bool, seed: int) -> None:
    rng = random.Random(f"{seed} waves")
    for _ in range(14):
        x, y = rng.random(), rng.uniform(horizon + 0.04, 0.97)
        brush.curve([(x, y), (x + 0.03, y - 0.013), (x + 0.06, y)], 0.009, (178, 224, 244))


_BACKDROPS = {
    "grass": _hills, "snow": _mountains, "beach": _sea, "street": _houses, "room": _wall, "water": _far_shore,
}
_GROUND_DETAILS = {
    "grass": _meadow, "snow": _snowfall, "beach": _sand, "street": _road, "room": _floor, "water": _waves,
}
