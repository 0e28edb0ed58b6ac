"""What an extraction will take: time, memory and disk, from its first batch."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import torch

from ..models import LMM, generate_batch, without_refused
from ..text import in_bytes
from .batches import BatchSize
from .blocks import BlockFolder
from .extraction_plan import ExtractionPlan


@dataclass(frozen=True)
class Estimate:
    """What is still to be done, and what it takes (ours).

    Attributes
    ----------
    n_pictures : int
        To be captioned.
    seconds : float
        For all of them, at the speed of the first batch.
    memory : int
        Bytes at most in use so far: on the GPU if the model is on one, else of this process.
    disk : int
        Bytes of the states, if every picture has every token that it may have.
    """

    n_pictures: int
    seconds: float
    memory: int
    disk: int

    def __str__(self) -> str:
        hours, minutes = int(self.seconds // 3600), self.seconds / 60 % 60
        time_needed = f"{hours} h {minutes:.0f} min" if hours else f"{max(minutes, 0.1):.1f} min"
        speed = self.n_pictures / self.seconds
        return (
            f"{self.n_pictures:,} pictures to read at {speed:.1f} a second: about {time_needed}; memory "
            f"{in_bytes(self.memory)}; at most {in_bytes(self.disk)} of states on disk"
        )


def estimate(
    lmm: LMM, plan: ExtractionPlan, folder: BlockFolder, batch_size: int | str, n_shards: int = 1
) -> Estimate | None:
    """Time one batch of captions, for `n_shards` processes that share the work; None if nothing is missing."""
    missing = folder.missing()
    if not missing:
        return None
    rows = plan.blocks()
    _, pictures, _ = plan.images.opened(rows[missing[0]][: BatchSize.of(batch_size, 1 if lmm.one_by_one else None).now])
    seconds = _seconds_of(lmm, plan, pictures) if pictures else 0.0
    n_pictures = sum(len(rows[number]) for number in missing)
    samples = sum(map(len, plan.targets.eligible.values()))
    share = n_pictures / max(1, len(plan.images))
    per_sample = len(plan.settings.layers) * len(plan.settings.positions) * lmm.width * lmm.model.dtype.itemsize
    needed = seconds / max(1, len(pictures)) * n_pictures / n_shards
    return Estimate(n_pictures, max(needed, 1e-9), _memory_in_use(lmm), int(samples * share) * per_sample)


def _seconds_of(lmm: LMM, plan: ExtractionPlan, pictures: list) -> float:
    """The time of one batch; of the second run, since a first one also warms up."""
    settings = plan.caption_settings["prompt"], plan.caption_settings["max_new_tokens"]

    def run(rows: list[int]) -> float:
        begin = time.perf_counter()
        if rows:
            chosen = [pictures[row] for row in rows]
            generate_batch(lmm, chosen, plan.settings.layers, *settings).states([0], [0])  # which waits for the GPU
        return time.perf_counter() - begin

    without_refused(lmm, pictures[:1], settings[0], run)
    return without_refused(lmm, pictures, settings[0], run)[0]


def _memory_in_use(lmm: LMM) -> int:
    """Bytes at most in use so far; 0 where the system (Windows) does not tell."""
    if lmm.device.type == "cuda":
        return torch.cuda.max_memory_allocated(lmm.device)
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
