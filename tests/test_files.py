"""Where the cache is, and writing whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from coxlmm_utils.files import atomic_write, cache_folder, digest


def test_the_cache_is_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("COXLMM_CACHE", "~/elsewhere")
    assert cache_folder() == Path.home() / "elsewhere"
    for value in ("", None):
        monkeypatch.setenv("COXLMM_CACHE", value) if value == "" else monkeypatch.delenv("COXLMM_CACHE")
        assert cache_folder() == Path.home() / ".cache" / "coxlmm"


def test_digest_tells_contents_apart_and_not_their_order():
    assert digest({"a": 1, "b": [2, "x"]}) == digest({"b": [2, "x"], "a": 1})
    assert digest({"a": 1}) != digest({"a": "1"})
    assert len(digest(None)) == 16


def test_a_file_and_its_folders_are_written(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    assert atomic_write(path, lambda made: made.write_text("one")) == path
    atomic_write(path, lambda made: made.write_text("two"))
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def _folder_of(name: str):
    def write(made: Path) -> None:
        made.mkdir()
        (made / name).write_text(name)

    return write


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    atomic_write(tmp_path / "bank", _folder_of("old"))
    atomic_write(tmp_path / "bank", _folder_of("new"))
    assert [path.name for path in tmp_path.rglob("*")] == ["bank", "new"]


@pytest.mark.parametrize("start", [lambda made: made.write_text("half"), _folder_of("half")])
def test_a_failed_writing_leaves_what_was_there(tmp_path, start):
    def write(made: Path) -> None:
        start(made)
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        atomic_write(tmp_path / "thing", write)
    assert list(tmp_path.iterdir()) == []
    atomic_write(tmp_path / "thing", _folder_of("old"))
    with pytest.raises(RuntimeError, match="disk full"):
        atomic_write(tmp_path / "thing", write)
    assert [path.name for path in tmp_path.rglob("*")] == ["thing", "old"]


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "thing", lambda made: None)
    assert list(tmp_path.iterdir()) == []
