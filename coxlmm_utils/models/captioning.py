"""Let the LMM write captions, or read given ones, keeping the states that they are written from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature

import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, StoppingCriteria

from ..text import whole_word
from .hooks import capture
from .lmm import LMM, Layer

POSITIONS = ("predicts", "own")


@dataclass(frozen=True)
class GeneratedCaption:
    """What the LMM wrote for one picture, and the states behind it.

    Attributes
    ----------
    caption : str
    ids : list of int
        The caption's tokens, without special ones at the end.
    states : dict of layer to torch.Tensor
        (steps, width): state i predicts token i, and is where token i - 1 is fed back.
    """

    caption: str
    ids: list[int]
    states: dict[Layer, torch.Tensor]

    def state(self, layer: Layer, step: int, position: str) -> torch.Tensor:
        """The state of the token at `step`: where it is predicted, or its own, one step later; (width,)."""
        return self.states[layer][state_of(step, position)]


@dataclass(frozen=True)
class GeneratedBatch:
    """What the LMM wrote for several pictures; the states behind it are still where the model is.

    Attributes
    ----------
    ids : list of list of int
        Each caption's tokens, without special ones at the end.
    streams : dict of layer to list of torch.Tensor
        (batch, width) for each step of the model.
    """

    ids: list[list[int]]
    streams: dict[Layer, list[Tensor]]

    def states(self, rows: Sequence[int], steps: Sequence[int]) -> dict[Layer, Tensor]:
        """The states of some (row, step) pairs, each layer (pairs, width), in one copy to the CPU."""
        if not self.streams:
            return {}
        device = next(iter(self.streams.values()))[0].device
        rows, steps = list(rows), list(steps)
        picked = [torch.stack(stream)[steps, rows].to(device) for stream in self.streams.values()]
        return dict(zip(self.streams, torch.stack(picked).cpu()))  # (layers, pairs, width)


def state_of(step: int, position: str) -> int:
    """Which state belongs to the token at `step`: state i predicts token i, and is where token i - 1 is fed back."""
    return step if position == "predicts" else step + 1


@torch.inference_mode()
def generate_batch(
    lmm: LMM,
    pictures: Sequence[Image.Image],
    layers: Sequence[Layer] = (),
    prompt: str | Sequence[str] | None = None,
    max_new_tokens: int = 40,
    enough: Callable[[int, list[int]], bool] | None = None,
) -> GeneratedBatch:
    """Write a caption for each picture, greedily, and keep the last position's state at every step.

    Paper section 3 (arXiv 2406.08074): h^p_(L) at the position p from which each caption token is predicted.

    Parameters
    ----------
    lmm : LMM
    pictures : sequence of PIL.Image.Image
        RGB; they need not be of one size.
    layers : sequence of layer
        Which layers' states to keep.
    prompt : str, optional
        Default: the LMM's own.
    max_new_tokens : int
        The longest caption, in tokens. One more step is run, so that the last token's own state is there too.
    enough : callable, optional
        Asked at each step with a row's number and its tokens so far whether it may stop there (ours).

    Returns
    -------
    GeneratedBatch
    """
    batch = lmm.inputs(pictures, prompt)
    prompt_width = batch["input_ids"].shape[1]
    stopping = [_Enough(enough, prompt_width)] if enough else None
    with capture(lmm, layers) as captured:
        sequences = lmm.model.generate(
            **batch,
            max_new_tokens=max_new_tokens + 1,
            do_sample=False,
            num_beams=1,
            return_dict_in_generate=False,
            stopping_criteria=stopping,
        )
    new = sequences[:, prompt_width:].tolist()
    return GeneratedBatch([without_ending(lmm, ids)[:max_new_tokens] for ids in new], captured)


class _Enough(StoppingCriteria):
    """Ends each row where it has what is wanted, and the batch when all rows have ended."""

    def __init__(self, enough: Callable[[int, list[int]], bool], prompt_width: int) -> None:
        self.enough, self.prompt_width, self.ended = enough, prompt_width, {}

    def __call__(self, input_ids: Tensor, scores, **kwargs) -> Tensor:
        for row, ids in enumerate(input_ids[:, self.prompt_width :].tolist()):
            self.ended[row] = self.ended.get(row, False) or self.enough(row, ids)
        return torch.tensor([self.ended[row] for row in range(len(input_ids))], device=input_ids.device)


def generate_captions(
    lmm: LMM,
    pictures: Sequence[Image.Image],
    layers: Sequence[Layer] = (),
    prompt: str | Sequence[str] | None = None,
    max_new_tokens: int = 40,
) -> list[GeneratedCaption]:
    """`generate_batch`, with all states of every caption on the CPU as float32; one Written for each picture."""
    batch = generate_batch(lmm, pictures, layers, prompt, max_new_tokens)
    lengths = [len(ids) + 1 for ids in batch.ids]
    rows = [row for row, length in enumerate(lengths) for _ in range(length)]
    steps = [step for length in lengths for step in range(length)]
    split = {layer: states.float().split(lengths) for layer, states in batch.states(rows, steps).items()}
    return [
        GeneratedCaption(decode(lmm, ids), ids, {layer: states[row] for layer, states in split.items()})
        for row, ids in enumerate(batch.ids)
    ]


@torch.inference_mode()
def teacher_forced_batch(
    lmm: LMM,
    pictures: Sequence[Image.Image],
    captions: Sequence[Sequence[int]],
    states: Tensor,
    layers: Sequence[Layer],
    prompt: str | Sequence[str] | None = None,
) -> dict[Layer, Tensor]:
    """Some states behind given captions, by one teacher-forced pass (ours; equal to those of `generate_batch`).

    Parameters
    ----------
    lmm : LMM
    pictures : sequence of PIL.Image.Image
    captions : sequence of sequence of int
        Token ids of each picture's caption.
    states : LongTensor (batch, n)
        Which states of each caption, counted as in `Written.states`.
    layers : sequence of layer
    prompt : str, optional

    Returns
    -------
    dict of layer to torch.Tensor
        (batch, n, width) each, on the CPU, in the model's precision.
    """
    batch = lmm.inputs(pictures, prompt, continuations=captions)
    prompt_width = batch["input_ids"].shape[1] - max(map(len, captions))
    with capture(lmm, layers, positions=prompt_width - 1 + states) as captured:
        last_logits(lmm, batch, 1)  # which nobody reads; the last prompt position predicts the first caption token
    return {layer: calls[0].cpu() for layer, calls in captured.items()}


def last_logits(lmm: LMM, batch: BatchFeature, n: int) -> Tensor:
    """One pass over whole inputs: the model's own logits at the last n positions, (batch, n, vocabulary)."""
    options = {"use_cache": False}
    if "logits_to_keep" in signature(lmm.model.forward).parameters:
        options["logits_to_keep"] = n  # those of all positions can be large
    return lmm.model(**batch, **options).logits[:, -n:]


def teacher_forced_states(
    lmm: LMM,
    pictures: Sequence[Image.Image],
    captions: Sequence[Sequence[int]],
    layers: Sequence[Layer],
    prompt: str | Sequence[str] | None = None,
) -> list[dict[Layer, torch.Tensor]]:
    """All states behind given captions, by one teacher-forced pass (ours).

    Returns
    -------
    list of dict of layer to torch.Tensor
        For each picture, (tokens + 1, width) at each layer as float32 on the CPU, laid out as in `Written.states`.
    """
    every = torch.arange(max(map(len, captions)) + 1).expand(len(captions), -1)  # (batch, states)
    states = teacher_forced_batch(lmm, pictures, captions, every, layers, prompt)
    return [
        {layer: stream[row, : len(ids) + 1].float() for layer, stream in states.items()}
        for row, ids in enumerate(captions)
    ]


def without_ending(lmm: LMM, ids: list[int]) -> list[int]:
    """Cut generated ids at the first end-of-text or padding token."""
    settings = lmm.model.generation_config
    ends = {settings.pad_token_id, lmm.tokenizer.pad_token_id, lmm.tokenizer.eos_token_id}
    ends |= set(settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id])
    return next((ids[:i] for i, token in enumerate(ids) if token in ends), ids)


def decode(lmm: LMM, ids: Sequence[int]) -> str:
    """Token ids as text, without special tokens."""
    return lmm.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def vocabulary(lmm: LMM) -> list[str]:
    """Every token as text, in the order of ids."""
    return [lmm.tokenizer.decode([token]) for token in range(len(lmm.tokenizer))]


def find_token(lmm: LMM, ids: Sequence[int], spellings: Sequence[str], finished: bool = True) -> int | None:
    """The step at which the target word first begins (its first piece, if it has several), or None.

    Parameters
    ----------
    lmm : LMM
    ids : sequence of int
        A caption's tokens.
    spellings : sequence of str
        The target word's spellings; any of them counts, as a whole word, in any case.
    finished : bool
        Whether the caption is: else a word at its very end may still grow, and does not count.

    Returns
    -------
    int or None
        Index into `ids`. Found in the decoded text, not among ids: a word-boundary piece or a longer word that
        begins alike ("car" in "cart") is never taken for the target.
    """
    text = decode(lmm, ids)
    found = whole_word(*spellings).search(text)
    if found is None or (found.end() == len(text) and not finished):
        return None
    return next(step for step in range(len(ids)) if len(decode(lmm, ids[: step + 1])) > found.start())
