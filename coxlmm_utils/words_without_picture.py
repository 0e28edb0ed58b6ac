"""What an explanation still says when the picture is taken away: its words, and how well they fit (ours)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .bertscore import BertJudge
from .captioned_images import CaptionedImages
from .clipscore import ClipJudge
from .judging import JudgedPictures
from .statistics import Mean, bootstrap_mean
from .systems import System
from .visual_dependence import ORIGINAL, VisualDependence

ANOTHER = "another's words"  # the condition that shows what chance gives
MEASURES = {"same_words": "words that stay", "clipscore": "CLIPScore", "bertscore": "BERTScore"}


def words_without_picture(
    found: VisualDependence,
    images: CaptionedImages,
    clip: ClipJudge,
    bert: BertJudge,
    n_concepts: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """The words of each sample's most active concepts under each condition, judged with its true picture (ours).

    Parameters
    ----------
    found : VisualDependence
    images : CaptionedImages
        Among them the samples, by their ids, as they are; their references are what BERTScore needs.
    clip : ClipJudge
    bert : BertJudge
    n_concepts : int, default 3
        Of each sample, of those that are active.
    seed : int, default 0
        Of the last condition, `ANOTHER`: each sample is dealt what another one says with its picture.

    Returns
    -------
    pandas.DataFrame
        A row for each condition and sample: condition, sample (its id), clipscore and bertscore (means over its
        concepts, as in the paper's section 4), and same_words: of the words that its concepts say with the picture, the
        share that they still say; NaN where they said none.
    """
    judged = JudgedPictures(images.with_ids(found.ids), clip, bert)
    activations = {**found.activations, ANOTHER: found.activations[ORIGINAL][_others(len(found.ids), seed)]}
    said = {name: System("", 0, found.bank.words, each).said(n_concepts) for name, each in activations.items()}
    each = [
        (condition, row, words) for condition, rows in said.items() for row, all in enumerate(rows) for words in all
    ]
    table = pd.DataFrame(each, columns=["condition", "sample", "words"])
    table["clipscore"] = judged.clip_scores(table["sample"], table["words"])
    table["bertscore"] = judged.bert_scores(table["sample"], table["words"])
    means = table.groupby(["condition", "sample"], sort=False)[["clipscore", "bertscore"]].mean().reset_index()
    means["same_words"] = np.concatenate([_still_said(said[ORIGINAL], rows) for rows in said.values()])
    means["sample"] = np.array(found.ids, dtype=object)[means["sample"]]
    return means


def means_by_condition(table: pd.DataFrame, measure: str, seed: int = 0) -> dict[str, Mean]:
    """The mean of one measure under each condition, with its interval over samples (ours).

    Parameters
    ----------
    table : pandas.DataFrame
        From `words_without_picture`, or any other with a column "condition".
    measure : str
        Its column. Values that are NaN are left out and counted.
    seed : int, default 0
        Of the bootstrap.

    Returns
    -------
    dict of str to Mean

    Raises
    ------
    ValueError
        If a condition has fewer than two values.
    """
    return {
        condition: bootstrap_mean(rows[measure], seed=seed)
        for condition, rows in table.groupby("condition", sort=False)
    }


def _others(n: int, seed: int) -> np.ndarray:
    """For each of n samples another one, no two the same: (n,)."""
    order, others = np.random.default_rng(seed).permutation(n), np.empty(n, dtype=int)
    others[order] = np.roll(order, 1)
    return others


def _still_said(before: list[list[tuple]], after: list[list[tuple]]) -> np.ndarray:
    """Of the words of each sample's concepts the share that are said again: (samples,)."""
    both = [(set().union(*first), set().union(*second)) for first, second in zip(before, after)]
    return np.array([len(first & second) / len(first) if first else np.nan for first, second in both])
