"""The states that predict a token, over many pictures: the paper's matrix Z."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path

from ..files import cache_folder, require_writable
from ..images import CaptionedImages
from ..models import LMM, POSITIONS, Layer, encode_captions, has_hooks
from .batches import BatchSize
from .blocks import BLOCK
from .estimate import estimate
from .extraction_plan import Settings, make_plan, words_of
from .loop import make_blocks
from .provenance import SAID_AND_THERE, THERE_BUT_UNSAID
from .samples import gathered
from .states import States

MIN_ESTIMATED = 2_000  # pictures, from which on it is said beforehand what a run will take


def extract(
    lmm: LMM,
    images: CaptionedImages,
    token: str | Sequence[str],
    layer: Layer | Sequence[Layer],
    position: str = "predicts",
    references: str = "word",
    prompt: str | None = None,
    max_new_tokens: int = 40,
    batch_size: int | str = 32,
    cache: bool = True,
    captions: Mapping[str, str] | None = None,
    stop_early: bool = False,
    folder: str | Path | None = None,
    samples: str = SAID_AND_THERE,
) -> States:
    """Caption the pictures and take the state of a token wherever it is generated: the paper's Z.

    A picture is a sample if the token is in the caption that the LMM generates and in a reference caption, and the
    state is the one at the first position that predicts it (arXiv 2406.08074).

    Parameters
    ----------
    lmm : LMM
        From `load_lmm`.
    images : CaptionedImages
        From `load_images`.
    token : str or sequence of str
        The target word, or several spellings of it ("dog", "dogs").
    layer : layer or sequence of layer
        0 (embeddings) to `lmm.n_layers`, or "norm"; several are read in one pass.
    position : {"predicts", "own"}
        "predicts" is the paper's: the position whose output is the token. "own" (ours): where it is fed back.
    references : {"word", "substring"}
        "word": a whole word of any reference caption. "substring": the released code's rule, any substring of the
        first caption ("cat" in "cattle"). Pictures without references are samples if the generated caption has it.
    prompt : str, optional
        Default: the LMM's own.
    max_new_tokens : int
        The longest caption, in tokens.
    batch_size : int or "auto"
        Pictures at once, at most: a batch that does not fit the memory is halved and run again, with a warning, and nothing
        is lost. "auto" begins with 8, and doubles while they fit, up to 128.
    cache : bool
        Keep what is extracted in the cache folder, block by block, and go on from there. All that decides a state is in
        the name of its block: weights and adapters, generation settings and the prompt as the model gets it, as they
        are now. While hooks change the model, as in `add`, nothing is kept or taken.
    captions, stop_early, folder
        As in `extract_many`.
    samples : {"said and there", "said", "said but absent", "there but unsaid"}
        Which pictures: those where generated caption and a reference have the token, the paper's; all where the caption
        has it, true or not (ours); or the errors (ours), where the caption says it but no reference does, and where a
        reference does but not the caption. A picture
        without references is no error. A caption that does not say the token has no position that predicts it: the
        state is that of the position from which it was most probable, there the model was closest to saying it; "own"
        is where the token said instead is fed back. `provenance["said_instead"]` counts the words there.

    Returns
    -------
    States

    Raises
    ------
    ValueError
        If no picture qualifies (the message suggests words that do occur), or for a layer, position or rule that
        there is not.
    """
    spellings = words_of(token)
    settings = Settings(
        _plain(layer), [position], references, prompt, max_new_tokens, captions, stop_early, samples=samples
    )
    by_key = _extract(lmm, images, {spellings[0]: spellings}, settings, batch_size, cache, folder)
    return by_key[spellings[0], position]


def extract_many(
    lmm: LMM,
    images: CaptionedImages,
    tokens: Sequence[str] | Mapping[str, Sequence[str]],
    layers: Sequence[Layer],
    positions: Sequence[str] = POSITIONS,
    references: str = "word",
    prompt: str | None = None,
    max_new_tokens: int = 40,
    batch_size: int | str = 32,
    captions: Mapping[str, str] | None = None,
    stop_early: bool = False,
    cache: bool = True,
    folder: str | Path | None = None,
    samples: str = SAID_AND_THERE,
) -> dict[tuple[str, str], States]:
    """Several tokens, layers and positions from one captioning pass; otherwise as `extract` (ours).

    States go to disk in blocks of 128 pictures. A call that was stopped goes on where it was, and a call with the same
    settings only loads the blocks. Captions that an earlier call generated for the same model, prompt and pictures are
    not generated again: the states behind them are re-encoded by one teacher-forced pass.

    Parameters
    ----------
    lmm, images, layers, references, prompt, max_new_tokens, batch_size, samples
        As in `extract`.
    tokens : sequence of str, or mapping of str to sequence of str
        The target words; a mapping gives each its spellings.
    positions : sequence of {"predicts", "own"}
    captions : mapping of str to str, optional
        A caption for each picture's id, teacher-forced in place of the model's own: such as another model's. A picture
        that has none here, or None, is left out.
    stop_early : bool
        End a caption once its tokens have been generated (a word later, for the word's end and its own state).
    cache : bool
        False: nothing is kept, and nothing kept is taken.
    folder : str or Path, optional
        Where the blocks go; default: `states` in the cache folder. A shared folder lets several machines work on them.
        Not for pictures in memory: whether they are still the same could not be checked later.

    Returns
    -------
    dict of (token, position) to States

    Raises
    ------
    ValueError
        If a token has no sample (the message suggests words that do occur), or for a layer, position or rule that
        there is not.
    """
    positions = list(dict.fromkeys([positions] if isinstance(positions, str) else positions))
    settings = Settings(
        _plain(layers), positions, references, prompt, max_new_tokens, captions, stop_early, samples=samples
    )
    return _extract(lmm, images, tokens, settings, batch_size, cache, folder)


def _plain(layers: Layer | Iterable[Layer]) -> list[Layer]:
    """Layers, or one, as json holds them, which knows no numpy."""
    layers = layers if isinstance(layers, Iterable) and not isinstance(layers, str) else [layers]
    return [int(layer) if isinstance(layer, Integral) else layer for layer in layers]


def _extract(
    lmm: LMM,
    images: CaptionedImages,
    tokens: Sequence[str] | Mapping[str, Sequence[str]],
    settings: Settings,
    batch_size: int | str,
    cache: bool,
    folder: str | Path | None = None,
) -> dict[tuple[str, str], States]:
    """Make the blocks that are missing, and gather the states of all of them."""
    BatchSize.of(batch_size)  # which refuses what is none
    plan, changed = make_plan(lmm, images, tokens, settings), has_hooks(lmm)
    if folder is not None and changed:
        raise ValueError("states of a model that hooks change, as in `add`, are not kept: leave folder out")
    if folder is not None and not plan.lasting:
        raise ValueError("pictures in memory cannot be kept apart in a folder: save them as files, or leave folder out")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(folder).expanduser() if folder else cache_folder() / "states"
        blocks = plan.folder(root if cache and plan.lasting and not changed else Path(scratch))
        n_missing = len(blocks.missing())
        if n_missing:
            require_writable(blocks.folder)
        if n_missing * BLOCK > MIN_ESTIMATED:
            print(estimate(lmm, plan, blocks, batch_size))
        make_blocks(lmm, plan, blocks, batch_size)
        return gathered(lmm, images, plan, list(blocks.read()))


def reread(
    lmm: LMM,
    states: States,
    layer: Layer,
    images: CaptionedImages | None = None,
    batch_size: int | str = 32,
    cache: bool = True,
) -> States:
    """Re-encode the same words in the same captions, teacher-forced, under the settings that the states had (ours).

    Parameters
    ----------
    lmm : LMM
        The model that generated the captions, or another.
    states : States
        Their captions, token, position and settings are taken.
    layer : layer
        As in `extract`.
    images : CaptionedImages, optional
        Other pictures under the same ids, such as perturbed ones. Default: those of the states.
    batch_size, cache
        As in `extract`.

    Returns
    -------
    States

    Raises
    ------
    ValueError
        If the states are of several tokens, see `join_states`: which of them a caption was a sample of is not known;
        or of captions that do not say theirs.
    """
    if "tokens" in states.provenance:
        raise ValueError("the states are of several tokens: re-encode those of each token before joining them")
    if states.samples == THERE_BUT_UNSAID:
        raise ValueError(f"these captions do not say {states.tokens[0]!r}: there is no word whose state to re-encode")
    before, ids = states.provenance, states.images.ids
    token_ids = {id: states.caption_ids(lmm, row) for row, id in enumerate(ids)}
    captions, simply = dict(zip(ids, states.captions)), encode_captions(lmm, states.captions, states.prompt)
    settings = Settings(
        _plain([layer]),
        [states.position],
        before["references"],
        states.prompt,
        before["max_new_tokens"],
        captions,
        token_ids={id: token_ids[id] for id, tokens in zip(ids, simply) if tokens != token_ids[id]},
        samples=states.samples,
    )
    images = states.images if images is None else images
    by_key = _extract(lmm, images, {states.spellings[0]: states.spellings}, settings, batch_size, cache)
    return by_key[states.spellings[0], states.position]
