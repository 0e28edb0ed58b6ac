"""Let the LMM generate captions, or read given ones, and keep the states behind their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, StoppingCriteria

from ..text import check_counts
from .caption_tokens import decode
from .generation_settings import GREEDY
from .hooks import capture
from .lmm import LMM, Layer
from .passes import last_logits, per_picture, refused_pictures

POSITIONS = ("predicts", "own")


@dataclass(frozen=True)
class GeneratedCaption:
    """What the LMM generated for one picture, and the states behind it.

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
    states: dict[Layer, Tensor]

    def state(self, layer: Layer, step: int, position: str) -> Tensor:
        """The state of the token at `step`: where it is predicted, or its own, one step later; (width,)."""
        return self.states[layer][state_of(step, position)]


@dataclass(frozen=True)
class GeneratedBatch:
    """What the LMM generated for several pictures; the states behind it are still where the model is.

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
        device = next(iter(self.streams.values()))[0].device  # layers of one model may lie on several
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
    stop: Callable[[int, list[int]], bool] | None = None,
    beginning: Sequence[int] = (),
    inputs: BatchFeature | None = None,
) -> GeneratedBatch:
    """Generate a caption for each picture, greedily, and keep the last position's state at every step.

    `stop` is asked at each step with a row's number and its tokens so far whether the row may end there.

    Parameters
    ----------
    pictures : sequence of PIL.Image.Image
    layers : sequence of layer, default ()
        Whose states are kept.
    prompt : str or sequence of str, optional
        One for all, or one per picture. Default: the LMM's own.
    max_new_tokens : int, default 40
    stop : callable, optional
    beginning : sequence of int, default none
        Tokens that are put after each prompt; what is generated goes on from there, without them.
    inputs : BatchFeature, optional
        Those of these pictures, prompts and beginning, on any device, where `LMM.inputs` has made them already.

    Returns
    -------
    GeneratedBatch
    """
    check_counts(max_new_tokens=max_new_tokens)
    if inputs is None:
        inputs = lmm.inputs(pictures, prompt, continuations=[list(beginning)] * len(pictures) if beginning else None)
    batch = inputs.to(lmm.device)
    prompt_width = batch["input_ids"].shape[1]
    condition = _StopCondition(stop, prompt_width)
    with capture(lmm, layers) as captured:
        sequences = lmm.model.generate(
            **batch,
            max_new_tokens=int(max_new_tokens) + 1,  # one more step, for the last token's own state
            **GREEDY,
            stopping_criteria=[condition] if stop else None,
        )
    generated = sequences[:, prompt_width:].tolist()
    generated = [ids[: condition.ended.get(row)] for row, ids in enumerate(generated)]
    return GeneratedBatch([_without_ending(lmm, ids)[:max_new_tokens] for ids in generated], captured)


class _StopCondition(StoppingCriteria):
    """Ends each row where a function says so, and the batch when all rows have ended."""

    def __init__(self, stop: Callable[[int, list[int]], bool], prompt_width: int) -> None:
        self.stop, self.prompt_width = stop, prompt_width
        self.ended: dict[int, int] = {}  # of rows that have ended, their length: padding follows, which may be a word

    def __call__(self, input_ids: Tensor, scores, **kwargs) -> Tensor:
        for row, ids in enumerate(input_ids[:, self.prompt_width :].tolist()):
            if row not in self.ended and self.stop(row, ids):
                self.ended[row] = len(ids)
        return torch.tensor([row in self.ended for row in range(len(input_ids))], device=input_ids.device)


def generate_captions(
    lmm: LMM,
    pictures: Sequence[Image.Image],
    layers: Sequence[Layer] = (),
    prompt: str | Sequence[str] | None = None,
    max_new_tokens: int = 40,
) -> list[GeneratedCaption]:
    """Generate a caption for each picture, greedily, and keep the states that its tokens are predicted from.

    The paper (arXiv 2406.08074): h^p_(L) at the position p from which each caption token is predicted.

    Greedily: each token is the most probable one. What a checkpoint brings along to overrule that (a repetition
    penalty, a shortest length, beams ...) is left out by `load_lmm`, but not which tokens it may never say. Penalties,
    lengths, biases, forced and suppressed tokens count if they are set on `lmm.model.generation_config` after loading;
    sampling, beams, guidance, strings to stop at and the like never do (ours).

    Parameters
    ----------
    lmm : LMM
        The model that generates.
    pictures : sequence of PIL.Image.Image
        RGB; they need not be of one size.
    layers : sequence of layer
        Whose states to keep: 0 (embeddings) to `lmm.n_layers`, or "norm". Default: none.
    prompt : str or sequence of str, optional
        One for all pictures, or one for each. Default: the LMM's own.
    max_new_tokens : int
        The longest caption, in tokens. One more step is run, so that the last token's own state is there too.

    Returns
    -------
    list of GeneratedCaption
        One for each picture; states as float32 on the CPU.

    Raises
    ------
    ValueError
        If there are no pictures, tokens or such a layer, not one prompt for each picture, or one that the model cannot
        take.
    """
    if lmm.one_by_one and len(pictures) > 1:
        pairs = zip(pictures, per_picture(prompt, len(pictures)), strict=True)
        return [generate_captions(lmm, [picture], layers, of_it, max_new_tokens)[0] for picture, of_it in pairs]
    try:
        batch = generate_batch(lmm, pictures, layers, prompt, max_new_tokens)
    except Exception as error:
        for row, reason in refused_pictures(lmm, pictures, prompt).items():
            size = "{} x {}".format(*pictures[row].size)
            raise ValueError(f"{lmm.name} cannot take picture {row}, of {size} pixels: {reason}") from error
        raise
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
    state_indices: Tensor,
    layers: Sequence[Layer],
    prompt: str | Sequence[str] | None = None,
    inputs: BatchFeature | None = None,
) -> dict[Layer, Tensor]:
    """Read state `state_indices[b, j]` of caption b in one teacher-forced pass; state i predicts token i.

    Parameters
    ----------
    pictures : sequence of PIL.Image.Image
    captions : sequence of sequence of int
        Token ids, one caption per picture.
    state_indices : Tensor
        (batch, n)
    layers : sequence of layer
    prompt : str or sequence of str, optional
        Default: the LMM's own.
    inputs : BatchFeature, optional
        Those of these pictures, prompts and captions, as in `generate_batch`.

    Returns
    -------
    dict of layer to Tensor
        (batch, n, width) on the CPU, in the model's precision.
    """
    inputs = lmm.inputs(pictures, prompt, continuations=captions) if inputs is None else inputs
    batch = inputs.to(lmm.device)
    prompt_width = batch["input_ids"].shape[1] - max(map(len, captions))
    # State 0, which predicts the first caption token, is at the last position of the prompt.
    with capture(lmm, layers, positions=prompt_width - 1 + state_indices) as captured:
        last_logits(lmm, batch, 1)  # not used: the pass is for its states
    return {layer: calls[0].cpu() for layer, calls in captured.items()}


def teacher_forced_states(
    lmm: LMM,
    pictures: Sequence[Image.Image],
    captions: Sequence[Sequence[int]],
    layers: Sequence[Layer],
    prompt: str | Sequence[str] | None = None,
) -> list[dict[Layer, Tensor]]:
    """All states behind given captions, by one teacher-forced pass; equal to those of generating them (ours).

    Parameters
    ----------
    lmm : LMM
        The model that reads the captions.
    pictures : sequence of PIL.Image.Image
        RGB; they need not be of one size.
    captions : sequence of sequence of int
        Token ids of each picture's caption; they need not be of one length.
    layers : sequence of layer
        Whose states to read: 0 (embeddings) to `lmm.n_layers`, or "norm".
    prompt : str or sequence of str, optional
        One for all pictures, or one for each. Default: the LMM's own.

    Returns
    -------
    list of dict of layer to torch.Tensor
        For each picture, (tokens + 1, width) at each layer as float32 on the CPU, as in `GeneratedCaption.states`.
    """
    if lmm.one_by_one and len(pictures) > 1:
        rows = zip(pictures, captions, per_picture(prompt, len(pictures)), strict=True)
        return [teacher_forced_states(lmm, [picture], [ids], layers, of_it)[0] for picture, ids, of_it in rows]
    every = torch.arange(max(map(len, captions), default=0) + 1).expand(len(captions), -1)  # (batch, states)
    states = teacher_forced_batch(lmm, pictures, captions, every, layers, prompt)
    return [
        {layer: stream[row, : len(ids) + 1].float() for layer, stream in states.items()}
        for row, ids in enumerate(captions)
    ]


def _without_ending(lmm: LMM, ids: list[int]) -> list[int]:
    """Cut generated ids at the first end of text; padding comes only after one, and may be a word as well."""
    ends = lmm.model.generation_config.eos_token_id
    ends = {lmm.tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
    return next((ids[:i] for i, token in enumerate(ids) if token in ends), ids)
