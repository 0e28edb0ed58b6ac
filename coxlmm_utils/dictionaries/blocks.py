"""Matrices with a column or a row for each sample, as blocks of samples: what is summed over samples is summed over blocks.

In memory such a matrix is a list of one block, which is all of it. Out of core it is a `Scratch`: of its blocks only
those are in memory that are being worked on. Both are filled by `append` and read by iteration, so that the solvers are
written once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

ROWS = 2048  # samples of a block out of core: few enough for little memory, enough to keep the processor busy


class Scratch:
    """Blocks in float64 in a temporary file without a name, which is gone once nothing refers to it.

    A block that was read may be changed, and is overwritten by the next of the same iteration.

    Raises
    ------
    OSError
        On appending, if the disk is full.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()
        self._shapes: list[torch.Size] = []

    def append(self, block: Tensor) -> None:
        """Write one more block."""
        try:
            self._file.seek(sum(shape.numel() for shape in self._shapes) * 8)
            self._file.write(block.contiguous().numpy())
            self._file.flush()
        except OSError as error:
            text = (
                f"a scratch file of out-of-core Semi-NMF does not fit in {tempfile.gettempdir()} ({error.strerror}): "
            )
            raise OSError(error.errno, text + "free its disk, or set TMPDIR to a folder on another") from error
        self._shapes.append(block.shape)

    def __iter__(self) -> Iterator[Tensor]:
        position = 0  # of this iteration alone: several may run in turn
        buffer = torch.empty(max((shape.numel() for shape in self._shapes), default=0), dtype=torch.float64)
        for shape in self._shapes:
            block = buffer[: shape.numel()].view(shape)
            self._file.seek(position)
            self._file.readinto(block.numpy())
            position += block.nbytes
            yield block


Blocks = list[Tensor] | Scratch


def as_blocks(matrix: Tensor | Blocks) -> Blocks:
    """A tensor as the one block that it is."""
    return [matrix] if isinstance(matrix, Tensor) else matrix


def in_blocks(rows, kind: type) -> Iterable:
    """Rows, one for each sample, as the blocks of a list or of a `Scratch` are: views."""
    return rows.split(ROWS) if kind is Scratch else [rows]


def mapped(function: Callable[..., Tensor], blocks: Blocks, *others: Iterable) -> Blocks:
    """What a function makes of each block, and of those of other matrices beside it."""
    results = type(blocks)()
    for arguments in zip(blocks, *others, strict=True):
        results.append(function(*arguments))
    return results


def summed(function: Callable[..., Tensor], *matrices: Iterable) -> Tensor:
    """The same, summed over the blocks."""
    return sum(function(*arguments) for arguments in zip(*matrices, strict=True))


def rows_at(blocks: Blocks, index: Tensor) -> Tensor:
    """Some rows of a matrix that has a row for each sample; `index` rises."""
    rows, first, n_read = None, 0, 0
    for block in blocks:
        inside = index[(index >= first) & (index < first + len(block))] - first
        rows = block.new_empty(len(index), block.shape[1]) if rows is None else rows
        rows[n_read : n_read + len(inside)] = block[inside]
        first, n_read = first + len(block), n_read + len(inside)
    return rows
