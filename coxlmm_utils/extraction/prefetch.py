"""Blocks that are made ready while the model runs those before: pictures opened, batches sorted and processed (ours)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from PIL import Image
from transformers import BatchFeature

from ..models import LMM, count_image_tokens
from .batches import BatchSize
from .blocks import BlockFolder, block_name
from .extraction_plan import ExtractionPlan
from .provenance import THERE_BUT_UNSAID

MAX_BYTES = 2**30  # of inputs of a block that are made ahead, about
Captions = dict[tuple[str, str], list[int]]  # token ids by (id, version) of a picture


@dataclass
class ReadyBlock:
    """A block's pictures, and the batches that the model is to run."""

    ids: list[str]
    pictures: list[Image.Image]
    unreadable: dict[str, str]  # ids of the others, with the reason
    known: dict[int, list[int]] = field(default_factory=dict)  # by row, of captions that need not be generated
    steps: dict[int, dict[str, int]] = field(default_factory=dict)  # by row, of known captions: where its tokens are
    # Rows for the model, those whose captions are known and the others, each from few tokens to many.
    orders: list[list[int]] = field(default_factory=list)
    inputs: dict[tuple[int, ...], BatchFeature] = field(default_factory=dict)  # by rows, of batches as they may be run


def prefetched(items: Iterable, *stages: Callable) -> Iterator:
    """What the stages make of each item, one after the other; in order, an error where its result would be.

    Each stage runs in a thread of its own, and as many items ahead as there are stages are in the works, no more.
    """
    workers, coming = [ThreadPoolExecutor(max_workers=1) for _ in stages], deque[Future]()
    try:
        for item in items:
            result = workers[0].submit(stages[0], item)
            for worker, stage in zip(workers[1:], stages[1:]):
                result = worker.submit(lambda stage=stage, before=result: stage(before.result()))
            coming.append(result)
            if len(coming) > len(stages):
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        for wait in (False, True):  # all are told to begin nothing more, before one is waited for
            for worker in workers:
                worker.shutdown(wait, cancel_futures=True)


def ready_blocks(
    lmm: LMM, plan: ExtractionPlan, folder: BlockFolder, numbers: Sequence[int], known: Captions, size: BatchSize
) -> Iterator[ReadyBlock]:
    """The blocks of some numbers, opened and made ready ahead: up to three of them are in memory at a time."""
    opened, own = partial(opened_block, plan, folder), with_own_processor(lmm)
    ready = partial(ready_block, own or lmm, plan, known, size)
    return map(ready, prefetched(numbers, opened)) if own is None else prefetched(numbers, opened, ready)


def with_own_processor(lmm: LMM) -> LMM | None:
    """The same model with a copy of its processor: a fast tokenizer does not stand being used in two threads at once.

    None if it cannot be copied, as one that comes with a model may be: then nothing is processed in another thread.
    """
    try:
        return replace(lmm, processor=deepcopy(lmm.processor))
    except Exception:  # of any kind
        return None


def opened_block(plan: ExtractionPlan, folder: BlockFolder, number: int) -> ReadyBlock:
    """A block with its pictures opened.

    FileNotFoundError for files that went away since the plan was made, such as with a share or a disk: they may be back
    as they were, and nothing would then tell that the block is to be made again.
    """
    rows, images = plan.blocks()[number], plan.images
    opened = images.opened(rows)
    gone = [id for id in opened[2] if plan.version(id) == "missing"]
    changed = gone and folder.names[number] != block_name(number, plan.content(rows))
    back, *_ = images.opened([images.index(id) for id in opened[2]])
    if changed or back:
        id = gone[0] if changed else images.ids[back[0]]
        raise FileNotFoundError(
            f"the picture {id!r} went away while pictures were read: see that its folder is there, then run this again; "
            "what is done is kept"
        )
    readable, pictures, unreadable = opened
    return ReadyBlock([images.ids[row] for row in readable], pictures, unreadable)


def ready_block(lmm: LMM, plan: ExtractionPlan, known: Captions, size: BatchSize, block: ReadyBlock) -> ReadyBlock:
    """The opened block with its batches sorted, so that little of each is padding, and their inputs made."""
    too_long = _too_long(lmm, plan, block.ids, known) if block.ids else {}
    block.unreadable |= too_long
    own = {row: known.get((id, plan.version(id))) for row, id in enumerate(block.ids) if id not in too_long}
    block.known = {row: caption for row, caption in own.items() if caption is not None}
    tokens = dict(zip(own, count_image_tokens(lmm, [block.pictures[row] for row in own])))
    order = sorted(own, key=lambda row: tokens[row] + len(block.known.get(row, ())))
    read = block.known
    if plan.settings.samples != THERE_BUT_UNSAID:  # there only the model tells which state it is
        block.steps = {row: plan.targets.steps(lmm, block.ids[row], caption) for row, caption in read.items()}
        read = {row for row, steps in block.steps.items() if steps}
    block.orders = [[row for row in order if row in read], [row for row in order if row not in block.known]]
    batches = [order[start : start + size.now] for order in block.orders for start in range(0, len(order), size.now)]
    n_bytes = 0
    for rows in batches:
        with suppress(Exception):  # of any kind: where the model runs, it is met again, and who it is of is found
            block.inputs[tuple(rows)] = inputs = _inputs(lmm, plan, block, rows)
            n_bytes += sum(value.nbytes for value in inputs.values() if torch.is_tensor(value))
        if n_bytes > MAX_BYTES:  # the others are made where the model runs
            break
    return block


def _inputs(lmm: LMM, plan: ExtractionPlan, block: ReadyBlock, rows: list[int]) -> BatchFeature:
    """Of some of a block's pictures, with their captions if these are known: on the CPU, not to fill a GPU."""
    captions = [block.known[row] for row in rows] if rows[0] in block.known else None
    return lmm.inputs([block.pictures[row] for row in rows], plan.caption_settings["prompt"], captions, device="cpu")


def _too_long(lmm: LMM, plan: ExtractionPlan, ids: list[str], known: Captions) -> dict[str, str]:
    """Which given captions have more tokens than the model has positions, with the reason, by id.

    ValueError for a prompt, or captions to generate, that never fit. Asked beforehand: a GPU does not survive the error.
    """
    most, settings = _most_positions(lmm), plan.caption_settings
    if most is None:
        return {}
    n_prompt = lmm.inputs([Image.new("RGB", (64, 64), "grey")], settings["prompt"])["input_ids"].shape[1]
    room, here = most - n_prompt, f"the prompt with a picture takes {n_prompt:,} of the model's {most:,} positions"
    if room < 1:
        raise ValueError(f"{here}: give a shorter prompt")
    if plan.settings.captions is None:
        if settings["max_new_tokens"] > room:
            raise ValueError(f"max_new_tokens={settings['max_new_tokens']} is too long, {here}: give at most {room}")
        return {}
    lengths = {id: len(known[id, plan.version(id)]) for id in ids}
    return {id: f"its caption has {n:,} tokens, and {here}" for id, n in lengths.items() if n > room}


def _most_positions(lmm: LMM) -> int | None:
    """How many positions a model has that learned each, as OPT and GPT-2 did; None where they are computed."""
    most = getattr(lmm.model.config.get_text_config(), "max_position_embeddings", None) or 0
    tables = {name: module for name, module in lmm.model.named_modules() if isinstance(module, torch.nn.Embedding)}
    learned = [table for name, table in tables.items() if "position" in name or name.endswith("wpe")]
    # OPT has two rows more than positions
    return most if any(0 <= table.num_embeddings - most <= 2 for table in learned) else None
