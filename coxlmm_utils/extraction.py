"""The states that predict one token, over many pictures: the paper's matrix Z."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm

from . import __version__
from .captioned_images import CaptionedImages
from .captioning import POSITIONS, Written, find_token, write_captions
from .files import cache_folder, digest
from .lmm import LMM, Layer
from .states import States
from .words import FUNCTION_WORDS, words_in

REFERENCE_RULES = ("word", "substring")


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
        Keep the result in the cache folder, and take it from there when nothing that decides it has changed.

    Returns
    -------
    States

    Raises
    ------
    ValueError
        If no picture qualifies (the message suggests words that do occur), or for a layer, position or rule that
        there is not.
    """
    spellings = (token,) if isinstance(token, str) else tuple(token)
    layers = list(layer) if isinstance(layer, Iterable) and not isinstance(layer, str) else [layer]
    _check(lmm, spellings, layers, position, references)
    settings = {
        "token": list(spellings),
        "layers": [layer if isinstance(layer, str) else int(layer) for layer in layers],  # json knows no numpy
        "position": position,
        "references": references,
        "prompt": prompt or lmm.prompt,
        "template": digest(getattr(lmm.processor, "chat_template", None)),
        "max_new_tokens": max_new_tokens,
        "model": {"name": lmm.name, "fingerprint": lmm.fingerprint, "dtype": str(lmm.model.dtype)},
        "data": {"source": images.source, "split": images.split},
        "versions": {"coxlmm_utils": __version__} | {name: version(name) for name in ("torch", "transformers")},
    }
    folder = _cached(settings, images) if cache else None
    if folder is not None and (folder / "states.json").exists():
        states = States.from_pretrained(folder, images)
    else:
        candidates = _candidates(images, spellings, references)
        samples = _samples(lmm, candidates, spellings, settings, batch_size)
        states = _gathered(samples, images, candidates, settings)
        if folder is not None:
            states.save_pretrained(folder)
    _warn(states.provenance)
    return states


def _check(lmm: LMM, spellings: Sequence[str], layers: Sequence[Layer], position: str, references: str) -> None:
    if not spellings or not all(spelling.strip() for spelling in spellings):
        raise ValueError(f"the token is empty: {list(spellings)}; give a word, or several spellings of one")
    if not layers:
        raise ValueError("there is no layer to read: give at least one")
    for layer in layers:
        lmm.check_layer(layer)
    if position not in POSITIONS:
        raise ValueError(f"there is no position {position!r}; choose one of {', '.join(POSITIONS)}")
    if references not in REFERENCE_RULES:
        raise ValueError(f"there is no reference rule {references!r}; choose one of {', '.join(REFERENCE_RULES)}")


def _cached(settings: dict, images: CaptionedImages) -> Path | None:
    """Where the cache keeps these states; None if the pictures cannot tell whether they have changed."""
    stamp = images.stamp()
    return None if stamp is None else cache_folder() / "states" / digest({**settings, "pictures": stamp})


def _candidates(images: CaptionedImages, spellings: Sequence[str], references: str) -> CaptionedImages:
    """The pictures whose references have the token, or that have no references."""
    if references == "word":
        mentioned = set(images.mentioning(*spellings).ids)
    else:
        first = [captions[0].lower() if captions else "" for captions in images.references]
        mentioned = {i for i, text in zip(images.ids, first) if any(s.lower() in text for s in spellings)}
    bare = {i for i, captions in zip(images.ids, images.references) if not captions}
    candidates = images.with_ids([i for i in images.ids if i in mentioned or i in bare])
    if not len(candidates):
        raise ValueError(
            f"no reference caption of the {len(images):,} pictures has {_quoted(spellings)}; "
            f"words that do occur: {_common(images.words())}"
        )
    return candidates


@dataclass
class _Samples:
    """What was found while captioning: for each sample its row among the candidates, caption and states."""

    rows: list[int]
    captions: list[str]
    states: list[dict[Layer, torch.Tensor]]
    pieces: list[str]  # the token's own piece in each sample
    words: Counter  # of all captions
    unreadable: list[str]


def _samples(lmm: LMM, images: CaptionedImages, spellings: Sequence[str], settings: dict, batch_size: int) -> _Samples:
    """Caption the candidates in batches, and keep those that the LMM names by the token."""
    samples = _Samples([], [], [], [], Counter(), [])
    with tqdm(total=len(images), desc=f"captioning for {spellings[0]!r}", unit="pictures") as bar:
        for start in range(0, len(images), batch_size):
            rows, pictures = _opened(images, range(start, min(start + batch_size, len(images))), samples.unreadable)
            if pictures:
                if start == 0:
                    lmm.warn_if_strange(pictures)
                written = write_captions(
                    lmm, pictures, settings["layers"], settings["prompt"], settings["max_new_tokens"]
                )
                for row, one in zip(rows, written):
                    _keep(lmm, samples, row, one, spellings, settings)
            bar.update(min(batch_size, len(images) - start))
            bar.set_postfix(kept=len(samples.rows))
    if not samples.rows:
        n_read = len(images) - len(samples.unreadable)
        raise ValueError(
            f"{_quoted(spellings)} occurs in none of the {n_read:,} captions that were written "
            f"({len(samples.unreadable):,} pictures could not be read); words that do occur: {_common(samples.words)}"
        )
    return samples


def _opened(images: CaptionedImages, rows: range, unreadable: list[str]) -> tuple[list[int], list[Image.Image]]:
    """The pictures of these rows that can be read; the others' ids are noted."""
    opened = []
    for row in rows:
        try:
            opened.append((row, images.picture(row)))
        except OSError:
            unreadable.append(images.ids[row])
    return [row for row, _ in opened], [picture for _, picture in opened]


def _keep(lmm: LMM, samples: _Samples, row: int, written: Written, spellings: Sequence[str], settings: dict) -> None:
    """Add a written caption's state, if it has the token."""
    samples.words.update(words_in(written.caption))
    step = find_token(lmm, written.ids, spellings)
    if step is None:
        return
    samples.rows.append(row)
    samples.captions.append(written.caption)
    samples.pieces.append(lmm.tokenizer.decode([written.ids[step]]).strip())
    position = settings["position"]
    samples.states.append({layer: written.state(layer, step, position) for layer in settings["layers"]})


def _gathered(samples: _Samples, images: CaptionedImages, candidates: CaptionedImages, settings: dict) -> States:
    """The samples as States, with what there is to know about them."""
    bare = sum(not captions for captions in candidates.references)
    counts = {
        "pictures": len(images),
        "mentioned": len(candidates) - bare,
        "without_references": bare,
        "unreadable": len(samples.unreadable),
        "kept": len(samples.rows),
    }
    vectors = {layer: torch.stack([state[layer] for state in samples.states]) for layer in settings["layers"]}
    found = {"counts": counts, "pieces": sorted(set(samples.pieces)), "unreadable": samples.unreadable}
    return States(vectors, candidates[samples.rows], samples.captions, {**settings, **found})


def _warn(provenance: dict) -> None:
    """Warn of pictures without references, of those that could not be read, and of a token in pieces."""
    if n_bare := provenance["counts"]["without_references"]:
        warnings.warn(f"pictures without reference captions: {n_bare:,}; for them the written caption decides alone")
    if unreadable := provenance["unreadable"]:
        some = ", ".join(unreadable[:3]) + (", ..." if len(unreadable) > 3 else "")
        warnings.warn(f"pictures that could not be read and were skipped: {len(unreadable):,} ({some})")
    spellings = provenance["token"]
    pieces = [piece for piece in provenance["pieces"] if piece.lower() not in {s.lower() for s in spellings}]
    if pieces:
        warnings.warn(
            f"{_quoted(spellings)} is several tokens to this model; the state is that of its first piece, "
            f"{_quoted(pieces)}"
        )


def _quoted(words: Sequence[str]) -> str:
    return " or ".join(f"'{word}'" for word in words)


def _common(words: Counter, n: int = 12) -> str:
    """The most frequent words with a meaning of their own, as a list to choose from."""
    frequent = [word for word, _ in words.most_common() if len(word) > 2 and word not in FUNCTION_WORDS]
    return ", ".join(frequent[:n]) or "none"
