"""What commit b11afb8 wrote is still read: its states, and its blocks under the same names (tests/b11afb8)."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from coxlmm_utils.extraction import loop
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.extraction.extraction_plan import Settings, make_plan
from coxlmm_utils.extraction.states import States
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.picturebook.page_cache import drawing_version

WRITTEN = Path(__file__).parents[1] / "b11afb8"
CAPTIONING, READING, BLOCK = "62acffa0fc19c703", "1932e9b2fee177a8", "000000-237147c6fe82d7fd"


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook")


@pytest.fixture(scope="module")
def images():
    return load_images("picturebook", split="train").mentioning("dog")[:24]


def test_pages_are_drawn_by_the_same_code():
    assert drawing_version() == "6a364079c7"  # the name of the folder of drawn pages


def test_a_plan_has_the_names_that_it_had(lmm, images, tmp_path):
    plan = make_plan(lmm, images, ["dog"], Settings([4], ["predicts"]))
    written = json.loads((WRITTEN / "cache" / "states" / CAPTIONING / "settings.json").read_text())
    # whatever versions of torch and transformers there are today
    plan = replace(plan, caption_settings={**plan.caption_settings, "versions": written["versions"]})
    assert plan.folder(tmp_path).captions_folder != tmp_path / CAPTIONING  # nothing was written under that name here
    (tmp_path / CAPTIONING).mkdir()
    folder = plan.folder(tmp_path)
    assert folder.folder == tmp_path / CAPTIONING / READING and folder.names == [BLOCK]


def test_a_block_is_taken_from_the_cache(lmm, images, tmp_path, monkeypatch):
    written = json.loads((WRITTEN / "cache" / "states" / CAPTIONING / "settings.json").read_text())
    if written["versions"] != make_plan(lmm, images, ["dog"], Settings([4])).caption_settings["versions"]:
        pytest.skip("torch or transformers is of another version: states are extracted anew, rightly")
    shutil.copytree(WRITTEN / "cache" / "states", tmp_path / "states")
    monkeypatch.setenv("COXLMM_CACHE", str(tmp_path))
    for name in ("generate_batch", "teacher_forced_batch"):
        monkeypatch.setattr(loop, name, lambda *_, **__: pytest.fail("the model ran"))
    states = extract(lmm, images, "dog", 4)
    before = States.from_pretrained(WRITTEN / "states")
    assert torch.equal(states.Z, before.Z) and states.captions == before.captions
    assert states.provenance == before.provenance
    assert [lmm.tokenizer.decode(ids) for ids in states.token_ids] == states.captions  # blocks have always had them


def test_saved_states_are_read(lmm, tmp_path):
    states = States.from_pretrained(WRITTEN / "states")
    assert len(states) == 22 and states.layer == 4 and states.position == "predicts" and states.spellings == ["dog"]
    assert states.token_ids is None
    assert lmm.tokenizer.decode(states.caption_ids(lmm, 0)) == states.captions[0]
    states.save_pretrained(tmp_path / "again")
    again = States.from_pretrained(tmp_path / "again")
    assert torch.equal(again.Z, states.Z) and again.token_ids is None
