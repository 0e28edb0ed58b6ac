"""What a GPU is called and could do at most, and how time and memory are measured on it, or on a CPU in tests."""

from __future__ import annotations

import gc
import os
import re
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from measuring import peak_mb
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

# Dense bf16 products by the data sheets, TFLOP/s; a card is the first whose words are all in its name.
PEAKS = {
    "H200": 989,
    "H100 PCIe": 756,
    "H100 HBM3": 989,  # the SXM one, "NVIDIA H100 80GB HBM3"
    "A100": 312,
    "RTX 4090": 165,
    "A10": 125,
    "L4": 121,
}
SIDE, TINY_SIDE, REPEATS = 8_192, 256, 10  # of the product by which an unknown card's peak is measured


def data_sheet_peak(name: str) -> int | None:
    """TFLOP/s of a card by its name, None for one that is not in the table."""
    words = set(re.split(r"[^A-Za-z0-9]+", name))
    return next((peak for card, peak in PEAKS.items() if words >= set(card.split())), None)


def product_rate(device: torch.device, side: int) -> float:
    """TFLOP/s of a large bf16 product of random matrices, the median of ten."""
    A, B = torch.randn(2, side, side, device=device, dtype=torch.bfloat16)  # zeros would run faster than data do
    seconds = sorted(seconds_of(lambda: A @ B, device) for _ in range(REPEATS + 3))  # the slowest three warmed up
    return 2 * side**3 / seconds[REPEATS // 2] / 1e12


def card(device: torch.device, tiny: bool = False) -> dict:
    """The card, its machine and versions, the day, and the bf16 peak that prefill is compared with."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    rate, peak = product_rate(device, TINY_SIDE if tiny else SIDE), data_sheet_peak(name)
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return {
        "card": name,
        "memory_gb": torch.cuda.get_device_properties(device).total_memory / 2**30 if device.type == "cuda" else None,
        "machine": f"{model[1] if model else 'CPU unknown'}, {os.cpu_count()} cores",
        "versions": ", ".join(f"{package} {version(package)}" for package in ("torch", "transformers", "scikit-learn")),
        "day": date.today().isoformat(),
        "product_tflops": rate,
        "peak_tflops": peak or rate,
        "peak_by": "data sheet" if peak else "measured product",
    }


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of some work, until the device has done it."""
    synchronize(device)
    begin = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - begin


def kernel_seconds(work: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Seconds that the device computes during some work: products of matrices, attention, all else.

    What is lacking of the work's own time, the device waited. Nothing where the profiler does not see the device.
    """
    on_gpu = device.type == "cuda"
    seconds = dict.fromkeys(("products", "attention", "other"), 0.0)
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]) as profiled:
        seconds_of(work, device)
    for event in profiled.key_averages():
        if event.device_type == DeviceType.CPU:  # operators, with their kernels' time; kernels are listed once more
            taken = event.self_device_time_total if on_gpu else event.self_cpu_time_total  # microseconds
            seconds[_kind(event.key)] += taken / 1e6
    return seconds if any(seconds.values()) else {}


def _kind(operator: str) -> str:
    """What an operator of torch computes, by its name: "aten::addmm", "aten::_flash_attention_forward"."""
    if "attention" in operator:
        return "attention"
    return "products" if operator.endswith("mm") or "conv" in operator or "linear" in operator else "other"


def synchronize(device: torch.device) -> None:
    """Wait for the device; a CPU is never ahead."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free(device: torch.device) -> None:
    """Let go of what is not used any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def reset_peak(device: torch.device) -> None:
    """Count the peak anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        peak_mb(reset=True)


def peak_gb(device: torch.device) -> float:
    """Gigabytes at most in use since the reset: of the card, or of this process."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else peak_mb() / 2**10
