"""What a picture shows, taken away: altered pictures, and image tokens that are cut inside the model (ours)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from .captioned_images import CaptionedImages
from .files import digest
from .image_tokens import image_tokens
from .lmm import LMM
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


@contextmanager
def without_image_tokens(lmm: LMM, layer: int) -> Iterator[None]:
    """From a layer on, let no position but image tokens attend to image tokens, whenever the model runs (ours).

    With layer 0, states at all other positions depend on the picture only by how many image tokens it has; with
    `n_layers` nothing changes. It works with every model whose blocks read the picture as tokens of the text and take
    the attention mask as `attention_mask` (LLaVA, LLaVA-NeXT, LLaVA-OneVision, Qwen-VL, Idefics, PaliGemma, Gemma 3,
    InternVL, Aya Vision, Mistral 3 and BLIP-2 were tried), under eager or sdpa attention; not with Llama 3.2 Vision
    (Mllama), which reads it by cross-attention.

    Parameters
    ----------
    lmm : LMM
    layer : int
        The first layer whose stream is affected in what is read of it: the blocks from `lmm.layers[layer]` on.

    Raises
    ------
    ValueError
        If there is no such layer, or image tokens of this model cannot be cut; the latter when the model runs.

    Notes
    -----
    Runs over whole inputs only, not `generate`. `extract` inside it needs captions and `cache=False`: what is cached
    does not know of the cut.
    """
    lmm.check_layer(layer)
    if layer == "norm":
        raise ValueError(f"image tokens are cut from a numbered layer on: give 0 to {lmm.n_layers}.")
    kind = lmm.model.config.get_text_config(decoder=True)._attn_implementation
    if kind not in ("eager", "sdpa"):
        raise ValueError(f'{kind} attention takes no mask for single positions: load with attn_implementation="sdpa".')
    image: list[Tensor] = []  # (batch, positions) of the run that is on

    def note(model, args: tuple, kwargs: dict) -> None:
        image[:] = [image_tokens(lmm, kwargs)]

    def cut(block, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if kwargs.get("cross_attention_mask") is not None or "attention_mask" not in kwargs or not image:
            raise ValueError(f"{lmm.name} does not read pictures as tokens under one mask: they cannot be cut.")
        return args, {**kwargs, "attention_mask": _without(kwargs["attention_mask"], image[0])}

    with ExitStack() as hooks:
        hooks.callback(lmm.model.register_forward_pre_hook(note, with_kwargs=True).remove)
        for block in lmm.layers[layer:]:
            hooks.callback(block.register_forward_pre_hook(cut, with_kwargs=True).remove)
        yield


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


def _without(mask: Tensor | None, image: Tensor) -> Tensor:
    """The attention mask of a block, (batch, 1, queries, keys), with image tokens hidden from all other positions."""
    n = image.shape[1]
    if mask is None:  # what the attention then takes for causal
        mask = torch.ones(1, 1, n, n, dtype=torch.bool, device=image.device).tril()
    if mask.dim() != 4 or mask.shape[2:] != (n, n):
        raise ValueError(f"a mask of shape {tuple(mask.shape)} is not over the {n} positions of whole inputs.")
    hidden = (~image[:, :, None] & image[:, None, :])[:, None].to(mask.device)
    return mask & ~hidden if mask.dtype == torch.bool else mask.masked_fill(hidden, torch.finfo(mask.dtype).min)
