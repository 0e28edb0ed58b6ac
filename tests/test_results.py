"""The page of results says what was measured, and the README what the page says."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("results", ROOT / "docs" / "results.py")
pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pages)


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
    [(None, "–"), (0.126, "0.13"), (3, "3"), ([1.0, 0.98, 1.024], "1.00 [0.98, 1.02]"), ("none", "none")],
)
def test_numbers(value, text):
    assert pages.number(value) == text


def test_one_part_is_kept_beside_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "RESULTS", tmp_path / "results.json")
    for part, values in (("scores", {"a": 1}), ("bench", {"b": 2}), ("scores", {"a": 3})):
        (tmp_path / "new.json").write_text(json.dumps(values))
        pages.keep(part, tmp_path / "new.json")
    results = json.loads(pages.RESULTS.read_text())
    assert results["scores"]["values"] == {"a": 3} and results["bench"]["values"] == {"b": 2}
    assert set(results["scores"]["measured"]) == {"commit", "machine", "versions", "day"}
