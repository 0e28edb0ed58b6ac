"""Blocks of samples, in memory and in a scratch file, give the same."""

import errno
import io

import pytest
import torch

from coxlmm_utils.dictionaries import blocks
from coxlmm_utils.dictionaries.base import squared_norms
from coxlmm_utils.dictionaries.blocks import Scratch, as_blocks, in_blocks, mapped, rows_at, summed
from coxlmm_utils.dictionaries.initialization import initial_concepts
from coxlmm_utils.dictionaries.solver import BlockCoordinateDescent, best_of_restarts
from tests.dictionaries.test_semi_nmf import planted

ROWS = 7


@pytest.fixture
def Z():
    return torch.tensor(planted(samples=60, width=10, concepts=4)[0])


@pytest.fixture
def scratch(Z, monkeypatch):
    """The same in nine blocks, of which the last is short."""
    monkeypatch.setattr(blocks, "ROWS", ROWS)
    scratch = Scratch()
    for block in in_blocks(Z, Scratch):
        scratch.append(block)
    return scratch


def test_what_is_appended_is_read_again_and_again(Z, scratch):
    for _ in range(2):
        assert torch.equal(torch.cat([block.clone() for block in scratch]), Z)
    pairs = [(first.clone(), second.clone()) for first, second in zip(scratch, scratch)]  # two readers in turn
    assert all(torch.equal(first, second) for first, second in pairs) and len(pairs) == 9


def test_blocks_of_several_dimensions_and_of_nothing():
    V = torch.rand(2, 3, 5, dtype=torch.float64)
    scratch = Scratch()
    for block in (V.transpose(1, 2), V[:0], V):
        scratch.append(block)
    [first, none, last] = [block.clone() for block in scratch]
    assert torch.equal(first, V.transpose(1, 2)) and none.shape == (0, 3, 5) and torch.equal(last, V)
    assert list(Scratch()) == []


def test_a_block_that_is_changed_is_not_changed_in_the_file(Z, scratch):
    for block in scratch:
        block.zero_()
    assert torch.equal(torch.cat([block.clone() for block in scratch]), Z)


def test_sums_maps_and_rows_are_those_of_the_whole(Z, scratch):
    assert torch.allclose(summed(lambda block: block.T @ block, scratch), Z.T @ Z)
    doubled = mapped(lambda block, other: block + other, scratch, in_blocks(Z, Scratch))
    assert isinstance(doubled, Scratch) and torch.equal(torch.cat([block.clone() for block in doubled]), 2 * Z)
    index = torch.tensor([0, 6, 7, 30, 59])
    assert torch.equal(rows_at(scratch, index), Z[index]) and torch.equal(rows_at(as_blocks(Z), index), Z[index])


def test_blocks_beside_others_of_another_number_are_an_error(Z, scratch):
    with pytest.raises(ValueError, match="zip"):
        summed(torch.matmul, scratch, [Z.T])


def test_a_full_disk_is_told(Z, monkeypatch):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(blocks.tempfile, "TemporaryFile", Full)
    with pytest.raises(OSError, match=r"does not fit in .* \(No space left on device\): free its disk, or set TMPDIR"):
        Scratch().append(Z)


def test_a_descent_in_blocks_is_that_in_memory(Z, scratch):
    U = initial_concepts(Z, squared_norms(Z), 4, 3, seed=1)
    assert torch.equal(U, initial_concepts(scratch, squared_norms(Z), 4, 3, seed=1))
    whole = best_of_restarts(Z, squared_norms(Z), U.clone(), 1.0, 1e-9, 300)
    parts = best_of_restarts(scratch, squared_norms(Z), U.clone(), 1.0, 1e-9, 300)
    assert parts[1] == whole[1] and parts[0].objective == pytest.approx(whole[0].objective, rel=1e-10)
    assert torch.allclose(parts[0].U, whole[0].U)


@pytest.mark.parametrize("position", [0, 2, 4])
def test_the_worst_sample_is_found_in_whichever_block_it_is(position, monkeypatch):
    monkeypatch.setattr(blocks, "ROWS", 2)
    Z = torch.tensor([[4.0, 0, 0], [0, 0, 1], [4, 0, 0], [0, 0, 1], [4, 0, 0]]).double()
    Z[position] = torch.tensor([0, 5, 0])
    U = torch.eye(3).double()[None, :2].clone()
    U[0, 1] = -U[0, 0]  # which no sample uses
    scratch = Scratch()
    for block in Z.split(2):
        scratch.append(block)
    descent = BlockCoordinateDescent(scratch, squared_norms(Z), U, 0.5, 1e-9)
    assert descent.now.U[0, 1].tolist() == pytest.approx([0, 1, 0])
