"""Batches that fit the memory: one that does not is halved and tried again, so that nothing of a block is lost (ours)."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..text import check_counts

AUTO, FIRST_SIZE, MAX_SIZE = "auto", 8, 128  # "auto" begins small, and doubles up to the pictures of a block
FULL = ("out of memory", "can't allocate memory", "not enough memory")  # what RuntimeErrors of some devices say


@dataclass
class BatchSize:
    """How many pictures are run at once; fewer after a batch that did not fit; of "auto", more after one that did."""

    now: int
    grows: bool = False

    @classmethod
    def of(cls, batch_size: int | str, at_most: int | None = None) -> BatchSize:
        """Of a number, which is never exceeded, or "auto"; ValueError for what is neither."""
        if batch_size == AUTO:
            return cls(min(FIRST_SIZE, at_most or FIRST_SIZE), grows=at_most is None)
        check_counts(batch_size="None" if batch_size is None else batch_size)  # for which None is a default
        return cls(min(batch_size, at_most or batch_size))

    def run(self, rows: Sequence[int], work: Callable[[Sequence[int]], None]) -> None:
        """Do some work on all rows, as many at once as fit.

        Parameters
        ----------
        rows : sequence of int
        work : callable
            Gets some of the rows. If memory runs out in it, it is called again with half of them: what it keeps, it keeps
            at its end.

        Raises
        ------
        MemoryError, RuntimeError
            If a single row does not fit; and whatever else `work` raises.
        """
        done = 0
        while done < len(rows):
            batch = rows[done : done + self.now]
            if _fits(work, batch):
                done += len(batch)
                if self.grows and len(batch) == self.now:
                    self.now = min(2 * self.now, MAX_SIZE)
                continue
            self.now, self.grows = len(batch) // 2, False
            warnings.warn(f"a batch of {len(batch)} pictures did not fit the memory: going on with {self.now} at once")
            _free()


def _fits(work: Callable[[Sequence[int]], None], batch: Sequence[int]) -> bool:
    """Do the work; False if memory ran out, on a single row the error itself."""
    try:
        work(batch)
    except (MemoryError, RuntimeError) as error:
        if len(batch) == 1 or not is_out_of_memory(error):
            raise
        return False
    return True


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, a GPU's or the machine's."""
    known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return known or (isinstance(error, RuntimeError) and any(text in str(error).lower() for text in FULL))


def _free() -> None:
    """Give back what the batch that failed still held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
