"""Edits made of others: one for each picture, several in turn, and one projection for those of one bank."""

import pytest
import torch

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.steering import Direction, InTurn, PerPicture, mean_difference, reach, set_concepts
from tests.tiny_lmms import WIDTH


@pytest.fixture
def Z() -> torch.Tensor:
    return torch.randn(5, 3, WIDTH, generator=torch.Generator().manual_seed(0)) * 3


@pytest.fixture
def edits(llava, bank, states):
    layer = bank.layer
    direction = Direction(torch.arange(WIDTH).float(), layer, "for a test", llava.name, llava.fingerprint)
    some = [set_concepts(bank, {0: 4.0}), direction, set_concepts(bank, {1: 0.0, 2: 7.0})]
    return [*some, direction, set_concepts(bank, {0: 4.0, 1: 2.0})]


def test_each_picture_has_its_own_edit(edits, Z):
    together = PerPicture(edits).change(Z)
    for row, edit in enumerate(edits):
        torch.testing.assert_close(together[row], edit.change(Z[row : row + 1])[0], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="5 edits do not fit a batch of 4"):
        PerPicture(edits).change(Z[:4])


def test_concepts_of_one_bank_are_set_in_one_projection(edits, Z, monkeypatch):
    calls, real = [], ConceptBank.project
    monkeypatch.setattr(ConceptBank, "project", lambda self, states: calls.append(len(states)) or real(self, states))
    PerPicture(edits).change(Z)
    assert calls == [9]  # three edits, three positions each


def test_edits_in_turn_see_what_the_one_before_has_made(edits, Z, states, bank):
    first, second = edits[0], edits[1]
    after = Z + first.change(Z)
    torch.testing.assert_close(
        Z + InTurn([first, second]).change(Z), after + second.change(after), rtol=1e-4, atol=1e-4
    )
    towards = reach(
        mean_difference(states.subset(states.images.ids[:3]), states.subset(states.images.ids[3:]), bank.layer)
    )
    both = InTurn([first, towards]).change(Z)
    torch.testing.assert_close(both, first.change(Z) + towards.change(after), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", [PerPicture, InTurn])
def test_edits_of_two_layers_or_none_or_of_another_model_are_refused(kind, edits, llava, qwen):
    with pytest.raises(ValueError, match="of layers"):
        kind([])
    other = Direction(torch.ones(WIDTH), 1, "elsewhere", llava.name, llava.fingerprint)
    with pytest.raises(ValueError, match="of layers"):
        kind([edits[0], other])
    joined = kind(edits)
    assert joined.layer == edits[0].layer and joined.fingerprint == llava.fingerprint
    joined.check_model(llava)
    with pytest.raises(ValueError):
        joined.check_model(qwen)
