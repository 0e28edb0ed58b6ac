"""The tables of concept shift on the page of results."""

from __future__ import annotations

from tables import LABELS, number, table

SETS = ("colour", "place", "time", "null")


def _sets(scores: dict) -> list[tuple[str, dict]]:
    """The sets by what they are called, the DePALM's last, if it was measured."""
    sets = [(kind, scores[kind]) for kind in SETS]
    return sets + ([("place, DePALM", scores["depalm"])] if "depalm" in scores else [])


def recovered(scores: dict) -> str:
    """Concepts before, shifted, and controls beside the concepts after, for each set."""
    rows = [[text, *(number(part.get(name)) for name in LABELS["shift_sets"])] for text, part in _sets(scores)]
    return table(["captions about", *LABELS["shift_sets"].values()], rows)


def about(scores: dict) -> str:
    """How many concepts are about one value of a factor, before and after."""
    factors = list(scores["null"]["about"])
    rows = [
        [text, *(" → ".join(f"{n:.1f}" for n in part["about"][factor]) for factor in factors)]
        for text, part in _sets(scores)
    ]
    return table(["captions about", *factors], rows)


def with_gain(scores: dict) -> str:
    """Pearson's r of what is known of shift vectors with what they gain."""
    rows = [
        [text, *(number(part["with_gain"][name]) for name in ("consistency", "magnitude"))]
        for text, part in _sets(scores)
    ]
    return table(["captions about", "consistency", "magnitude"], rows)


def forgotten(scores: dict) -> str:
    """The share of questions answered right, before and after."""
    topics = list(scores["null"]["forgotten"])
    rows = [["before", *(number(scores["null"]["forgotten"][topic][0], 3) for topic in topics)]]
    rows += [[f"after {kind}", *(number(scores[kind]["forgotten"][topic][1], 3) for topic in topics)] for kind in SETS]
    return table(["", *topics], rows)


def steering(scores: dict) -> str:
    """The mean shift as a direction, added to the model before and taken from the one after."""
    rows = [
        [
            kind,
            text,
            *(number(scores[kind]["steering"][way][name]) for name in LABELS["shift_steering"]),
            "–" if (alpha := scores[kind]["steering"][way]["alpha"]) is None else f"{alpha:g}",
        ]
        for kind in SETS
        if "steering" in scores[kind]
        for way, text in LABELS["shift_ways"].items()
    ]
    return table(["captions about", "", *LABELS["shift_steering"].values(), "alpha"], rows)


def sign(scores: dict) -> str:
    """How well a concept tells the planted sign, and what the models say, before and after."""
    rows = [
        [
            name,
            number(row["auc"]),
            number(row["colour_auc"]),
            number(row["said"]["with"]),
            number(row["said"]["without"]),
        ]
        for name, row in (("before", scores["sign"]["before"]), ("after", scores["sign"]))
    ]
    return table(["", *LABELS["shift_sign"]], rows)
