"""Several prompts or completions on one picture: the picture is run once, and its keys and values are shared (ours)."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from os.path import commonprefix

import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature

from .captioning import teacher_forced_batch
from .hooks import capture, has_hooks
from .image_tokens import image_tokens
from .lmm import LMM, Layer
from .passes import logits_to_keep, per_picture

TOLERANCE = 1e-3  # relative, in float32, between states of the one way and the other
N_ALONE = 4  # rows that are read alone to see what half precision rounds
Question = tuple[str, str]  # which picture, and the prompt


class SharedPrefix:
    """Reads states as `teacher_forced_batch` does, but runs a picture that comes several times in a batch only once.

    What the inputs of one picture have in common, its image tokens included, is one pass. Its keys and values are
    shared by the passes over the rest, one for all. Where that gives other states (PaliGemma's image tokens attend to
    the prompt), where hooks change the model, or where the cache does not fit the memory, nothing is shared. The first batch is read both ways.

    Attributes
    ----------
    holds : bool or None
        Whether the states are the same with a shared prefix; None as long as no picture came twice.
    """

    def __init__(self, lmm: LMM) -> None:
        self.lmm, self.holds = lmm, False if lmm.one_by_one or has_hooks(lmm) else None

    def states(
        self,
        pictures: Sequence[Image.Image],
        captions: Sequence[Sequence[int]],
        state_indices: Tensor,
        layers: Sequence[Layer],
        prompt: str | Sequence[str] | None = None,
    ) -> dict[Layer, Tensor]:
        """As `teacher_forced_batch`; captions may be empty, state 0 is that of the last prompt token."""
        batch = _Batch(self.lmm, pictures, captions, state_indices, list(layers), prompt)
        if self.holds is False or len(set(batch.contents)) == len(pictures):
            return batch.plain()
        if self.holds is None:
            return self._tried(batch)
        shared = self._shared(batch)
        return batch.plain() if shared is None else shared

    def _tried(self, batch: _Batch) -> dict[Layer, Tensor]:
        """The plain states of a first batch, beside those of shared prefixes: at the last layer all differences add up."""
        layers, last = batch.layers, self.lmm.n_layers
        batch.layers = list(dict.fromkeys([*layers, last]))
        plain, shared = batch.plain(), self._shared(batch)
        self.holds = shared is not None and bool(_error(shared[last], plain[last]) <= self._rounding(batch, plain))
        return {layer: plain[layer] for layer in layers}

    def _rounding(self, batch: _Batch, plain: dict[Layer, Tensor]) -> float:
        """How much the states of the last layer may differ: what is rounding, and not another state."""
        if self.lmm.model.dtype in (torch.float32, torch.float64):
            return TOLERANCE
        few, last = (
            range(min(N_ALONE, len(batch.pictures))),
            self.lmm.n_layers,
        )  # whose states alone round otherwise, too
        alone = torch.cat([batch[[row]].plain()[last] for row in few])
        return 2 * float(_error(alone, plain[last][: len(few)]))

    def _shared(self, batch: _Batch) -> dict[Layer, Tensor] | None:
        """The states of a batch by shared prefixes; None if that fails."""
        try:
            return batch.shared()
        except (MemoryError, torch.OutOfMemoryError):  # the cache takes room that plain passes need not
            self.holds = False
        except Exception:  # of any kind: families differ in what they take beside a cache, prompts in where they differ
            pass
        return None


def _error(Z: Tensor, other: Tensor) -> Tensor:
    """The largest difference of states, (batch, n, width), relative to their lengths."""
    return ((Z - other).float().norm(dim=-1) / other.float().norm(dim=-1)).max()


class _Batch:
    """Pictures with a prompt and a caption each, and which states of them are wanted."""

    def __init__(self, lmm: LMM, pictures, captions, state_indices: Tensor, layers: list[Layer], prompt) -> None:
        self.lmm, self.pictures, self.captions = lmm, pictures, [list(ids) for ids in captions]
        self.state_indices, self.layers = state_indices, layers  # (batch, n)
        self.prompts = per_picture(lmm.prompt if prompt is None else prompt, len(pictures))

    @cached_property
    def contents(self) -> list[str]:
        """What tells the pictures apart."""
        return [_content(picture) for picture in self.pictures]

    def __getitem__(self, rows: list[int]) -> _Batch:
        """Some of its rows."""
        own = ([items[row] for row in rows] for items in (self.pictures, self.captions))
        return _Batch(self.lmm, *own, self.state_indices[rows], self.layers, [self.prompts[row] for row in rows])

    def plain(self) -> dict[Layer, Tensor]:
        """(batch, n, width) on the CPU, all of each input anew."""
        return teacher_forced_batch(
            self.lmm, self.pictures, self.captions, self.state_indices, self.layers, self.prompts
        )

    @torch.inference_mode()
    def shared(self) -> dict[Layer, Tensor]:
        """The same, with one pass over each picture."""
        states: list[dict[Layer, Tensor]] = [{} for _ in self.pictures]
        prompts = self._prompt_ids()
        for n, rows in self._groups(prompts):
            tails = [[*prompts[self._question(row)], *self.captions[row]][n:] for row in rows]
            # State 0 is at the prompt's last token, which is in the tail.
            firsts = torch.tensor([len(prompts[self._question(row)]) - 1 - n for row in rows])
            read = self._tail_states(n, rows, tails, firsts[:, None] + self.state_indices[rows])
            for place, row in enumerate(rows):
                states[row] = {layer: stream[place] for layer, stream in read.items()}
        return {layer: torch.stack([of_row[layer] for of_row in states]) for layer in self.layers}

    def _question(self, row: int) -> Question:
        return self.contents[row], self.prompts[row]

    def _prompt_ids(self) -> dict[Question, list[int]]:
        """The token ids of each picture and prompt, without padding."""
        rows = {self._question(row): row for row in range(len(self.pictures))}
        inputs = self._inputs([*rows.values()])
        own = zip(rows, inputs["input_ids"], inputs["attention_mask"].bool())
        return {question: ids[mask].tolist() for question, ids, mask in own}

    def _inputs(self, rows: Sequence[int]) -> BatchFeature:
        return self.lmm.inputs([self.pictures[row] for row in rows], [self.prompts[row] for row in rows])

    def _groups(self, prompts: dict[Question, list[int]]) -> list[tuple[int, list[int]]]:
        """How many tokens are shared, and the rows of all pictures where it is so many, as many rows of each picture."""
        rows_of, groups = defaultdict(list), defaultdict(list)
        for row, content in enumerate(self.contents):
            rows_of[content].append(row)
        for rows in rows_of.values():
            asked = [prompts[self._question(row)] for row in rows]
            n = min(len(commonprefix(asked)), *(len(ids) - 1 for ids in asked))
            groups[n, len(rows)] += rows
        return [(n, rows) for (n, _), rows in groups.items()]

    def _tail_states(self, n: int, rows: list[int], tails: list[list[int]], positions: Tensor) -> dict[Layer, Tensor]:
        """The states at positions of the tails, (rows, states) to (rows, states, width), after the shared n tokens."""
        model, first = self.lmm.model, [row for row in rows if row == self.contents.index(self.contents[row])]
        longest, pad = max(map(len, tails)), self.lmm.tokenizer.pad_token_id
        padded = torch.tensor([ids + [pad] * (longest - len(ids)) for ids in tails], device=self.lmm.device)
        cache = model(**self._prefix(n, first), use_cache=True, **logits_to_keep(model, 1)).past_key_values
        cache.batch_repeat_interleave(len(rows) // len(first))
        with capture(self.lmm, self.layers, positions=positions) as captured:
            # No mask: what pads a tail comes after it, and nothing looks ahead.
            model(input_ids=padded, past_key_values=cache, use_cache=True, **logits_to_keep(model, 1))
        return {layer: runs[0].cpu() for layer, runs in captured.items()}

    def _prefix(self, n: int, rows: list[int]) -> dict[str, Tensor]:
        """Inputs of the first n tokens, without padding; ValueError if they are not all of the picture."""
        inputs = self._inputs(rows)
        padding = (inputs["attention_mask"] == 0).sum(dim=1)  # (rows,), on the left
        columns = padding[:, None] + torch.arange(n, device=padding.device)
        shape = inputs.pop("attention_mask").shape
        cut = {name: value.gather(1, columns) if value.shape == shape else value for name, value in inputs.items()}
        if image_tokens(self.lmm, cut).sum() < image_tokens(self.lmm, inputs).sum():
            raise ValueError("the prompts differ before the picture ends")
        return cut


def _content(picture: Image.Image) -> str:
    """Tells the pixels of one picture from those of another."""
    return hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()
