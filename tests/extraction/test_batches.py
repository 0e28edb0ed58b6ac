"""Batches that do not fit the memory are halved, and nothing is lost."""

import pytest
import torch

from coxlmm_utils.extraction import extract, prompt_states
from coxlmm_utils.extraction import loop as extraction_loop
from coxlmm_utils.extraction import prompt_states as of_prompts  # the function
from coxlmm_utils.extraction.batches import BatchSize, is_out_of_memory
from tests.conftest import MAX_NEW_TOKENS, in_memory

FULL = (torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError("MPS backend out of memory (...)"))
FULL += (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),)
not_fit = pytest.mark.filterwarnings("ignore:a batch of")


class Room:
    """Work that runs out of memory on more rows than there is room for."""

    def __init__(self, room, error=FULL[0]):
        self.room, self.error, self.tried, self.done = room, error, [], []

    def __call__(self, rows):
        self.tried.append(len(rows))
        if len(rows) > self.room:
            raise self.error
        self.done += rows


@not_fit
@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost_or_done_twice(error):
    work, size = Room(3, error), BatchSize.of(8)
    size.run(range(11), work)
    assert work.tried == [8, 4, 2, 2, 2, 2, 2, 1] and work.done == list(range(11)) and size.now == 2
    size.run(range(4), work)  # the next block begins with what fitted
    assert work.tried[-2:] == [2, 2]


def test_it_is_said_once_for_each_halving():
    with pytest.warns(
        UserWarning, match="a batch of 8 pictures did not fit the memory: going on with 4 at once"
    ) as told:
        BatchSize.of(8).run(range(20), Room(4))
    assert len(told) == 1


@not_fit
def test_auto_doubles_while_it_fits_and_stays_below_what_did_not():
    work, size = Room(40), BatchSize.of("auto")
    size.run(range(300), work)
    assert work.tried[:5] == [8, 16, 32, 64, 32] and set(work.tried[5:-1]) == {32} and work.done == list(range(300))
    free = Room(10**9)
    BatchSize.of("auto").run(range(600), free)
    assert free.tried == [8, 16, 32, 64, 128, 128, 128, 96]


def test_a_short_last_batch_does_not_make_it_grow():
    size = BatchSize.of("auto")
    size.run(range(5), Room(99))
    assert size.now == 8


def test_one_picture_at_a_time_stays_so():
    assert BatchSize.of("auto", 1) == BatchSize.of(32, 1) == BatchSize(1)


@not_fit
def test_one_row_that_does_not_fit_and_other_errors_are_raised():
    with pytest.raises(MemoryError):
        BatchSize.of(4).run(range(4), Room(0, MemoryError()))
    other = Room(0, RuntimeError("sizes do not match"))
    with pytest.raises(RuntimeError, match="do not match"):
        BatchSize.of(4).run(range(4), other)
    assert other.tried == [4] and not is_out_of_memory(other.error)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "large", True, None])
def test_what_is_no_size_is_refused(llava, pictures, token, wrong):
    with pytest.raises(ValueError, match="batch_size"):
        extract(llava, in_memory(pictures, (token,)), token, 1, batch_size=wrong)


@not_fit
@pytest.mark.parametrize("batch_size", [16, "auto"])
def test_states_are_the_same_when_memory_ran_out(llava, pictures, token, monkeypatch, batch_size):
    images, settings = in_memory(pictures, (token,)), {"max_new_tokens": MAX_NEW_TOKENS}
    plain = extract(llava, images, token, [1, 2], batch_size=3, **settings)
    whole = extraction_loop._extract_batch

    def narrow(lmm, plan, ready, rows):
        if len(rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(lmm, plan, ready, rows)

    monkeypatch.setattr(extraction_loop, "_extract_batch", narrow)
    states = extract(llava, images, token, [1, 2], batch_size=batch_size, **settings)
    assert states.images.ids == plain.images.ids and states.captions == plain.captions
    for layer, Z in plain.vectors.items():
        torch.testing.assert_close(states.vectors[layer], Z, rtol=1e-4, atol=1e-5)


@not_fit
def test_states_of_prompts_are_the_same_when_memory_ran_out(llava, pictures, monkeypatch):
    images = in_memory(pictures[:7], ("a dog",))
    plain, module = prompt_states(llava, images, "What is this?", [1], batch_size=2), of_prompts.__globals__
    whole = module["_Prompts"]._batch_states

    def narrow(self, some, *rest):
        if len(some) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(self, some, *rest)

    monkeypatch.setattr(module["_Prompts"], "_batch_states", narrow)
    states = prompt_states(llava, images, "What is this?", [1], batch_size=7)
    assert states.images.ids == plain.images.ids
    torch.testing.assert_close(states.vectors[1], plain.vectors[1], rtol=1e-4, atol=1e-5)
