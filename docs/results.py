"""The measured results on one page: `make scores` and `make bench` keep theirs in results.json and write results.md.

    python docs/results.py scores build/scores.json     keep the scores, then write the page
    python docs/results.py depalm build/scores.json     those of the DePALM, which are in the same file
    python docs/results.py steering build/scores.json   those of steering, too; and l2s, errors and shift
    python docs/results.py gpu build/bench.json         what bench/gpu.py measured on a GPU
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
from datetime import date
from importlib.metadata import version
from pathlib import Path

import gpu_tables
import shift_tables
import tables
from jinja2 import Environment, FileSystemLoader

from coxlmm_utils import SemiNMF
from coxlmm_utils.evaluation import FORM_PAGES
from coxlmm_utils.files import atomic_write
from coxlmm_utils.ground_truth import GALLERY_LAYER
from coxlmm_utils.picturebook import SUBJECTS, page_numbers

ROOT = Path(__file__).parents[1]
RESULTS, PAGE, README = ROOT / "docs" / "results.json", ROOT / "docs" / "results.md", ROOT / "README.md"
MARKED = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.S)
TEMPLATES = ROOT / "docs" / "templates"


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


OWN_PARTS = (
    "depalm",
    "steering",
    "l2s",
    "errors",
    "shift",
    "gpu",  # of build/bench.json; all others of build/scores.json
)  # each with the commit and day that it was measured on
PAGES = Environment(loader=FileSystemLoader(TEMPLATES), keep_trailing_newline=True)
PAGES.filters["number"] = tables.number


def page(results: dict) -> str:
    """The whole page."""
    scores, depalm, steered, l2s, errors, shift, gpu, bench = (
        results.get(part, {}).get("values", {}) for part in ("scores", *OWN_PARTS, "bench")
    )
    parts = {"results": results, "scores": scores, "bench": bench, "layer": GALLERY_LAYER}
    if scores:
        first = next(iter(scores["ground_truth"].values()))
        parts |= {"k": first["k"], "seeds": first["seeds"], "default_k": SemiNMF().n_concepts}
        parts |= {"above_k": [word for word, row in scores["ground_truth"].items() if row["n_values"] > row["k"]]}
        n_judged = [len(page_numbers(split)) for split in ("validation", "test")]
        parts |= {"n_judged": sum(n_judged) // len(SUBJECTS) - FORM_PAGES // len(SUBJECTS)}
        parts |= {
            "captions": tables.captions(scores["picturebook"]),
            "recovered": tables.recovered(scores["ground_truth"]),
        }
        parts |= {
            "mean_aucs": tables.mean_aucs(scores["ground_truth"]),
            "in_sample": tables.in_sample(scores["dictionary"]),
        }
        parts |= {
            "interventions": tables.interventions(scores["truth"], first["k"]),
            "checks": tables.checks(scores["truth"]),
        }
        parts |= {"evaluation": tables.evaluation(scores["evaluation"])}
    if depalm:
        parts |= {
            "depalm": depalm,
            "depalm_captions": tables.captions(depalm),
            "depalm_layers": tables.layers(depalm["layers"]),
        }
        parts |= {"depalm_recovered": tables.recovered({"dog": depalm["dog"]})}
        parts |= {"depalm_mean_aucs": tables.mean_aucs({"dog": depalm["dog"]})}
    if steered:
        parts |= {
            "steered": steered,
            "steering": tables.steering(steered),
            "ablation_measures": tables.LABELS["ablation_measures"],
        }
        if "depalm" in steered:
            parts |= {"depalm_steering": tables.depalm_steering(steered["depalm"])}
            parts |= {"depalm_steering_layers": tables.depalm_steering_layers(steered["depalm"])}
    if l2s:
        parts |= {"l2s": l2s, "l2s_methods": tables.l2s_methods(l2s), "l2s_pope": tables.l2s_pope(l2s)}
        parts |= {"l2s_sources": tables.l2s_sources(l2s)}
        parts |= {"depalm_p2s": tables.depalm_p2s(l2s["depalm"]) if "depalm" in l2s else ""}
    if errors:
        sets = {"all questions answered with yes": errors, "of these, about the typical noun": errors["typical"]}
        sets |= {"DePALM: captions of dogs, cats and horses": errors["depalm"]} if "depalm" in errors else {}
        parts |= {
            "errors": errors,
            "error_aucs": tables.error_aucs(sets),
            "errors_mended": tables.errors_mended(errors),
        }
        parts |= {"depalm_mended": tables.errors_mended(errors["depalm"]) if "depalm" in errors else ""}
    if shift:
        names = ("recovered", "about", "with_gain", "forgotten", "steering", "sign")
        parts |= {"shift": shift} | {f"shift_{name}": getattr(shift_tables, name)(shift) for name in names}
    if bench:
        parts |= {"solver": tables.solver(bench["semi_nmf"]), "precision": tables.precision(bench["semi_nmf"])}
        parts |= {"others": tables.others(bench)}
    if gpu:
        names = ("speeds", "shares", "dictionaries", "targets", "unmeasured")
        parts |= {"gpu": gpu} | {f"gpu_{name}": getattr(gpu_tables, name)(gpu) for name in names}
    return PAGES.get_template("results.md").render(parts)


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
    if l2s := results.get("l2s", {}).get("values"):
        numbers |= {"l2s": l2s}
    return PAGES.get_template("readme.md").render(numbers, pushed=pushed)


def _over_factors(scores: dict) -> dict:
    """Means over factors of each steering method's hit and same, and the largest hit of a random direction."""
    factors = [scores[factor] for factor in tables.STEERED if factor in scores]
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
