"""How well a map localizes an object whose mask is known (ours)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MaskScores:
    """How well a map finds an object whose place is known."""

    pointing: bool  # whether the centre of the map's largest cell is in the object
    # intersection over union, in pixels, of the object and the map's largest cells, as many as it would fill
    iou: float
    # The share of the map's positive part that is on the object; NaN if it has none. An even map has the object's share of
    # the picture.
    energy: float


def mask_scores(map: np.ndarray, mask: np.ndarray) -> MaskScores:
    """Compare a map with the known place of an object (ours).

    Parameters
    ----------
    map : numpy.ndarray
        (rows, columns), over the whole picture: of a model that sees all of it.
    mask : numpy.ndarray
        (height, width), bool: where the object is seen, such as `page.masks["subject"]`.

    Returns
    -------
    MaskScores

    Raises
    ------
    ValueError
        If either is not a matrix, the map is not finite or finer than the mask, or the mask is empty.
    """
    map, mask = np.asarray(map, dtype=float), np.asarray(mask, dtype=bool)
    if map.ndim != 2 or mask.ndim != 2 or any(fine > coarse for fine, coarse in zip(map.shape, mask.shape)):
        raise ValueError(f"a map of shape {map.shape} cannot be laid over a mask of shape {mask.shape}.")
    if not np.isfinite(map).all() or not mask.any():
        raise ValueError(
            "the map has values that are not finite." if mask.any() else "the mask is empty: nothing to find."
        )
    cells = _cells(map.shape, mask.shape)  # (height, width)
    shares = np.bincount(cells[mask], minlength=map.size) / np.bincount(cells.ravel(), minlength=map.size)  # (cells,)
    order = np.argsort(-map.ravel(), kind="stable")
    centre = [
        int((at + 0.5) * extent / n) for at, extent, n in zip(divmod(order[0], map.shape[1]), mask.shape, map.shape)
    ]
    top = np.isin(cells, order[: max(1, round(shares.sum()))])  # (height, width)
    positive = map.ravel().clip(min=0)
    energy = float(positive @ shares / positive.sum()) if positive.any() else float("nan")
    return MaskScores(bool(mask[tuple(centre)]), float((top & mask).sum() / (top | mask).sum()), energy)


def _cells(grid: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """The number of the cell that each pixel's centre is in, row by row: (height, width)."""
    rows, columns = ((np.arange(extent) + 0.5) * n // extent for extent, n in zip(shape, grid))
    return (rows[:, None] * grid[1] + columns[None, :]).astype(int)
