"""A bank that commit b11afb8 saved is read, explains, and can be saved anew (tests/b11afb8)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.explanation import explain
from coxlmm_utils.extraction import States
from coxlmm_utils.models import load_lmm
from coxlmm_utils.picturebook import page

SAVED = Path(__file__).parents[1] / "b11afb8"


@pytest.fixture(scope="module")
def bank() -> ConceptBank:
    return ConceptBank.from_pretrained(SAVED / "bank")


def test_all_of_the_bank_is_read(bank):
    record = json.loads((SAVED / "bank" / "bank.json").read_text())
    assert len(bank) == 4 and bank.names == {1: "a name"} and bank.layer == 4
    assert [list(words.kept) for words in bank.words] == [words["kept"] for words in record["words"]]
    assert bank.captions == record["captions"] and sorted(bank.thumbnails) == sorted(record["pictures"])
    assert bank.provenance == record["provenance"]


def test_its_dictionary_projects_the_saved_states_as_before(bank):
    states = States.from_pretrained(SAVED / "states")
    assert bank.ids == list(states.images.ids)
    assert np.allclose(bank.project(states.Z), bank.activations, atol=1e-4 * bank.activations.max())


def test_it_explains_and_is_saved_anew(bank, tmp_path):
    lmm = load_lmm("picturebook")
    picture = page(0).picture
    explained = explain(lmm, bank, picture)
    bank.save_pretrained(tmp_path / "bank")
    again = ConceptBank.from_pretrained(tmp_path / "bank")
    assert again.names == bank.names and np.array_equal(again.concepts, bank.concepts)
    assert np.array_equal(explain(lmm, again, picture).activations, explained.activations)
