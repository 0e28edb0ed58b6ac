"""Perturbed pictures: blank, blurred, masked, or noise in their place, made when they are opened (ours).

Each function gives the same ids and references. Perturbed pictures have versions (so that states are cached) if the
given ones have; their source is "", since `load_images` cannot load them again. A picture that cannot be read raises
the same OSError as before.
"""

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

Perturbation = Callable[[Image.Image, str], Image.Image]  # of an RGB picture and its id


def blank_images(images: CaptionedImages) -> CaptionedImages:
    """Grey in the place of every picture, of the same size."""
    return perturbed_images(images, _blank, "blank")


def blurred_images(images: CaptionedImages, sigma: float = 0.1) -> CaptionedImages:
    """Every picture under a Gaussian blur, `sigma` as a share of its shorter side: colours stay, shapes go.

    Parameters
    ----------
    sigma : float, default 0.1

    Returns
    -------
    CaptionedImages
    """
    if not 0 < sigma < np.inf:
        raise ValueError(f"a blur of sigma={sigma} is none: give a share of the shorter side, such as 0.1.")
    return perturbed_images(images, partial(_blurred, float(sigma)), f"blurred-{float(sigma)!r}")


def masked_images(images: CaptionedImages, share: float = 0.5, side: float = 1 / 8, seed: int = 0) -> CaptionedImages:
    """Every picture with this share of its square patches grey, to the nearest patch.

    `side` is that of a patch, as a share of the picture's shorter side; patches at the right and lower edge may be
    narrower. Which patches are grey depends on the seed and on the picture's id and size only.

    Parameters
    ----------
    share : float, default 0.5
    side : float, default 1/8
    seed : int, default 0

    Returns
    -------
    CaptionedImages
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} of the patches cannot be grey: give 0 to 1.")
    if not 0 < side <= 1:
        raise ValueError(f"patches of side={side} do not fit a picture: give a share of its shorter side, up to 1.")
    share, side, seed = float(share), float(side), int(seed)
    return perturbed_images(images, partial(_masked, share, side, seed), f"masked-{share!r}-{side!r}-{seed}")


def noise_images(images: CaptionedImages, seed: int = 0) -> CaptionedImages:
    """Noise in the place of every picture: the paper's baseline Noise-Imgs, as we take it (no code was released).

    Pixels and channels are independent, uniform in 0 to 255, and depend on the seed and on the picture's id and size
    only. Captions of noise seldom hold the token: to read the states where it stands in the true pictures' captions,
    give those to `extract` (its `captions`).
    """
    return perturbed_images(images, partial(_noise, int(seed)), f"noise-{seed}")


def perturbed_images(images: CaptionedImages, perturb: Perturbation, name: str) -> CaptionedImages:
    """The same captioned images, each perturbed when it is opened.

    Parameters
    ----------
    images : CaptionedImages
    perturb : callable
        Gets a picture, as RGB, and its id, and gives a picture.
    name : str
        Says how, in the pictures' versions: states of pictures perturbed otherwise are never taken for these.

    Returns
    -------
    CaptionedImages
    """
    version = images.version and partial(_version, images.version, name)
    return replace(images, source="", open=partial(_open, images.open, perturb), version=version)


def _open(open: Callable[[str], Image.Image], perturb: Perturbation, id: str) -> Image.Image:
    """The picture of an id, perturbed."""
    return perturb(as_rgb(open(id)), id)


def _version(version: Callable[[str], str], name: str, id: str) -> str:
    """Changes with the perturbation and with the picture."""
    return f"{name} {version(id)}"


def _blank(picture: Image.Image, id: str) -> Image.Image:
    """Grey of the picture's size."""
    return Image.new("RGB", picture.size, GREY)


def _blurred(sigma: float, picture: Image.Image, id: str) -> Image.Image:
    """The picture blurred; Pillow makes a Gaussian of repeated box blurs."""
    return picture.filter(ImageFilter.GaussianBlur(sigma * min(picture.size)))


def _masked(share: float, side: float, seed: int, picture: Image.Image, id: str) -> Image.Image:
    """The picture with those patches grey that its id and the seed decide."""
    length = max(1, round(side * min(picture.size)))  # pixels
    columns, rows = (-(-extent // length) for extent in picture.size)
    hidden = _generator(seed, id).permutation(rows * columns) < round(share * rows * columns)
    hidden = hidden.reshape(rows, columns).repeat(length, 0).repeat(length, 1)[: picture.height, : picture.width]
    pixels = np.array(picture)  # (height, width, 3)
    pixels[hidden] = GREY
    return Image.fromarray(pixels)


def _noise(seed: int, picture: Image.Image, id: str) -> Image.Image:
    """Noise of the picture's size."""
    return Image.fromarray(_generator(seed, id).integers(0, 256, (picture.height, picture.width, 3), dtype=np.uint8))


def _generator(seed: int, id: str) -> np.random.Generator:
    """Random numbers of a picture, the same in every process and order."""
    return np.random.default_rng(int(digest([seed, id]), 16))
