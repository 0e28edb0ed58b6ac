"""Where a model is put, how much is free there, and in which precision: what is refused, and what is taken by default."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers.utils import is_accelerate_available


def chosen_device(device: str | torch.device | None) -> torch.device:
    """The device of that name, or the best there is; ValueError for one that torch does not know."""
    try:
        return torch.device(device or best_device())
    except RuntimeError as error:
        raise ValueError(f'there is no device {device!r}: give "cpu", "cuda", "cuda:1" or "mps".') from error


def chosen_dtype(
    dtype: str | torch.dtype | None, older: str | torch.dtype | None, device: torch.device
) -> str | torch.dtype:
    """The precision given as `dtype` or `torch_dtype`, else float32 on the CPU and elsewhere as stored; or ValueError."""
    if dtype and older and str(dtype).split(".")[-1] != str(older).split(".")[-1]:
        raise ValueError(f"dtype={dtype!r} and torch_dtype={older!r} are two answers: give dtype alone.")
    chosen = dtype or older or (torch.float32 if device.type == "cpu" else "auto")
    known = chosen == "auto" or isinstance(getattr(torch, str(chosen).removeprefix("torch."), None), torch.dtype)
    if isinstance(chosen, str) and not known:
        raise ValueError(f'there is no dtype {chosen!r}: give "float32", "float16", "bfloat16" or "auto".')
    return chosen


def computing_dtype(chosen: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The precision to compute in with packed weights: the chosen one, or for "auto" what the device is made for."""
    if chosen == "auto":
        if device.type == "cpu":
            return torch.float32
        bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if bfloat16 else torch.float16
    dtype = chosen if isinstance(chosen, torch.dtype) else getattr(torch, chosen.removeprefix("torch."))
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"a quantised model computes in float32, float16 or bfloat16, not {chosen}: give one of them.")
    return dtype


def check_device_map(device: str | torch.device | None, device_map: object) -> None:
    """Refuse a device map together with a device, or without the package that it needs."""
    if device_map is None:
        return
    if device is not None:
        raise ValueError(f"device={device!r} and device_map={device_map!r} are two answers: give one of them.")
    if not is_accelerate_available():
        raise ImportError("device_map needs accelerate: install it (pip install accelerate), or give device instead.")


def best_device() -> str:
    """The first available of cuda, mps and cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device, of a CPU those of the machine; None where the system (macOS, Windows) does not tell."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, to be used again
        return torch.cuda.mem_get_info(device)[0] + kept
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    if not (table := Path("/proc/meminfo")).is_file():
        return None
    lines = dict(line.split(":") for line in table.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024
