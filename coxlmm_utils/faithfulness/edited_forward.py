"""Activation patching: a vector added to one state of a teacher-forced pass, and what it does to words (ours)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from ..extraction import States
from ..models import LMM, Layer, add, find_token, last_logits, state_of, vocabulary
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

        words       mean over t = s .. T of  log sum_{w in S} p_t(w)
        later       the same over t = s + 1 .. T
        mentions    log sum_{t = s .. T} sum_{w in S} p_t(w)
        target      log p_k(w_k)
        rest        sum over t > k of  log p_t(w_t)

    `words` counts every step alike, also those where the words hardly fit: it shows that they are promoted. `later`
    leaves out the step s, at which words read from a direction fall by construction when it is removed. `mentions` is
    ruled by the steps where the words are likely: it shows that they are expected, but hardly moves where the forced
    words before make them certain. `target` is exactly 0 where the patched state comes after it, as at position "own".
    `words`, `later` and `mentions` are (changes, sets), NaN without tokens or steps; `target` and `rest` are
    (changes,).
    """

    words: Tensor
    later: Tensor
    mentions: Tensor
    target: Tensor
    rest: Tensor


@torch.inference_mode()
def effects(
    lmm: LMM,
    forced: TeacherForcedCaption,
    layer: Layer,
    changes: Tensor,
    words: Sequence[Sequence[int]],
    batch_size: int = 32,
) -> Effects:
    """Patch the state `forced.state` at one layer, once with each change, and compare the caption's log-probabilities.

    Later states change only through the model's own later blocks; after the last block a change reaches one step.
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
        with add(lmm, layer, part, torch.full((len(part),), position)):
            logits = last_logits(lmm, _repeated(single, len(part)), len(forced.ids) + 1)
        differences.append([values[1:] - values[:1] for values in _measures(logits, forced, words)])
    return Effects(*(torch.cat(values) for values in zip(*differences)))


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
    of_sets = sets.mean(dim=2), sets[..., 1:].mean(dim=2), sets.logsumexp(dim=2)
    measures = *of_sets, caption[:, forced.step], caption[:, forced.step + 1 :].sum(dim=1)
    return tuple(values.cpu() for values in measures)
