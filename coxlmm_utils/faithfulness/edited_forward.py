"""Activation patching: a vector added to one state of a teacher-forced pass, and what it does to words (ours)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image
from torch import Tensor

from ..extraction import States
from ..models import LMM, Layer, find_token, hook, last_logits, state_of, vocabulary
from ..text import WORD_STARTS


@dataclass(frozen=True)
class TeacherForcedCaption:
    """A teacher-forced caption, and the one state behind it that is patched."""

    picture: Image.Image
    ids: list[int]  # the caption's tokens
    step: int  # which of them is the target (its first piece, if it has several)
    state: int  # that is patched: state i predicts token i, and is where token i - 1 is fed back
    prompt: str

    @classmethod
    def of(cls, lmm: LMM, states: States, row: int) -> TeacherForcedCaption:
        """The caption that one sample's state was read from, and that state."""
        caption = states.captions[row]
        ids = states.caption_ids(lmm, row)
        step = find_token(lmm, ids, states.spellings)
        if step is None:
            raise ValueError(
                f"the caption {caption!r} of {states.images.ids[row]!r} has no {states.spellings[0]!r}: extract again"
            )
        return cls(states.images.picture(row), ids, step, state_of(step, states.position), states.prompt)


@dataclass(frozen=True)
class Effects:
    """What changes of a state do to log-probabilities, each minus the same of the unpatched pass (ours).

    Let p_t be the model's distribution at step t, S a set of tokens, s the step that the patched state itself predicts,
    T the step after the caption's last token, w_t the caption's tokens and w_k the target's first piece:

        words       log sum_{w in S} p_t(w),  for each step t = s .. T
        mentions    log sum_{t = s .. T} sum_{w in S} p_t(w)
        target      log p_k(w_k)
        rest        sum over t > k of  log p_t(w_t)

    The first step of `words` is the state's own, at which words read from a direction fall by construction when it is
    removed; the later ones are predicted from later states. One mean over both says neither, so they stay apart.
    `mentions` is ruled by the steps where the words are likely: it shows that they are expected, but hardly moves where
    the forced words before make them certain. `target` is exactly 0 where the patched state comes after it, as at
    position "own". `words` is (changes, sets, steps), `mentions` (changes, sets), NaN without tokens; `target` and
    `rest` are (changes,). `before` is what the unpatched pass has: of each set at step s, then of the target, (sets + 1,).
    """

    words: Tensor
    mentions: Tensor
    target: Tensor
    rest: Tensor
    before: Tensor


@torch.inference_mode()
def effects(
    lmm: LMM,
    forced: TeacherForcedCaption,
    layer: Layer,
    changes: Tensor,
    words: Sequence[Sequence[int]],
    batch_size: int = 32,
    branching: bool = False,
) -> Effects:
    """Patch the state `forced.state` at one layer, once with each change, and compare the caption's log-probabilities.

    Later states change only through the model's own later blocks; after the last block a change reaches one step.
    `branching` runs all up to the layer once for all changes; see `can_branch`.
    """
    if changes.dim() != 2 or changes.shape[1] != lmm.width:
        raise ValueError(f"changes of shape {tuple(changes.shape)} do not fit {lmm.name}: give (n, {lmm.width}).")
    if batch_size < 2:
        raise ValueError(f"batch_size={batch_size} leaves no room beside the unpatched run: give at least 2.")
    single = lmm.inputs([forced.picture], forced.prompt, continuations=[forced.ids])
    # In the inputs, prompt + caption, state 0 is at the last position of the prompt, and state i at i after it.
    position = single["input_ids"].shape[1] - len(forced.ids) - 1 + forced.state
    differences = []
    for part in changes.split(batch_size - 1):
        # The first row stays unpatched: batches of different sizes round differently, so each has its own reference.
        part = torch.cat([torch.zeros_like(part[:1]), part])  # (1 + changes, width)
        with hook(lmm, layer, partial(_patched, changes=part, position=position)):
            logits = last_logits(lmm, single if branching else _repeated(single, len(part)), len(forced.ids) + 1)
        measures = _measures(logits, forced, words)
        differences.append([values[1:] - values[:1] for values in measures])
    before = torch.cat([measures[0][0, :, 0], measures[2][:1]])
    return Effects(*(torch.cat(values) for values in zip(*differences)), before)


@torch.inference_mode()
def can_branch(lmm: LMM, forced: TeacherForcedCaption, layer: Layer) -> bool:
    """Whether the model can go on with several rows from a layer on where it had one before: tried out on one caption.

    What comes before the patched layer is the same for all changes, the picture's own pass among it. Most models take
    more rows later, since masks and positions of one row stand for all; those with inputs at later layers need not.
    """
    single = lmm.inputs([forced.picture], forced.prompt, continuations=[forced.ids])
    plain = last_logits(lmm, single, 1)  # (1, 1, vocabulary)
    try:
        with hook(lmm, layer, lambda stream: stream.repeat(3, 1, 1)):
            rows = last_logits(lmm, single, 1)
    except (RuntimeError, ValueError, IndexError):
        return False
    return len(rows) == 3 and bool((rows - plain).abs().max() <= 0.05 * plain.std())  # the rest is rounding


def _patched(stream: Tensor, changes: Tensor, position: int) -> Tensor:
    """The stream, (1 or rows, positions, width), with each row's change added at one position: (rows, ...)."""
    stream = stream.repeat(len(changes) // len(stream), 1, 1)
    stream[:, position] += changes.to(stream.device, stream.dtype)
    return stream


def token_ids(lmm: LMM, words: Sequence[Sequence[str]]) -> list[list[int]]:
    """All tokens that read as one of the words, with or without a mark of a word start, in any case (ours).

    Words that ground a concept are single tokens, so that none is left in pieces.
    """
    by_word: dict[str, list[int]] = {}
    for token, text in enumerate(vocabulary(lmm)):
        by_word.setdefault(text.strip("".join(WORD_STARTS)).strip().lower(), []).append(token)
    return [sorted({token for word in group for token in by_word.get(word.lower(), [])}) for group in words]


def _repeated(single: dict, n: int) -> dict:
    """The inputs of one picture n times; every tensor is that picture's alone, whatever its first dimension."""
    return {
        key: value.repeat(n, *[1] * (value.dim() - 1)) if torch.is_tensor(value) else value
        for key, value in single.items()
    }


def _measures(logits: Tensor, forced: TeacherForcedCaption, words: Sequence[Sequence[int]]) -> tuple[Tensor, ...]:
    """The measures of `Effects`, not yet compared, from the logits of all states: (rows, tokens + 1, vocabulary)."""
    log_p = logits.float().log_softmax(dim=-1)
    reached = log_p[:, forced.state :]  # (rows, steps, vocabulary)
    sets = [reached[..., list(ids)].double().logsumexp(dim=-1) for ids in words]  # (rows, steps) each
    ids = torch.tensor(forced.ids, device=log_p.device).expand(len(log_p), -1)  # (rows, tokens)
    caption = log_p[:, :-1].gather(2, ids[..., None])[..., 0].double()  # (rows, tokens)
    sets = torch.stack(sets, dim=1) if sets else caption.new_empty(len(caption), 0, reached.shape[1])
    measures = sets, sets.logsumexp(dim=2), caption[:, forced.step], caption[:, forced.step + 1 :].sum(dim=1)
    return tuple(values.cpu() for values in measures)
