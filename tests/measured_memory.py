"""What a run takes in memory, measured by torch's profiler, which hears of every allocation on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from PIL import Image
from torch.profiler import ProfilerActivity, profile

from coxlmm_utils.models import LMM, Layer, generate_batch


def memory_of_generating(
    lmm: LMM, pictures: Sequence[Image.Image], layers: Sequence[Layer], max_new_tokens: int, monkeypatch
) -> int:
    """Bytes beside the weights, at most at one time, while a loaded model captions pictures; its inputs included."""
    batch = lmm.inputs(pictures)  # made beforehand: what the processor takes is not on the device
    monkeypatch.setattr(lmm, "inputs", lambda *args, **kwargs: batch)
    peak, generated = _peak(lambda: generate_batch(lmm, pictures, layers, max_new_tokens=max_new_tokens))
    assert all(len(stream) == max_new_tokens + 1 for stream in generated.streams.values())  # none ended early
    return peak + sum(value.nbytes for value in batch.values() if torch.is_tensor(value))


def _peak(run: Callable) -> tuple[int, object]:
    """Bytes that were allocated and not yet freed, at most at one time, and what the run gave."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = run()
    held = peak = 0
    for _, size in sorted(_allocations(profiler.profiler.kineto_results.experimental_event_tree())):
        held += size
        peak = max(peak, held)
    return peak, result


def _allocations(events: Sequence) -> Iterator[tuple[int, int]]:
    """When memory was taken, or given back, and how many bytes."""
    for event in events:
        if event.tag.name == "Allocation":
            yield event.start_time_ns, event.extra_fields.alloc_size
        yield from _allocations(event.children)
