"""States that are kept: saving, loading, and files that cannot be used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.extraction.states import FILES, States
from coxlmm_utils.images import load_images
from coxlmm_utils.models import decode, encode
from tests.extraction.test_extract import QUICK, folder_of


def test_states_survive_saving(states, tmp_path):
    states.save_pretrained(tmp_path / "grey")
    loaded = States.from_pretrained(tmp_path / "grey", states.images)
    assert list(loaded.vectors) == [2] and torch.equal(loaded.Z, states.Z)
    assert (loaded.captions, loaded.provenance) == (states.captions, states.provenance)
    assert loaded.images.ids == states.images.ids and repr(loaded) == repr(states)
    assert set(load_file(tmp_path / "grey" / "states.safetensors")) == {"2"}


def test_states_are_saved_at_home(states, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    states.save_pretrained("~/states")
    assert (tmp_path / "states" / "states.json").is_file()
    assert States.from_pretrained("~/states", states.images).captions == states.captions


def test_states_load_their_pictures_again(llava, pictures, token, tmp_path):
    images = folder_of(pictures, tmp_path / "pictures", token)
    states = extract(llava, images, token, [1, "norm"], **QUICK)
    states.save_pretrained(tmp_path / "states")
    loaded = States.from_pretrained(tmp_path / "states")
    assert list(loaded.vectors) == [1, "norm"]
    assert loaded.images.picture(1).tobytes() == states.images.picture(1).tobytes()


def test_caption_ids_are_those_generated_even_where_the_tokenizer_cuts_otherwise(llava, states, tmp_path):
    caption = states.captions[0]
    ids = [*encode(llava, caption), llava.tokenizer.eos_token_id]  # the same text, not the tokenizer's own cut
    assert decode(llava, ids) == caption and ids != encode(llava, caption)
    states = replace(states, token_ids=[ids, *states.token_ids[1:]])
    states.save_pretrained(tmp_path / "grey")
    assert States.from_pretrained(tmp_path / "grey", states.images).caption_ids(llava, 0) == ids


def test_caption_ids_of_another_tokenizer_are_not_taken(llava, states):
    other = [[id + 1 for id in ids] for ids in states.token_ids]
    assert replace(states, token_ids=other).caption_ids(llava, 0) == encode(llava, states.captions[0])
    assert replace(states, token_ids=None).caption_ids(llava, 0) == encode(llava, states.captions[0])


@pytest.mark.parametrize("others", [["thesis.tex"], ["states.json"], ["states.json", "states.safetensors", "a/b.csv"]])
def test_a_folder_with_anything_else_in_it_is_left_alone(states, tmp_path, others):
    for name in others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match="no states were saved to .*: give a new or an empty folder"):
        states.save_pretrained(tmp_path)
    assert all((tmp_path / name).read_text() == "mine" for name in others)


def test_saving_again_replaces_and_keeps_hidden_files(states, tmp_path):
    for _ in range(2):
        states.save_pretrained(tmp_path / "grey")
        (tmp_path / "grey" / ".DS_Store").write_text("icons")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".DS_Store", "grey", *FILES]


def _of_record(**changes):
    def change(folder):
        record = json.loads((folder / "states.json").read_text())
        (folder / "states.json").write_text(json.dumps({**record, **changes}))

    return change


def _of_provenance(**changes):
    def change(folder):
        record = json.loads((folder / "states.json").read_text())
        _of_record(provenance={**record["provenance"], **changes})(folder)

    return change


def _of_tensors(change_one):
    def change(folder):
        tensors = load_file(folder / "states.safetensors")
        save_file({layer: change_one(Z) for layer, Z in tensors.items()}, folder / "states.safetensors")

    return change


@pytest.mark.parametrize(
    "change, says",
    [
        (_of_record(captions=["a dog"]), r"\d+ samples and 1 captions"),
        (_of_record(token_ids=[[1]]), r"\d+ samples and 1 token_ids"),
        (_of_record(ids=["p0"]), "its 1 samples do not fit the states at layer 2"),
        (_of_record(ids=5), "has no len"),
        (_of_record(provenance={"data": {}}), "'model'"),
        (_of_provenance(model="x"), "its model cannot be understood"),
        (_of_provenance(counts=[]), "its counts cannot be understood"),
        (_of_provenance(counts={"kept": -1}), "its counts cannot be understood"),
        (_of_provenance(token="dog"), "its token cannot be understood"),
        (_of_provenance(samples="all"), "its samples cannot be understood"),
        (_of_tensors(lambda Z: Z[:-1].clone()), "samples do not fit the states at layer 2"),
        (_of_tensors(lambda Z: Z[0].clone()), "do not fit"),
        (_of_tensors(lambda Z: Z / 0), "layer 2 have a NaN or infinite value"),
        (lambda folder: save_file({}, folder / "states.safetensors"), "it has no layer"),
        (_of_tensors(lambda Z: Z.flip(0)), "states.safetensors is not the one that states.json was written with"),
    ],
)
def test_counts_that_do_not_fit_and_values_that_are_not_finite_are_refused(states, tmp_path, change, says):
    states.save_pretrained(tmp_path / "grey")
    change(tmp_path / "grey")
    with pytest.raises(ValueError, match=f"the states in .*grey are damaged .*{says}.*; delete it and extract again"):
        States.from_pretrained(tmp_path / "grey", states.images)


def test_states_without_a_digest_of_their_tensors_as_of_older_versions_load(states, tmp_path):
    states.save_pretrained(tmp_path / "grey")
    record = json.loads((tmp_path / "grey" / "states.json").read_text())
    del record["tensors"]
    (tmp_path / "grey" / "states.json").write_text(json.dumps(record))
    assert torch.equal(States.from_pretrained(tmp_path / "grey", states.images).Z, states.Z)


def test_a_trouble_of_the_disk_is_not_called_damage(states, tmp_path, monkeypatch):
    states.save_pretrained(tmp_path / "grey")
    monkeypatch.setattr(Path, "read_text", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(PermissionError):
        States.from_pretrained(tmp_path / "grey", states.images)


def test_unusable_files_are_named(states, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no states"):
        States.from_pretrained(tmp_path)
    states.save_pretrained(tmp_path / "grey")
    with pytest.raises(ValueError, match="pictures in memory; give them"):
        States.from_pretrained(tmp_path / "grey")
    path = tmp_path / "grey" / "states.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="grey are damaged"):
        States.from_pretrained(tmp_path / "grey", states.images)


def test_other_pictures_under_the_same_names_are_told(llava, pictures, token, tmp_path, monkeypatch, recwarn):
    for place, some in (("one", pictures), ("two", pictures[::-1])):
        (tmp_path / place).mkdir()
        folder_of(some, tmp_path / place / "pictures", token)
    monkeypatch.chdir(tmp_path / "one")
    states = extract(llava, load_images("folder:pictures"), token, 1, **QUICK)
    states.save_pretrained(tmp_path / "states")
    recwarn.clear()
    States.from_pretrained(tmp_path / "states")
    assert not recwarn
    monkeypatch.chdir(tmp_path / "two")
    with pytest.warns(UserWarning, match="pictures in folder:pictures are no longer .* or others under the same names"):
        States.from_pretrained(tmp_path / "states")
