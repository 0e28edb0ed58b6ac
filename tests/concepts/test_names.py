"""Names of concepts: which are taken, where they are written, and what a concept without one is called."""

from __future__ import annotations

import json
import multiprocessing
import os
from copy import copy
from dataclasses import replace

import pytest

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.concepts.bank_files import check_name
from coxlmm_utils.concepts.grounding import Words
from coxlmm_utils.files import _machine


@pytest.fixture
def named(bank):
    """The bank with names of its own."""
    words = [Words(("brown", "beach", "sand", "sea"), ()), Words((), ()), Words(("dog",), ())]
    return replace(bank, words=words, names={}, measures={}, folder=None)


def written(folder):
    return json.loads((folder / "names.json").read_text())


def test_a_concept_is_called_by_its_name_else_by_its_words_else_by_its_number(named):
    assert [named.title(k) for k in range(3)] == ["brown, beach, sand", "concept 1", "dog"]
    named.rename(1, "  night \u2013 <b>  ")
    named.rename(2, "x" * 60)
    assert [named.title(k) for k in range(3)] == ["brown, beach, sand", "night \u2013 <b>", "x" * 60]
    named.rename(1, " ")
    assert named.title(1) == "concept 1" and named.names == {2: "x" * 60}


@pytest.mark.parametrize("name", ["two\nlines", "a\x00b", "\x1b[31m", "a\u2028b", "half \ud800"])
def test_control_characters_are_refused(named, name):
    with pytest.raises(ValueError, match="control character"):
        named.rename(0, name)
    assert named.names == {}


def test_long_names_and_unknown_concepts_are_refused(named):
    with pytest.raises(ValueError, match="61 characters; give it at most 60"):
        named.rename(0, "x" * 61)
    for number in (3, -1):
        with pytest.raises(ValueError, match="no concept .*: they are numbered from 0 to 2"):
            named.rename(number, "name")
    with pytest.raises(TypeError):
        named.rename("0", "name")
    assert check_name("  \u6d77\u8fb9 \U0001f415 ") == "\u6d77\u8fb9 \U0001f415"


def test_a_saved_banks_names_are_written_at_once(named, tmp_path):
    named.rename(0, "first")
    named.save_pretrained(tmp_path / "bank")
    assert written(tmp_path / "bank") == {"0": "first"}
    named.rename(2, "second")
    assert written(tmp_path / "bank") == {"0": "first", "2": "second"}
    loaded = ConceptBank.from_pretrained(tmp_path / "bank")
    assert loaded.names == named.names and loaded.title(2) == "second"
    loaded.rename(0, "")
    assert written(tmp_path / "bank") == {"2": "second"}
    assert sorted(path.name for path in (tmp_path / "bank").iterdir()) == [
        *("bank.json", "bank.safetensors", "names.json", "pictures"),
    ]


def test_names_given_elsewhere_are_kept(named, tmp_path):
    named.save_pretrained(tmp_path / "bank")
    other = ConceptBank.from_pretrained(tmp_path / "bank")
    other.rename(0, "theirs")
    named.rename(1, "mine")
    assert named.names == {0: "theirs", 1: "mine"} == ConceptBank.from_pretrained(tmp_path / "bank").names


def test_saving_the_same_concepts_again_keeps_their_names(named, tmp_path):
    again = replace(named, names={1: "own"}, words=named.words[::-1])
    named.save_pretrained(tmp_path / "bank")
    named.rename(0, "first")
    named.rename(1, "second")
    again.save_pretrained(tmp_path / "bank")
    assert again.names == {0: "first", 1: "own"} == ConceptBank.from_pretrained(tmp_path / "bank").names
    again.rename(0, "")  # a name that was taken away does not come back
    again.save_pretrained(tmp_path / "bank")
    assert ConceptBank.from_pretrained(tmp_path / "bank").names == {1: "own"}


@pytest.mark.parametrize("part", ["activations", "concepts", "damaged"])
def test_names_of_another_bank_are_not_carried_over(named, tmp_path, part):
    named.rename(0, "first")
    named.save_pretrained(tmp_path / "bank")
    other = replace(named, names={}, dictionary=copy(named.dictionary))
    if part == "activations":
        other = replace(other, activations=named.activations[:, ::-1])
    elif part == "concepts":
        other.dictionary.components_ = named.concepts[::-1]
    else:
        (tmp_path / "bank" / "bank.safetensors").write_bytes(b"half")
    with pytest.warns(UserWarning, match="names given to other concepts in .*bank are kept there .names-.*come back"):
        other.save_pretrained(tmp_path / "bank")
    assert other.names == {} == ConceptBank.from_pretrained(tmp_path / "bank").names
    [kept] = (tmp_path / "bank").glob("names-*.json")
    assert json.loads(kept.read_text()) == {"0": "first"}


def test_names_come_back_with_the_bank_that_they_were_given_to(named, tmp_path):
    named.rename(0, "first")
    named.save_pretrained(tmp_path / "bank")
    other = replace(named, names={}, activations=named.activations[:, ::-1])
    with pytest.warns(UserWarning, match="kept"):
        other.save_pretrained(tmp_path / "bank")
    other.rename(1, "theirs")
    again = replace(named, names={})
    with pytest.warns(UserWarning, match="kept"):
        again.save_pretrained(tmp_path / "bank")
    assert again.names == {0: "first"} == ConceptBank.from_pretrained(tmp_path / "bank").names
    with pytest.warns(UserWarning, match="kept"):
        replace(other, names={}).save_pretrained(tmp_path / "bank")
    assert ConceptBank.from_pretrained(tmp_path / "bank").names == {1: "theirs"}
    again.rename(0, "")  # it has none now
    assert len(list((tmp_path / "bank").glob("names-*.json"))) == 1


def test_the_folder_is_remembered_wherever_one_goes(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named.save_pretrained("bank")
    loaded = ConceptBank.from_pretrained("bank")
    assert named.folder == loaded.folder == tmp_path / "bank"
    monkeypatch.chdir("/")
    loaded.rename(0, "name")
    assert written(tmp_path / "bank") == {"0": "name"}


def test_a_bank_that_has_moved_takes_no_names(named, tmp_path):
    named.save_pretrained(tmp_path / "bank")
    os.rename(tmp_path / "bank", tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match="no longer in"):
        named.rename(0, "name")
    assert named.names == {} and not (tmp_path / "bank").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"a": "b"}', '{"0": 1}', '{"0": "a\\nb"}', '{"3": "name"}'])
def test_names_that_cannot_be_read_are_said(named, tmp_path, text):
    named.save_pretrained(tmp_path / "bank")
    (tmp_path / "bank" / "names.json").write_text(text)
    with pytest.raises(ValueError, match="names.json .*mend or delete it"):
        ConceptBank.from_pretrained(tmp_path / "bank")


def test_a_changed_copy_goes_by_the_same_names(named):
    named.rename(0, "first")
    assert replace(named, captions=[]).title(0) == "first"


def test_a_name_whose_writing_was_killed_is_in_nobodys_way(named, tmp_path):
    named.save_pretrained(tmp_path / "bank")
    (tmp_path / "bank" / f".names.json.{_machine()}-{2**22 + 1}.abc").mkdir()  # no process has such a number
    named.save_pretrained(tmp_path / "bank")
    assert not list((tmp_path / "bank").glob(".*"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows starts each process anew, which takes long")
def test_names_that_several_give_at_once_are_all_kept(named, tmp_path):
    named.save_pretrained(tmp_path / "bank")
    forking = multiprocessing.get_context("fork")
    barrier = forking.Barrier(3, timeout=60)

    def give(concept: int) -> None:
        bank = ConceptBank.from_pretrained(tmp_path / "bank")
        for number in range(30):
            barrier.wait()
            bank.rename(concept, f"{concept} {number}")

    processes = [forking.Process(target=give, args=(concept,)) for concept in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 3
    assert written(tmp_path / "bank") == {str(concept): f"{concept} 29" for concept in range(3)}
