"""The samples of an extraction as States, with what there is to know about them."""

from __future__ import annotations

import warnings
from collections import Counter

from ..images import CaptionedImages, warn_of_unreadable
from ..models import LMM, first_pieces, word_at
from ..text import common_words, quoted, words_in
from .blocks import Block, stacked
from .extraction_plan import ExtractionPlan
from .provenance import SAID, THERE_BUT_UNSAID
from .states import States


def gathered(lmm: LMM, images: CaptionedImages, plan: ExtractionPlan, blocks: list[Block]) -> dict:
    """The samples of each token and position as States; ValueError for a token without any."""
    by_key = {}
    for token in plan.targets.spellings:
        pictures = [picture for block in blocks for picture in block.having(token)]
        if not pictures:
            raise ValueError(_no_sample(token, plan, blocks))
        provenance = _provenance(lmm, images, plan, blocks, token, pictures)
        _warn(provenance)
        samples = plan.images.with_ids([picture["id"] for picture in pictures])
        captions, token_ids = ([picture[name] for picture in pictures] for name in ("caption", "ids"))
        for position in plan.settings.positions:
            vectors = stacked(blocks, token, position, plan.settings.layers)
            by_key[token, position] = States(
                vectors, samples, captions, {**provenance, "position": position}, token_ids
            )
    return by_key


def _no_sample(token: str, plan: ExtractionPlan, blocks: list[Block]) -> str:
    """Why there is no sample of a token, and which words would have some."""
    eligible = plan.targets.eligible[token]
    words = Counter(word for block in blocks for picture in block.pictures for word in words_in(picture["caption"]))
    reasons = [reason for block in blocks for id, reason in block.unreadable.items() if id in eligible]
    unreadable = f"{len(reasons):,} pictures could not be read" + (f", the first: {reasons[0]}" if reasons else "")
    captions = [picture["caption"] for block in blocks for picture in block.pictures if picture["id"] in eligible]
    n_empty = sum(not caption.strip() for caption in captions)
    unreadable += f"; {n_empty:,} more captions are empty" if n_empty else ""
    occurs = "is missing" if plan.settings.samples == THERE_BUT_UNSAID else "occurs"
    return (
        f"{quoted(plan.targets.spellings[token])} {occurs} in none of the {len(eligible) - len(reasons) - n_empty:,} captions that "
        f"were generated ({unreadable}); words that do occur: {common_words(words)}"
    )


def _provenance(
    lmm, images: CaptionedImages, plan: ExtractionPlan, blocks: list[Block], token: str, pictures: list
) -> dict:
    """All that decides the states of one token, and counts."""
    eligible = plan.targets.eligible[token]
    unreadable = [id for block in blocks for id in block.unreadable if id in eligible]
    bare = sum(not captions for id, captions in zip(images.ids, images.references) if id in eligible)
    counts = {
        "pictures": len(images),
        "mentioned": plan.mentioned[token],
        "without_references": bare,
        "unreadable": len(unreadable),
        "kept": len(pictures),
    }
    return {
        **{name: value for name, value in plan.caption_settings.items() if name != "source"},
        **plan.sample_settings,
        "token": plan.targets.spellings[token],
        "layers": list(plan.settings.layers),
        "data": {"source": images.source, "split": images.split},
        "counts": counts,
        "unreadable": unreadable,
        **_words(lmm, plan, token, pictures),
    }


def _words(lmm: LMM, plan: ExtractionPlan, token: str, pictures: list) -> dict:
    """The first pieces of a token; where it is unsaid, also the words in its place, the most frequent first."""
    at = [(picture["ids"], picture["steps"][token]) for picture in pictures]
    first, instead = {ids[step] for ids, step in at}, {}
    if plan.settings.samples == THERE_BUT_UNSAID:
        first = first_pieces(lmm, plan.targets.spellings[token])
        instead = {"said_instead": dict(Counter(word_at(lmm, ids, step) for ids, step in at).most_common())}
    return {"pieces": sorted({lmm.tokenizer.decode([piece]).strip() for piece in first}), **instead}


def _warn(provenance: dict) -> None:
    """Warn of pictures without references, of those that could not be read, and of a token in pieces."""
    n_bare = provenance["counts"]["without_references"]
    if n_bare and provenance.get("samples") != SAID:  # there no references are asked
        warnings.warn(f"pictures without reference captions: {n_bare:,}; for them the generated caption decides alone")
    warn_of_unreadable(provenance["unreadable"])
    spellings = provenance["token"]
    pieces = [piece for piece in provenance["pieces"] if piece.lower() not in {s.lower() for s in spellings}]
    if pieces:
        warnings.warn(
            f"{quoted(spellings)} is several tokens to this model; the state is that of its first piece, "
            f"{quoted(pieces)}"
        )
