"""The measured results on one page: `make scores` and `make bench` keep theirs in results.json and write results.md.

    python docs/results.py scores build/scores.json     keep the scores, then write the page
    python docs/results.py depalm build/scores.json     those of the DePALM, which are in the same file
    python docs/results.py steering build/scores.json   those of steering, too
    python docs/results.py                              write the page again, and the README's lines

Every number of the page is in results.json; the README's are put between its two marks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from datetime import date
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from coxlmm_utils import SemiNMF
from coxlmm_utils.evaluation import FORM_PAGES
from coxlmm_utils.files import atomic_write
from coxlmm_utils.ground_truth import GALLERY_LAYER
from coxlmm_utils.picturebook import SUBJECTS, page_numbers
from coxlmm_utils.statistics import share_of

ROOT = Path(__file__).parents[1]
RESULTS, PAGE, README = ROOT / "docs" / "results.json", ROOT / "docs" / "results.md", ROOT / "README.md"
MARKED = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.S)
TEMPLATES = ROOT / "docs" / "templates"
LABELS = json.loads((TEMPLATES / "labels.json").read_text())  # of rows and columns


def where_and_when() -> dict[str, str]:
    """The commit, machine and versions that something was measured with, and the day."""
    written = (":!docs/results.json", ":!docs/results.md", ":!README.md")
    changed = _git("status", "--porcelain", "--", ".", *written)
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return {
        "commit": (_git("rev-parse", "--short", "HEAD") or "unknown")
        + (", with uncommitted changes" if changed else ""),
        "machine": f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "scikit-learn")),
        "day": date.today().isoformat(),
    }


def _git(*command: str) -> str:
    """What git says of this project; nothing where there is no git."""
    done = subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True)
    return done.stdout.strip()


def keep(part: str, path: Path) -> None:
    """Put the results of one part, as a json file has them, among the others; one that was not measured stays."""
    results, values = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}, json.loads(path.read_text())
    own = {name: values.pop(name, None) for name in OWN_PARTS}
    values = own[part] if part in own else values
    if values:
        results[part] = {"measured": where_and_when(), "values": values}
    atomic_write(RESULTS, lambda scratch: scratch.write_text(json.dumps(results, indent=1) + "\n"))


STEERED = ("colour", "place", "action")
OWN_PARTS = ("depalm", "steering")  # of build/scores.json: each with the commit and day that it was measured on
PAGES = Environment(loader=FileSystemLoader(TEMPLATES), keep_trailing_newline=True)


def number(value, digits: int = 2) -> str:
    """A number, or a mean with its interval; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, list):
        mean, low, high = (f"{end:z.{digits}f}" for end in value)
        return f"{mean} [{low}, {high}]"
    return str(value) if isinstance(value, (int, str)) else f"{value:z.{digits}f}"  # z: no negative zero


PAGES.filters["number"] = number


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


def page(results: dict) -> str:
    """The whole page."""
    scores, depalm, steered, bench = (
        results.get(part, {}).get("values", {}) for part in ("scores", *OWN_PARTS, "bench")
    )
    tables = {"results": results, "scores": scores, "bench": bench, "layer": GALLERY_LAYER}
    if scores:
        first = next(iter(scores["ground_truth"].values()))
        tables |= {"k": first["k"], "seeds": first["seeds"], "default_k": SemiNMF().n_concepts}
        tables |= {"above_k": [word for word, row in scores["ground_truth"].items() if row["n_values"] > row["k"]]}
        n_judged = [len(page_numbers(split)) for split in ("validation", "test")]
        tables |= {"n_judged": sum(n_judged) // len(SUBJECTS) - FORM_PAGES // len(SUBJECTS)}
        tables |= {"captions": captions(scores["picturebook"]), "recovered": recovered(scores["ground_truth"])}
        tables |= {"mean_aucs": mean_aucs(scores["ground_truth"]), "in_sample": in_sample(scores["dictionary"])}
        tables |= {"interventions": interventions(scores["truth"], first["k"]), "checks": checks(scores["truth"])}
        tables |= {"evaluation": evaluation(scores["evaluation"])}
    if depalm:
        tables |= {"depalm": depalm, "depalm_captions": captions(depalm), "depalm_layers": layers(depalm["layers"])}
        tables |= {"depalm_recovered": recovered({"dog": depalm["dog"]})}
        tables |= {"depalm_mean_aucs": mean_aucs({"dog": depalm["dog"]})}
    if steered:
        tables |= {"steered": steered, "steering": steering(steered), "ablation_measures": LABELS["ablation_measures"]}
        if "depalm" in steered:
            tables |= {"depalm_steering": depalm_steering(steered["depalm"])}
            tables |= {"depalm_steering_layers": depalm_steering_layers(steered["depalm"])}
    if bench:
        tables |= {"solver": solver(bench["semi_nmf"]), "precision": precision(bench["semi_nmf"])}
        tables |= {"others": others(bench)}
    return PAGES.get_template("results.md").render(tables)


def readme_lines(results: dict) -> str:
    """The README's numbers."""
    scores = results["scores"]["values"]
    truth, judged = scores["ground_truth"], scores["evaluation"]
    words = sorted(truth, key=lambda word: truth[word]["recovered"][0])
    near = sorted(judged, key=lambda word: _ahead(judged[word], "clipscore"))
    numbers = {"truth": truth, "best": words[-1], "worst": words[0], "judged": judged, "near": near[-1], "far": near[0]}
    numbers |= {"pca_ahead": sum(row["pca"][0] > row["recovered"][0] for row in truth.values())}
    numbers |= {"pca_clearly": sum(row["pca"][1] > row["recovered"][2] for row in truth.values())}
    for measure in ("clipscore", "bertscore", "union_clipscore"):
        numbers[f"{measure}_behind"] = sum(_ahead(systems, measure) < 0 for systems in judged.values())
    pushed = {word: scores["truth"][word]["predicts"] for word in ("dog", "cat", "bus", "boat")}
    if depalm := results.get("depalm", {}).get("values"):
        numbers |= {"depalm": depalm, "wordless": wordless_until(depalm["layers"])}
    if steered := results.get("steering", {}).get("values"):
        numbers |= {"steered": _over_factors(steered), "questions": steered["questions"]}
    return PAGES.get_template("readme.md").render(numbers, pushed=pushed)


def _over_factors(scores: dict) -> dict:
    """Means over factors of each steering method's hit and same, and the largest hit of a random direction."""
    factors = [scores[factor] for factor in STEERED if factor in scores]
    rows = {
        method: {name: sum(methods[method][name][0] for methods in factors) / len(factors) for name in ("hit", "same")}
        for method in factors[0]
        if all(method in methods for methods in factors)
    }
    random = [row["random_hit"][0] for methods in factors for row in methods.values() if "random_hit" in row]
    return rows | {"random": max(random)}


def wordless_until(layers: list[dict]) -> int:
    """The layer up to which a concept has fewer than three words on average; 0 if the first has more."""
    return next((row["layer"] - 1 for row in layers if row["n_words"] >= 3), layers[-1]["layer"])


def _ahead(systems: dict, measure: str) -> float:
    """By how much Semi-NMF is above K-Means."""
    return systems["semi_nmf"][measure][0] - systems["kmeans"][measure][0]


def write_pages() -> None:
    """Write results.md and the README's lines from results.json."""
    results = json.loads(RESULTS.read_text())
    readme = MARKED.sub(lambda marks: marks[1] + readme_lines(results) + marks[2], README.read_text())
    atomic_write(PAGE, lambda scratch: scratch.write_text(page(results)))
    atomic_write(README, lambda scratch: scratch.write_text(readme))


def main() -> None:
    """Keep what was measured, if any is given, and write the pages."""
    parser = argparse.ArgumentParser(description="Write docs/results.md.")
    parser.add_argument("part", nargs="?", choices=["scores", *OWN_PARTS, "bench"])
    parser.add_argument("path", nargs="?", type=Path, help="the json file of that part")
    options = parser.parse_args()
    if options.part:
        keep(options.part, options.path)
    write_pages()


if __name__ == "__main__":
    main()
