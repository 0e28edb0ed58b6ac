"""Blocks on disk: whole or not there, and never taken for another's."""

import errno
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from coxlmm_utils.extraction.blocks import Block, BlockFolder, block_name, stacked


def picture(id: str, **steps) -> dict:
    return {"id": id, "version": "1", "ids": [5, 7], "caption": "a dog", "steps": steps}


@pytest.fixture
def folder(tmp_path) -> BlockFolder:
    names = [block_name(number, [f"p{number}"]) for number in range(3)]
    return BlockFolder(tmp_path, {"model": "m"}, {"layers": [1]}, names)


@pytest.fixture
def block() -> Block:
    states = {"dog/own/1": torch.arange(4.0).reshape(2, 2).half()}
    return Block([picture("a", dog=1), picture("b"), picture("c", dog=0)], {"d": "damaged"}, states)


def test_what_was_written_is_read(folder, block):
    folder.write(1, block)
    (again,) = folder.read([1])
    assert (again.pictures, again.unreadable) == (block.pictures, block.unreadable)
    assert torch.equal(again.states["dog/own/1"], block.states["dog/own/1"])
    assert again.states["dog/own/1"].dtype == torch.float16
    assert next(folder.read([1], states=False)).states == {}
    assert [item["id"] for item in again.having("dog")] == ["a", "c"] and again.having("cat") == []


def test_missing_are_those_without_their_json(folder, block):
    assert folder.missing() == [0, 1, 2]
    folder.write(1, block)
    folder.write(2, block)
    (folder.folder / f"{folder.names[2]}.json").unlink()  # as if killed between the two files
    assert folder.missing() == [0, 2]


def test_what_a_killed_process_left_is_swept_away_and_what_a_living_one_writes_is_not(folder, block):
    folder.folder.mkdir(parents=True)
    script = f"from coxlmm_utils.files import atomic_write; atomic_write(r'{folder.folder / folder.names[0]}.json', "
    slow = [
        sys.executable,
        "-c",
        script + "lambda made: (made.write_text('x'), print('at work', flush=True), input()))",
    ]
    with subprocess.Popen(slow, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        (left,) = folder.folder.glob(".*")
        folder.write(0, block)
        assert left.exists()
        process.kill()
    folder.write(0, block)
    assert not left.exists()


def write_all(folder: BlockFolder, number: int, barrier) -> None:
    """What one of several processes does: write every block with its own states, and read all that there are."""
    for n in range(len(folder.names)):
        barrier.wait()
        folder.write(n, Block([picture(str(number), dog=0)], {}, {"dog/own/1": torch.full((1, 2000), float(number))}))
        assert len(list(folder.read(range(n + 1)))) == n + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows starts each process anew, which takes long")
def test_eight_processes_in_lockstep_on_one_folder(tmp_path):
    """None fails, and each block is of one of them, whole."""
    folder = BlockFolder(tmp_path, {"model": "m"}, {"layers": [1]}, [f"{n:06d}-a" for n in range(20)])
    forking = multiprocessing.get_context("fork")
    barrier = forking.Barrier(8, timeout=60)
    processes = [forking.Process(target=write_all, args=(folder, number, barrier)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    for block in folder.read():
        assert block.states["dog/own/1"].eq(float(block.pictures[0]["id"])).all()
    assert not list(tmp_path.glob("**/.*"))


def test_the_json_of_one_writer_with_the_states_of_another_is_refused(folder, block):
    folder.write(0, block)
    path = folder.folder / f"{folder.names[0]}.json"
    of_first = path.read_text()
    folder.write(0, replace(block, states={"dog/own/1": block.states["dog/own/1"] + 1}))
    path.write_text(of_first)
    with pytest.raises(ValueError, match="damaged .its states are not those that its json was written with.; delete"):
        list(folder.read([0]))
    path.write_text(json.dumps({key: json.loads(of_first)[key] for key in ("pictures", "unreadable")}))
    assert len(list(folder.read([0]))) == 1  # as version 0.1.0 wrote them
    folder.write(1, block)
    for suffix in ("json", "safetensors"):
        shutil.copy(folder.folder / f"{folder.names[1]}.{suffix}", folder.folder / f"{folder.names[2]}.{suffix}")
    with pytest.raises(ValueError, match=f"damaged .it is the block {folder.names[1]}.; delete"):
        list(folder.read([2]))


@pytest.mark.parametrize(
    "change, says",
    [
        ({"states": {"dog/own/1": torch.zeros(3, 2)}}, r"2 pictures do not fit its states of dog/own/1, \(3, 2\)"),
        ({"states": {"dog/own/1": torch.zeros(2)}}, "do not fit"),
        ({"states": {"dog/own/1": torch.tensor([[0, 1], [torch.inf, 1]])}}, "state of c at dog/own/1 has a NaN or inf"),
        ({"pictures": [picture("a", dog=5)]}, "caption of a has 2 tokens"),
        ({"pictures": [{"id": "a"}]}, "'steps'"),
    ],
)
def test_counts_that_do_not_fit_and_values_that_are_not_finite_are_refused(folder, block, change, says):
    folder.write(0, replace(block, **{"states": {}, **change}) if "pictures" in change else replace(block, **change))
    with pytest.raises(ValueError, match=f"the block .* is damaged .*{says}"):
        list(folder.read([0]))


def test_a_trouble_of_the_disk_is_no_damaged_block(folder, block, monkeypatch):
    folder.write(0, block)
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error"))
    )
    with pytest.raises(OSError, match="Input/output error"):
        list(folder.read([0]))


def test_other_settings_and_other_pictures_are_elsewhere(folder, block, tmp_path):
    folder.write(0, block)
    for caption_settings, readout_settings, names in (
        ({"model": "n"}, folder.readout_settings, folder.names),
        (folder.caption_settings, {"layers": [2]}, folder.names),
        (folder.caption_settings, folder.readout_settings, [block_name(0, ["another"])]),
    ):
        assert 0 in BlockFolder(tmp_path, caption_settings, readout_settings, names).missing()


def test_settings_can_be_read_by_people(folder, block):
    folder.write(0, block)
    assert json.loads((folder.captions_folder / "settings.json").read_text()) == {"model": "m"}
    assert json.loads((folder.folder / "settings.json").read_text()) == {"layers": [1]}


def test_captions_are_known_to_other_readings_of_the_same_captioning(folder, block, tmp_path):
    folder.write(0, block)
    other = BlockFolder(tmp_path, folder.caption_settings, {"layers": [2]}, folder.names)
    assert other.known_captions() == {(id, "1"): [5, 7] for id in "abc"}
    assert BlockFolder(tmp_path, {"model": "n"}, {"layers": [2]}, folder.names).known_captions() == {}


def test_captions_of_a_damaged_block_are_not_known(folder, block):
    folder.write(0, block)
    folder.write(1, Block([picture("e")], {}, {}))
    (folder.folder / f"{folder.names[0]}.json").write_text('{"pictures": [{"id"')
    assert folder.known_captions() == {("e", "1"): [5, 7]}


def test_scratch_of_a_process_that_writes_right_now_is_not_looked_into(folder, block, monkeypatch):
    folder.write(0, block)
    (folder.captions_folder / ".settings.json.xyz").mkdir()
    scan, looked_into = os.scandir, []
    monkeypatch.setattr(os, "scandir", lambda path: looked_into.append(str(path)) or scan(path))
    assert folder.known_captions()
    assert looked_into and not any(".settings" in path for path in looked_into)


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_a_damaged_block_is_named(folder, block, suffix):
    folder.write(0, block)
    path = folder.folder / f"{folder.names[0]}.{suffix}"
    path.write_bytes(path.read_bytes()[:9])
    with pytest.raises(
        ValueError, match=rf"the block .*{folder.names[0]}\.\* is damaged .*delete it and extract again"
    ):
        list(folder.read([0]))


def test_states_are_stacked_in_order(block):
    both = stacked([block, block], "dog", "own", [1])
    assert both[1].tolist() == [[0, 1], [2, 3], [0, 1], [2, 3]] and both[1].dtype == torch.float32
