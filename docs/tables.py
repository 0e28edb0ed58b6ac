"""The tables of the page of results, in Markdown; `results.py` puts them in their places."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from coxlmm_utils.picturebook import SUBJECTS, page_numbers
from coxlmm_utils.statistics import share_of

LABELS = json.loads((Path(__file__).parent / "templates" / "labels.json").read_text())  # of rows and columns
STEERED = ("colour", "place", "action")


def number(value, digits: int = 2) -> str:
    """A number, or a mean with its interval; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, list):
        mean, low, high = (f"{end:z.{digits}f}" for end in value)
        return f"{mean} [{low}, {high}]"
    return str(value) if isinstance(value, (int, str)) else f"{value:z.{digits}f}"  # z: no negative zero


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def captions(scores: dict) -> str:
    """How true the model's captions and answers are; intervals where a page is one case."""
    n_pages = len(page_numbers("test"))
    named = {name: round(n_pages * scores[f"names_{name}"]) for name in ("colour", "place", "action")}
    cases = {"noun": n_pages, "caption_true": n_pages, "questions": n_pages} | named
    texts = {name: text for name, text in LABELS["captions"].items() if name in scores}  # not every model answers
    rows = [[text, *_share(scores[name], cases.get(name))] for name, text in texts.items()]
    noun, share = min(scores["noun_by_subject"].items(), key=lambda item: item[1])
    rows.insert(1, [f"lowest noun of the subjects ({noun})", *_share(share, n_pages // len(SUBJECTS))])
    return table(["right", "share", "cases"], rows)


def _share(share: float, n: int | None) -> tuple[str, str]:
    """A share of n cases with its exact interval, and n; without the interval where n is not known."""
    if n is None:
        return number(share, 3), number(n)
    right = round(n * share)
    exact = share_of([1] * right + [0] * (n - right))
    return number([exact.value, exact.low, exact.high], 3), f"{n:,}"


def recovered(scores: dict) -> str:
    """Recovered values by word and system."""
    texts = {name: text for name, text in LABELS["recovered"].items() if any(name in row for row in scores.values())}
    rows = [
        [f"{word}, of {row['n_values']}", *(number(row.get(name), 1) for name in texts)] for word, row in scores.items()
    ]
    return table(["", *texts.values()], rows)


def layers(scores: list[dict]) -> str:
    """What was measured at each layer."""
    rows = [[str(row["layer"]), *(number(_of(row, name), 3) for name in LABELS["layers"])] for row in scores]
    return table(["layer", *LABELS["layers"].values()], rows)


def _of(row: dict, name: str):
    """A number of a row, with its interval if that stands beside it."""
    ends = [row.get(f"{name}_{end}") for end in ("low", "high")]
    return row[name] if None in ends else [row[name], *ends]


def steering(scores: dict) -> str:
    """What steering does, by factor and method."""
    rows = [
        [f"{factor}: {LABELS['steering_methods'][method]}", *(number(row.get(name)) for name in LABELS["steering"])]
        for factor, methods in scores.items()
        if factor in STEERED
        for method, row in methods.items()
    ]
    return table(["", *LABELS["steering"].values()], rows)


def l2s_methods(scores: dict) -> str:
    """Shares by method of learned steering."""
    pope = scores["pope"]
    columns = [pope[name] for name in ("absent", "present", "other_absent", "untouched")]
    columns += [scores[name] for name in ("deferral", "refusal", "refusal_elsewhere")]
    columns += [{method: part[name] for method, part in scores["chair"].items()} for name in ("chair_i", "kept")]
    rows = [
        [text, number(scores["alpha"].get(method), 0), *(number(column.get(method), 3) for column in columns)]
        for method, text in LABELS["l2s_methods"].items()
    ]
    return table(["", *LABELS["l2s"]], rows)


def l2s_sources(scores: dict) -> str:
    """What P2S and L2S mend by the source of their vectors, and where these are added."""
    columns = LABELS["l2s_sources"]
    rows = [[name, *(number(row.get(key)) for key in columns)] for name, row in scores["sources"].items()]
    return table(["source, method, positions", *columns.values()], rows)


def depalm_p2s(scores: dict) -> str:
    """What P2S mends of the DePALM's wrong nouns."""
    rows = [
        [source, str(row["layer"]), f"{row['alpha']:g}", number(row["mended"]), number(row["same"])]
        for source, row in scores.items()
    ]
    return table(["source", "layer", "alpha", "right noun", "the wanted caption, word for word"], rows)


def error_aucs(sets: dict[str, dict]) -> str:
    """How well concepts tell wrong answers from right ones, for each set of answers."""
    rows = [[name, *(number(scores.get(key)) for key in LABELS["errors"])] for name, scores in sets.items()]
    return table(["", *LABELS["errors"].values()], rows)


def errors_mended(scores: dict) -> str:
    """What edits do to wrong answers and to right ones, or to captions, which say no to nothing."""
    labels = LABELS["error_groups" if scores["others"] else "error_caption_groups"]
    rows = [
        [text, *(number(scores[group].get(way)) for group in labels)]
        for way, text in LABELS["error_edits"].items()
        if way in scores["mended"]
    ]
    return table(["", *labels.values()], rows)


def l2s_pope(scores: dict) -> str:
    """POPE's accuracy and F1 by method and set."""
    sets = [scores["pope"][name] for name in LABELS["pope_sets"]]
    rows = [
        [text, *(f"{number(part[method]['accuracy'], 3)}; {number(part[method]['f1'], 3)}" for part in sets)]
        for method, text in LABELS["l2s_methods"].items()
    ]
    return table(["accuracy; F1", *LABELS["pope_sets"].values()], rows)


def depalm_steering_layers(scores: dict) -> str:
    """hit and same of the DePALM by layer, each at the alpha of the largest hit times same."""
    best: dict[tuple, dict] = {}
    for row in scores["grid"]:
        key = row["layer"], f"{row['source']}_{row['method']}"
        best[key] = max(best.get(key, row), row, key=lambda some: some["hit"] * some["same"])
    kinds = LABELS["depalm_steering"]
    rows = [
        [str(layer), *(f"{number(row['hit'])}, {number(row['same'])} ({row['alpha']:g})" for row in rows_of)]
        for layer in dict.fromkeys(layer for layer, _ in best)
        for rows_of in [[best[layer, kind] for kind in kinds]]
    ]
    return table(["layer", *kinds.values()], rows)


def depalm_steering(scores: dict) -> str:
    """What steering the DePALM does on test pages: hit and same of each factor."""
    rows = []
    for kind, text in LABELS["depalm_steering"].items():
        row = scores["tested"][kind]
        cells = [f"{number(row[factor]['hit'])}; {number(row[factor]['same'])}" for factor in STEERED if factor in row]
        rows.append([text, str(row["layer"]), f"{row['alpha']:g}", *cells])
    return table(["hit; same", "layer", "alpha", *STEERED], rows)


def mean_aucs(scores: dict) -> str:
    """Mean AUC of the matched values."""
    rows = [[word, number(row["mean_auc"], 3), number(row["probe_auc"], 3)] for word, row in scores.items()]
    return table(["mean AUC", "Semi-NMF", "linear probes"], rows)


def in_sample(scores: dict) -> str:
    """Each concept's best value on the pages that it was learned from."""
    rows = []
    for word, positions in scores.items():
        cells = [
            f"{number(row['mean_auc'], 3)} ({row['above_0_9']})" for row in map(positions.get, LABELS["positions"])
        ]
        rows.append([word, *cells, number(positions["own"]["shuffled_auc"], 3)])
    return table(["", *LABELS["positions"].values(), "activations shuffled"], rows)


def interventions(scores: dict, k: int) -> str:
    """What removing concepts does, by word and position."""
    by_word = {
        (word, position): row
        for word, positions in scores.items()
        if isinstance(positions, dict) and set(positions) == set(LABELS["positions"])
        for position, row in positions.items()
    }
    texts = {
        name: text for name, text in LABELS["interventions"].items() if all(name in row for row in by_word.values())
    }
    rows = [
        [f"{word}, {LABELS['positions'][position]}", f"{number(row['tested'], 1)} of {k}"]
        + [number(row[name]) for name in texts]
        for (word, position), row in by_word.items()
    ]
    return table(["", "concepts tested", *texts.values()], rows)


def checks(scores: dict) -> str:
    """The checks of one word, by position."""
    by_position = [scores["predicts"], scores]
    rows = [
        [text, *(number(_with_ends(row, name)) for row in by_position)]
        for name, text in LABELS["checks"].items()
        if name in scores
    ]
    return table(["", *LABELS["positions"].values()], rows)


def _with_ends(row: dict, name: str):
    """A number of a row with its interval, if it has one."""
    ends = row["intervals"].get(name)
    return [row[name], *ends] if ends and not isinstance(row[name], list) else row[name]


def evaluation(scores: dict) -> str:
    """Scores by word, measure and system."""
    rows = [
        [f"{word}: {text}", *(number(systems.get(name, {}).get(measure)) for name in LABELS["systems"])]
        for word, systems in scores.items()
        for measure, text in LABELS["measures"].items()
    ]
    return table(["", *LABELS["systems"].values()], rows)


def solver(cases: dict) -> str:
    """Semi-NMF beside scikit-learn's DictionaryLearning."""
    rows = []
    for case, systems in cases.items():
        ours, theirs = systems["ours"], systems["sklearn"]
        reached = ours.get("seconds_to_sklearn")
        row = [case, number(ours.get("max_iter")), _timed(theirs), _timed(ours), number(reached)]
        row += [f"{theirs['seconds'] / seconds:.0f}" if seconds else "–" for seconds in (ours["seconds"], reached)]
        rows.append([*row, f"{ours['objective'] / theirs['objective'] - 1:+z.4%}"])
    return table(LABELS["solver"], rows)


def _timed(result: dict) -> str:
    """Seconds and iterations, marked where these were as many as were allowed."""
    unfinished = "\\*" if result["iterations"] == result.get("max_iter") else ""
    return f"{number(result['seconds'])} ({result['iterations']}{unfinished})"


def precision(cases: dict) -> str:
    """What says whether the fits are as good as they claim."""
    rows = []
    for case, systems in cases.items():
        ours = systems["ours"]
        reported, double = (
            value / ours["objective"] - 1 for value in (ours["reported_objective"], systems["float64_objective"])
        )
        row = [case, f"{reported:+.1e}", f"{double:+.1e}", f"{ours['kkt_U']:.1e}", f"{ours['kkt_V']:.1e}"]
        rows.append([*row, number(ours["mean_cosine"], 4)])
    return table(LABELS["precision"], rows)


def others(bench: dict) -> dict[str, str]:
    """A table of each other benchmark that was run."""
    return {
        name: table(["measure", "value"], [[texts.get(key, key), number(value)] for key, value in bench[name].items()])
        for name, texts in LABELS["benches"].items()
        if name in bench
    }
