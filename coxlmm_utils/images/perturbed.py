"""What a picture shows, taken away: altered pictures, and image tokens that are cut inside the model (ours)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image, ImageFilter

from ..files import digest
from .captioned_images import CaptionedImages
from .pictures import as_rgb

GREY = (128, 128, 128)  # one for all pictures: a picture's own mean would tell night from day, and snow from grass

Alter = Callable[[Image.Image, str], Image.Image]  # an RGB picture and its id


def blank_images(images: CaptionedImages) -> CaptionedImages:
    """Mean grey in the place of every picture, as large as it (ours).

    Parameters
    ----------
    images : CaptionedImages

    Returns
    -------
    CaptionedImages
        The same ids and references. Pictures are altered when asked for, and have versions (so that states are cached)
        if the given ones have. The source is "", since `load_images` cannot load them again.

        A picture whose true one cannot be read raises the same OSError.
    """
    return _altered(images, _blank, "blank")


def blurred_images(images: CaptionedImages, sigma: float = 0.1) -> CaptionedImages:
    """Every picture under a Gaussian blur: colours and places stay, shapes go (ours).

    Parameters
    ----------
    images : CaptionedImages
    sigma : float, default 0.1
        Standard deviation, as a share of the shorter side.

    Returns
    -------
    CaptionedImages
        As those of `blank_images`.

    Raises
    ------
    ValueError
        If sigma is not above 0.
    """
    if not 0 < sigma < np.inf:
        raise ValueError(f"a blur of sigma={sigma} is none: give a share of the shorter side, such as 0.1.")
    return _altered(images, partial(_blurred, float(sigma)), f"blurred-{float(sigma)!r}")


def masked_images(images: CaptionedImages, share: float = 0.5, side: float = 1 / 8, seed: int = 0) -> CaptionedImages:
    """Every picture with some of its square patches grey (ours).

    Parameters
    ----------
    images : CaptionedImages
    share : float, default 0.5
        Of the patches, the share that is grey, to the nearest patch.
    side : float, default 1/8
        Of a patch, as a share of the picture's shorter side. The patches at the right and lower edge may be narrower.
    seed : int, default 0
        Which patches of a picture are grey depends on it, and on the picture's id and size only.

    Returns
    -------
    CaptionedImages
        As those of `blank_images`.

    Raises
    ------
    ValueError
        If the share is not within 0 to 1, or the side not above 0 and at most 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} of the patches cannot be grey: give 0 to 1.")
    if not 0 < side <= 1:
        raise ValueError(f"patches of side={side} do not fit a picture: give a share of its shorter side, up to 1.")
    share, side, seed = float(share), float(side), int(seed)
    return _altered(images, partial(_masked, share, side, seed), f"masked-{share!r}-{side!r}-{seed}")


def _altered(images: CaptionedImages, alter: Alter, name: str) -> CaptionedImages:
    """The same captioned images, each altered when it is opened."""
    version = images.version and partial(_version, images.version, name)
    return replace(images, source="", open=partial(_open, images.open, alter), version=version)


def _open(open: Callable[[str], Image.Image], alter: Alter, id: str) -> Image.Image:
    """The picture of an id, altered."""
    return alter(as_rgb(open(id)), id)


def _version(version: Callable[[str], str], name: str, id: str) -> str:
    """What changes when the altered picture of an id does."""
    return f"{name} {version(id)}"


def _blank(picture: Image.Image, id: str) -> Image.Image:
    """Grey as large as the picture."""
    return Image.new("RGB", picture.size, GREY)


def _blurred(sigma: float, picture: Image.Image, id: str) -> Image.Image:
    """The picture blurred; Pillow makes a Gaussian of repeated box blurs."""
    return picture.filter(ImageFilter.GaussianBlur(sigma * min(picture.size)))


def _masked(share: float, side: float, seed: int, picture: Image.Image, id: str) -> Image.Image:
    """The picture with the patches grey that its id and the seed decide."""
    length = max(1, round(side * min(picture.size)))  # pixels
    columns, rows = (-(-extent // length) for extent in picture.size)
    rng = np.random.default_rng(int(digest([seed, id]), 16))
    hidden = rng.permutation(rows * columns) < round(share * rows * columns)
    hidden = hidden.reshape(rows, columns).repeat(length, 0).repeat(length, 1)[: picture.height, : picture.width]
    pixels = np.array(picture)  # (height, width, 3)
    pixels[hidden] = GREY
    return Image.fromarray(pixels)


def noise_images(images: CaptionedImages, seed: int = 0) -> CaptionedImages:
    """Noise in the place of every picture: the paper's baseline Noise-Imgs, as we take it (no code was released).

    Captions of noise seldom hold the token. To read the states where it stands in the true pictures' captions, give
    those to `extract` (its `captions`).

    Parameters
    ----------
    images : CaptionedImages
    seed : int, default 0
        The noise of a picture depends on it, and on the picture's id and size only.

    Returns
    -------
    CaptionedImages
        The same ids and references, each with a picture as large as its own, of independent pixels and channels
        uniform in 0 to 255. They are drawn when asked for, and have versions (so that states are cached) if the
        given ones have. The source is "", since `load_images` cannot load them again.

        A picture whose true one cannot be read raises the same OSError.
    """
    version = images.version and partial(_noise_version, images.version, seed)
    return replace(images, source="", open=partial(_noise, images.open, seed), version=version)


def _noise(open: Callable[[str], Image.Image], seed: int, id: str) -> Image.Image:
    """Noise as large as the picture of an id."""
    width, height = as_rgb(open(id)).size
    rng = np.random.default_rng(int(digest([int(seed), id]), 16))
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def _noise_version(version: Callable[[str], str], seed: int, id: str) -> str:
    """What changes when the noise of an id does."""
    return f"noise-{seed} {version(id)}"
