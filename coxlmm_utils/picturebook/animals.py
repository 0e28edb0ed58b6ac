"""Dog, cat, bird and horse. Each fits between x = -0.5 and 0.5, and faces right."""

from __future__ import annotations

from .brush import INK, WHITE, Brush, Coat, Colour, darker

COLLAR: Colour = (216, 50, 58)
PINK: Colour = (246, 168, 170)
CAT_EYES: Colour = (136, 216, 96)
BEAK: Colour = (250, 160, 44)
NIGHT_BLACK: Colour = (22, 22, 26)  # a nose that shows on black and on white


def dog(brush: Brush, coat: Coat, action: str) -> None:
    """A dog in profile: long muzzle, floppy ear, red collar, short tail (ours).

    Parameters
    ----------
    brush : Brush
    coat : Coat
    action : str
        "sitting", "running" or "sleeping".
    """
    {"sitting": _sitting_dog, "running": _running_dog, "sleeping": _sleeping_dog}[action](brush, coat)


def _sitting_dog(brush: Brush, coat: Coat) -> None:
    brush.curve([(-0.28, -0.08), (-0.41, -0.14), (-0.46, -0.30)], 0.085, coat.main)  # tail
    brush.blob([(-0.33, -0.02), (-0.33, -0.26), (-0.18, -0.48), (0, -0.62), (0.15, -0.54), (0.15, -0.2),
                (0.10, -0.02), (-0.1, 0)], coat.main)
    brush.blob([(0.06, -0.5), (0.16, -0.5), (0.17, -0.32), (0.12, -0.2), (0.05, -0.3)], coat.pale)  # chest
    brush.stroke([(-0.01, -0.3), (0, -0.04), (0.05, -0.04)], 0.095, coat.shade)
    brush.stroke([(0.10, -0.34), (0.11, -0.04), (0.17, -0.04)], 0.10, coat.main)
    brush.oval(-0.17, -0.16, 0.18, 0.16, coat.shade)
    brush.stroke([(-0.14, -0.04), (-0.02, -0.04)], 0.08, coat.shade)
    brush.stroke([(0.03, -0.5), (0.08, -0.62)], 0.22, coat.main)
    brush.stroke([(-0.06, -0.585), (0.17, -0.545)], 0.055, COLLAR)
    _dog_head(brush.at(0.08, -0.74, 1.12), coat)


def _running_dog(brush: Brush, coat: Coat) -> None:
    brush.curve([(-0.34, -0.42), (-0.42, -0.54), (-0.43, -0.66)], 0.075, coat.main)  # tail, up
    brush.stroke([(-0.26, -0.30), (-0.36, -0.19), (-0.48, -0.14)], 0.085, coat.shade)
    brush.stroke([(0.08, -0.30), (0.22, -0.20), (0.38, -0.20)], 0.085, coat.shade)
    brush.blob([(-0.38, -0.42), (-0.2, -0.49), (0.02, -0.49), (0.2, -0.56), (0.24, -0.38), (0.12, -0.22),
                (-0.14, -0.28), (-0.33, -0.22)], coat.main)
    brush.blob([(0.1, -0.36), (0.22, -0.44), (0.2, -0.3), (0.11, -0.24), (-0.04, -0.28)], coat.pale)
    brush.stroke([(-0.29, -0.32), (-0.32, -0.16), (-0.43, -0.04)], 0.10, coat.main)
    brush.stroke([(0.13, -0.30), (0.20, -0.15), (0.33, -0.06)], 0.095, coat.main)
    brush.stroke([(0.16, -0.50), (0.23, -0.58)], 0.20, coat.main)
    brush.stroke([(0.12, -0.60), (0.26, -0.46)], 0.055, COLLAR)
    _dog_head(brush.at(0.24, -0.66, 1.0), coat)


def _sleeping_dog(brush: Brush, coat: Coat) -> None:
    brush.curve([(-0.36, -0.10), (-0.45, -0.10), (-0.46, -0.03)], 0.07, coat.main)  # tail, down
    brush.blob([(-0.45, -0.03), (-0.44, -0.22), (-0.24, -0.37), (0.05, -0.33), (0.18, -0.22), (0.2, -0.02),
                (-0.1, 0)], coat.main)
    brush.oval(-0.27, -0.13, 0.17, 0.13, coat.shade)
    brush.stroke([(-0.26, -0.035), (-0.10, -0.035)], 0.07, coat.shade)
    brush.stroke([(0.06, -0.04), (0.40, -0.04)], 0.085, coat.shade)
    brush.stroke([(0.08, -0.28), (0.15, -0.08)], 0.055, COLLAR)
    _dog_head(brush.at(0.20, -0.19), coat, asleep=True)


def _dog_head(brush: Brush, coat: Coat, asleep: bool = False) -> None:
    """Skull, muzzle and the big ear, around (0, 0)."""
    brush.oval(0, 0, 0.16, 0.15, coat.main)
    brush.blob([(0.03, -0.05), (0.16, -0.045), (0.27, 0), (0.27, 0.09), (0.14, 0.13), (0, 0.11)], coat.pale)
    brush.oval(0.265, 0.005, 0.046, 0.04, NIGHT_BLACK)
    brush.stroke([(0.25, 0.075), (0.14, 0.08)], 0.015, coat.line)
    brush.blob([(-0.10, -0.13), (0, -0.10), (-0.01, 0.08), (-0.07, 0.19), (-0.17, 0.12), (-0.16, -0.05)],
               coat.stripe)
    if asleep:
        brush.stroke([(0.045, -0.035), (0.08, -0.01), (0.115, -0.035)], 0.022, coat.line)
    else:
        _eye(brush, 0.075, -0.045, 0.03, coat)


def cat(brush: Brush, coat: Coat, action: str) -> None:
    """A slender cat with a round face seen from the front, pointed ears, stripes and a long tail (ours).

    Parameters
    ----------
    brush : Brush
    coat : Coat
    action : str
        "sitting", "running" or "sleeping".
    """
    {"sitting": _sitting_cat, "running": _running_cat, "sleeping": _sleeping_cat}[action](brush, coat)


def _sitting_cat(brush: Brush, coat: Coat) -> None:
    tail = [(-0.14, -0.06), (-0.36, -0.05), (-0.44, -0.22), (-0.36, -0.40), (-0.42, -0.54), (-0.36, -0.62)]
    brush.curve(tail, 0.075, coat.main)
    _rings(brush, [(-0.44, -0.2), (-0.38, -0.36), (-0.41, -0.5)], coat)
    brush.blob([(-0.22, -0.01), (-0.24, -0.2), (-0.13, -0.42), (0, -0.52), (0.13, -0.42), (0.24, -0.2),
                (0.22, -0.01), (0, 0)], coat.main)
    for side in (-1, 1):
        for height in (-0.34, -0.25, -0.16):
            brush.stroke([(side * 0.20, height + 0.02), (side * 0.11, height)], 0.032, coat.stripe)
    brush.oval(0, -0.28, 0.09, 0.16, coat.pale)
    for x in (-0.06, 0.06):
        brush.stroke([(x, -0.22), (x, -0.035)], 0.08, coat.shade)
    _cat_head(brush.at(0, -0.62, 1.22), coat)


def _running_cat(brush: Brush, coat: Coat) -> None:
    tail = [(-0.30, -0.36), (-0.42, -0.44), (-0.46, -0.60), (-0.38, -0.74), (-0.28, -0.70)]
    brush.curve(tail, 0.06, coat.main)
    _rings(brush, [(-0.43, -0.48), (-0.45, -0.62), (-0.38, -0.73)], coat)
    brush.stroke([(-0.24, -0.28), (-0.36, -0.18), (-0.47, -0.14)], 0.065, coat.shade)
    brush.stroke([(0.14, -0.28), (0.30, -0.20), (0.45, -0.20)], 0.065, coat.shade)
    brush.blob([(-0.34, -0.36), (-0.12, -0.42), (0.14, -0.44), (0.26, -0.38), (0.18, -0.22), (-0.06, -0.27),
                (-0.28, -0.2)], coat.main)
    for x in (-0.24, -0.14, -0.04, 0.06):
        brush.stroke([(x, -0.40), (x - 0.02, -0.30)], 0.032, coat.stripe)
    brush.stroke([(-0.26, -0.28), (-0.30, -0.13), (-0.42, -0.04)], 0.075, coat.main)
    brush.stroke([(0.14, -0.28), (0.24, -0.13), (0.38, -0.06)], 0.075, coat.main)
    _cat_head(brush.at(0.25, -0.50, 1.12), coat)


def _sleeping_cat(brush: Brush, coat: Coat) -> None:
    """Curled into a round loaf, the tail around it."""
    brush.blob([(-0.44, -0.06), (-0.42, -0.24), (-0.2, -0.38), (0.1, -0.36), (0.3, -0.24), (0.34, -0.04),
                (0, 0)], coat.main)
    for x in (-0.28, -0.17, -0.06, 0.05):
        brush.curve([(x, -0.36), (x - 0.03, -0.27), (x, -0.19)], 0.034, coat.stripe)
    tail = [(-0.40, -0.16), (-0.42, -0.05), (-0.2, -0.035), (0.02, -0.04), (0.10, -0.09)]
    brush.curve(tail, 0.075, coat.shade)
    _rings(brush, [(-0.3, -0.04), (-0.15, -0.036), (-0.01, -0.04)], coat)
    _cat_head(brush.at(0.24, -0.19, 1.1), coat, asleep=True)


def _rings(brush: Brush, spots: list[tuple[float, float]], coat: Coat) -> None:
    """The rings of a striped tail."""
    for x, y in spots:
        brush.oval(x, y, 0.037, 0.02, coat.stripe)


def _cat_head(brush: Brush, coat: Coat, asleep: bool = False) -> None:
    """A round face with two pointed ears, around (0, 0)."""
    for side in (-1, 1):
        brush.polygon([(side * 0.18, -0.02), (side * 0.17, -0.26), (side * 0.01, -0.12)], coat.main)
        brush.polygon([(side * 0.145, -0.08), (side * 0.14, -0.2), (side * 0.055, -0.12)], PINK)
    brush.oval(0, 0, 0.19, 0.155, coat.main)
    for x in (-0.05, 0, 0.05):
        brush.stroke([(x, -0.145), (x * 0.7, -0.085)], 0.02, coat.stripe)
    brush.oval(0, 0.07, 0.085, 0.055, coat.pale)
    for side in (-1, 1):
        _cat_eye(brush, side, coat, asleep)
        for tip in (0.03, 0.08):
            brush.stroke([(side * 0.08, 0.06), (side * 0.22, tip)], 0.010, coat.line)  # whiskers
    brush.polygon([(-0.028, 0.035), (0.028, 0.035), (0, 0.068)], (232, 104, 120))


def _cat_eye(brush: Brush, side: int, coat: Coat, asleep: bool) -> None:
    if asleep:
        lid = [(side * 0.115, -0.02), (side * 0.08, 0.01), (side * 0.045, -0.02)]
        brush.stroke(lid, 0.022, coat.line)
    else:
        brush.oval(side * 0.08, -0.015, 0.044, 0.05, CAT_EYES)
        brush.oval(side * 0.08, -0.015, 0.015, 0.042, NIGHT_BLACK)


def bird(brush: Brush, coat: Coat, action: str) -> None:
    """A plump bird (ours).

    Parameters
    ----------
    brush : Brush
    coat : Coat
    action : str
        "standing" (on its legs, wings folded) or "flying" (wings spread).
    """
    {"standing": _standing_bird, "flying": _flying_bird}[action](brush, coat)


def _standing_bird(brush: Brush, coat: Coat) -> None:
    brush.polygon([(-0.2, -0.34), (-0.49, -0.22), (-0.46, -0.11), (-0.16, -0.22)], coat.shade)  # tail
    for x in (-0.02, 0.11):
        brush.stroke([(x, -0.18), (x, -0.02)], 0.036, BEAK)
        brush.stroke([(x - 0.05, -0.02), (x + 0.07, -0.02)], 0.034, BEAK)
    brush.polygon([(0.28, -0.68), (0.48, -0.60), (0.28, -0.54)], BEAK)
    brush.blob([(-0.28, -0.30), (-0.16, -0.50), (0.04, -0.66), (0.22, -0.64), (0.29, -0.42), (0.21, -0.2),
                (0.02, -0.12), (-0.18, -0.17)], coat.main)
    brush.oval(0.15, -0.31, 0.12, 0.16, coat.pale)
    brush.oval(0.15, -0.65, 0.175, 0.16, coat.main)
    brush.blob([(0.07, -0.48), (-0.1, -0.47), (-0.31, -0.27), (-0.2, -0.19), (0.03, -0.25)], coat.shade)
    _eye(brush, 0.20, -0.68, 0.036, coat)


def _flying_bird(brush: Brush, coat: Coat) -> None:
    """Both wings stretched out, one up and one down, as a bird that banks."""
    brush.blob([(-0.06, -0.46), (-0.26, -0.62), (-0.36, -0.84), (-0.14, -0.82), (0.1, -0.66), (0.18, -0.46)],
               coat.shade)
    brush.polygon([(-0.24, -0.40), (-0.49, -0.48), (-0.44, -0.35), (-0.49, -0.25)], coat.shade)  # tail
    brush.blob([(-0.28, -0.38), (-0.05, -0.50), (0.2, -0.52), (0.30, -0.40), (0.18, -0.26), (-0.08, -0.25)],
               coat.main)
    brush.oval(0.07, -0.32, 0.17, 0.08, coat.pale, turn=-8)
    wing = [(0.14, -0.42), (-0.02, -0.38), (-0.22, -0.14), (-0.26, 0.04), (-0.06, -0.02), (0.14, -0.2)]
    brush.blob(wing, coat.shade)
    for feather in ((-0.18, -0.02), (-0.08, -0.06)):
        brush.stroke([feather, (feather[0] + 0.1, feather[1] - 0.17)], 0.016, coat.stripe)
    brush.polygon([(0.36, -0.53), (0.50, -0.46), (0.36, -0.42)], BEAK)
    brush.oval(0.27, -0.48, 0.145, 0.135, coat.main)
    _eye(brush, 0.31, -0.50, 0.034, coat)


def horse(brush: Brush, coat: Coat, action: str) -> None:
    """A horse: long neck, mane, long legs, a tail of hair (ours).

    Parameters
    ----------
    brush : Brush
    coat : Coat
    action : str
        "standing" or "running".
    """
    {"standing": _standing_horse, "running": _running_horse}[action](brush, coat)


def _standing_horse(brush: Brush, coat: Coat) -> None:
    brush.curve([(-0.34, -0.55), (-0.42, -0.48), (-0.43, -0.30), (-0.40, -0.18)], 0.09, coat.stripe)  # tail
    for x in (-0.19, 0.10):
        _leg(brush, [(x, -0.36), (x, -0.03)], coat.shade, coat)
    brush.blob([(-0.38, -0.54), (-0.2, -0.59), (0.06, -0.57), (0.22, -0.64), (0.25, -0.46), (0.16, -0.33),
                (-0.1, -0.35), (-0.34, -0.34)], coat.main)
    for x in (-0.29, 0.18):
        _leg(brush, [(x, -0.40), (x, -0.03)], coat.main, coat)
    brush.polygon([(0.04, -0.54), (0.24, -0.40), (0.34, -0.78), (0.20, -0.88)], coat.main)
    brush.blob([(0.29, -0.93), (0.20, -0.92), (0.06, -0.74), (-0.01, -0.54), (0.08, -0.52), (0.19, -0.72)],
               coat.stripe)
    _horse_head(brush.at(0.27, -0.84), coat)


def _running_horse(brush: Brush, coat: Coat) -> None:
    """A flying gallop: legs stretched out, neck low, mane and tail in the wind."""
    brush.curve([(-0.30, -0.54), (-0.40, -0.60), (-0.49, -0.56)], 0.10, coat.stripe)  # tail
    _leg(brush, [(-0.24, -0.38), (-0.36, -0.28), (-0.47, -0.26)], coat.shade, coat)
    _leg(brush, [(0.10, -0.38), (0.26, -0.30), (0.42, -0.32)], coat.shade, coat)
    brush.blob([(-0.34, -0.52), (-0.18, -0.57), (0.04, -0.55), (0.18, -0.60), (0.22, -0.44), (0.12, -0.32),
                (-0.12, -0.35), (-0.31, -0.33)], coat.main)
    _leg(brush, [(-0.25, -0.40), (-0.30, -0.22), (-0.44, -0.08)], coat.main, coat)
    _leg(brush, [(0.13, -0.38), (0.28, -0.22), (0.43, -0.14)], coat.main, coat)
    brush.polygon([(0, -0.52), (0.21, -0.40), (0.34, -0.64), (0.22, -0.78)], coat.main)
    brush.blob([(0.28, -0.84), (0.10, -0.88), (-0.10, -0.84), (0.05, -0.76), (-0.14, -0.72), (0.01, -0.64),
                (-0.12, -0.58), (0.06, -0.52), (0.18, -0.62)], coat.stripe)  # the mane, streaming backwards
    _horse_head(brush.at(0.26, -0.75, turn=-6), coat)


def _leg(brush: Brush, points: list[tuple[float, float]], colour: Colour, coat: Coat) -> None:
    """A long leg and its hoof."""
    brush.stroke(points, 0.075, colour)
    brush.stroke(points[-1:] * 2, 0.085, darker(coat.stripe, 0.75))


def _horse_head(brush: Brush, coat: Coat) -> None:
    """A long face that looks down a little; (0, 0) lies between the ears."""
    brush.polygon([(-0.04, 0), (0, -0.12), (0.06, -0.01)], coat.main)
    brush.blob([(-0.05, -0.03), (0.06, -0.05), (0.21, 0.10), (0.23, 0.19), (0.16, 0.22), (0.05, 0.13),
                (-0.04, 0.12)], coat.main)
    brush.oval(0.19, 0.165, 0.055, 0.052, coat.pale)
    brush.oval(0.205, 0.15, 0.012, 0.012, coat.line)
    brush.blob([(-0.02, -0.08), (0.04, -0.06), (0.06, 0.02), (0, 0.03)], coat.stripe)  # forelock
    _eye(brush, 0.075, 0.04, 0.027, coat)


def _eye(brush: Brush, x: float, y: float, radius: float, coat: Coat) -> None:
    """A bright round eye; on a black coat with a pale rim."""
    if sum(coat.main) < 220:
        brush.oval(x, y, radius * 1.35, radius * 1.45, WHITE)
    brush.oval(x, y, radius, radius * 1.15, INK)
    brush.oval(x + radius * 0.3, y - radius * 0.4, radius * 0.36, radius * 0.36, WHITE)
