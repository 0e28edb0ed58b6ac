"""The states that predict a token, over many pictures: the paper's matrix Z."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..files import cache_folder
from ..images import CaptionedImages
from ..models import LMM, POSITIONS, Layer
from .blocks import BLOCK
from .estimate import estimate
from .loop import make_blocks
from .plan import make_plan
from .samples import gathered
from .states import States

LONG = 2_000  # pictures; before a run over more, it is said what it will take


def extract(
    lmm: LMM,
    images: CaptionedImages,
    token: str | Sequence[str],
    layer: Layer | Sequence[Layer],
    position: str = "predicts",
    references: str = "word",
    prompt: str | None = None,
    max_new_tokens: int = 40,
    batch_size: int = 32,
    cache: bool = True,
    captions: Mapping[str, str] | None = None,
    stop_early: bool = False,
    folder: str | Path | None = None,
) -> States:
    """Caption the pictures and take the state of a token wherever it was written: the paper's Z.

    A picture is a sample if the token is in the caption that the LMM writes and in a reference caption (paper section
    3.1, arXiv 2406.08074); the state is the one at the first position that predicts it (section 3.2).

    Parameters
    ----------
    lmm : LMM
    images : CaptionedImages
    token : str or sequence of str
        The target word, or several spellings of it ("dog", "dogs").
    layer : layer or sequence of layer
        0 (embeddings) to `lmm.n_layers`, or "norm"; several are read in one pass.
    position : {"predicts", "own"}
        "predicts" is the paper's: the position whose output is the token. "own" (ours): where it is fed back.
    references : {"word", "substring"}
        "word": a whole word of any reference caption. "substring": the released code's rule, any substring of the
        first caption ("cat" in "cattle"). Pictures without references are samples if the written caption has it.
    prompt : str, optional
        Default: the LMM's own.
    max_new_tokens : int
        The longest caption, in tokens.
    batch_size : int
    cache : bool
        Keep what is read in the cache folder, block by block, and go on from there.
    captions, stop_early, folder
        As in `extract_many`.

    Returns
    -------
    States

    Raises
    ------
    ValueError
        If no picture qualifies (the message suggests words that do occur), or for a layer, position or rule that
        there is not.
    """
    spellings = [token] if isinstance(token, str) else list(token)
    if not spellings:
        raise ValueError("the token is empty: []; give a word, or several spellings of one")
    layers = list(layer) if isinstance(layer, Iterable) and not isinstance(layer, str) else [layer]
    asked = (lmm, images, {spellings[0]: spellings}, layers, [position], references, prompt, max_new_tokens)
    found = extract_many(*asked, batch_size, captions, stop_early, cache, folder)
    return found[spellings[0], position]


def extract_many(
    lmm: LMM,
    images: CaptionedImages,
    tokens: Sequence[str] | Mapping[str, Sequence[str]],
    layers: Sequence[Layer],
    positions: Sequence[str] = POSITIONS,
    references: str = "word",
    prompt: str | None = None,
    max_new_tokens: int = 40,
    batch_size: int = 32,
    captions: Mapping[str, str] | None = None,
    stop_early: bool = False,
    cache: bool = True,
    folder: str | Path | None = None,
) -> dict[tuple[str, str], States]:
    """Several tokens, layers and positions from one captioning pass; otherwise as `extract` (ours).

    What is read goes to disk in blocks of 128 pictures. A call that was stopped goes on where it was, and a call with
    the same settings only reads the blocks. Captions that an earlier call wrote for the same model, prompt and
    pictures are not written again: the states behind them are read by one teacher-forced pass.

    Parameters
    ----------
    lmm, images, layers, references, prompt, max_new_tokens, batch_size
        As in `extract`.
    tokens : sequence of str, or mapping of str to sequence of str
        The target words; a mapping gives each its spellings.
    positions : sequence of {"predicts", "own"}
    captions : mapping of str to str, optional
        A caption for each picture's id, read instead of what the model would write: such as another model's. A picture
        that has none here is left out.
    stop_early : bool
        Stop writing a caption once its tokens are out (a word later, for the word's end and its own state). Captions
        then end there.
    cache : bool
        False: nothing is kept, and nothing kept is taken.
    folder : str or Path, optional
        Where the blocks go; default: `states` in the cache folder. A shared folder lets several machines work on them.
        Not for pictures in memory: nobody could tell later whether they are still the same.

    Returns
    -------
    dict of (token, position) to States

    Raises
    ------
    ValueError
        If a token has no sample (the message suggests words that do occur), or for a layer, position or rule that
        there is not.
    """
    reading = make_plan(
        lmm, images, tokens, layers, positions, references, prompt, max_new_tokens, captions, stop_early
    )
    if folder is not None and not reading.lasting:
        raise ValueError("pictures in memory cannot be kept apart in a folder: save them as files, or leave folder out")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(folder).expanduser() if folder else cache_folder() / "states"
        blocks = reading.folder(root if cache and reading.lasting else Path(scratch))
        if len(blocks.missing()) * BLOCK > LONG:
            print(estimate(lmm, reading, blocks, batch_size))
        make_blocks(lmm, reading, blocks, batch_size)
        return gathered(lmm, images, reading, list(blocks.read()))


def reread(lmm: LMM, states: States, layer: Layer, images: CaptionedImages | None = None, **options) -> States:
    """Read the states of the same words in the same captions, forced, with all settings as they were (ours).

    Parameters
    ----------
    lmm : LMM
        The model that wrote the captions, or another.
    states : States
        Their captions, token, position and settings are taken.
    layer : layer
    images : CaptionedImages, optional
        Other pictures under the same ids. Default: those of the states.
    **options
        `batch_size` and `cache`, as `extract` takes them.

    Returns
    -------
    States
    """
    known = states.provenance
    options |= {name: known[name] for name in ("position", "references", "prompt", "max_new_tokens")}
    captions = dict(zip(states.images.ids, states.captions))
    images = states.images if images is None else images
    return extract(lmm, images, known["token"], layer, captions=captions, **options)
