"""Change one state while a given caption is forced, and see what becomes of the probabilities of words (ours)."""

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
class ForcedCaption:
    """A caption that is forced on the LMM, and the one state behind it that is changed.

    Attributes
    ----------
    picture : PIL.Image.Image
    ids : list of int
        The caption's tokens.
    step : int
        Which of them is the target (its first piece, if it has several).
    state : int
        The state that is changed, counted as in `Written.states`: state i predicts token i.
    prompt : str
    """

    picture: Image.Image
    ids: list[int]
    step: int
    state: int
    prompt: str

    @classmethod
    def of(cls, lmm: LMM, states: States, row: int) -> ForcedCaption:
        """The caption that one sample's state was read from, and that state.

        Raises
        ------
        ValueError
            If the caption's tokens do not have the target word.
        OSError
            If the picture cannot be read.
        """
        read, caption = states.provenance, states.captions[row]
        ids = lmm.tokenizer(caption, add_special_tokens=False)["input_ids"]
        step = find_token(lmm, ids, read["token"])
        if step is None:
            raise ValueError(
                f"the caption {caption!r} of {states.images.ids[row]!r} has no {read['token'][0]!r}: extract again"
            )
        return cls(states.images.picture(row), ids, step, state_of(step, read["position"]), read["prompt"])


@dataclass(frozen=True)
class Effects:
    """What some changes of a state do to log-probabilities, each against the run without a change (ours).

    Attributes
    ----------
    words : torch.Tensor
        (changes, sets): of sets of words, whether they are said or not. At every step from the changed state on, to the
        one that follows the caption's last token, the probabilities of a set's tokens are summed and the logarithm
        taken; the mean over these steps changes by this. All steps count alike, also those where the words hardly fit:
        it shows that the words are promoted. NaN for a set without tokens.
    later : torch.Tensor
        (changes, sets): as `words`, but without the first of these steps, which the changed state itself writes: words
        that are read from a direction fall there by construction when it is removed. NaN if there is no other.
    mentions : torch.Tensor
        (changes, sets): the same sums over these steps, the logarithm taken last: of how often the words are expected
        there. The steps where they are likely count: it shows that they are said, but hardly moves where the forced
        words before them make them certain.
    target : torch.Tensor
        (changes,): of the target's first piece at its own step. Exactly 0 where the changed state comes after that step,
        as it does at position "own".
    rest : torch.Tensor
        (changes,): summed over the caption's tokens after that piece; an end-of-text token is not among them.
    """

    words: Tensor
    later: Tensor
    mentions: Tensor
    target: Tensor
    rest: Tensor


@torch.inference_mode()
def effects(
    lmm: LMM,
    forced: ForcedCaption,
    layer: Layer,
    changes: Tensor,
    words: Sequence[Sequence[int]],
    batch_size: int = 32,
) -> Effects:
    """Add each change to the one state, at one layer, and read the forced caption's log-probabilities (ours).

    Later states change only through the model's own later blocks; after the last block a change reaches one step.

    Parameters
    ----------
    lmm : LMM
    forced : ForcedCaption
    layer : layer
        Where the state is changed: 0 (embeddings) to `lmm.n_layers`, or "norm".
    changes : Tensor
        (changes, width), each added to the state in a run of its own. Zeros change nothing.
    words : sequence of sequence of int
        Sets of token ids, as of `token_ids`.
    batch_size : int, default 32
        Runs at once. One of them is without a change: the others are compared with it, since batches of different sizes
        round differently.

    Returns
    -------
    Effects
        float64, on the CPU.

    Raises
    ------
    ValueError
        If the changes do not fit the model, there is no such layer, or `batch_size` is below 2.
    """
    if changes.dim() != 2 or changes.shape[1] != lmm.width:
        raise ValueError(f"changes of shape {tuple(changes.shape)} do not fit {lmm.name}: give (n, {lmm.width}).")
    if batch_size < 2:
        raise ValueError(f"batch_size={batch_size} leaves no room beside the unchanged run: give at least 2.")
    one = lmm.inputs([forced.picture], forced.prompt, continuations=[forced.ids])
    position = one["input_ids"].shape[1] - len(forced.ids) - 1 + forced.state
    found = []
    for some in changes.split(batch_size - 1):
        some = torch.cat([torch.zeros_like(some[:1]), some])  # (1 + changes, width)
        with add(lmm, layer, some, torch.full((len(some),), position)):
            logits = last_logits(lmm, _repeated(one, len(some)), len(forced.ids) + 1)
        found.append([values[1:] - values[:1] for values in _read(logits, forced, words)])
    return Effects(*(torch.cat(values) for values in zip(*found)))


def token_ids(lmm: LMM, words: Sequence[Sequence[str]]) -> list[list[int]]:
    """All tokens that read as one of the words, with or without a mark of a word start, in any case (ours).

    Words that ground a concept are single tokens, so that none is left in pieces.

    Parameters
    ----------
    lmm : LMM
    words : sequence of sequence of str
        Several sets of words.

    Returns
    -------
    list of list of int
        Sorted, for each set; empty if no token reads as one of its words.
    """
    by_word: dict[str, list[int]] = {}
    for token, text in enumerate(vocabulary(lmm)):
        by_word.setdefault(text.strip("".join(WORD_STARTS)).strip().lower(), []).append(token)
    return [sorted({token for word in mine for token in by_word.get(word.lower(), [])}) for mine in words]


def _repeated(one: dict, n: int) -> dict:
    """The inputs of one picture n times; all that a tensor holds is that picture's, whatever its first dimension."""
    return {
        key: value.repeat(n, *[1] * (value.dim() - 1)) if torch.is_tensor(value) else value
        for key, value in one.items()
    }


def _read(logits: Tensor, forced: ForcedCaption, words: Sequence[Sequence[int]]) -> tuple[Tensor, ...]:
    """The measures of `Effects`, not yet compared, from the logits of all states: (rows, tokens + 1, vocabulary)."""
    log_p = logits.float().log_softmax(dim=-1)
    reached = log_p[:, forced.state :]  # (rows, steps, vocabulary)
    sets = [reached[..., list(ids)].double().logsumexp(dim=-1) for ids in words]  # (rows, steps) each
    ids = torch.tensor(forced.ids, device=log_p.device).expand(len(log_p), -1)  # (rows, tokens)
    said = log_p[:, :-1].gather(2, ids[..., None])[..., 0].double()  # (rows, tokens)
    sets = torch.stack(sets, dim=1) if sets else said.new_empty(len(said), 0, reached.shape[1])
    promoted = sets.mean(dim=2), sets[..., 1:].mean(dim=2), sets.logsumexp(dim=2)
    found = *promoted, said[:, forced.step], said[:, forced.step + 1 :].sum(dim=1)
    return tuple(values.cpu() for values in found)
