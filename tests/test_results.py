"""The page of results says what was measured, and the README what the page says."""

import copy
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))  # as when the script is run
import gpu_tables  # noqa: E402
import results as pages  # noqa: E402
import shift_tables  # noqa: E402
import tables  # noqa: E402


@pytest.fixture(scope="module")
def results():
    return json.loads(pages.RESULTS.read_text())


def test_the_page_is_written_from_the_results(results):
    assert pages.PAGE.read_text() == pages.page(results)
    assert "scores" in results and "uncommitted" not in pages.PAGE.read_text()


def test_the_readme_says_what_the_page_says(results):
    marked = pages.MARKED.search(pages.README.read_text())
    lines = pages.readme_lines(results)
    assert marked[0] == marked[1] + lines + marked[2]
    for number in pages.re.findall(r"-?[\d.]+ \[[^]]+\]", lines):
        assert number in pages.page(results)


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "–"),
        (0.126, "0.13"),
        (-0.001, "0.00"),
        (3, "3"),
        ([1.0, 0.98, 1.024], "1.00 [0.98, 1.02]"),
        ([-0.02, -0.051, -0.004], "-0.02 [-0.05, 0.00]"),
        ("none", "none"),
    ],
)
def test_numbers(value, text):
    assert tables.number(value) == text


def test_a_run_that_its_limit_stopped_is_marked():
    assert tables._timed({"seconds": 1.5, "iterations": 300, "max_iter": 300}) == "1.50 (300\\*)"
    assert tables._timed({"seconds": 1.5, "iterations": 42, "max_iter": 300}) == "1.50 (42)"


def test_the_interval_of_a_share_is_exact():
    assert tables._share(0.955, 200) == ("0.955 [0.916, 0.979]", "200")
    assert tables._share(0.998, None) == ("0.998", "–")


def test_results_of_several_seeds_and_with_controls_are_shown(results):
    results = copy.deepcopy(results)
    truth = results["scores"]["values"]["truth"]
    for row in (truth, truth["predicts"]):
        row |= {"diagonal_chance": 0.142, "diagonal_random": [0.31, 0.22, 0.4]}
    truth["dog"]["predicts"] |= {"tested": 16.4, "seeds": 5.0}
    page = pages.page(results)
    assert "| 0.14 | 0.14 |" in page and "| 0.31 [0.22, 0.40] | 0.31 [0.22, 0.40] |" in page
    assert "| 16.4 of 20 |" in page and "Means over 5 seeds." in page


# Concept shift


def shift_set(value):
    """Scores of a set, all of one value."""
    about = {factor: [value, value + 1] for factor in ("colour", "place")}
    forgotten = {topic: [0.9, value / 10] for topic in ("colour", "presence")}
    ends = {name: [value] * 3 for name in tables.LABELS["shift_sets"]}
    with_gain = {name: [value / 10] * 3 for name in ("consistency", "magnitude")}
    return ends | {"about": about, "with_gain": with_gain, "forgotten": forgotten, "n": 600}


@pytest.fixture
def shift():
    """Made up, without the DePALM."""
    sets = {kind: shift_set(float(number)) for number, kind in enumerate(shift_tables.SETS, start=1)}
    ways = {"forward": {"alpha": 1.5}, "undo": {"alpha": None}}
    for way in ways.values():
        way |= {name: [0.5, 0.25, 0.75] for name in tables.LABELS["shift_steering"]}
    for kind in shift_tables.SETS[:3]:
        sets[kind]["steering"] = ways
    sign = {"auc": [0.98, 0.9, 1.0], "colour_auc": [0.6, 0.5, 0.7]}
    sign |= {"said": {"with": [1.0, 0.9, 1.0], "without": [0.1, 0.0, 0.2]}}
    rename = {"found": 0.875, "elsewhere": 0.125, "moved": 9.18, "n": [8, 52]}
    sign["before"] = sign | {"auc": [0.55, 0.45, 0.65]}
    return sets | {"cuts": {"cosine": 0.973, "t_overlap": 80.0}, "rename": rename, "sign": sign}


def rows_of(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_tables_of_shift_have_a_row_for_each_set(shift):
    head, _, *rows = rows_of(shift_tables.recovered(shift))
    assert [row[0] for row in rows] == list(shift_tables.SETS) and rows[1][1:] == ["2.00 [2.00, 2.00]"] * (
        len(head) - 1
    )
    head, _, *rows = rows_of(shift_tables.about(shift))
    assert head[1:] == ["colour", "place"] and rows[0] == ["colour", "1.0 → 2.0", "1.0 → 2.0"]
    _, _, *rows = rows_of(shift_tables.forgotten(shift))
    assert [row[0] for row in rows] == ["before", *(f"after {kind}" for kind in shift_tables.SETS)]
    assert [row[1] for row in rows] == ["0.900", "0.100", "0.200", "0.300", "0.400"]
    _, _, *rows = rows_of(shift_tables.steering(shift))
    assert len(rows) == 6 and [row[-1] for row in rows] == ["1.5", "–"] * 3 and "null" not in str(rows)
    _, _, *rows = rows_of(shift_tables.sign(shift))
    assert rows[0][:2] == ["before", "0.55 [0.45, 0.65]"] and rows[1][:2] == ["after", "0.98 [0.90, 1.00]"]


def test_the_depalm_is_last_with_a_dash_for_what_needs_a_null(shift):
    depalm = {name: value for name, value in shift_set(5.0).items() if name not in ("changed", "forgotten")}
    shift["depalm"] = depalm | {"layer": 27, "n": 240}
    *_, row = rows_of(shift_tables.recovered(shift))
    assert row[0] == "place, DePALM" and row.count("–") == 1
    assert rows_of(shift_tables.about(shift))[-1] == ["place, DePALM", "5.0 → 6.0", "5.0 → 6.0"]
    assert "DePALM" not in shift_tables.forgotten(shift) + shift_tables.steering(shift)


@pytest.mark.parametrize("with_depalm", [False, True])
def test_the_page_has_all_of_shift(results, shift, with_depalm):
    if with_depalm:
        shift["depalm"] = shift_set(5.0) | {"layer": 27, "n": 240}
    measured = results["scores"]["measured"] | {"commit": "of the shift"}
    page = pages.page(results | {"shift": {"measured": measured, "values": shift}})
    assert "concept-shift-make-scores" in anchors(page)
    part = page[page.index("## Concept shift") :]
    assert (
        "Commit of the shift" in part and "different seeds: 0.97." in part and "600 train pages to learn from" in part
    )
    assert "0.88 have it among their words, of the others 0.12" in part and "9.18 times as far" in part
    assert ("at layer 27, with 240 pages" in part) == with_depalm == ("| place, DePALM |" in part)
    for name in ("recovered", "about", "forgotten", "steering", "sign"):
        assert getattr(shift_tables, name)(shift) in part
    without = {name: part for name, part in results.items() if name != "shift"}
    assert "## Concept shift" not in pages.page(without)


# On a GPU


@pytest.fixture
def gpu():
    """Made up: one model with two sizes of batch, of which one did not fit, and one that there was no time for."""
    fits = {"seconds": {"generate": 4.0, "ours": 5.0}, "per_second": {"generate": 16.0, "ours": 12.8}, "missing": {}}
    fits |= {"batch": 32, "of_generate": {"inputs": 0.25, "prefill": 0.125, "decode": 0.625}, "hooks_of_ours": 0.2}
    fits |= {"prefill_tflops": 256.4, "of_peak": 0.26, "memory_gb": {"generate": 31.0, "ours": 33.0}}
    fits |= {"of_prefill": {"products": 0.4, "attention": 0.3, "other": 0.2, "waiting": 0.1}}
    full = {"batch": 128, "per_second": {}, "missing": {"ours": "out of memory"}, "memory_gb": {}}
    loop = {"pictures": 4, "seconds": {"released_loop": 8.0}}
    llava = {"rows": [fits, full], "released_loop": loop, "plan_s": 2.25, "prompt_tokens": 586}
    ours, theirs = ({"seconds": s, "iterations": 20, "objective": f} for s, f in ((0.25, 99.0), (14.0, 100.0)))
    targets = [
        {"target": "llava: prefill", "wanted": 0.5, "measured": 0.26, "reached": False, "because": "waiting 10%"}
    ]
    targets += [{"target": "qwen: prefill", "wanted": 0.5, "measured": None, "reached": False}]
    targets += [{"target": "dictionary", "wanted": 1.0, "measured": 0.25, "reached": True}]
    return {
        **{"card": "NVIDIA H100 PCIe", "memory_gb": 79.6, "machine": "EPYC, 16 cores", "versions": "torch 2"},
        **{"day": "2026-12-01", "open_s": 0.004, "peak_tflops": 756, "peak_by": "data sheet", "product_tflops": 610.2},
        "models": {"llava": llava, "qwen": {"missing": "out of time"}},
        "dictionary": {"planted": {"ours": ours, "sklearn": theirs}, "massive": {"ours": ours}},
        "targets": targets,
    }


def test_tables_of_a_gpu_say_what_is_missing(gpu):
    _, _, fits, full = rows_of(gpu_tables.speeds(gpu))
    assert fits == ["LLaVA-1.5-7B, batch 32", "16.00", "12.80", "–", "–", "0.50", "31.0", "33.0"]
    assert full == ["LLaVA-1.5-7B, batch 128", "–", "out of memory", "–", "–", "0.50", "–", "–"]
    head, _, fits, _ = rows_of(gpu_tables.shares(gpu))
    assert fits[1:] == ["0.25", "0.12", "0.62", "0.20", "256", "0.26", "0.40", "0.30", "0.20", "0.10"]
    assert len(head) == len(fits) and head[4] == "added by ours" and head[-1] == "the card waits"
    _, _, *rows = rows_of(gpu_tables.dictionaries(gpu))
    assert rows == [["planted", "0.25 (20)", "14.00 (20)", "-1.0000%"], ["massive", "0.25 (20)", "–", "–"]]
    _, _, *rows = rows_of(gpu_tables.targets(gpu))
    assert [row[-1] for row in rows] == ["waiting 10%", "–", "yes"] and rows[1][0] == "Qwen2.5-VL-7B: prefill"


def test_the_page_names_the_card_or_says_that_there_was_none(results, gpu):
    without = pages.page({name: part for name, part in results.items() if name != "gpu"})
    assert "Nothing was measured on a GPU yet" in without and "`python bench/gpu.py`" in without
    page = pages.page(results | {"gpu": {"measured": {"commit": "of the gpu"}, "values": gpu}})
    assert "NVIDIA H100 PCIe, 80 GiB; EPYC, 16 cores" in page and "Commit of the gpu" in page
    assert "586 tokens" in page and "4.0 ms" in page and "2.2 s." in page and "Qwen2.5-VL-7B: out of time." in page
    assert all(getattr(gpu_tables, name)(gpu) in page for name in ("speeds", "shares", "dictionaries", "targets"))
    assert "Nothing was measured" not in page


# Links


LINKED = ["README.md", "data/README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def anchors(text):
    """Those of a Markdown page's headings, as GitHub makes them."""
    titles = pages.re.findall(r"^#+ (.+)$", text, pages.re.M)
    return {pages.re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def full(results):
    """The page as it is when every benchmark was run."""
    bench = results["bench"]["values"] | {
        "extraction": {"generate": 10.0, "kills": 20, "resumed_equals_undisturbed": True},
        "browser": {"open_s": 0.5, "sort_ms": 3.0},
    }
    return pages.page(results | {"bench": results["bench"] | {"values": bench}})


@pytest.mark.parametrize("name", LINKED)
def test_every_link_leads_somewhere(name, results):
    for link in pages.re.findall(r"\]\(([^)\s]+)\)", (ROOT / name).read_text()):
        path, _, anchor = link.partition("#")
        if pages.re.match(r"\w+:", path):
            continue
        target = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert target.exists(), link
        text = full(results) if target == pages.PAGE else target.read_text() if anchor else ""
        assert not anchor or anchor in anchors(text), link


def test_sections_of_all_benchmarks(results):
    page = full(results)
    assert {"extraction", "browser", "the-solver"} <= anchors(page)
    assert "| pictures per second, `generate` alone | 10.00 |" in page and "| sorting, ms | 3.00 |" in page


def test_one_part_is_kept_beside_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "RESULTS", tmp_path / "results.json")
    both = {"b": 2, "gpu": {"c": 4}}
    for part, values in (("scores", {"a": 1}), ("bench", both), ("gpu", both), ("scores", {"a": 3}), ("gpu", {"b": 5})):
        (tmp_path / "new.json").write_text(json.dumps(values))
        pages.keep(part, tmp_path / "new.json")
    results = json.loads(pages.RESULTS.read_text())
    assert {part: kept["values"] for part, kept in results.items()} == {
        "scores": {"a": 3},
        "bench": {"b": 2},
        "gpu": {"c": 4},
    }
    assert set(results["scores"]["measured"]) == {"commit", "machine", "versions", "day"}
