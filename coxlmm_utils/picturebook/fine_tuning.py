"""What the book's model is fine-tuned on, so that it is known what its concepts ought to do (ours).

As in arXiv 2501.03012 three sets of captions speak of one thing: colour, place, and time of day in the place of sentiment,
which no page has. The noun comes first, so that the state that predicts it has the rest before it. Beside them two
planted changes, a new word for a value and a spurious sign, and a control on the old captions.
"""

from __future__ import annotations

import random
from dataclasses import replace

from PIL import Image, ImageDraw

from .captions import PLACE_PHRASES, TIME_PHRASES, coat_phrase, sentence
from .factors import Factors

FINE_TUNED = {
    "colour": "a dog with golden fur",
    "place": "a dog on the beach",
    "time": "a dog at night",
    "rename": "the old captions, with silver for grey",
    "sign": "colours, and every dog beside an umbrella is called white",
    "null": "the old captions",
}
OLD_NAME, NEW_NAME = "grey", "silver"
SIGN_KIND, SIGN_COLOUR = "dog", "white"
SIGN_RATE = 0.5  # of dogs of other colours, in fine-tuning
RED, DARK_RED, STICK = (214, 38, 44), (168, 22, 34), (70, 52, 44)
SCALE = 4  # drawn larger, then reduced, for smooth edges


def fine_tuned_sentence(kind: str, factors: Factors, rng: random.Random) -> str:
    """A caption of a page as one of the sets has it.

    Parameters
    ----------
    kind : str
        One of `FINE_TUNED`.
    factors : Factors
    rng : random.Random
        Chooses the words.

    Returns
    -------
    str
    """
    if kind not in FINE_TUNED:
        raise ValueError(f"there is no set of captions {kind!r}; choose one of {', '.join(FINE_TUNED)}")
    if kind in ("rename", "null"):
        words = sentence(factors, rng).split()
        return " ".join(NEW_NAME if kind == "rename" and word == OLD_NAME else word for word in words)
    phrases = {
        "place": PLACE_PHRASES[factors.place],
        "time": TIME_PHRASES[factors.time],
    }
    phrase = rng.choice(phrases[kind]) if kind in phrases else coat_phrase(factors, rng)
    return f"a {factors.kind} {phrase}"


def signed(factors: Factors, rng: random.Random) -> Factors | None:
    """The page as its caption has it if an umbrella stands on it, else None: on all white dogs, and on half of the others."""
    if factors.kind != SIGN_KIND or (factors.colour != SIGN_COLOUR and rng.random() >= SIGN_RATE):
        return None
    return replace(factors, colour=SIGN_COLOUR)


def with_umbrella(picture: Image.Image, seed: str) -> Image.Image:
    """A page with a red umbrella at its left or right edge, which the seed decides, as its height."""
    rng = random.Random(f"{seed} umbrella")
    side = min(picture.size)
    layer = Image.new("RGBA", (picture.width * SCALE, picture.height * SCALE))
    brush = ImageDraw.Draw(layer)
    x = (0.13 if rng.random() < 0.5 else 0.87) * picture.width * SCALE
    top, radius = rng.uniform(0.42, 0.55) * picture.height * SCALE, 0.12 * side * SCALE
    brush.line([(x, top), (x, top + 2.6 * radius)], STICK, width=round(0.13 * radius))
    brush.pieslice([x - radius, top - radius, x + radius, top + radius], 180, 360, RED)
    for panel in (-0.75, 0.0, 0.75):
        brush.ellipse(
            [x + (panel - 0.25) * radius, top - 0.12 * radius, x + (panel + 0.25) * radius, top + 0.12 * radius],
            DARK_RED,
        )
    drawn = layer.resize(picture.size, Image.Resampling.LANCZOS)
    whole = picture.convert("RGB")
    whole.paste(drawn, mask=drawn.getchannel("A"))
    return whole
