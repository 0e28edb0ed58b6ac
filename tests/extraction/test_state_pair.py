"""Pairs of states: the same samples in two models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.extraction.state_pair import StatePair
from coxlmm_utils.models import randomly_initialised
from tests.conftest import MAX_NEW_TOKENS, in_memory


@pytest.fixture(scope="module")
def before(llava, pictures, token):
    return extract(llava, in_memory(pictures, (token,)), token, 2, max_new_tokens=MAX_NEW_TOKENS)


@pytest.fixture(scope="module")
def after(llava, before):
    """Of another model, for given captions: its samples in reverse, and one less."""
    other, ids = randomly_initialised(llava, 0), before.images.ids
    captions = dict(zip(ids, before.captions))
    images = before.images.with_ids(ids[:0:-1])
    return extract(other, images, before.spellings, 2, captions=captions, max_new_tokens=MAX_NEW_TOKENS)


def test_samples_that_both_have_are_aligned_by_id(before, after):
    pair = StatePair.of(before, after)
    assert len(pair) == len(before) - 1 == len(after)
    assert pair.before.images.ids == pair.after.images.ids == before.images.ids[1:]
    assert torch.equal(pair.before.Z, before.Z[1:]) and torch.equal(pair.after.Z, after.Z.flip(0))
    assert pair.before.captions == pair.after.captions == before.captions[1:]
    assert pair.before.fingerprint != pair.after.fingerprint


def test_what_is_no_pair_is_refused(before, after):
    with pytest.raises(ValueError, match="not the same samples in the same order"):
        StatePair(before, after)
    for name, value in (("position", "own"), ("prompt", "Another."), ("token", ["zebra"])):
        other = replace(before, provenance={**before.provenance, name: value})
        with pytest.raises(ValueError, match=f"before and after differ in {name}"):
            StatePair(before, other)
    with pytest.raises(ValueError, match="differ in layer: 2 and 1"):
        StatePair(before, replace(before, vectors={1: before.Z}))
    with pytest.raises(ValueError, match="no sample in common"):
        StatePair.of(before.subset(before.images.ids[:1]), after)


def test_a_subset_keeps_all_of_its_samples(before):
    ids = before.images.ids[2::-1]
    part = before.subset(ids)
    assert part.images.ids == ids and torch.equal(part.Z, before.Z[[2, 1, 0]])
    assert part.token_ids == before.token_ids[2::-1] and part.captions == before.captions[2::-1]
    with pytest.raises(ValueError, match="there is no picture 'nowhere'"):
        before.subset(["nowhere"])
