"""What the times of bench/gpu.py come to: rates, shares, and each target beside what was reached."""

from __future__ import annotations

import pandas as pd

EXTRACTIONS = ("generate", "ours", "early_stop", "given_captions")
MAIN_BATCH = 32  # of the target against the released loop
OF_GENERATE, OVER_RELEASED, OF_PEAK, DICTIONARY_S = 0.95, 20, 0.5, 1.0  # the targets


def derived(row: dict, flop: int, peak_tflops: float) -> dict:
    """Rates and shares that a row of measured seconds comes to; none of what is missing.

    Parameters
    ----------
    row : dict
        Of one size of batch: "batch", "pictures", "seconds" over all pictures, and "kernels", seconds of one prefill.
    flop : int
        Floating-point operations of one picture's prefill.
    peak_tflops : float
        The card's.
    """
    n, seconds = row["pictures"], row["seconds"]
    result = {"per_second": {name: n / seconds[name] for name in EXTRACTIONS if name in seconds}}
    if {"generate", "inputs", "prefill"} <= set(seconds):
        shares = {name: seconds[name] / seconds["generate"] for name in ("inputs", "prefill")}
        result["of_generate"] = shares | {"decode": 1 - sum(shares.values())}
    if {"generate", "ours"} <= set(seconds):
        result["hooks_of_ours"] = 1 - seconds["generate"] / seconds["ours"]
    if "prefill" in seconds:
        result["prefill_tflops"] = flop * n / seconds["prefill"] / 1e12
        result["of_peak"] = result["prefill_tflops"] / peak_tflops
    if "prefill" in seconds and row.get("kernels"):
        of_batch = seconds["prefill"] * row["batch"] / n
        shares = {kind: value / of_batch for kind, value in row["kernels"].items()}
        result["of_prefill"] = shares | {"waiting": max(0.0, 1 - sum(shares.values()))}
    return result


def targets(results: dict) -> list[dict]:
    """Each target with what was measured of it, None where nothing was, and whether it is reached."""
    rows = [row for name, model in results["models"].items() for row in _targets_of(name, model)]
    for case, fits in results["dictionary"].items():
        seconds = fits["ours"]["seconds"]
        target = {"target": f"dictionary of {case} states, seconds at most", "wanted": DICTIONARY_S}
        rows.append(target | {"measured": seconds, "reached": seconds <= DICTIONARY_S})
    return rows


def _targets_of(name: str, model: dict) -> list[dict]:
    """Those of one model."""
    rows = model.get("rows", [])
    near = min((1 - row["hooks_of_ours"] for row in rows if "hooks_of_ours" in row), default=None)
    best = max((row for row in rows if "of_peak" in row), key=lambda row: row["of_peak"], default={})
    targets = [
        _at_least(f"{name}: speed of ours, over that of generate, slowest batch", OF_GENERATE, near),
        _at_least(
            f"{name}: at batch {MAIN_BATCH}, over that of the released loop", OVER_RELEASED, over_released(model)
        ),
        _at_least(f"{name}: prefill, share of the card's bf16 peak, best batch", OF_PEAK, best.get("of_peak")),
    ]
    if best and not targets[-1]["reached"]:
        targets[-1]["because"] = _because(best)
    return targets


def _at_least(target: str, wanted: float, measured: float | None) -> dict:
    reached = measured is not None and measured >= wanted
    return {"target": target, "wanted": wanted, "measured": measured, "reached": reached}


def over_released(model: dict) -> float | None:
    """How many times as fast as the released loop ours is at the main batch."""
    loop = model.get("released_loop", {"seconds": {}})
    speeds = [row["per_second"].get("ours") for row in model.get("rows", []) if row["batch"] == MAIN_BATCH]
    if not (loop["seconds"] and any(speeds)):
        return None
    return speeds[0] * loop["seconds"]["released_loop"] / loop["pictures"]


def _because(row: dict) -> str:
    """Where the time of a prefill goes, and how fast its products alone are."""
    shares = row.get("of_prefill", {})
    if not shares.get("products"):
        return "the profiler saw no products"
    parts = ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items())
    rate = row["prefill_tflops"] / shares["products"]
    return f"time of a pass at batch {row['batch']}: {parts}; the products alone run at {rate:.0f} TFLOP/s at most"


def print_tables(results: dict) -> None:
    """One table for each model, then the dictionaries and the targets."""
    rate, product = results["peak_tflops"], results["product_tflops"]
    print(f"\n{results['card']}: bf16 peak {rate:.4g} TFLOP/s by {results['peak_by']}, a large product {product:.4g}")
    for name, model in results["models"].items():
        print(f"\n{name}: pictures per second, gigabytes at most, shares of time", model.get("missing", ""))
        if model.get("rows"):
            print(_frame(model["rows"]).to_string(float_format="{:.3g}".format, na_rep="-"))
    for case, fits in results["dictionary"].items():
        print(f"\nSemi-NMF, {case}: " + "; ".join(f"{system} {_fit(fit)}" for system, fit in fits.items()), end="")
    print("\n")
    for row in results["targets"]:
        measured = "not measured" if row["measured"] is None else f"{row['measured']:.3g}"
        print(
            f"{row['target']}: {row['wanted']:g} wanted, {measured}", f"({row['because']})" if "because" in row else ""
        )


def _frame(rows: list[dict]) -> pd.DataFrame:
    """One row for each size of batch."""
    lines = []
    for row in rows:
        speeds = row["per_second"] | row["missing"]
        line = {"batch": row["batch"]} | {name: speeds.get(name) for name in EXTRACTIONS}
        line |= {"GB": row["memory_gb"].get("ours")} | row.get("of_generate", {})
        lines.append(line | {"hooks": row.get("hooks_of_ours"), "of peak": row.get("of_peak")})
    return pd.DataFrame(lines).set_index("batch")


def _fit(fit: dict) -> str:
    return fit["missing"] if "missing" in fit else f"{fit['seconds']:.3g} s, objective {fit['objective']:.6g}"
