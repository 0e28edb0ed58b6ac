"""The page of results says what was measured, and the README what the page says."""

import copy
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))  # as when the script is run
import results as pages  # noqa: E402
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
    for part, values in (("scores", {"a": 1}), ("bench", {"b": 2}), ("scores", {"a": 3})):
        (tmp_path / "new.json").write_text(json.dumps(values))
        pages.keep(part, tmp_path / "new.json")
    results = json.loads(pages.RESULTS.read_text())
    assert results["scores"]["values"] == {"a": 3} and results["bench"]["values"] == {"b": 2}
    assert set(results["scores"]["measured"]) == {"commit", "machine", "versions", "day"}
