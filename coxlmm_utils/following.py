"""What the LMM would write after the token that is explained (ours)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .captioning import decode, last_logits
from .explanation import Explanation
from .lmm import LMM
from .words import whole_word


@torch.inference_mode()
def words_that_follow(lmm: LMM, explanation: Explanation, n: int = 5) -> list[tuple[str, float]]:
    """The most probable next words after the explained token, with the caption up to it as it was written (ours).

    Parameters
    ----------
    lmm : LMM
        The model that the explanation is of.
    explanation : Explanation
    n : int
        How many words.

    Returns
    -------
    list of (str, float)
        Most probable first, with probabilities from 0 to 1 by the model's own logits. A piece that continues the token
        has a hyphen before it ("-s" after "dog"); a special token, such as the end, is written as the tokenizer has it.

    Raises
    ------
    ValueError
        If the model is not the bank's (names both).
    """
    explanation.bank.check_model(lmm)
    ids = explanation.ids[: _end_of_token(lmm, explanation)]
    batch = lmm.inputs([explanation.picture], explanation.bank.provenance["prompt"], continuations=[ids])
    probabilities = last_logits(lmm, batch, 1)[0, 0].float().softmax(dim=0)  # (vocabulary,)
    best = probabilities.topk(min(n, len(probabilities)))
    return [(_as_next(lmm, ids, token), p) for token, p in zip(best.indices.tolist(), best.values.tolist())]


def _end_of_token(lmm: LMM, explanation: Explanation) -> int:
    """How many tokens the caption has up to the end of the explained word, which may be of several pieces."""
    found = whole_word(*explanation.bank.provenance["token"]).search(explanation.caption)
    ids = explanation.ids
    return next(n for n in range(1, len(ids) + 1) if len(decode(lmm, ids[:n])) >= found.end())


def _as_next(lmm: LMM, ids: Sequence[int], token: int) -> str:
    """A token as what it adds to the text before it."""
    added = decode(lmm, [*ids, token])[len(decode(lmm, ids)) :]
    if not added.strip():  # a special token, or white space
        return lmm.tokenizer.convert_ids_to_tokens(token)
    return f"-{added}" if added[0].isalnum() else added.strip()
