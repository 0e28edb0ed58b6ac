"""Between text and tokens: what tokens say, and at which of a caption's tokens a word begins and ends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from os.path import commonprefix

from ..text import WORD, WORD_STARTS, whole_word
from .lmm import LMM

UNFINISHED = "\ufffd"  # stands for the bytes of a letter that is not complete


def decode(lmm: LMM, ids: Sequence[int]) -> str:
    """Token ids as text, without special tokens."""
    return lmm.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def encode(lmm: LMM, text: str) -> list[int]:
    """The token ids of a text, in which the name of a special token, "<image>", is text like any other.

    Tokenizing a generated caption need not give its own ids back.
    """

    def ids_of(part: str, **options) -> list[int]:
        return lmm.tokenizer(part, add_special_tokens=False, **options)["input_ids"]

    special = {*lmm.tokenizer.all_special_ids, getattr(lmm.model.config, "image_token_id", None)}
    special -= {lmm.tokenizer.unk_token_id, None}
    ids = ids_of(text)
    if special & {*ids}:
        ids = ids_of(text, split_special_tokens=True)
    if special & {*ids}:  # the vocabulary has it as a whole word, too: cut after its first sign
        names = "|".join(map(re.escape, lmm.tokenizer.convert_ids_to_tokens(sorted(special))))
        parts = re.sub(names, lambda match: f"{match[0][0]}\0{match[0][1:]}", text).split("\0")
        ids = [id for part in parts for id in ids_of(part)]
    return ids


def encode_captions(lmm: LMM, captions: Sequence[str], prompts: str | Sequence[str]) -> list[list[int]]:
    """The token ids of captions as the model itself would write them after a prompt, or each after its own (ours).

    Where a prompt ends in text, "ASSISTANT:", and the tokenizer has the space together with the word after it, as
    Llama 3's has, a caption begins with that space.
    """
    prompts = [prompts] * len(captions) if isinstance(prompts, str) else prompts
    after_text = {prompt: _ends_in_text(lmm, prompt) for prompt in {*prompts}}
    encoded = []
    for caption, prompt in zip(captions, prompts, strict=True):
        ids = encode(lmm, caption)
        glued = after_text[prompt] and ids and not token_text(lmm, ids[0])[:1].isspace()
        encoded.append(encode(lmm, f" {caption}") if glued else ids)
    return encoded


def _ends_in_text(lmm: LMM, prompt: str) -> bool:
    """Whether the prompt as the model gets it ends in text, and not in a space, a line's end or a special token."""
    text = prompt
    if getattr(lmm.processor, "chat_template", None) is not None:
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
        text = lmm.processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
    marks = tuple(token.content for token in lmm.tokenizer.added_tokens_decoder.values())
    return bool(text) and not text[-1].isspace() and not text.endswith(marks)


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
