"""Bus, car, train and boat. Each fits between x = -0.5 and 0.5, and faces right."""

from __future__ import annotations

from .brush import CREAM, INK, LAMPLIGHT, WOOD, Brush, Coat, Colour

GLASS: Colour = (202, 234, 248)
DARK_GLASS: Colour = (74, 84, 104)
TYRE: Colour = (50, 48, 56)
HUB: Colour = (210, 212, 218)
BRASS: Colour = (238, 192, 72)
SKIN: Colour = (246, 206, 170)
STEEL: Colour = (104, 108, 118)
SAIL: Colour = (254, 250, 240)
JIB: Colour = (244, 228, 204)  # the small sail
PENNANT: Colour = (242, 150, 60)


def bus(brush: Brush, coat: Coat, action: str) -> None:
    """A city bus (ours).

    Parameters
    ----------
    brush : Brush
    coat : Coat
    action : str
        "parked" (dark, empty windows) or "driving" (people at bright windows, lamps on, tilted).
    """
    driving = action == "driving"
    body = brush.at(0, 0, turn=-3 if driving else 0)
    body.box(-0.46, -0.66, 0.42, -0.58, coat.shade, 0.03)
    body.box(-0.49, -0.62, 0.49, -0.10, coat.main, 0.07)
    body.box(-0.49, -0.27, 0.49, -0.21, CREAM)
    for left in (-0.44, -0.25, -0.06):
        _window(body, left, -0.54, left + 0.16, -0.33, driving)
    _window(body, 0.30, -0.54, 0.47, -0.14, driving)
    body.stroke([(0.17, -0.54), (0.17, -0.14)], 0.016, coat.shade)  # the door
    _lamps(body, 0.47, -0.17, -0.48, -0.17, driving)
    for x in (-0.29, 0.22):
        _wheel(brush, x, 0.105)


def car(brush: Brush, coat: Coat, action: str) -> None:
    """A small round car (ours).

    Parameters
    ----------
    brush : Brush
    coat : Coat
    action : str
        "parked" (dark, empty windows) or "driving" (a driver at bright windows, lamps on, tilted).
    """
    driving = action == "driving"
    body = brush.at(0, 0, turn=-4 if driving else 0)
    body.blob([(-0.36, -0.28), (-0.24, -0.50), (-0.02, -0.56), (0.17, -0.50), (0.32, -0.29)], coat.main)
    body.blob([(-0.49, -0.13), (-0.48, -0.26), (-0.34, -0.33), (0.28, -0.33), (0.46, -0.25), (0.50, -0.13),
               (0.3, -0.07), (-0.3, -0.07)], coat.main)
    glass = GLASS if driving else DARK_GLASS
    body.polygon([(-0.27, -0.32), (-0.18, -0.47), (-0.02, -0.495), (-0.02, -0.32)], glass)
    body.polygon([(0.03, -0.32), (0.03, -0.495), (0.14, -0.465), (0.25, -0.32)], glass)
    if driving:
        _person(body, 0.10, -0.375, 0.055)
    body.stroke([(0.005, -0.30), (0.005, -0.13)], 0.014, coat.shade)
    body.stroke([(-0.13, -0.255), (-0.06, -0.255)], 0.018, coat.shade)
    body.stroke([(-0.44, -0.13), (0.44, -0.13)], 0.03, coat.shade)
    _lamps(body, 0.455, -0.215, -0.46, -0.22, driving)
    for x in (-0.28, 0.28):
        _wheel(brush, x, 0.115)


def train(brush: Brush, coat: Coat, action: str) -> None:
    """A steam engine (ours).

    Parameters
    ----------
    brush : Brush
    coat : Coat
    action : str
        "parked" (dark window) or "driving" (a driver at a bright window, lamp on).
    """
    driving = action == "driving"
    brush.box(-0.46, -0.22, 0.36, -0.10, STEEL)
    brush.box(-0.44, -0.60, -0.14, -0.14, coat.main, 0.03)
    brush.box(-0.49, -0.67, -0.09, -0.58, coat.shade, 0.03)
    _window(brush, -0.38, -0.53, -0.20, -0.34, driving)
    brush.box(-0.16, -0.44, 0.36, -0.15, coat.main, 0.09)
    for x in (-0.05, 0.09, 0.23):
        brush.stroke([(x, -0.43), (x, -0.16)], 0.02, BRASS)
    brush.polygon([(0.16, -0.42), (0.28, -0.42), (0.32, -0.64), (0.12, -0.64)], coat.shade)  # chimney
    brush.box(0.10, -0.69, 0.34, -0.62, BRASS, 0.02)
    brush.oval(-0.01, -0.46, 0.06, 0.06, BRASS)  # dome
    brush.polygon([(0.34, -0.17), (0.50, -0.02), (0.34, -0.02)], STEEL)  # cow catcher
    (brush.glowing() if driving else brush).oval(0.37, -0.31, 0.045, 0.05, LAMPLIGHT if driving else STEEL)
    for x, radius in ((-0.36, 0.115), (-0.13, 0.115), (0.08, 0.08), (0.25, 0.08)):
        _wheel(brush, x, radius)
    brush.stroke([(-0.36, -0.115), (-0.13, -0.115)], 0.025, BRASS)


def boat(brush: Brush, coat: Coat, action: str) -> None:
    """A sailing boat (ours).

    Parameters
    ----------
    brush : Brush
    coat : Coat
    action : str
        "anchored" (bare mast, furled sail) or "sailing" (big full sails).
    """
    brush.stroke([(0, -0.90), (0, -0.2)], 0.034, WOOD)
    {"sailing": _full_sails, "anchored": _furled_sail}[action](brush)
    brush.polygon([(-0.46, -0.24), (0.49, -0.26), (0.36, 0), (-0.34, 0)], coat.main)
    brush.polygon([(-0.34, 0), (0.36, 0), (0.39, -0.06), (-0.37, -0.06)], coat.shade)
    brush.polygon([(-0.47, -0.28), (0.50, -0.30), (0.47, -0.22), (-0.45, -0.21)], WOOD)
    for x in (-0.22, -0.04, 0.14):
        brush.oval(x, -0.135, 0.045, 0.045, CREAM)
        brush.oval(x, -0.135, 0.028, 0.028, DARK_GLASS)
    if action == "anchored":
        _anchor(brush.at(0.34, -0.26))


def _full_sails(brush: Brush) -> None:
    brush.blob([(0.035, -0.88), (0.22, -0.72), (0.44, -0.36), (0.22, -0.31), (0.035, -0.32)], SAIL)
    brush.blob([(-0.035, -0.84), (-0.20, -0.62), (-0.38, -0.37), (-0.18, -0.31), (-0.035, -0.33)], JIB)
    brush.polygon([(0, -0.95), (-0.16, -0.91), (0, -0.86)], PENNANT)


def _furled_sail(brush: Brush) -> None:
    brush.stroke([(0, -0.88), (0.44, -0.30)], 0.012, WOOD)  # stays
    brush.stroke([(0, -0.88), (-0.42, -0.28)], 0.012, WOOD)
    brush.stroke([(-0.02, -0.37), (-0.34, -0.37)], 0.08, SAIL)  # the sail, rolled up on the boom
    for x in (-0.28, -0.18, -0.08):
        brush.stroke([(x, -0.405), (x, -0.335)], 0.018, WOOD)
    brush.polygon([(0, -0.93), (-0.05, -0.84), (0, -0.80)], PENNANT)  # hangs down: no wind


def _anchor(brush: Brush) -> None:
    """An anchor on its chain; (0, 0) is where the chain leaves the hull."""
    for rim, colour in ((0.03, CREAM), (0, INK)):  # a pale rim makes it stand out
        brush.stroke([(0, 0), (0, 0.22)], 0.024 + rim, colour)
        brush.stroke([(-0.045, 0.07), (0.045, 0.07)], 0.022 + rim, colour)
        brush.curve([(-0.09, 0.13), (-0.06, 0.2), (0, 0.225), (0.06, 0.2), (0.09, 0.13)], 0.026 + rim, colour)


def _window(brush: Brush, left: float, top: float, right: float, bottom: float, driving: bool) -> None:
    """A window: bright and with somebody behind it, or dark and empty."""
    brush.box(left, top, right, bottom, GLASS if driving else DARK_GLASS, 0.02)
    if driving:
        _person(brush, (left + right) / 2, top + 0.125, 0.055)


def _person(brush: Brush, x: float, y: float, radius: float) -> None:
    """Somebody's head behind a window."""
    brush.oval(x, y - radius * 0.35, radius, radius, (92, 62, 46))
    brush.oval(x + radius * 0.15, y, radius * 0.85, radius * 0.85, SKIN)


def _lamps(brush: Brush, front: float, front_y: float, rear: float, rear_y: float, driving: bool) -> None:
    """Head lamp and tail lamp, which shine while driving."""
    lamp = brush.glowing() if driving else brush
    lamp.oval(front, front_y, 0.036, 0.04, LAMPLIGHT if driving else HUB)
    lamp.oval(rear, rear_y, 0.02, 0.035, (255, 120, 80) if driving else (150, 60, 56))


def _wheel(brush: Brush, x: float, radius: float) -> None:
    brush.oval(x, -radius, radius, radius, TYRE)
    brush.oval(x, -radius, radius * 0.52, radius * 0.52, HUB)
    brush.oval(x, -radius, radius * 0.16, radius * 0.16, INK)
