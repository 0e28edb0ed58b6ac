"""The measured results on one page: `make scores` and `make bench` keep theirs in results.json and write results.md.

    python docs/results.py scores build/scores.json     keep the scores, then write the page
    python docs/results.py                              write the page again, and the README's lines

Every number of the page is in results.json; the README's three are put between its two marks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path

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
SYSTEMS = {
    "rnd_words": "Rnd-Words",
    "noise_imgs": "Noise-Imgs",
    "simple": "Simple",
    "pca": "PCA",
    "pca_released": "PCA, as released",
    "kmeans": "K-Means",
    "semi_nmf": "Semi-NMF",
    "gt_captions": "GT-captions",
}
POSITIONS = {"predicts": "`predicts` (the paper's)", "own": "`own` (ours)"}


def where_and_when() -> dict[str, str]:
    """The commit, machine and versions that something was measured with, and the day."""
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True).stdout.strip()
    return {
        "commit": (commit or "unknown") + (", with uncommitted changes" if changed else ""),
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, {platform.system()}",
        "versions": ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "scikit-learn")),
        "day": date.today().isoformat(),
    }


def keep(part: str, path: Path) -> None:
    """Put the results of one part, as a json file has them, among the others."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[part] = {"measured": where_and_when(), "values": json.loads(path.read_text())}
    atomic_write(RESULTS, lambda scratch: scratch.write_text(json.dumps(results, indent=1) + "\n"))


def number(value, digits: int = 2) -> str:
    """A number, or a mean with its interval; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, list):
        mean, low, high = (f"{end:.{digits}f}" for end in value)
        return f"{mean} [{low}, {high}]"
    return str(value) if isinstance(value, (int, str)) else f"{value:.{digits}f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def section(title: str, measured: dict, *texts: str) -> str:
    """One heading with what was measured when and where, and its texts."""
    line = f"Commit {measured['commit']}; {measured['machine']}; {measured['versions']}; {measured['day']}."
    return "\n\n".join([f"## {title}", line, *texts])


def scores_text(part: dict) -> str:
    """All that `make scores` measures."""
    values = part["values"]
    texts = [model_text(values["picturebook"]), dictionary_text(values["dictionary"])]
    texts += [ground_truth_text(values["ground_truth"])] if "ground_truth" in values else []
    texts += [interventions_text(values["truth"]), evaluation_text(values["evaluation"])]
    return section("The bundled model: `make scores`", part["measured"], *texts)


def model_text(scores: dict) -> str:
    """The captions and answers of the model."""
    names = {"noun": "noun", "colour": "colour, where named", "place": "place, where named"}
    names |= {"action": "action, where named", "caption_true": "whole caption true"}
    names |= {"yes_no": "yes/no questions", "questions": "colour, place, count, action questions"}
    rows = [[text, number(scores[name], 3)] for name, text in names.items()]
    lowest = min(scores["noun_by_subject"].items(), key=lambda item: item[1])
    rows.insert(1, [f"lowest noun of the subjects ({lowest[0]})", number(lowest[1], 3)])
    return "### Captions and answers\n\n1,600 test pages, greedy decoding.\n\n" + table(["right", "share"], rows)


def dictionary_text(scores: dict) -> str:
    """Concepts and factor values on the pages that the concepts were learned from."""
    rows = []
    for subject, positions in scores.items():
        cells = [f"{number(row['mean_auc'], 3)} ({row['above_0_9']})" for row in map(positions.get, POSITIONS)]
        rows.append([subject, *cells, number(positions["own"]["shuffled_auc"], 3)])
    text = (
        "### The best factor value of each concept, in sample\n\nMean AUC over concepts (concepts above .9), layer 4. "
        "The best of some 23 values, on the pages that the concepts were learned from, is optimistically biased: the "
        "last column shows by how much. Held-out values follow below.\n\n"
    )
    return text + table(["word", *POSITIONS.values(), "activations shuffled"], rows)


def evaluation_text(scores: dict) -> str:
    """The paper's evaluation, and the score of one list of words."""
    names = [name for name in SYSTEMS if any(name in systems for systems in scores.values())]
    rows = []
    for token, systems in scores.items():
        for measure, text in MEASURES.items():
            cells = [number(systems.get(name, {}).get(measure)) for name in names]
            rows.append([f"{token}: {text}", *cells])
    return "### The paper's evaluation on held-out pages\n\n" + table(["", *(SYSTEMS[name] for name in names)], rows)


def bench_text(part: dict) -> str:
    """All that `make bench` measures."""
    values = part["values"]
    texts = [solver_text(values["semi_nmf"])] if "semi_nmf" in values else []
    for name in ("extraction", "browser"):
        rows = [[key, number(value)] for key, value in values.get(name, {}).items()]
        texts += [f"### {name.capitalize()}\n\n" + table(["measure", "value"], rows)] if rows else []
    return section("Speed: `make bench`", part["measured"], *texts)


def page(results: dict) -> str:
    """The whole page."""
    texts = {"scores": scores_text, "bench": bench_text}
    head = (
        "# Results\n\nWritten by `make scores` and `make bench` from what they measured ([results.json](results.json) has "
        "all digits); nothing here is typed by hand. Numbers in brackets are 95% intervals. What each measure is: the "
        "[notebooks](../notebooks) and [glossary](glossary.md)."
    )
    return "\n\n".join([head, *(text(results[part]) for part, text in texts.items() if part in results)]) + "\n"
