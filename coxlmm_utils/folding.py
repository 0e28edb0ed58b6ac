"""Token ids as text that people can read: what repeats is written once, with its number (ours)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from transformers import PreTrainedTokenizerBase


def folded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, ...]:
    """Token ids as text: each run of one special token as "<image> x 64", ordinary tokens in between as one text.

    Rows of image tokens, as Pixtral has them, become "([IMG] x 16 [IMG_BREAK]) x 11".

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    ids : sequence of int

    Returns
    -------
    tuple of str
        In order; blank texts are left out.
    """
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    parts = []
    for kind, run in groupby(ids, key=lambda token: token if token in special else None):
        run = list(run)
        if kind is None:
            parts.append(tokenizer.decode(run).strip())
        else:
            parts.append(tokenizer.convert_ids_to_tokens(kind) + (f" x {len(run)}" if len(run) > 1 else ""))
    return tuple(_repeats_folded([part for part in parts if part]))


def _repeats_folded(parts: list[str]) -> Iterator[str]:
    """The same parts, but a pair that comes again and again only once, with its number."""
    while parts:
        pair, n = parts[:2], 1
        while len(pair) == 2 and parts[2 * n : 2 * n + 2] == pair:
            n += 1
        yield f"({pair[0]} {pair[1]}) x {n}" if n > 1 else parts[0]
        parts = parts[2 * n :] if n > 1 else parts[1:]
