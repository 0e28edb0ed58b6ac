"""Where the cache is, and writing whole or not at all."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest
from safetensors import SafetensorError

from coxlmm_utils.files import (
    DAY,
    _machine,
    atomic_write,
    cache_folder,
    digest,
    folder_name,
    locked,
    recover,
    require_writable,
    write_folder,
)


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


def _left(path: Path, machine: str, process: int, age: float = 0) -> Path:
    """A scratch folder as some process leaves it that is killed before it renames."""
    left = path.parent / f".{path.name}.{machine}-{process}.abc"
    left.mkdir()
    when = left.stat().st_mtime - age
    os.utime(left, (when, when))
    return left


def test_only_what_the_dead_left_is_swept(tmp_path):
    path, dead = tmp_path / "a.txt", 2**22 + 1  # no process has such a number
    ours, foreign = _machine(), "0" * 16
    kept = [_left(path, ours, os.getpid(), 9 * DAY), _left(path, foreign, dead), tmp_path / ".a.txt.own"]
    kept[-1].mkdir()
    swept = [_left(path, ours, dead), _left(path, foreign, 1, 2 * DAY)]
    recover(path)
    assert all(left.exists() for left in kept) and not any(left.exists() for left in swept)


def test_a_folder_that_a_dead_process_had_moved_away_is_put_back(tmp_path):
    left = _left(tmp_path / "bank", _machine(), 2**22 + 1)
    _folder_of("mine")(left / "old 0")
    recover(tmp_path / "bank")
    assert [path.name for path in tmp_path.rglob("*")] == ["bank", "mine"]


def test_a_folder_is_replaced_though_another_process_comes_in_between(tmp_path, monkeypatch):
    replace, path = os.replace, tmp_path / "bank"

    def late(old, new):
        if Path(new) == path and not path.exists():
            monkeypatch.setattr(os, "replace", replace)
            _folder_of("theirs")(path)
        replace(old, new)

    monkeypatch.setattr(os, "replace", late)
    atomic_write(path, _folder_of("ours"))
    assert [path.name for path in tmp_path.rglob("*")] == ["bank", "ours"]


def test_hidden_files_do_not_make_a_folder_foreign_and_stay(tmp_path):
    for number in range(2):
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / ".DS_Store").write_text("icons")
        write_folder(tmp_path / "own", _folder_of(f"{number}"), "thing was", ("0",), "")
        assert {path.name for path in (tmp_path / "own").iterdir()} == {f"{number}", ".DS_Store"}
    with pytest.raises(FileExistsError, match=re.escape("no thing was saved to")):  # it has no "0" any longer
        write_folder(tmp_path / "own", _folder_of("2"), "thing was", ("0",), "")


def test_a_link_to_a_folder_stays_one(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    write_folder(tmp_path / "link", _folder_of("1"), "thing was", ("1",), "")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "1").exists()


def test_a_lock_changes_no_file_and_is_not_needed(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    with locked(tmp_path / "a.txt"), locked(tmp_path / "missing" / "lock"), locked(tmp_path / "b", shared=True):
        pass
    assert (tmp_path / "a.txt").read_text() == "one" and not (tmp_path / "b").exists()


def test_a_folder_that_cannot_be_written_to_is_said_before_the_work(tmp_path, monkeypatch):
    require_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="nothing can be kept in .*file/cache .Not a directory.*COXLMM_CACHE or `folder`"):
        require_writable(tmp_path / "file" / "cache")
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(full))
    with pytest.raises(OSError, match="No space left on device.*COXLMM_CACHE"):
        require_writable(tmp_path / "new")


def test_a_full_disk_is_said_with_the_path(tmp_path):
    with pytest.raises(OSError, match="No space left on device: '.*thing'"):
        atomic_write(tmp_path / "thing", lambda made: (_ for _ in ()).throw(OSError(28, "No space left on device")))


def test_a_full_disk_is_said_by_safetensors_too(tmp_path):
    with pytest.raises(OSError, match="thing cannot be written: .*No space left"):
        atomic_write(tmp_path / "thing", lambda made: (_ for _ in ()).throw(SafetensorError("No space left")))


def test_folders_of_results_are_named_after_what_they_are_of():
    assert folder_name("picturebook", "picturebook", "dog", "predicts") == "picturebook_picturebook_dog_predicts"
    hub = folder_name("llava-hf/llava-1.5-7b-hf", "coco:/data/coco", "dog")
    assert re.fullmatch("llava-hf-llava-1.5-7b-hf_coco-data-coco_dog_[0-9a-f]{6}", hub)
    same_looks = {folder_name(*parts) for parts in (["a/b"], ["a-b"], ["a", "b"], ["a_b"], ["a/b/"], ["../a/b"])}
    assert len(same_looks) == 6 and not any(set(name) & set('/\\:*?"<>|') or name[0] == "." for name in same_looks)
    assert len(folder_name("x" * 300, "狗")) < 110 and folder_name("狗") == "狗"
