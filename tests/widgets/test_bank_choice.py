"""The collection: banks from objects and folders, what they are called, and choosing among them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coxlmm_utils.dictionaries.baselines import KMeans
from coxlmm_utils.widgets.bank_choice import BankCollection, saved_banks
from tests.widgets.browsed import browsed_bank

WHERE = "layer 2, position that predicts it (the paper's)"


@pytest.fixture(scope="module")
def browsed(bank, tmp_path_factory):
    return browsed_bank(bank, tmp_path_factory.mktemp("browsed"))


def like(bank, **changed):
    dictionary = {**bank.provenance["dictionary"], "random_state": changed.pop("seed", 0)}
    return replace(bank, provenance={**bank.provenance, "dictionary": dictionary, **changed})


@pytest.fixture(scope="module")
def several(browsed):
    """Dog at layer 2 by three seeds, the last twice, and by K-Means; cat at layer 2 and at layer 1."""
    kmeans = replace(browsed, dictionary=KMeans(4))
    dogs = [like(browsed), like(browsed, seed=1), like(browsed, seed=2), like(browsed, seed=2), like(kmeans)]
    return BankCollection([*dogs, like(browsed, token=["cat"]), like(browsed, token=["cat"], layer=1)])


def test_one_bank_leaves_no_choice(browsed):
    collection = BankCollection(browsed)
    number, choices = collection.choose({})
    assert len(collection) == 1 and number == 0 and collection.labels() == ["dog"]
    assert choices == {
        **{"Word": ["dog"], "Model": [browsed.model_name], "Read at": [WHERE], "Method": ["Semi-NMF"]},
        **{"Concepts": ["4"], "Seed": ["0"], "Bank": ["bank 1"]},
    }


def test_what_can_be_chosen_follows_from_what_was_chosen_before(several):
    number, choices = several.choose({})
    assert number == 0 and choices["Word"] == ["dog", "cat"] and choices["Method"] == ["Semi-NMF", "K-Means"]
    assert choices["Seed"] == ["0", "1", "2"] and choices["Read at"] == [WHERE] and choices["Bank"] == ["bank 1"]
    number, choices = several.choose({"Word": "cat", "Seed": "2"})
    assert number == 5 and choices["Seed"] == ["0"] and len(choices["Read at"]) == 2
    assert several.choose({"Word": "cat", "Read at": choices["Read at"][1]})[0] == 6
    assert several.choose({"Method": "K-Means"})[0] == 4


def test_every_bank_can_be_chosen_by_its_own_facets(several):
    assert [several.choose(several.facets(number))[0] for number in range(7)] == list(range(7))


def test_every_bank_has_a_name_of_its_own_of_what_they_differ_in(several):
    labels = several.labels()
    assert len(set(labels)) == 7
    assert labels[1] == f"dog · {WHERE} · Semi-NMF · seed 1" and labels[3].endswith("seed 2 · bank 4")


def test_banks_are_found_in_folders(browsed, tmp_path):
    for name in ("b", "a"):
        browsed.save_pretrained(tmp_path / "banks" / name)
    browsed.save_pretrained(tmp_path / "single")
    assert [path.name for path in saved_banks(tmp_path / "banks")] == ["a", "b"]
    assert saved_banks(str(tmp_path / "single")) == [tmp_path / "single"]
    collection = BankCollection([tmp_path / "banks", str(tmp_path / "single"), replace(browsed, folder=None)])
    assert [collection.facets(number)["Bank"] for number in range(4)] == [
        *("bank 1, a", "bank 2, b", "bank 3, single", "bank 4"),
    ]
    assert len(BankCollection(tmp_path / "banks")) == 2


def test_nothing_to_browse_is_said(tmp_path):
    with pytest.raises(ValueError, match="no bank to browse"):
        BankCollection([])
    with pytest.raises(FileNotFoundError, match="no saved concept bank in .*, nor in its folders"):
        BankCollection(tmp_path)
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "bank.json").write_text("{")
    with pytest.raises(ValueError, match="concept bank in .* is damaged"):
        BankCollection(tmp_path)
