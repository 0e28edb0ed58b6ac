"""Which of a model's inputs are image tokens, and where they lie over the picture."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt, prod

from PIL import Image
from torch import Tensor
from transformers import BaseImageProcessor, BatchFeature

from .lmm import LMM

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of the picture


def image_tokens(lmm: LMM, batch: BatchFeature | dict) -> Tensor:
    """Which positions of a model's inputs are image tokens: bool (batch, positions); a ValueError if there are none.

    Parameters
    ----------
    batch : BatchFeature or dict
        From `LMM.inputs`.

    Returns
    -------
    BoolTensor
        (batch, positions).
    """
    is_image = batch["input_ids"] == getattr(lmm.model.config, "image_token_id", -1)
    if not is_image.any():
        raise ValueError(f"the inputs of {lmm.name} hold no image tokens: give whole inputs, of a model that has them.")
    return is_image


def count_image_tokens(lmm: LMM, pictures: Sequence[Image.Image]) -> list[int]:
    """How many image tokens each picture takes, told from its size; where the processor cannot tell, its pixels (ours)."""
    sizes = [(picture.height, picture.width) for picture in pictures]
    try:
        return list(lmm.processor._get_num_multimodal_tokens(image_sizes=sizes)["num_image_tokens"])
    except Exception:  # of any kind: many processors have no such method, and it is not a public one
        return [height * width for height, width in sizes]


def image_grid(lmm: LMM, batch: BatchFeature) -> tuple[int, int]:
    """Rows and columns of the grid in which the image tokens of one picture lie over it.

    There has to be one token for each patch (LLaVA-1.5, PaliGemma) or each square of patches (Qwen-VL, Gemma 3) of one
    whole picture, else a ValueError says so: tiles (LLaVA-NeXT, InternVL) overlap, and what queries make of a picture
    (BLIP-2, Idefics2, DePALM) has no place in it.

    Parameters
    ----------
    batch : BatchFeature
        Inputs for one picture, from `LMM.inputs`.

    Returns
    -------
    rows, columns : int
    """
    n, grid = int(image_tokens(lmm, batch).sum()), _patches(lmm, batch)
    side = isqrt(prod(grid) // n)  # of the square of patches that a token stands for
    if not grid or side**2 * n != prod(grid) or any(patches % side for patches in grid):
        kind = lmm.model.config.model_type
        raise ValueError(
            f"there is no patch map for {lmm.name}: the {n} image tokens of a {kind} model are not known to lie over "
            "one picture as one grid, a token for each patch or square of patches"
        )
    return tuple(patches // side for patches in grid)


def _patches(lmm: LMM, batch: BatchFeature) -> tuple[int, ...]:
    """How many patches one picture is cut into, down and across; nothing where they are not of one whole picture."""
    config, shape = lmm.model.config, batch["pixel_values"].shape
    queries = any(hasattr(config, name) for name in ("num_query_tokens", "perceiver_config"))
    if "image_grid_thw" in batch:  # (pictures, 3), in patches
        frames, *sides = batch["image_grid_thw"][0].tolist()
        return tuple(sides) if frames == 1 else ()
    patch = getattr(getattr(config, "vision_config", None), "patch_size", None)
    if queries or patch is None or "image_sizes" in batch or len(shape) != 4 or shape[0] != 1:
        return ()
    sides = [patch, patch] if isinstance(patch, int) else patch
    return tuple(extent // side for extent, side in zip(shape[2:], sides))  # (pictures, channels, height, width)


def seen_box(lmm: LMM, size: tuple[int, int]) -> Box:
    """Which part of a picture the model sees: all of it, or what is left by a crop of its centre, as CLIP's (ours).

    Parameters
    ----------
    lmm : LMM
        The model whose processor crops, or does not.
    size : tuple of int
        The picture's width and height.

    Returns
    -------
    tuple of float
        Left, top, right, bottom in pixels of the picture; beyond its edges where the crop is larger than it.

    Raises
    ------
    ValueError
        If the processor crops in another way.
    """
    processor = lmm.processor.image_processor
    if not getattr(processor, "do_center_crop", False):
        return (0.0, 0.0, float(size[0]), float(size[1]))
    resized = _resized(processor, size) if processor.do_resize else size
    crop = (processor.crop_size["width"], processor.crop_size["height"])
    starts = [int((whole - part) / 2) for whole, part in zip(resized, crop)]  # rounded as the processor does
    left, top = (start * full / whole for start, full, whole in zip(starts, size, resized))
    width, height = (part * full / whole for part, full, whole in zip(crop, size, resized))
    return (left, top, left + width, top + height)


def _resized(processor: BaseImageProcessor, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height before the crop."""
    shortest, longest, height, width = (
        processor.size.get(name) for name in ("shortest_edge", "longest_edge", "height", "width")
    )
    if getattr(processor, "do_pad", False) or longest or not (shortest or height and width):
        raise ValueError(
            f"how {type(processor).__name__} crops a picture is not known, so no patch map can be laid on it"
        )
    if not shortest:
        return width, height
    return tuple(shortest if side == min(size) else int(shortest * side / min(size)) for side in size)
