"""States that are kept: saving, loading, and files that cannot be used."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.extraction.states import FILES, States
from coxlmm_utils.models import decode, encode
from tests.extraction.test_extract import QUICK, folder_of


def test_states_survive_saving(states, tmp_path):
    states.save_pretrained(tmp_path / "grey")
    loaded = States.from_pretrained(tmp_path / "grey", states.images)
    assert list(loaded.vectors) == [2] and torch.equal(loaded.Z, states.Z)
    assert (loaded.captions, loaded.provenance) == (states.captions, states.provenance)
    assert loaded.images.ids == states.images.ids and repr(loaded) == repr(states)
    assert set(load_file(tmp_path / "grey" / "states.safetensors")) == {"2"}


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
