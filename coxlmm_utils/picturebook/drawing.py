"""A page of the picture book: where everything stands, and how it is put together.

Pages are drawn at twice their size and then reduced, which smooths all edges.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .brush import DAYLIGHT, INK, Brush, Colour, Light
from .companions import ball, child, tree
from .factors import Factors
from .scenery import paint_scenery
from .subjects import draught, draw_signs, draw_subject

PICTURE_SIDE = 144  # pixels

_FINE_SIDE = 2 * PICTURE_SIDE
_OBJECTS_AT_NIGHT: Light = (0.88, 0.88, 0.98)  # dimmed only a little, so that their colours can be told
_FLYING_HEIGHT = 0.2  # above the ground, as a share of the page
_OUTLINE_WIDTH = 2  # fine pixels
_OUTLINE_TABLE = [min(255, 4 * share) for share in range(256)]  # turns a blurred edge into a line
_SHADE_TABLE = [int(0.22 * share) for share in range(256)]  # how strongly a rim is shaded
_MOONLIT_TABLE = [int(0.40 * share) for share in range(256)]  # and lit by the moon
_SHADOW_TABLE = [int(0.32 * share) for share in range(256)]
_SHADOW_COLOUR: Colour = (30, 36, 60)
_MOON_RIM: Colour = (198, 212, 255)


@dataclass(frozen=True)
class Spot:
    """Where an object stands (ours).

    Parameters
    ----------
    x, y : float
        Its feet, as shares of the page.
    length : float
        Its length, as a share of the page.
    flip : bool
        Whether it faces left.
    """

    x: float
    y: float
    length: float
    flip: bool


def draw(factors: Factors, seed: int) -> Image.Image:
    """Draw a page (ours).

    Parameters
    ----------
    factors : Factors
        What the page shows.
    seed : int
        Decides all that the factors leave open. With the same seed, pages that differ in one factor differ
        only in what this factor changes.

    Returns
    -------
    PIL.Image.Image
        RGB, `PICTURE_SIDE` x `PICTURE_SIDE`; the same pixels each time.
    """
    return draw_layers(factors, seed)[0]


def draw_layers(factors: Factors, seed: int) -> tuple[Image.Image, dict[str, np.ndarray]]:
    """Draw a page and tell where its objects are (ours).

    Parameters
    ----------
    factors : Factors
        What the page shows.
    seed : int
        Decides all that the factors leave open.

    Returns
    -------
    picture : PIL.Image.Image
        RGB, `PICTURE_SIDE` x `PICTURE_SIDE`.
    masks : dict of str to np.ndarray
        "subject" and "companion": bool (PICTURE_SIDE, PICTURE_SIDE), the pixels where each can be seen, with
        its outline. The companion's mask is empty on a page without one.
    """
    page = _Page(factors, seed)
    paint_scenery(page.image, factors.place, factors.time == "night", page.horizon, seed)
    if factors.companion == "tree":
        _place_tree(page)
    if factors.companion == "child":
        _place_child(page)
    _place_subject(page, "subject", page.subject_spot())
    if factors.companion == "friend":
        _place_subject(page, "companion", page.companion_spot(y_shift=0.01, length=0.26))
    if factors.companion == "ball":
        _place_ball(page)
    return page.finish()


class _Page:
    """The page while it is drawn: its picture, its masks, and where things stand."""

    def __init__(self, factors: Factors, seed: int):
        self.factors, self.seed = factors, seed
        self.light = _OBJECTS_AT_NIGHT if factors.time == "night" else DAYLIGHT
        self.image = Image.new("RGB", (_FINE_SIDE, _FINE_SIDE))
        self.masks = {name: Image.new("L", self.image.size) for name in ("subject", "companion")}
        self.horizon = random.Random(f"{seed} horizon").uniform(0.50, 0.57)

    def subject_spot(self) -> Spot:
        """The subject stands in one half of the page and leaves the other to a companion."""
        rng = random.Random(f"{self.seed} subject")
        on_the_left, flip = rng.random() < 0.5, rng.random() < 0.5
        x, y, nudge = rng.uniform(0.37, 0.39), rng.uniform(0.84, 0.90), rng.random()
        length = 0.58 + 0.03 * nudge if self.factors.size == "large" else 0.40 + 0.02 * nudge
        lift = _FLYING_HEIGHT if self.factors.action == "flying" else 0
        return Spot(x if on_the_left else 1 - x, y - lift, length, flip)

    def companion_spot(self, y_shift: float, length: float) -> Spot:
        """The companion stands on the other side and faces the subject; a friend faces the same way as it."""
        subject = self.subject_spot()
        x = random.Random(f"{self.seed} companion").uniform(0.825, 0.845)
        on_the_right = subject.x < 0.5
        flip = subject.flip if self.factors.companion == "friend" else on_the_right
        return Spot(x if on_the_right else 1 - x, subject.y + y_shift, length, flip)

    def stamp(
        self, paint: Callable[[Brush], None], spot: Spot, name: str | None = None, waterline: float = 1
    ) -> None:
        """Put an object on the page, outlined and rounded by light; nothing of it below the waterline."""
        layer = Image.new("RGBA", self.image.size)
        paint(self._brush(layer, spot))
        layer.paste((0, 0, 0, 0), (0, round(waterline * _FINE_SIDE), _FINE_SIDE, _FINE_SIDE))
        painted = layer.getbbox()
        if painted is None:  # such as an action without signs
            return
        box = _grown(painted, 2 * _OUTLINE_WIDTH)  # the rest of the layer is empty
        layer = layer.crop(box)
        shape = layer.getchannel("A")
        outline = shape.filter(ImageFilter.BoxBlur(_OUTLINE_WIDTH)).point(_OUTLINE_TABLE)
        self.image.paste(INK, box, outline)
        self.image.paste(layer, box, shape)
        self.image.paste(INK, box, _rim(shape, away_from=(-4, -5)).point(_SHADE_TABLE))
        if self.factors.time == "night":
            self.image.paste(_MOON_RIM, box, _rim(shape, away_from=(4, 5)).point(_MOONLIT_TABLE))
        self._remember(name, outline, box)

    def shadow(self, spot: Spot, share: float) -> None:
        """A soft shadow on the ground, this share of the object's length wide."""
        half = spot.length * share / 2
        left, top, right, bottom = spot.x - half, spot.y - 0.022, spot.x + half, spot.y + 0.03
        box = _grown([round(value * _FINE_SIDE) for value in (left, top, right, bottom)], 8)
        shape = Image.new("L", (box[2] - box[0], box[3] - box[1]))
        ImageDraw.Draw(shape).ellipse([8, 8, shape.width - 8, shape.height - 8], fill=255)
        self.image.paste(_SHADOW_COLOUR, box, shape.filter(ImageFilter.BoxBlur(3)).point(_SHADOW_TABLE))

    def ripples(self, spot: Spot, waterline: float, share: float) -> None:
        """Rings on the water around an object, this share of its length wide."""
        brush = Brush(self.image, 0, 0, _FINE_SIDE, light=self.light)
        for row, width in enumerate((share, share * 0.75)):
            half, y = spot.length * width / 2, waterline + 0.005 + row * 0.034
            crests = [(spot.x + half * (i / 6 - 1), y + 0.008 * (-1) ** i) for i in range(13)]
            brush.curve(crests, 0.013, (228, 246, 252))

    def finish(self) -> tuple[Image.Image, dict[str, np.ndarray]]:
        """The page and its masks at their final size."""
        masks = {name: np.asarray(mask.reduce(2)) >= 128 for name, mask in self.masks.items()}
        return self.image.reduce(2), masks

    def _brush(self, image: Image.Image, spot: Spot) -> Brush:
        pixels = (value * _FINE_SIDE for value in (spot.x, spot.y, spot.length))
        return Brush(image, *pixels, flip=spot.flip, light=self.light)

    def _remember(self, name: str | None, shape: Image.Image, box: tuple[int, ...]) -> None:
        """Add a shape to its mask, and take it away from the others: it hides what is behind it."""
        for other, mask in self.masks.items():
            change = ImageChops.lighter if other == name else ImageChops.subtract
            mask.paste(change(mask.crop(box), shape), box)


def _grown(box: Sequence[int], margin: int) -> tuple[int, ...]:
    """A box with a margin on all sides; it may reach over the edge of the page."""
    left, top, right, bottom = box
    return left - margin, top - margin, right + margin, bottom + margin


def _rim(shape: Image.Image, away_from: tuple[int, int]) -> Image.Image:
    """The rim of a shape on one side: what the shape no longer covers once it is moved away from there."""
    return ImageChops.subtract(shape, ImageChops.offset(shape, *away_from))


def _place_subject(page: _Page, name: str, spot: Spot) -> None:
    """The subject, or its friend, with its shadow, its signs and its ripples."""
    factors, depth = page.factors, draught(page.factors) * spot.length
    in_water = factors.place == "water" and factors.action != "flying"
    waterline = spot.y - depth if in_water else 1
    if not in_water:
        _subject_shadow(page, spot)
    page.stamp(lambda brush: draw_signs(brush, factors), replace(spot, y=spot.y - depth))
    page.stamp(lambda brush: draw_subject(brush, factors), spot, name, waterline)
    if in_water:
        page.ripples(spot, waterline, 0.95)


def _subject_shadow(page: _Page, spot: Spot) -> None:
    if page.factors.action == "flying":
        page.shadow(replace(spot, y=spot.y + _FLYING_HEIGHT), 0.5)
    else:
        page.shadow(spot, 0.9)


def _place_tree(page: _Page) -> None:
    """A tree at the back of the place, or a potted plant on the floor."""
    spot = replace(page.companion_spot(y_shift=0, length=0.38), y=page.horizon + 0.1)
    if page.factors.place != "water":
        page.shadow(spot, 0.4)
    page.stamp(lambda brush: tree(brush, page.factors.place), spot, "companion")


def _place_child(page: _Page) -> None:
    spot = page.companion_spot(y_shift=-0.02, length=0.42)
    in_water = page.factors.place == "water"
    waterline = spot.y - 0.12 if in_water else 1
    if not in_water:
        page.shadow(spot, 0.45)
    page.stamp(lambda brush: child(brush, page.seed), spot, "companion", waterline)
    if in_water:
        page.ripples(spot, waterline, 0.55)


def _place_ball(page: _Page) -> None:
    spot = page.companion_spot(y_shift=0.02, length=0.2)
    if page.factors.place == "water":
        page.stamp(ball, spot, "companion", spot.y - 0.03)
        page.ripples(spot, spot.y - 0.03, 1.2)
    else:
        page.shadow(spot, 0.9)
        page.stamp(ball, spot, "companion")
