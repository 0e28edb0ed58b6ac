"""The loop of an extraction: generate captions or re-encode known ones, keep the tokens' states, block by block."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import BatchFeature

from ..models import (
    LMM,
    GeneratedBatch,
    Layer,
    decode,
    encode,
    generate_batch,
    state_of,
    teacher_forced_batch,
    without_refused,
)
from .batches import BatchSize
from .blocks import Block, BlockFolder, key_name
from .extraction_plan import ExtractionPlan
from .prefetch import Captions, ReadyBlock, ready_blocks
from .provenance import THERE_BUT_UNSAID
from .unsaid import unsaid_steps

N_CHECKED = 8  # of the first pictures: does the model know such pictures at all?
Sample = tuple[int, str, str, int]  # row in the batch, token, position, and which of the caption's states it is


def make_blocks(
    lmm: LMM, plan: ExtractionPlan, folder: BlockFolder, batch_size: int | str, shard: int = 0, n_shards: int = 1
) -> None:
    """Make the blocks that are missing; of every `n_shards` blocks one, so that processes share the work."""
    own = [number for number in folder.missing() if number % n_shards == shard]
    if not own:
        return
    rows, known, n_kept = plan.blocks(), _known_captions(lmm, plan, folder), 0
    size = BatchSize.of(batch_size, 1 if lmm.one_by_one else None)  # of all blocks: what did not fit once, never will
    blocks = ready_blocks(lmm, plan, folder, own, known, size)
    bar = tqdm(total=sum(len(rows[number]) for number in own), unit="pictures", desc=_title(plan, shard, n_shards))
    with bar:
        for number, ready in zip(own, blocks):
            if number == own[0]:
                lmm.warn_if_out_of_domain(ready.pictures[:N_CHECKED])
            block = _make_block(lmm, plan, ready, size, bar)
            folder.write(number, block)
            n_kept += sum(bool(picture["steps"]) for picture in block.pictures)
            bar.set_postfix(kept=n_kept)


def _title(plan: ExtractionPlan, shard: int, n_shards: int) -> str:
    """Of the progress bar."""
    return f"states of {', '.join(plan.targets.spellings)}" + (f" ({shard + 1} of {n_shards})" if n_shards > 1 else "")


def _known_captions(lmm: LMM, plan: ExtractionPlan, folder: BlockFolder) -> Captions:
    """Captions that need not be generated: given ones, or of other extractions."""
    given, token_ids = plan.settings.captions, plan.settings.token_ids
    if given is None:
        return folder.known_captions()
    return {(id, plan.version(id)): token_ids.get(id) or encode(lmm, given[id]) for id in plan.images.ids}


def _make_block(lmm: LMM, plan: ExtractionPlan, ready: ReadyBlock, size: BatchSize, bar: tqdm) -> Block:
    """One block of pictures that were opened."""
    entries, states, unreadable = {}, {}, ready.unreadable
    for row, steps in ready.steps.items():
        if not steps:  # nothing to read: the model need not run
            entries[ready.ids[row]] = _entry(lmm, plan, ready.ids[row], ready.known[row], steps)
    bar.update(len(unreadable) + len(entries))

    def take(rows: Sequence[int]) -> None:
        for kept, new in zip((entries, states, unreadable), _extract_taken(lmm, plan, ready, rows)):
            kept.update(new)
        bar.update(len(rows))

    for order in ready.orders:
        size.run(order, take)
    block = Block([entries[id] for id in ready.ids if id in entries], unreadable)
    empty = torch.empty(0, lmm.width, dtype=lmm.model.dtype)
    for token, position, layer in plan.keys:
        kept = [states[picture["id"], token, position, layer] for picture in block.having(token)]
        block.states[key_name(token, position, layer)] = torch.stack(kept) if kept else empty
    return block


def _entry(lmm: LMM, plan: ExtractionPlan, id: str, caption: list[int], steps: dict[str, int]) -> dict:
    """What json keeps of a picture."""
    return {"id": id, "version": plan.version(id), "ids": caption, "caption": decode(lmm, caption), "steps": steps}


def _extract_taken(lmm: LMM, plan: ExtractionPlan, ready: ReadyBlock, rows: Sequence[int]) -> tuple[dict, dict, dict]:
    """As `_extract_batch`, of the pictures that the model can take; and for the others the reason, by id."""

    def run(chosen: list[int]) -> tuple[dict, dict]:
        return _extract_batch(lmm, plan, ready, [rows[i] for i in chosen])

    pictures = [ready.pictures[row] for row in rows]
    (entries, states), refused = without_refused(lmm, pictures, plan.caption_settings["prompt"], run)
    infinite = {
        id: f"its state at layer {layer} has a NaN or infinite value"  # such as where float16 overflows
        for (id, *_, layer), state in states.items()
        if not state.isfinite().all()
    }
    entries = {id: entry for id, entry in entries.items() if id not in infinite}
    return entries, states, {ready.ids[rows[i]]: reason for i, reason in refused.items()} | infinite


def _extract_batch(lmm: LMM, plan: ExtractionPlan, ready: ReadyBlock, rows: Sequence[int]) -> tuple[dict, dict]:
    """What json keeps of each picture, and the states: (id, token, position, layer) to (width,)."""
    if not rows:  # the model can take none of the batch
        return {}, {}
    ids, pictures = [ready.ids[row] for row in rows], [ready.pictures[row] for row in rows]
    inputs = ready.inputs.pop(tuple(rows), None)
    known = rows[0] in ready.known  # and so of all rows, see `ReadyBlock.orders`
    captions = [ready.known[row] for row in rows] if known else []
    if plan.settings.samples == THERE_BUT_UNSAID:  # which state it is, only the finished caption says
        captions = captions or _generate(lmm, plan, ids, pictures, [], inputs).ids
        steps = unsaid_steps(lmm, plan.targets, ids, pictures, captions, plan.caption_settings["prompt"])
        states = _teacher_forced(lmm, plan, ids, pictures, captions, steps)
    elif known:
        steps = [ready.steps[row] for row in rows]
        states = _teacher_forced(lmm, plan, ids, pictures, captions, steps, inputs)
    else:
        captions, steps, states = _generated(lmm, plan, ids, pictures, inputs)
    return {id: _entry(lmm, plan, id, *known) for id, *known in zip(ids, captions, steps)}, states


def _generate(
    lmm: LMM, plan: ExtractionPlan, ids: list[str], pictures: list, layers: Sequence[Layer], inputs: BatchFeature | None
) -> GeneratedBatch:
    """Captions under the plan's settings."""
    stop = None
    if plan.settings.stop_early:

        def stop(row: int, caption: list[int]) -> bool:
            return plan.targets.complete(lmm, ids[row], caption)

    prompt, max_new_tokens = plan.caption_settings["prompt"], plan.caption_settings["max_new_tokens"]
    return generate_batch(lmm, pictures, layers, prompt, max_new_tokens, stop, inputs=inputs)


def _generated(
    lmm: LMM, plan: ExtractionPlan, ids: list[str], pictures: list, inputs: BatchFeature | None
) -> tuple[list, list, dict]:
    """Captions that the model generates, the tokens' steps in them, and their states."""
    batch = _generate(lmm, plan, ids, pictures, plan.settings.layers, inputs)
    steps = [plan.targets.steps(lmm, id, caption) for id, caption in zip(ids, batch.ids)]
    samples = _samples(plan, steps)
    states = batch.states([row for row, *_ in samples], [state for *_, state in samples])
    return batch.ids, steps, _by_key(ids, samples, states)


def _teacher_forced(
    lmm: LMM,
    plan: ExtractionPlan,
    ids: list[str],
    pictures: list,
    captions: list[list[int]],
    steps: list[dict[str, int]],
    inputs: BatchFeature | None = None,
) -> dict[tuple, Tensor]:
    """The states at the tokens' steps in known captions: one pass, and only over pictures with a token."""
    rows = [row for row, of_tokens in enumerate(steps) if of_tokens]
    if not rows:
        return {}
    ids, pictures, captions, steps = ([items[row] for row in rows] for items in (ids, pictures, captions, steps))
    samples = _samples(plan, steps)
    # A table with a row per picture of the states that it is read at. Rows differ in length (a picture may have several
    # tokens), so short ones repeat their last entry; `columns` says where each sample's state comes.
    table, columns = [[] for _ in rows], []
    for row, _, _, state in samples:
        columns.append(len(table[row]))
        table[row].append(state)
    longest = max(map(len, table))
    padded = torch.tensor([row + row[-1:] * (longest - len(row)) for row in table])  # (pictures, longest)
    prompt, layers = plan.caption_settings["prompt"], plan.settings.layers
    encoded = teacher_forced_batch(lmm, pictures, captions, padded, layers, prompt, inputs)
    states = {layer: stream[[row for row, *_ in samples], columns] for layer, stream in encoded.items()}
    return _by_key(ids, samples, states)


def _samples(plan: ExtractionPlan, steps: Sequence[dict[str, int]]) -> list[Sample]:
    """Every state to keep of a batch, given each picture's steps by token."""
    return [
        (row, token, position, state_of(step, position))
        for row, of_tokens in enumerate(steps)
        for token, step in of_tokens.items()
        for position in plan.settings.positions
    ]


def _by_key(ids: list[str], samples: list[Sample], states: dict[Layer, Tensor]) -> dict[tuple, Tensor]:
    """States, (samples, width) for each layer, by (id, token, position, layer)."""
    return {
        (ids[row], token, position, layer): stream[number]
        for layer, stream in states.items()
        for number, (row, token, position, _) in enumerate(samples)
    }
