"""Let the LMM write captions, keeping the states that it writes them from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from .hooks import capture
from .lmm import LMM, Layer
from .words import whole_word

POSITIONS = ("predicts", "own")


@dataclass(frozen=True)
class Written:
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
        return self.states[layer][step if position == "predicts" else step + 1]


@torch.inference_mode()
def write_captions(
    lmm: LMM,
    pictures: Sequence[Image.Image],
    layers: Sequence[Layer] = (),
    prompt: str | None = None,
    max_new_tokens: int = 40,
) -> list[Written]:
    """Write a caption for each picture of a batch, greedily, and keep the last position's state at every step.

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

    Returns
    -------
    list of Written
        One for each picture, states on the CPU as float32.
    """
    batch = lmm.inputs(pictures, prompt)
    with capture(lmm, layers) as captured:
        sequences = lmm.model.generate(
            **batch,
            max_new_tokens=max_new_tokens + 1,
            do_sample=False,
            num_beams=1,
            return_dict_in_generate=False,
        )
    new = sequences[:, batch["input_ids"].shape[1] :].tolist()
    stacked = {layer: torch.stack(steps, 1).float().cpu() for layer, steps in captured.items()}  # (batch, steps, width)
    written = []
    for row, ids in enumerate(new):
        ids = without_ending(lmm, ids)[:max_new_tokens]
        states = {layer: states[row, : len(ids) + 1].clone() for layer, states in stacked.items()}
        written.append(Written(decode(lmm, ids), ids, states))
    return written


@torch.inference_mode()
def forced_states(
    lmm: LMM,
    pictures: Sequence[Image.Image],
    captions: Sequence[Sequence[int]],
    layers: Sequence[Layer],
    prompt: str | None = None,
) -> list[dict[Layer, torch.Tensor]]:
    """The states behind given captions, by one teacher-forced pass (ours; equal to those of `write_captions`).

    Parameters
    ----------
    lmm : LMM
    pictures : sequence of PIL.Image.Image
    captions : sequence of sequence of int
        Token ids of each picture's caption.
    layers : sequence of layer
    prompt : str, optional

    Returns
    -------
    list of dict of layer to torch.Tensor
        For each picture, (tokens + 1, width) at each layer, laid out as in `Written.states`.
    """
    batch = lmm.inputs(pictures, prompt, continuations=captions)
    prompt_width = batch["input_ids"].shape[1] - max(map(len, captions))
    with capture(lmm, layers, positions="all") as captured:
        lmm.model(**batch, use_cache=False)
    first = prompt_width - 1  # the last prompt position predicts the first caption token
    return [
        {layer: calls[0][row, first : first + len(ids) + 1].float().cpu() for layer, calls in captured.items()}
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


def find_token(lmm: LMM, ids: Sequence[int], spellings: Sequence[str]) -> int | None:
    """The step at which the target word first begins (its first piece, if it has several), or None.

    Parameters
    ----------
    lmm : LMM
    ids : sequence of int
        A caption's tokens.
    spellings : sequence of str
        The target word's spellings; any of them counts, as a whole word, in any case.

    Returns
    -------
    int or None
        Index into `ids`. Found in the decoded text, not among ids: a word-boundary piece or a longer word that
        begins alike ("car" in "cart") is never taken for the target.
    """
    found = whole_word(*spellings).search(decode(lmm, ids))
    if found is None:
        return None
    return next(step for step in range(len(ids)) if len(decode(lmm, ids[: step + 1])) > found.start())
