"""Blocks on disk: whole or not there, and never taken for another's."""

import json
import os

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


def test_what_a_killed_process_left_is_swept_away(folder, block):
    left = folder.folder / f".{folder.names[0]}.json.xyz"
    left.mkdir(parents=True)
    folder.write(0, block)
    assert not left.exists()


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
