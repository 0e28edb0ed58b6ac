"""The tables of what was measured on a GPU, on the page of results."""

from __future__ import annotations

from collections.abc import Iterator

from tables import LABELS, number, table

NAMES = LABELS["gpu"]["models"]


def _rows(measured: dict) -> Iterator[tuple[str, dict, dict]]:
    """What is written before a row, its model and the row, for each model and size of batch."""
    for name, model in measured["models"].items():
        for row in model.get("rows", []):
            yield f"{NAMES[name]}, batch {row['batch']}", model, row


def speeds(measured: dict) -> str:
    """Pictures per second of each way, and the peak memory of two; in words what is missing, and why."""
    columns, rows = LABELS["gpu"]["speeds"], []
    for text, model, row in _rows(measured):
        cells = row["per_second"] | row["missing"]
        loop = model["released_loop"]
        cells["released_loop"] = next((loop["pictures"] / seconds for seconds in loop["seconds"].values()), None)
        memory = [number(row["memory_gb"].get(name), 1) for name in ("generate", "ours")]
        rows.append([text, *(number(cells.get(name)) for name in columns), *memory])
    return table(["", *columns.values(), "memory of `generate`, GB", "of ours"], rows)


def shares(measured: dict) -> str:
    """Where the time of `generate` and of its prefill goes, and how fast prefill is."""
    groups, rows = LABELS["gpu"]["shares"], []
    for text, _, row in _rows(measured):
        rates = [number(row.get("prefill_tflops"), 0), number(row.get("of_peak"))]
        cells = [number(row.get(group, {}).get(name)) for group, names in groups.items() for name in names]
        rows.append([text, *cells[:3], number(row.get("hooks_of_ours")), *rates, *cells[3:]])
    first, second = (list(names.values()) for names in groups.values())
    return table(["", *first, "added by ours", "prefill, TFLOP/s", "of the card's peak", *second], rows)


def dictionaries(measured: dict) -> str:
    """Semi-NMF on the card beside scikit-learn's."""
    rows = []
    for case, fits in measured["dictionary"].items():
        ours, theirs = fits["ours"], fits.get("sklearn", {"missing": None})
        known = "objective" in theirs
        row = [case, f"{number(ours['seconds'])} ({ours['iterations']})"]
        row.append(f"{number(theirs['seconds'])} ({theirs['iterations']})" if known else number(theirs["missing"]))
        rows.append([*row, f"{ours['objective'] / theirs['objective'] - 1:+z.4%}" if known else "–"])
    return table(LABELS["gpu"]["dictionaries"], rows)


def targets(measured: dict) -> str:
    """What was aimed at beside what was measured; and why not, where that is known."""
    rows = []
    for row in measured["targets"]:
        name, colon, text = row["target"].partition(": ")
        reached = "–" if row["measured"] is None else "yes" if row["reached"] else row.get("because", "no")
        what = f"{NAMES[name]}: {text}" if colon else name
        rows.append([what, f"{row['wanted']:g}", number(row["measured"]), reached])
    return table(["", "wanted", "measured", "reached, or why not"], rows)


def unmeasured(measured: dict) -> str:
    """A sentence on each model that was not measured to its end."""
    return " ".join(
        f"{NAMES[name]}: {model['missing']}." for name, model in measured["models"].items() if "missing" in model
    )
