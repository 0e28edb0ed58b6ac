"""Other maps of what a picture gives to a token: attention, gradient x input and occlusion (ours).

Each map is a float array of (rows, columns) over the grid of image tokens, to stand beside a concept's own map.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm
from transformers import BatchFeature

from ..images import GREY
from ..models import LMM, Box, eager_attention, hook, image_grid, image_tokens, last_logits, seen_box
from .explain import Explanation


def attention(lmm: LMM, explained: Explanation) -> np.ndarray:
    """Attention from the position of the state to the image tokens, mean over heads and blocks (ours).

    The simplest of its kind: the blocks up to the bank's layer count alike, and ways over other positions do not count
    (attention rollout, arXiv 2005.00928, would follow them).

    Parameters
    ----------
    lmm : LMM
        Its attention is made "eager" for this run, since others do not tell their weights.
    explained : Explanation
        Of a picture, at a layer above 0.

    Returns
    -------
    numpy.ndarray
        (rows, columns), >= 0; the sum is at most 1, the rest goes to other positions.

    Raises
    ------
    ValueError
        If the bank is of layer 0, or the image tokens are no grid; see `image_grid`.
    """
    layer = explained.bank.layer
    if layer == 0:
        raise ValueError(
            "no block comes before layer 0, so there is no attention to show: take a bank of another layer."
        )
    explained.bank.check_model(lmm)
    ids, step = explained.ids, explained.step
    batch = _inputs(lmm, explained, [explained.picture], ids[: step + 1])
    grid = image_grid(lmm, batch)
    with torch.inference_mode(), eager_attention(lmm.model):
        output = lmm.model(**batch, use_cache=False, output_attentions=True)
    blocks = getattr(output, "language_model_outputs", output).attentions  # of BLIP; (1, heads, queries, keys) each
    blocks = blocks[: lmm.n_layers if layer == "norm" else layer]
    position = -2 if explained.bank.position == "predicts" else -1  # the last one is the token's own
    weights = torch.stack([block[0, :, position].float().mean(0) for block in blocks]).mean(0)  # (keys,)
    return _on_grid(weights, image_tokens(lmm, batch), grid)


def gradient_times_input(lmm: LMM, explained: Explanation) -> np.ndarray:
    """How the token's logit changes with each image token's embedding, times the embedding (ours).

    Parameters
    ----------
    explained : Explanation

    Returns
    -------
    numpy.ndarray
        (rows, columns): for each image token, the gradient of the logit of the token (its first piece), where it is
        predicted, with respect to the embedding that enters the first block, times this embedding, summed over its
        width. To first order, what setting the embedding to zero would take away; of either sign.

    Raises
    ------
    ValueError
        If the image tokens are no grid; see `image_grid`.
    """
    explained.bank.check_model(lmm)
    ids, step = explained.ids, explained.step
    batch = _inputs(lmm, explained, [explained.picture], ids[:step])
    grid, entered = image_grid(lmm, batch), []

    def enter(stream: Tensor) -> Tensor:  # (1, positions, width)
        entered.append(stream.detach().requires_grad_())
        return entered[0]

    with hook(lmm, 0, enter):
        logit = last_logits(lmm, batch, 1)[0, -1, ids[step]]
    (gradient,) = torch.autograd.grad(logit, entered[0])
    return _on_grid((gradient * entered[0]).detach().sum(-1)[0].float(), image_tokens(lmm, batch), grid)


def occlusion(lmm: LMM, explained: Explanation, span: int = 3, batch_size: int = 32) -> np.ndarray:
    """How much less likely the token gets when a grey square hides a part of the picture (ours; as Zeiler and Fergus).

    Parameters
    ----------
    explained : Explanation
    span : int, default 3
        Side of the square, in cells of the grid over what the model sees of the picture; about as much as is sought,
        since of a larger thing enough stays to be seen. The square is moved by one cell at a time.
    batch_size : int

    Returns
    -------
    numpy.ndarray
        (rows, columns): the drop of the log-probability of the token (its first piece), the words before it
        teacher-forced; for each cell the mean over the squares that hide it. Negative where hiding makes the token
        likelier.

    Raises
    ------
    ValueError
        If the square does not fit, or the image tokens are no grid; see `image_grid`.
    """
    explained.bank.check_model(lmm)
    ids, step = explained.ids, explained.step
    rows, columns = image_grid(lmm, _inputs(lmm, explained, [explained.picture], ids[:step]))
    if not 1 <= span <= min(rows, columns):
        raise ValueError(
            f"a square of {span} cells does not fit a grid of {rows} x {columns}: give 1 or more, but fewer."
        )
    corners = [(row, column) for row in range(rows - span + 1) for column in range(columns - span + 1)]
    cells = _seen_cells((rows, columns), explained.picture.size, seen_box(lmm, explained.picture.size))
    scores = []
    for start in tqdm(range(0, len(corners) + 1, batch_size), desc="hiding parts", leave=False):
        batch = [None, *corners][start : start + batch_size]  # nothing hidden, then each square
        pictures = [_hidden(explained.picture, cells, corner, span) for corner in batch]
        scores += _log_probability(lmm, _inputs(lmm, explained, pictures, ids[:step]), ids[step])
    drops, n_squares = np.zeros((rows, columns)), np.zeros((rows, columns))
    for (row, column), score in zip(corners, scores[1:]):
        square = np.s_[row : row + span, column : column + span]
        drops[square] += scores[0] - score
        n_squares[square] += 1
    return drops / n_squares


def _inputs(lmm: LMM, explained: Explanation, pictures: list[Image.Image], ids: list[int]) -> BatchFeature:
    """The model's inputs for pictures with the beginning of the caption."""
    return lmm.inputs(pictures, explained.bank.prompt, continuations=[ids] * len(pictures))


@torch.inference_mode()
def _log_probability(lmm: LMM, batch: BatchFeature, token: int) -> list[float]:
    """Of a token as the next one, for each picture."""
    return last_logits(lmm, batch, 1)[:, -1].float().log_softmax(-1)[:, token].tolist()


def _hidden(
    picture: Image.Image, cells: tuple[np.ndarray, np.ndarray], corner: tuple[int, int] | None, span: int
) -> Image.Image:
    """The picture with a grey square of cells, or as it is."""
    if corner is None:
        return picture
    rows, columns = ((first <= index) & (index < first + span) for first, index in zip(corner, cells))
    pixels = np.array(picture)  # (height, width, 3)
    pixels[rows[:, None] & columns[None, :]] = GREY
    return Image.fromarray(pixels)


def _seen_cells(grid: tuple[int, int], size: tuple[int, int], box: Box) -> tuple[np.ndarray, np.ndarray]:
    """In which row, and in which column, of a grid over a box each pixel's centre is: (height,) and (width,).

    What is beyond the box goes with the nearest cell, since resizing mixes pixels at the edge.
    """
    (left, top, right, bottom), (width, height) = box, size
    rows = np.floor((np.arange(height) + 0.5 - top) * grid[0] / (bottom - top))
    columns = np.floor((np.arange(width) + 0.5 - left) * grid[1] / (right - left))
    return rows.clip(0, grid[0] - 1), columns.clip(0, grid[1] - 1)


def _on_grid(values: Tensor, image: Tensor, grid: tuple[int, int]) -> np.ndarray:
    """The values of the image tokens, out of those of all positions: (positions,) to (rows, columns)."""
    return values[image[0].to(values.device)].reshape(grid).double().cpu().numpy()
