"""One dictionary for several tokens."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from coxlmm_utils import ConceptBank, SemiNMF, explain
from coxlmm_utils.concepts.measures import token_shares
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.extraction.states import States, join_states
from coxlmm_utils.widgets.html import Thumbnails
from coxlmm_utils.widgets.static_page import page_html
from tests.extraction.test_extract import QUICK, folder_of


@pytest.fixture(scope="module")
def other(states):
    """The states of another token: fewer, and elsewhere."""
    provenance = {**states.provenance, "token": ["blue", "blues"]}
    Z = states.Z[:4] * torch.linspace(-1, 1, states.Z.shape[1])
    return replace(
        states, vectors={2: Z}, images=states.images[:4], captions=states.captions[:4], provenance=provenance
    )


@pytest.fixture(scope="module")
def shared(llava, states, other):
    return ConceptBank.learn(llava, [states, other], SemiNMF(4, lam=0.01))


def test_joined_samples_keep_their_pictures(states, other, token):
    joined = join_states([states, other])
    n = len(states)
    assert len(joined) == n + 4 and torch.equal(joined.Z[n:], other.Z)
    assert joined.images.ids[n] == f"blue/{states.images.ids[0]}"
    assert joined.images.picture(n + 1) == states.images.picture(1)
    assert joined.images.references[n] == states.images.references[0]
    assert joined.captions == [*states.captions, *states.captions[:4]]
    assert joined.provenance["tokens"] == {token: n, "blue": 4}
    assert joined.provenance["token"] == [*states.provenance["token"], "blue", "blues"]
    assert joined.provenance["counts"]["kept"] == 2 * states.provenance["counts"]["kept"]


def test_only_common_layers_are_kept(states, other):
    more = replace(other, vectors={1: other.Z, 2: other.Z})
    assert list(join_states([more, states]).vectors) == [2]
    with pytest.raises(ValueError, match=r"no layer in common: \[\[2\], \[1\]\]"):
        join_states([states, replace(other, vectors={1: other.Z})])


@pytest.mark.parametrize("name, value", [("position", "own"), ("prompt", "?"), ("model", {"name": "x"})])
def test_states_of_different_making_are_refused(states, other, name, value):
    with pytest.raises(ValueError, match=f"the first states and others differ in {name}"):
        join_states([states, replace(other, provenance={**other.provenance, name: value})])


def test_a_token_twice_is_refused(states):
    with pytest.raises(ValueError, match="a token comes twice"):
        join_states([states, states])


def test_shares_by_hand(shared):
    n = len(shared.ids) - 4
    means = np.stack([shared.activations[:n].mean(0), shared.activations[n:].mean(0)], axis=1)
    table = token_shares(shared)
    assert table.to_numpy() == pytest.approx(means / means.sum(1, keepdims=True), rel=1e-5)
    assert table.sum(axis=1).to_numpy() == pytest.approx(np.ones(4))
    assert list(table) == shared.token.split(", ")


def test_shares_need_several_tokens(bank, token):
    with pytest.raises(ValueError, match=f"this bank is of '{token}' alone"):
        token_shares(bank)


def test_a_shared_bank_is_saved_and_explains(llava, shared, states, tmp_path):
    shared.save_pretrained(tmp_path / "bank")
    again = ConceptBank.from_pretrained(tmp_path / "bank")
    assert token_shares(again).equals(token_shares(shared))
    assert explain(llava, again, states.images.picture(0)).bank.token == shared.token


def test_one_may_be_joined_and_nothing_is_refused(states):
    assert len(join_states(states)) == len(states)
    with pytest.raises(ValueError, match="no states to join: give those of at least one token"):
        join_states([])


def test_joined_states_of_files_are_saved_and_find_their_pictures_again(llava, pictures, token, tmp_path):
    images = folder_of(pictures, tmp_path / "pictures", token)
    first = extract(llava, images, token, 2, **QUICK)
    second = replace(first.subset(first.images.ids[:3]), provenance={**first.provenance, "token": ["blue"]})
    joined = join_states([first, second])
    assert joined.provenance["data"]["source"] == images.source
    joined.save_pretrained(tmp_path / "joined")
    for given in (None, images, joined.images):
        loaded = States.from_pretrained(tmp_path / "joined", given)
        assert loaded.images.ids == joined.images.ids and loaded.images.references == joined.images.references
        assert loaded.images.picture(-1) == second.images.picture(-1)
    bank = ConceptBank.learn(llava, joined, SemiNMF(2), n_pictures=1)
    thumbnails = Thumbnails(bank)
    assert thumbnails.note == "" and all(thumbnails.of(row).uri for row in range(len(bank.ids)))
    assert str(tmp_path) not in page_html(bank)


def test_a_file_called_as_a_joined_sample_is_not_taken_for_it(llava, pictures, token, tmp_path):
    images = folder_of(pictures, tmp_path / "pictures", token)
    folder_of(pictures[::-1], tmp_path / "pictures" / token, token)
    joined = join_states([extract(llava, images, token, 2, **QUICK)])
    joined.save_pretrained(tmp_path / "joined")
    loaded = States.from_pretrained(tmp_path / "joined")
    assert loaded.images.ids == joined.images.ids and loaded.images.picture(0) == joined.images.picture(0)


@pytest.mark.parametrize("name, value", [("processor", "other"), ("captions", "given"), ("generation", {"x": 1})])
def test_states_read_under_other_settings_are_refused_where_both_say_theirs(states, other, name, value):
    changed = replace(other, provenance={**other.provenance, name: value})
    with pytest.raises(ValueError, match=f"differ in {name}: "):
        join_states([states, changed])
    older = replace(states, provenance={key: states.provenance[key] for key in states.provenance if key != "processor"})
    assert len(join_states([older, other])) == len(states) + len(other)


def test_what_extract_many_gives_is_not_joined_as_it_is(llava, states):
    with pytest.raises(ValueError, match="only a list of States can be joined: .* choose those of one position"):
        ConceptBank.learn(llava, {("grey", "predicts"): states}, SemiNMF(2))
