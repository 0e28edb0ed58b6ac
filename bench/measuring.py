"""What the benchmarks share: peak memory, and the file that they all write to."""

from __future__ import annotations

import json
import re
from pathlib import Path

from coxlmm_utils.files import atomic_write

RESULTS = Path("build/bench.json")


def peak_mb(reset: bool = False) -> float:
    """The most memory in use so far, or since it was reset; NaN where the system (not Linux) does not tell."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def keep(name: str, results: dict, path: Path = RESULTS) -> None:
    """Put one benchmark's results into the file; cases that were not measured now stay."""
    known = json.loads(path.read_text()) if path.exists() else {}
    known[name] = known.get(name, {}) | results
    atomic_write(path, lambda scratch: scratch.write_text(json.dumps(known, indent=1)))
