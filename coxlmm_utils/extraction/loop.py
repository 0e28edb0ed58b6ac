"""The loop of an extraction: open pictures, write or read captions, find the tokens, keep the states, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from ..models import LMM, Layer, decode, generate_batch, state_of, teacher_forced_batch
from .blocks import Block, BlockFolder
from .plan import ExtractionPlan

LOOKED_AT = 8  # of the first pictures, to see whether the model knows such pictures at all


def make_blocks(
    lmm: LMM, reading: ExtractionPlan, folder: BlockFolder, batch_size: int, shard: int = 0, n_shards: int = 1
) -> None:
    """Make the blocks that are missing; of every `n_shards` blocks one, so that processes share the work."""
    own = [number for number in folder.missing() if number % n_shards == shard]
    if not own:
        return
    rows, known, kept = reading.blocks(), _known(lmm, reading, folder), 0
    bar = tqdm(total=sum(len(rows[number]) for number in own), unit="pictures", desc=_title(reading, shard, n_shards))
    with bar, ThreadPoolExecutor(max_workers=1) as opener:  # opens the next block's pictures while the model runs
        for number, opened in zip(own, _ahead(opener, reading.images.opened, [rows[number] for number in own])):
            if number == own[0]:
                lmm.warn_if_out_of_domain(opened[1][:LOOKED_AT])
            block = _made(lmm, reading, opened, known, batch_size, bar)
            folder.write(number, block)
            kept += sum(bool(picture["steps"]) for picture in block.pictures)
            bar.set_postfix(kept=kept)


def _title(reading: ExtractionPlan, shard: int, n_shards: int) -> str:
    tokens = ", ".join(reading.targets.spellings)
    return f"states of {tokens}" + (f" ({shard + 1} of {n_shards})" if n_shards > 1 else "")


def _known(lmm: LMM, reading: ExtractionPlan, folder: BlockFolder) -> dict[tuple[str, str], list[int]]:
    """Token ids of captions that need not be written."""
    if reading.captions is None:
        return folder.known_captions()
    return {
        (id, reading.version(id)): lmm.tokenizer(reading.captions[id], add_special_tokens=False)["input_ids"]
        for id in reading.images.ids
    }


def _ahead(opener: ThreadPoolExecutor, call, arguments: Sequence) -> Iterator:
    """The results of calls, each begun while the one before is used."""
    coming = opener.submit(call, arguments[0])
    for following in [*arguments[1:], None]:
        result = coming.result()
        coming = opener.submit(call, following) if following is not None else None
        yield result


def _made(lmm: LMM, reading: ExtractionPlan, opened: tuple, known: dict, batch_size: int, bar: tqdm) -> Block:
    """One block of pictures that were opened."""
    rows, pictures, unreadable = opened
    ids = [reading.images.ids[row] for row in rows]
    order = sorted(range(len(rows)), key=lambda place: pictures[place].width * pictures[place].height)
    entries, states = {}, {}
    for start in range(0, len(order), batch_size):  # alike in size: little padding
        places = order[start : start + batch_size]
        found, read = _read(
            lmm, reading, [ids[place] for place in places], [pictures[place] for place in places], known
        )
        entries |= found
        states |= read
        bar.update(len(places))
    bar.update(len(unreadable))
    block, none = Block([entries[id] for id in ids], unreadable), torch.empty(0, lmm.width, dtype=lmm.model.dtype)
    for token, name in _names(reading):
        found = [states[picture["id"], name] for picture in block.having(token)]
        block.states[name] = torch.stack(found) if found else none
    return block


def _read(
    lmm: LMM, reading: ExtractionPlan, ids: list[str], pictures: list[Image.Image], known: dict
) -> tuple[dict, dict]:
    """A batch: what json keeps of each picture, and the states, (id, "token/position/layer") to (width,)."""
    versions = [reading.version(id) for id in ids]
    if all((id, version) in known for id, version in zip(ids, versions)):
        captions = [known[id, version] for id, version in zip(ids, versions)]
        steps = [reading.targets.steps(lmm, id, caption) for id, caption in zip(ids, captions)]
        states = _forced(lmm, reading, ids, pictures, captions, steps)
    else:
        captions, steps, states = _written(lmm, reading, ids, pictures)
    entries = {
        id: {"id": id, "version": version, "ids": caption, "caption": decode(lmm, caption), "steps": found}
        for id, version, caption, found in zip(ids, versions, captions, steps)
    }
    return entries, states


def _written(lmm: LMM, reading: ExtractionPlan, ids: list[str], pictures: list) -> tuple[list, list, dict]:
    """Captions that the model writes, the tokens' steps in them, and their states."""
    enough = None
    if reading.rules["stop_early"]:

        def enough(row: int, caption: list[int]) -> bool:
            return reading.targets.all_out(lmm, ids[row], caption)

    settings = reading.captioning["prompt"], reading.captioning["max_new_tokens"]
    batch = generate_batch(lmm, pictures, reading.layers, *settings, enough)
    steps = [reading.targets.steps(lmm, id, caption) for id, caption in zip(ids, batch.ids)]
    wanted = _wanted(reading, steps)
    states = batch.states([row for row, *_ in wanted], [state_of(step, position) for _, step, _, position in wanted])
    return batch.ids, steps, _named(ids, wanted, states)


def _forced(
    lmm: LMM, reading: ExtractionPlan, ids: list[str], pictures: list, captions: list, steps: list[dict]
) -> dict:
    """The states behind captions that are known: one pass, and only for pictures with a token."""
    rows = [row for row, found in enumerate(steps) if found]
    if not rows:
        return {}
    ids, pictures, captions = ([each[row] for row in rows] for each in (ids, pictures, captions))
    wanted = _wanted(reading, [steps[row] for row in rows])
    places, columns = [[] for _ in rows], []  # of each row the states to read; and where each wanted one comes
    for row, step, _, position in wanted:
        columns.append(len(places[row]))
        places[row].append(state_of(step, position))
    longest = max(map(len, places))
    padded = torch.tensor([each + each[-1:] * (longest - len(each)) for each in places])  # (rows, states)
    read = teacher_forced_batch(lmm, pictures, captions, padded, reading.layers, reading.captioning["prompt"])
    picked = {layer: stream[[row for row, *_ in wanted], columns] for layer, stream in read.items()}
    return _named(ids, wanted, picked)


def _wanted(reading: ExtractionPlan, steps: Sequence[dict[str, int]]) -> list[tuple[int, int, str, str]]:
    """(row, step, token, position) of every state to keep."""
    return [
        (row, step, token, position)
        for row, found in enumerate(steps)
        for token, step in found.items()
        for position in reading.positions
    ]


def _named(ids: list[str], wanted: list[tuple], states: dict[Layer, Tensor]) -> dict[tuple[str, str], Tensor]:
    """States by the picture's id and "token/position/layer"."""
    return {
        (ids[row], f"{token}/{position}/{layer}"): stream[place]
        for layer, stream in states.items()
        for place, (row, _, token, position) in enumerate(wanted)
    }


def _names(reading: ExtractionPlan) -> list[tuple[str, str]]:
    """(token, "token/position/layer") of everything that a block keeps."""
    return [
        (token, f"{token}/{position}/{layer}")
        for token in reading.targets.spellings
        for position in reading.positions
        for layer in reading.layers
    ]
