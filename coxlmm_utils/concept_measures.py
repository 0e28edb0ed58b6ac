"""What can be measured of each concept by itself: how often and how strongly it is active, its scores, its stability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .bertscore import BertJudge
from .captioned_images import CaptionedImages
from .clipscore import ClipJudge
from .concept_quality import score_words_with_pictures
from .matching import match


def active_share(activations: np.ndarray) -> np.ndarray:
    """How often each concept is active: the share of samples whose activation is not zero (ours).

    Parameters
    ----------
    activations : numpy.ndarray
        (samples, concepts).

    Returns
    -------
    numpy.ndarray
        (concepts,), from 0 to 1; of K-Means and Simple, whose activations never are zero, 1.
    """
    return (activations != 0).mean(axis=0)


def active_mean(activations: np.ndarray) -> np.ndarray:
    """How strongly each concept is active: its mean magnitude over the samples where it is not zero (ours).

    Parameters
    ----------
    activations : numpy.ndarray
        (samples, concepts).

    Returns
    -------
    numpy.ndarray
        (concepts,); 0 of a concept that is never active.
    """
    active = (activations != 0).sum(axis=0)  # (concepts,)
    return np.abs(activations).sum(axis=0, dtype=np.float64) / np.maximum(active, 1)


def picture_scores(bank, images: CaptionedImages, clip: ClipJudge, bert: BertJudge) -> dict[str, np.ndarray]:
    """CLIPScore and BERTScore of each concept's words with its own pictures (paper section 4, arXiv 2406.08074).

    Parameters
    ----------
    bank : ConceptBank
    images : CaptionedImages
        Among them the bank's, by their ids; their references are what BERTScore needs.
    clip : ClipJudge
    bert : BertJudge

    Returns
    -------
    dict of str to numpy.ndarray
        "clipscore" and "bertscore": (concepts,) each; NaN of a concept that is active on no picture.
    """
    images = images.with_ids(bank.ids)
    table = score_words_with_pictures({"": bank.words}, bank.activations, bank.top, images, clip, bert)
    table = table.reindex(range(len(bank)))
    return {name: table[name].to_numpy() for name in ("clipscore", "bertscore")}


def concept_stability(concepts: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """How well each concept is found again in other dictionaries: the cosine of its partner, averaged over them (ours).

    Parameters
    ----------
    concepts : numpy.ndarray
        (concepts, width).
    others : sequence of numpy.ndarray
        (concepts, width) each, such as those of other seeds; see `match`.

    Returns
    -------
    numpy.ndarray
        (concepts,), at most 1; NaN of a concept without a partner in any of them.

    Raises
    ------
    ValueError
        If there are none, or their width is another.
    """
    if not len(others):
        raise ValueError("stability needs at least one other dictionary, such as that of another seed")
    for other in others:
        if other.shape[1] != concepts.shape[1]:
            raise ValueError(
                f"the concepts have width {concepts.shape[1]}, those of another dictionary {other.shape[1]}"
            )
    cosines = np.stack([match(concepts, other)[1] for other in others])  # (others, concepts)
    found = ~np.isnan(cosines)
    sums, counts = np.where(found, cosines, 0).sum(axis=0), found.sum(axis=0)
    return np.divide(sums, counts, out=np.full(len(concepts), np.nan), where=counts > 0)


def measure(
    bank,
    images: CaptionedImages | None = None,
    clip: ClipJudge | None = None,
    bert: BertJudge | None = None,
    others: Sequence = (),
) -> dict[str, np.ndarray]:
    """What can be measured of a bank's concepts with what is given.

    Parameters
    ----------
    bank : ConceptBank
    images : CaptionedImages, optional
        Among them the bank's, such as `states.images`. With both judges: "clipscore" and "bertscore", see
        `picture_scores`.
    clip : ClipJudge, optional
    bert : BertJudge, optional
    others : sequence of ConceptBank
        Such as those of other seeds. If there are any: "stability", see `concept_stability`.

    Returns
    -------
    dict of str to numpy.ndarray
        (concepts,) each.

    Raises
    ------
    ValueError
        If of images, clip and bert only some are given, or one of the others has another width.
    """
    judging = (images, clip, bert)
    given = sum(one is not None for one in judging)
    if given not in (0, 3):
        raise ValueError("to score words with pictures, give images, clip and bert, all three")
    measures = picture_scores(bank, *judging) if given else {}
    if len(others):
        measures["stability"] = concept_stability(bank.concepts, [other.concepts for other in others])
    return measures
