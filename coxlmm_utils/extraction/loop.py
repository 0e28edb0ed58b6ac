"""The loop of an extraction: open pictures, generate or re-encode captions, keep the tokens' states, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from ..models import LMM, Layer, decode, encode, generate_batch, state_of, teacher_forced_batch, without_refused
from .batches import BatchSize
from .blocks import Block, BlockFolder, block_name, key_name
from .extraction_plan import ExtractionPlan
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
    bar = tqdm(total=sum(len(rows[number]) for number in own), unit="pictures", desc=_title(plan, shard, n_shards))
    with bar, ThreadPoolExecutor(max_workers=1) as opener:  # opens the next block's pictures while the model runs
        for number, opened in zip(own, _ahead(opener, partial(_opened, plan, folder), own)):
            if number == own[0]:
                lmm.warn_if_out_of_domain(opened[1][:N_CHECKED])
            block = _make_block(lmm, plan, opened, known, size, bar)
            folder.write(number, block)
            n_kept += sum(bool(picture["steps"]) for picture in block.pictures)
            bar.set_postfix(kept=n_kept)


def _title(plan: ExtractionPlan, shard: int, n_shards: int) -> str:
    """Of the progress bar."""
    return f"states of {', '.join(plan.targets.spellings)}" + (f" ({shard + 1} of {n_shards})" if n_shards > 1 else "")


def _known_captions(lmm: LMM, plan: ExtractionPlan, folder: BlockFolder) -> dict[tuple[str, str], list[int]]:
    """Token ids of captions that need not be generated, by (id, version): given ones, or of other extractions."""
    given, token_ids = plan.settings.captions, plan.settings.token_ids
    if given is None:
        return folder.known_captions()
    return {(id, plan.version(id)): token_ids.get(id) or encode(lmm, given[id]) for id in plan.images.ids}


def _opened(plan: ExtractionPlan, folder: BlockFolder, number: int) -> tuple:
    """A block's pictures, as `CaptionedImages.opened` gives them.

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
    return opened


def _ahead(opener: ThreadPoolExecutor, call, arguments: Sequence) -> Iterator:
    """The results of calls, each begun while the one before is used."""
    coming = opener.submit(call, arguments[0])
    for following in [*arguments[1:], None]:
        result = coming.result()
        coming = opener.submit(call, following) if following is not None else None
        yield result


def _make_block(lmm: LMM, plan: ExtractionPlan, opened: tuple, known: dict, size: BatchSize, bar: tqdm) -> Block:
    """One block of pictures that were opened."""
    rows, pictures, unreadable = opened
    ids = [plan.images.ids[row] for row in rows]
    too_long = _too_long(lmm, plan, ids, known) if pictures else {}
    unreadable |= too_long
    # Pictures of about one size share a batch, so that little of it is padding.
    taken = [i for i, id in enumerate(ids) if id not in too_long]
    order = sorted(taken, key=lambda i: pictures[i].width * pictures[i].height)
    entries, states = {}, {}
    bar.update(len(unreadable))

    def take(batch: Sequence[int]) -> None:
        of_batch = _extract_taken(lmm, plan, [ids[i] for i in batch], [pictures[i] for i in batch], known)
        for kept, new in zip((entries, states, unreadable), of_batch):
            kept.update(new)
        bar.update(len(batch))

    size.run(order, take)
    block = Block([entries[id] for id in ids if id in entries], unreadable)
    empty = torch.empty(0, lmm.width, dtype=lmm.model.dtype)
    for token, position, layer in plan.keys:
        kept = [states[picture["id"], token, position, layer] for picture in block.having(token)]
        block.states[key_name(token, position, layer)] = torch.stack(kept) if kept else empty
    return block


def _too_long(lmm: LMM, plan: ExtractionPlan, ids: list[str], known: dict) -> dict[str, str]:
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


def _extract_taken(
    lmm: LMM, plan: ExtractionPlan, ids: list[str], pictures: list[Image.Image], known: dict
) -> tuple[dict, dict, dict]:
    """As `_extract_batch`, of the pictures that the model can take; and for the others the reason, by id."""

    def run(rows: list[int]) -> tuple[dict, dict]:
        return _extract_batch(lmm, plan, [ids[row] for row in rows], [pictures[row] for row in rows], known)

    (entries, states), refused = without_refused(lmm, pictures, plan.caption_settings["prompt"], run)
    infinite = {
        id: f"its state at layer {layer} has a NaN or infinite value"  # such as where float16 overflows
        for (id, *_, layer), state in states.items()
        if not state.isfinite().all()
    }
    entries = {id: entry for id, entry in entries.items() if id not in infinite}
    return entries, states, {ids[row]: reason for row, reason in refused.items()} | infinite


def _extract_batch(
    lmm: LMM, plan: ExtractionPlan, ids: list[str], pictures: list[Image.Image], known: dict
) -> tuple[dict, dict]:
    """What json keeps of each picture, and the states: (id, token, position, layer) to (width,)."""
    versions = [plan.version(id) for id in ids]
    # Teacher forcing takes every caption of the batch; where one is unknown, all are generated.
    if all((id, version) in known for id, version in zip(ids, versions)):
        captions = [known[id, version] for id, version in zip(ids, versions)]
        steps, states = _teacher_forced(lmm, plan, ids, pictures, captions)
    elif plan.settings.samples == THERE_BUT_UNSAID:  # which state it is, only the finished caption says
        captions = _generate(lmm, plan, ids, pictures, []).ids
        steps, states = _teacher_forced(lmm, plan, ids, pictures, captions)
    else:
        captions, steps, states = _generated(lmm, plan, ids, pictures)
    entries = {
        id: {"id": id, "version": version, "ids": caption, "caption": decode(lmm, caption), "steps": of_tokens}
        for id, version, caption, of_tokens in zip(ids, versions, captions, steps)
    }
    return entries, states


def _generate(lmm: LMM, plan: ExtractionPlan, ids: list[str], pictures: list, layers: Sequence[Layer]):
    """Captions under the plan's settings."""
    stop = None
    if plan.settings.stop_early:

        def stop(row: int, caption: list[int]) -> bool:
            return plan.targets.complete(lmm, ids[row], caption)

    prompt, max_new_tokens = plan.caption_settings["prompt"], plan.caption_settings["max_new_tokens"]
    return generate_batch(lmm, pictures, layers, prompt, max_new_tokens, stop)


def _generated(lmm: LMM, plan: ExtractionPlan, ids: list[str], pictures: list) -> tuple[list, list, dict]:
    """Captions that the model generates, the tokens' steps in them, and their states."""
    batch = _generate(lmm, plan, ids, pictures, plan.settings.layers)
    steps = [plan.targets.steps(lmm, id, caption) for id, caption in zip(ids, batch.ids)]
    samples = _samples(plan, steps)
    states = batch.states([row for row, *_ in samples], [state for *_, state in samples])
    return batch.ids, steps, _by_key(ids, samples, states)


def _teacher_forced(
    lmm: LMM, plan: ExtractionPlan, ids: list[str], pictures: list, captions: list
) -> tuple[list, dict]:
    """The tokens' steps in known captions, and the states there: one pass, and only over pictures with a token."""
    prompt = plan.caption_settings["prompt"]
    if plan.settings.samples == THERE_BUT_UNSAID:
        all_steps = unsaid_steps(lmm, plan.targets, ids, pictures, captions, prompt)
    else:
        all_steps = [plan.targets.steps(lmm, id, caption) for id, caption in zip(ids, captions)]
    rows = [row for row, of_tokens in enumerate(all_steps) if of_tokens]
    if not rows:
        return all_steps, {}
    ids, pictures, captions, steps = ([items[row] for row in rows] for items in (ids, pictures, captions, all_steps))
    samples = _samples(plan, steps)
    # A table with a row per picture of the states that it is read at. Rows differ in length (a picture may have several
    # tokens), so short ones repeat their last entry; `columns` says where each sample's state comes.
    table, columns = [[] for _ in rows], []
    for row, _, _, state in samples:
        columns.append(len(table[row]))
        table[row].append(state)
    longest = max(map(len, table))
    padded = torch.tensor([row + row[-1:] * (longest - len(row)) for row in table])  # (pictures, longest)
    encoded = teacher_forced_batch(lmm, pictures, captions, padded, plan.settings.layers, prompt)
    states = {layer: stream[[row for row, *_ in samples], columns] for layer, stream in encoded.items()}
    return all_steps, _by_key(ids, samples, states)


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
