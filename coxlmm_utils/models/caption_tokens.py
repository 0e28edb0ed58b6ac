"""Between text and tokens: what tokens say, and at which of a caption's tokens a word begins and ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os.path import commonprefix

from ..text import WORD, WORD_STARTS, whole_word
from .lmm import LMM

UNFINISHED = "\ufffd"  # stands for the bytes of a letter that is not complete


def decode(lmm: LMM, ids: Sequence[int]) -> str:
    """Token ids as text, without special tokens."""
    return lmm.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def encode(lmm: LMM, text: str) -> list[int]:
    """The token ids of a text; tokenizing a generated caption need not give its own ids back."""
    return lmm.tokenizer(text, add_special_tokens=False)["input_ids"]


def token_text(lmm: LMM, token: int) -> str:
    """One token as text, with a space before it if it begins a word; decoding it alone may drop that space."""
    text = lmm.tokenizer.decode([token])
    piece = lmm.tokenizer.convert_ids_to_tokens(token)
    begins = isinstance(piece, str) and piece.startswith(WORD_STARTS)
    return f" {text}" if begins and not text.startswith(WORD_STARTS) else text


def vocabulary(lmm: LMM) -> list[str]:
    """Every token as text, in the order of ids."""
    return [token_text(lmm, token) for token in range(len(lmm.tokenizer))]


def find_token(lmm: LMM, ids: Sequence[int], spellings: Sequence[str], finished: bool = True) -> int | None:
    """The step at which the target word first begins (its first piece, if it has several), or None.

    Any of its spellings counts, as a whole word, in any case. While the caption is not finished, a word at its very end
    does not count: it may still grow.

    Parameters
    ----------
    ids : sequence of int
        The caption's tokens.
    spellings : sequence of str
    finished : bool, default True

    Returns
    -------
    int or None
    """
    # The word is sought in the decoded text, not its pieces among the ids: a word has different pieces at different
    # places (with a mark of its start, in parts, in bytes), and they also begin longer words ("car" in "cart").
    text = decode(lmm, ids)
    match = whole_word(*spellings).search(text)
    if match is None or (not finished and not text[match.end() :].strip(UNFINISHED)):
        return None
    return _step_at(lmm, ids, text, match.start())


def end_of_token(lmm: LMM, ids: Sequence[int], spellings: Sequence[str]) -> int | None:
    """How many tokens the caption has up to the end of the target word, found as by `find_token`."""
    text = decode(lmm, ids)
    match = whole_word(*spellings).search(text)
    return None if match is None else next(n for n, agreed, _ in _beginnings(lmm, ids, text) if agreed >= match.end())


def first_pieces(lmm: LMM, spellings: Sequence[str]) -> list[int]:
    """The tokens that begin one of the words, at the start of a text or inside it; none that the tokenizer lacks."""
    pieces = set()
    for spelling in spellings:
        for text in (spelling, f"a {spelling}"):
            ids = encode(lmm, text)
            step = find_token(lmm, ids, [spelling])
            pieces |= set() if step is None else {ids[step]}
    return sorted(pieces)


def word_at(lmm: LMM, ids: Sequence[int], step: int) -> str:
    """The word of the caption that a token belongs to; the token's text if that is no word."""
    begin, text = len(decode(lmm, ids[:step])), decode(lmm, ids)
    # A piece may begin with the space before its word.
    end = begin + len(text[begin:]) - len(text[begin:].lstrip())
    return next(
        (m.group() for m in WORD.finditer(text) if m.start() <= end < m.end()), token_text(lmm, ids[step]).strip()
    )


def _step_at(lmm: LMM, ids: Sequence[int], text: str, place: int) -> int:
    """The token that brings the letter at a place of the text, or the first of its bytes."""
    n, _, reached = next(beginning for beginning in _beginnings(lmm, ids, text) if beginning[1] >= place)
    if reached > place:
        return n - 1  # the last of these tokens, such as " dog", reaches beyond the place
    # All before the letter is complete. Tokens without text of their own (special ones, marks) do not begin it.
    return next(step for step in range(n, len(ids)) if decode(lmm, ids[: step + 1]) != decode(lmm, ids[:step]))


def _beginnings(lmm: LMM, ids: Sequence[int], text: str) -> Iterator[tuple[int, int, int]]:
    """For the first n = 0, 1, ... tokens: n, how many letters agree with the whole text, and how many there are."""
    # Texts of tokens do not add up to the text (spaces, bytes of one letter), so each beginning is decoded as a whole.
    for n in range(len(ids) + 1):
        beginning = decode(lmm, ids[:n])
        yield n, len(commonprefix([beginning, text])), len(beginning)
