"""The measured results on one page: `make scores` and `make bench` keep theirs in results.json and write results.md.

    python docs/results.py scores build/scores.json     keep the scores, then write the page
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

from coxlmm_utils.files import atomic_write

ROOT = Path(__file__).parents[1]
RESULTS, PAGE, README = ROOT / "docs" / "results.json", ROOT / "docs" / "results.md", ROOT / "README.md"
MARKED = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.S)
MEASURES = {
    "clipscore": "CLIPScore",
    "union_clipscore": "CLIPScore of three concepts' words as one list (ours)",
    "bertscore": "BERTScore",
    "overlap": "overlap (lower is better)",
}
CAPTIONS = {
    "noun": "noun",
    "colour": "colour, where named",
    "place": "place, where named",
    "action": "action, where named",
    "caption_true": "whole caption true",
    "yes_no": "yes/no questions",
    "questions": "colour, place, count, action questions",
}
SOLVER = (
    "case",
    "scikit-learn, s",
    "ours, s",
    "ours, s, to its objective",
    "times faster",
    "times faster to its objective",
    "our objective against its",
)
SYSTEMS = {
    "rnd_words": "Rnd-Words",
    "noise_imgs": "Noise-Imgs",
    "simple": "Simple",
    "pca": "PCA, active side (ours)",
    "pca_released": "PCA, words of +u only",
    "kmeans": "K-Means",
    "semi_nmf": "Semi-NMF",
    "gt_captions": "GT-captions",
}
RECOVERED = {
    "probe": "linear probes",
    "recovered": "Semi-NMF",
    "pca": "PCA, both sides",
    "kmeans": "K-Means",
    "simple": "Simple",
    "rotated": "rotated span",
    "samples": "random samples",
    "random": "random directions",
    "random_init": "randomly initialised model",
    "shuffled": "activations shuffled",
}
INTERVENTIONS = {
    "own_step": "own step",
    "later": "later steps",
    "mentions": "expected mentions",
    "minus_random": "nats at the own step",
}
CHECKS = {
    "blank_auc": "mean AUC of each concept's value on blank pages",
    "noise_auc": "the same on pages of noise",
    "diagonal": "share of concepts that their own factor moves most",
    "diagonal_sure": "the same, by more than its interval",
}
POSITIONS = {"predicts": "`predicts` (the paper's)", "own": "`own` (ours)"}


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
    """Put the results of one part, as a json file has them, among the others."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[part] = {"measured": where_and_when(), "values": json.loads(path.read_text())}
    atomic_write(RESULTS, lambda scratch: scratch.write_text(json.dumps(results, indent=1) + "\n"))


TEMPLATES = Environment(loader=FileSystemLoader(ROOT / "docs" / "templates"), keep_trailing_newline=True)


def number(value, digits: int = 2) -> str:
    """A number, or a mean with its interval; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, list):
        mean, low, high = (f"{end:.{digits}f}" for end in value)
        return f"{mean} [{low}, {high}]"
    return str(value) if isinstance(value, (int, str)) else f"{value:.{digits}f}"


TEMPLATES.filters["number"] = number


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def captions(scores: dict) -> str:
    """How true the model's captions and answers are."""
    rows = [[text, number(scores[name], 3)] for name, text in CAPTIONS.items()]
    noun, share = min(scores["noun_by_subject"].items(), key=lambda item: item[1])
    rows.insert(1, [f"lowest noun of the subjects ({noun})", number(share, 3)])
    return table(["right", "share"], rows)


def recovered(scores: dict) -> str:
    """Recovered values by word and system."""
    rows = [
        [f"{word}, of {row['n_values']}", *(number(row.get(name), 1) for name in RECOVERED)]
        for word, row in scores.items()
    ]
    return table(["", *RECOVERED.values()], rows)


def mean_aucs(scores: dict) -> str:
    """Mean AUC of the matched values."""
    rows = [[word, number(row["mean_auc"], 3), number(row["probe_auc"], 3)] for word, row in scores.items()]
    return table(["mean AUC", "Semi-NMF", "linear probes"], rows)


def in_sample(scores: dict) -> str:
    """Each concept's best value on the pages that it was learned from."""
    rows = []
    for word, positions in scores.items():
        cells = [f"{number(row['mean_auc'], 3)} ({row['above_0_9']})" for row in map(positions.get, POSITIONS)]
        rows.append([word, *cells, number(positions["own"]["shuffled_auc"], 3)])
    return table(["", *POSITIONS.values(), "activations shuffled"], rows)


def interventions(scores: dict) -> str:
    """What removing concepts does, by word and position."""
    rows = [
        [f"{word}, {POSITIONS[position]}", str(row["tested"]), *(number(row[name]) for name in INTERVENTIONS)]
        for word, positions in scores.items()
        if isinstance(positions, dict) and set(positions) == set(POSITIONS)
        for position, row in positions.items()
    ]
    return table(["", "concepts tested", *INTERVENTIONS.values()], rows)


def checks(scores: dict) -> str:
    """The checks of one word, by position."""
    by_position = {"predicts": scores["predicts"], "own": scores}
    rows = [
        [text, *(number([row[name], *row["intervals"][name]]) for row in by_position.values())]
        for name, text in CHECKS.items()
    ]
    return table(["", *POSITIONS.values()], rows)


def evaluation(scores: dict) -> str:
    """Scores by word, measure and system."""
    rows = [
        [f"{word}: {text}", *(number(systems.get(name, {}).get(measure)) for name in SYSTEMS)]
        for word, systems in scores.items()
        for measure, text in MEASURES.items()
    ]
    return table(["", *SYSTEMS.values()], rows)


def solver(cases: dict) -> str:
    """Semi-NMF beside scikit-learn's DictionaryLearning."""
    rows = []
    for case, systems in cases.items():
        ours, theirs = systems["ours"], systems["sklearn"]
        reached = ours.get("seconds_to_sklearn")
        row = [case, number(theirs["seconds"]), number(ours["seconds"]), number(reached)]
        row += [f"{theirs['seconds'] / seconds:.0f}" if seconds else "–" for seconds in (ours["seconds"], reached)]
        rows.append([*row, f"{ours['objective'] / theirs['objective'] - 1:+.4%}"])
    return table(SOLVER, rows)


def page(results: dict) -> str:
    """The whole page."""
    scores, bench = (results.get(part, {}).get("values", {}) for part in ("scores", "bench"))
    tables = {"results": results, "scores": scores, "bench": bench}
    if scores:
        tables |= {"captions": captions(scores["picturebook"]), "recovered": recovered(scores["ground_truth"])}
        tables |= {"mean_aucs": mean_aucs(scores["ground_truth"]), "in_sample": in_sample(scores["dictionary"])}
        tables |= {"interventions": interventions(scores["truth"]), "checks": checks(scores["truth"])}
        tables |= {"evaluation": evaluation(scores["evaluation"])}
    if bench:
        tables |= {"solver": solver(bench["semi_nmf"]), "massive": bench["semi_nmf"].get("massive")}
        others = {name: bench[name].items() for name in ("extraction", "browser") if name in bench}
        tables["others"] = {
            name: table(["measure", "value"], [[key, number(value)] for key, value in rows])
            for name, rows in others.items()
        }
    return TEMPLATES.get_template("results.md").render(tables)


def readme_lines(results: dict) -> str:
    """The README's numbers."""
    scores = results["scores"]["values"]
    words = sorted(scores["ground_truth"], key=lambda word: scores["ground_truth"][word]["recovered"][0])
    pushed = {word: scores["truth"][word]["predicts"] for word in ("dog", "cat", "bus", "boat")}
    numbers = {"truth": scores["ground_truth"], "best": words[-1], "worst": words[0], "pushed": pushed}
    return TEMPLATES.get_template("readme.md").render(numbers, judged=scores["evaluation"]["dog"])


def write_pages() -> None:
    """Write results.md and the README's lines from results.json."""
    results = json.loads(RESULTS.read_text())
    readme = MARKED.sub(lambda marks: marks[1] + readme_lines(results) + marks[2], README.read_text())
    atomic_write(PAGE, lambda scratch: scratch.write_text(page(results)))
    atomic_write(README, lambda scratch: scratch.write_text(readme))


def main() -> None:
    """Keep what was measured, if any is given, and write the pages."""
    parser = argparse.ArgumentParser(description="Write docs/results.md.")
    parser.add_argument("part", nargs="?", choices=["scores", "bench"])
    parser.add_argument("path", nargs="?", type=Path, help="the json file of that part")
    options = parser.parse_args()
    if options.part:
        keep(options.part, options.path)
    write_pages()


if __name__ == "__main__":
    main()
