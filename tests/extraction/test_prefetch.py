"""Blocks made ready ahead: in order, bounded, sorted, and the states are those of pictures read one by one."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from coxlmm_utils.extraction import extract, prefetch
from coxlmm_utils.extraction.batches import BatchSize
from coxlmm_utils.extraction.extraction_plan import Settings, make_plan
from coxlmm_utils.extraction.prefetch import opened_block, prefetched, ready_block, with_own_processor
from coxlmm_utils.models import LMM, encode, generate_captions, load_lmm
from tests.conftest import in_memory, in_plain_words
from tests.tiny_lmms import FAMILIES

SECONDS = 20  # at most, for what another thread does at once
KINDS = ("LLaVA", "LLaVA-NeXT", "Qwen2.5-VL", "Idefics3")


def test_results_come_in_order_and_so_do_errors():
    def fail_at_three(item):
        if item == 3:
            raise ValueError("the third")
        return item

    assert list(prefetched(range(5), lambda item: item + 1, lambda item: item * 10)) == [10, 20, 30, 40, 50]
    results = prefetched(range(5), fail_at_three, str)
    assert [next(results) for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(ValueError, match="the third"):
        next(results)


def test_each_stage_goes_on_while_a_result_is_used_but_not_farther_than_two_ahead():
    begun, second = [], threading.Event()

    def first(item):
        begun.append(item)
        return item

    results = prefetched(range(9), first, lambda item: second.set() if item == 1 else None)
    next(results)
    assert second.wait(SECONDS)  # the second item's last stage, while the first is used
    assert begun[-1] <= 2
    next(results)
    results.close()
    assert begun[-1] <= 3


def test_what_is_not_wanted_any_more_is_not_begun():
    begun, at_work, gate = [], threading.Event(), threading.Event()

    def first(item):
        begun.append(item)
        if item == 1:
            at_work.set()
            gate.wait(SECONDS)
        return item

    results = prefetched(range(9), first, str)
    assert next(results) == "0" and at_work.wait(SECONDS)
    threading.Timer(0.2, gate.set).start()  # while close waits for what is at work
    results.close()
    assert begun == [0, 1]


@pytest.fixture(scope="module")
def mixed() -> list[Image.Image]:
    """Pictures of several sizes, large and small by turns."""
    rng = np.random.default_rng(3)
    sizes = [((20, 12), (64, 64), (140, 40), (40, 160))[row % 4] for row in range(12)]
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


@pytest.fixture(scope="module", params=KINDS)
def lmm(request, tmp_path_factory) -> LMM:
    return in_plain_words(load_lmm(FAMILIES[request.param](tmp_path_factory.mktemp("lmm")), device="cpu"))


@pytest.fixture(scope="module")
def words(lmm, mixed) -> list[list[str]]:
    """Of each picture's caption."""
    return [single.caption.split() for single in generate_captions(lmm, mixed, max_new_tokens=5)]


def ready(lmm, images, tokens, tmp_path, batch_size=4, **settings):
    plan = make_plan(lmm, images, tokens, Settings([1], max_new_tokens=5, **settings))
    opened = opened_block(plan, plan.folder(tmp_path), 0)
    known = {(id, plan.version(id)): encode(lmm, text) for id, text in (plan.settings.captions or {}).items()}
    return ready_block(with_own_processor(lmm), plan, known, BatchSize(batch_size), opened)


def test_sorted_batches_have_less_padding(lmm, mixed, tmp_path):
    captions = {f"p{row}": "a dog" + " runs" * ((7 * row) % 12) for row in range(12)}
    images = in_memory(mixed, ("dog",))
    block = ready(lmm, images, ["dog"], tmp_path, captions=captions)
    assert sorted(row for rows in block.inputs for row in rows) == list(range(12))
    sizes = [batch["input_ids"].numel() for batch in block.inputs.values()]
    in_turn = [images[list(range(start, start + 4))] for start in (0, 4, 8)]
    unsorted = [ready(lmm, four, ["dog"], tmp_path, captions=captions).inputs for four in in_turn]
    assert sum(sizes) < sum(batch["input_ids"].numel() for inputs in unsorted for batch in inputs.values())


def test_sorted_and_prefetched_states_are_those_of_each_picture_alone(lmm, mixed, words):
    token = max({word for own in words for word in own}, key=lambda word: sum(word in own for own in words))
    images, layers = in_memory(mixed, (token,)), [1, "norm"]
    rows = [row for row, own in enumerate(words) if token in own]
    sorted_states = extract(lmm, images, token, layers, max_new_tokens=5, batch_size=4)
    assert [int(id[1:]) for id in sorted_states.images.ids] == rows
    for place, row in enumerate(rows):
        single = extract(lmm, images[[row]], token, layers, max_new_tokens=5, batch_size=1)
        assert single.captions == [sorted_states.captions[place]]
        for layer in layers:
            state = sorted_states.vectors[layer][place]
            assert (state - single.vectors[layer][0]).norm() < 1e-4 * state.norm()


def test_given_captions_and_early_stops_give_the_same_states(lmm, mixed, words):
    token = max({word for own in words for word in own}, key=lambda word: sum(word in own for own in words))
    images = in_memory(mixed, (token,))
    usual = extract(lmm, images, token, [1, "norm"], max_new_tokens=5, batch_size=5)
    early = extract(lmm, images, token, [1, "norm"], max_new_tokens=5, batch_size=5, stop_early=True)
    captions = dict(zip(usual.images.ids, usual.captions))
    given = extract(lmm, images, token, [1, "norm"], captions=captions, batch_size=5)
    for others in (early, given):
        assert others.images.ids == usual.images.ids
        for layer, Z in usual.vectors.items():
            assert (others.vectors[layer] - Z).norm() < 1e-4 * Z.norm()


def test_inputs_are_made_ahead_once_and_not_by_the_models_own_processor(llava, pictures, token, monkeypatch):
    made, whole = [], LMM.inputs
    monkeypatch.setattr(
        LMM,
        "inputs",
        lambda self, some, *rest, **more: made.append((self, len(some))) or whole(self, some, *rest, **more),
    )
    extract(llava, in_memory(pictures, (token,)), token, 1, max_new_tokens=6, batch_size=10)
    batches = [(own, n) for own, n in made if n > 1]
    assert [n for _, n in batches] == [10, 10, 4]
    assert all(own.processor is not llava.processor for own, _ in batches)


def test_inputs_of_other_batches_than_expected_are_made_where_they_are_needed(llava, pictures, token, monkeypatch):
    images = in_memory(pictures, (token,))
    usual, whole = extract(llava, images, token, 1, max_new_tokens=6, batch_size=10), prefetch.ready_block
    monkeypatch.setattr(prefetch, "ready_block", lambda *given: replace(whole(*given), inputs={}))
    other = extract(llava, images, token, 1, max_new_tokens=6, batch_size=10)
    assert torch.equal(usual.Z, other.Z)


@pytest.mark.parametrize("batch_size", [1, 32])
def test_a_picture_that_the_processor_refuses_is_left_out_and_named(llava, pictures, token, monkeypatch, batch_size):
    whole = LMM.inputs

    def refusing(self, some, *rest, **more):
        if any(picture.size == (3, 3) for picture in some):
            raise ValueError("too thin")
        return whole(self, some, *rest, **more)

    monkeypatch.setattr(LMM, "inputs", refusing)
    images = in_memory([*pictures[:8], Image.new("RGB", (3, 3)), *pictures[8:]], (token,))
    with pytest.warns(UserWarning, match=r"skipped: 1 \(p8\)"):
        states = extract(llava, images, token, 1, max_new_tokens=6, batch_size=batch_size)
    assert states.provenance["unreadable"] == ["p8"] and len(states) > 3


def test_a_processor_that_cannot_be_copied_is_used_as_it_is(llava, pictures, token, monkeypatch):
    def uncopied(self, memo):
        raise TypeError("cannot be copied")

    images = in_memory(pictures, (token,))
    usual = extract(llava, images, token, 1, max_new_tokens=6)
    monkeypatch.setattr(type(llava.processor), "__deepcopy__", uncopied, raising=False)
    assert with_own_processor(llava) is None
    threads, whole = set(), LMM.inputs
    monkeypatch.setattr(
        LMM, "inputs", lambda *given, **more: threads.add(threading.get_ident()) or whole(*given, **more)
    )
    assert torch.equal(extract(llava, images, token, 1, max_new_tokens=6).Z, usual.Z)
    assert threads == {threading.get_ident()}


def test_inputs_are_made_ahead_as_long_as_they_are_not_too_many(llava, pictures, token, tmp_path, monkeypatch):
    images = in_memory(pictures, (token,))
    assert len(ready(llava, images, [token], tmp_path).inputs) == 6
    monkeypatch.setattr(prefetch, "MAX_BYTES", 1)
    assert len(ready(llava, images, [token], tmp_path).inputs) == 1
    usual = extract(llava, images, token, 1, max_new_tokens=6)
    monkeypatch.undo()
    assert torch.allclose(extract(llava, images, token, 1, max_new_tokens=6).Z, usual.Z, atol=1e-5)
