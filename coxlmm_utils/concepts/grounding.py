"""Ground each concept twice: in the words that the unembedding reads from it, and in the pictures that it is active on."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ..images import CaptionedImages
from ..models import LMM, Layer, token_text
from .word_filter import WordFilter

MIN_PER_CONCEPT = 3  # samples


@dataclass(frozen=True)
class Words:
    """The words of one concept."""

    kept: tuple[str, ...]  # most probable first
    dropped: tuple[tuple[str, str], ...]  # decoded words that the filter dropped, each with the reason

    def __str__(self) -> str:
        return ", ".join(self.kept) or "(no words)"


@torch.inference_mode()
def ground_words(
    lmm: LMM,
    concepts: np.ndarray,
    layer: Layer,
    n_decoded: int = 15,
    n_kept: int | None = None,
    word_filter: WordFilter | None = None,
    norm: bool | None = None,
) -> list[Words]:
    """The words of highest probability in W_U u_k, for each concept.

    As the paper (arXiv 2406.08074) and the first release of its code: decode the most probable tokens and keep those
    that are words. That code's function decodes 15 by default (its command line 10; the paper, as we recall, 15).

    Parameters
    ----------
    concepts : numpy.ndarray
        (concepts, width).
    layer : layer
        Where the concepts live; decides whether the final norm comes first.
    n_decoded : int
        How many tokens are decoded.
    n_kept : int, optional
        At most so many words are kept. Default: all that pass the filter, as in that code.
    word_filter : WordFilter, optional
        Default: `WordFilter()`.
    norm : bool, optional
        Apply the final norm before the unembedding, or not. Default: where the layer needs it (ours; the released
        code never does, and takes its states after the norm).

    Returns
    -------
    list of Words
        One for each concept.
    """
    word_filter = word_filter or WordFilter()
    logits = lmm.unembed(torch.as_tensor(concepts), layer, norm)  # (concepts, vocabulary)
    best = logits.topk(min(n_decoded, logits.shape[1]), dim=1).indices.cpu()  # (concepts, n_decoded)
    grounded = []
    for ids in best:
        decoded = [token_text(lmm, token) for token in ids.tolist()]
        kept, dropped = word_filter.split(decoded)
        grounded.append(Words(tuple(kept[:n_kept]), tuple(dropped)))
    return grounded


def ground_pictures(activations: np.ndarray, n_pictures: int = 5) -> np.ndarray:
    """The samples that activate each concept most: the paper's X_{k,MAS} (arXiv 2406.08074).

    Parameters
    ----------
    activations : numpy.ndarray
        (samples, concepts). Those of one side where they have both signs (see `Dictionary.side_activations`): pictures
        of the largest magnitude, which the paper asks for, would be of both sides.
    n_pictures : int
        The paper's N_MAS; 5 in its figures.

    Returns
    -------
    numpy.ndarray
        (concepts, at most n_pictures) sample numbers, largest magnitude first; of equals the earlier sample first.
    """
    order = np.argsort(-np.abs(activations), axis=0, kind="stable")  # (samples, concepts)
    return order[:n_pictures].T


def thumbnails_of(images: CaptionedImages, rows: Iterable[int], side: int) -> dict[str, Image.Image]:
    """Copies of some pictures by their ids, the longer side reduced to so many pixels."""
    small = {}
    for row in rows:
        small[images.ids[row]] = picture = images.picture(row)
        picture.thumbnail((side, side))
    return small


def warn_if_few(n_samples: int, n_concepts: int) -> None:
    """Warn of concepts that can hardly be more than single pictures."""
    if n_samples < MIN_PER_CONCEPT * n_concepts:
        warnings.warn(
            f"{n_concepts} concepts of {n_samples} samples, fewer than {MIN_PER_CONCEPT} for each: most can only be about single "
            f"pictures; learn at most {max(1, n_samples // MIN_PER_CONCEPT)}, or extract more samples",
            stacklevel=3,
        )
