"""States that are read a few rows at a time: out of the file that they lie in, or for another device to work on.

Rows are copied out of a mapped file, and then the mapping lets go of them. The system could take such pages back at any
time, but until it does they count as this process's memory, up to all of the file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .base import as_matrix, check_kind, check_shape
from .blocks import Scratch

MIN_NUMBERS = 2**22  # in states on disk, up to which they are simply loaded: 16 MB in float32
AROUND = 2**21  # bytes, a huge page: the most that Linux maps around a byte that is asked for
SHARED = ("r", "r+", "w+")  # modes of np.memmap whose pages are the file's own


class StreamedStates:
    """States, (samples, width), in float32 or float64 as `as_matrix` makes them, but only when they are read.

    It takes a tensor's place in what reads states chunk by chunk: `split` yields views, as a tensor's does, and an index
    gives rows as a tensor. Rows are checked whenever they are read (ValueError, with the sample's number).
    """

    def __init__(
        self,
        rows: np.ndarray | Tensor,
        device: torch.device,
        samples: range | None = None,
        mean: Tensor | None = None,
    ) -> None:
        self._rows, self._mean, self.device = rows, mean, device
        self._samples = range(len(rows)) if samples is None else samples
        self.shape = torch.Size([len(self._samples), rows.shape[1]])
        # Another device than the CPU has room for coordinates and activations in its own memory.
        self.kind = Scratch if device.type == "cpu" else list

    def __len__(self) -> int:
        return self.shape[0]

    def numel(self) -> int:
        """How many numbers these are."""
        return self.shape.numel()

    def __sub__(self, mean: Tensor) -> StreamedStates:
        return StreamedStates(self._rows, self.device, self._samples, mean)

    def split(self, n: int) -> Iterator[StreamedStates]:
        """Views of n rows at a time."""
        for first in range(0, max(1, len(self)), n):
            yield self._view(first, first + n)

    def __getitem__(self, index: Tensor) -> Tensor:
        return torch.cat([self._view(i, i + 1).read() for i in index.tolist()])  # at once, they would map all the file

    def read(self) -> Tensor:
        """All its rows, on its device."""
        first, last = self._samples.start, self._samples.stop
        rows = as_matrix(self._rows[first:last], "sample", first).to(self.device, copy=True)
        let_go(self._rows, first, last)
        return rows if self._mean is None else rows - self._mean

    def _view(self, first: int, last: int) -> StreamedStates:
        return StreamedStates(self._rows, self.device, self._samples[first:last], self._mean)


def as_states(rows: np.ndarray | Tensor, device: str | torch.device | None = None) -> Tensor | StreamedStates:
    """`as_matrix`; but streamed where they are many and lie on disk, or not on the device that is given."""
    check_kind(rows, "sample")
    here = rows.device if isinstance(rows, Tensor) else torch.device("cpu")
    there = here if device is None else _usable(device)
    rows = rows.detach() if isinstance(rows, Tensor) else np.asarray(rows)
    if there == here and not (np.prod(rows.shape) > MIN_NUMBERS and lies_on_disk(rows)):
        return as_matrix(rows, "sample")
    check_shape(rows, "sample")
    return StreamedStates(rows, there)


def _usable(device: str | torch.device) -> torch.device:
    """A device by its full name, "cuda:0" for "cuda"; ValueError if nothing can be computed on it in float64."""
    try:
        return torch.empty(0, device=device, dtype=torch.float64).device
    except (RuntimeError, AssertionError, TypeError) as error:  # as torch tells that it is none, is absent, is MPS
        reason = str(error).splitlines()[0]
        raise ValueError(f"device={device!r} cannot be used ({reason}): leave it out, or name another.") from error


def lies_on_disk(rows: np.ndarray | Tensor) -> bool:
    """Whether its numbers are those of a mapped file, as numpy or `torch.from_file` (shared) map one."""
    if isinstance(rows, Tensor):
        return rows.device.type == "cpu" and rows.untyped_storage().filename is not None
    return any(isinstance(base, mmap.mmap) for base in _bases(rows))


def let_go(rows: np.ndarray | Tensor, first: int, last: int) -> None:
    """Unmap the pages of some rows of a file that numpy maps; the next access maps them again, also if written to.

    Not those of a private mapping ("c"): what was written to them is nowhere else. Nor of rows that are not contiguous.
    """
    bases = list(_bases(rows))
    file = next((base for base in bases if isinstance(base, mmap.mmap)), None)
    shared = any(isinstance(base, np.memmap) and base.mode in SHARED for base in bases)
    if file is None or not (shared and rows.flags.c_contiguous and hasattr(mmap, "MADV_DONTNEED")):
        return
    row = rows.nbytes // max(1, len(rows))
    start = rows.ctypes.data - np.frombuffer(file, dtype=np.uint8).ctypes.data  # in the file, after its header
    begin = (start + first * row) // AROUND * AROUND
    end = -(-(start + last * row) // AROUND) * AROUND
    file.madvise(mmap.MADV_DONTNEED, begin, min(end, len(file)) - begin)


def _bases(rows: np.ndarray | Tensor) -> Iterator:
    """An array, the arrays that it is a view of, and what holds their numbers."""
    while isinstance(rows, np.ndarray):
        yield rows
        rows = rows.base
    yield rows
