"""How well a concept's words fit its own pictures, against random words: the paper's Fig 3."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..concepts import WordFilter, Words, concept_stability, ground_pictures, ground_words
from ..dictionaries import SemiNMF
from ..extraction import States, require_same
from ..images import CaptionedImages
from ..models import LMM
from .bertscore import BertJudge
from .clipscore import ClipJudge
from .evaluate import check_apart
from .judges import PictureScorer
from .random_words import random_words


def picture_scores(bank, images: CaptionedImages, clip: ClipJudge, bert: BertJudge) -> dict[str, np.ndarray]:
    """CLIPScore and BERTScore of each concept's words with its own pictures (paper's Fig 3, arXiv 2406.08074).

    Of a concept whose activations have both signs the mean over its two sides (ours)."""
    V, words = bank.dictionary.side_activations(bank.activations), bank.words + bank.negative_words
    top = np.concatenate([bank.top, ground_pictures(V[:, len(bank) :], bank.top.shape[1])])  # (sides, pictures)
    table = score_words_with_pictures({"": words}, V, top, images.with_ids(bank.ids), clip, bert)
    table = table.groupby(table.index % len(bank)).mean().reindex(range(len(bank)))
    return {name: table[name].to_numpy() for name in ("clipscore", "bertscore")}


def measure(
    bank,
    images: CaptionedImages | None = None,
    clip: ClipJudge | None = None,
    bert: BertJudge | None = None,
    others: Sequence = (),
) -> dict[str, np.ndarray]:
    """What can be measured of a bank's concepts with what is given."""
    needed = (images, clip, bert)
    n_given = sum(argument is not None for argument in needed)
    if n_given not in (0, 3):
        raise ValueError("to score words with pictures, give images, clip and bert, all three")
    measures = picture_scores(bank, *needed) if n_given else {}
    for other in others:
        require_same(bank, other, "fingerprint", "layer", "position", names=("the bank", "others"))
    if len(others):
        measures["stability"] = concept_stability(bank.concepts, [other.concepts for other in others])
    return measures


def grounding_quality(
    lmm: LMM,
    states: States,
    clip: ClipJudge,
    bert: BertJudge | None,
    dictionary: SemiNMF | None = None,
    n_pictures: int = 5,
    seed: int = 0,
    word_filter: WordFilter | None = None,
    held_out: States | None = None,
) -> pd.DataFrame:
    """Score each concept's words with its most activating pictures (the paper's Fig 3, arXiv 2406.08074).

    Parameters
    ----------
    states : States
        Of one token and layer.
    clip : ClipJudge
    bert : BertJudge or None
        None: no BERTScore (ours).
    dictionary : SemiNMF, optional
        Default: the paper's, K = 20. A copy is fitted.
    n_pictures : int, default 5
        The paper's N_MAS: as many of its most activating pictures are scored.
    seed : int
        Of the random words, which are the paper's (see `random_words`).
    word_filter : WordFilter, optional
    held_out : States, optional
        Take the most activating pictures of these, alike but not learned from (ours).

    Returns
    -------
    pandas.DataFrame
        One row for each concept: token, concept, words, then clipscore, bertscore (means over its pictures that have
        references) and the same with as many random words: clipscore_random, bertscore_random. A concept that is
        active on no picture is left out.
    """
    if held_out is not None:
        check_apart(states, held_out)
    dictionary = (dictionary or SemiNMF()).clone(verbose=False).fit(states.Z)
    word_filter = word_filter or WordFilter()
    words = ground_words(lmm, dictionary.components_, states.layer, n_kept=lmm.words_kept, word_filter=word_filter)
    random = random_words(lmm, words, states.layer, word_filter=word_filter, seed=seed)
    V = dictionary.activations_ if held_out is None else dictionary.transform(held_out.Z)  # (samples, concepts)
    top, images = ground_pictures(V, n_pictures), (held_out or states).images  # (concepts, n_pictures)
    table = score_words_with_pictures({"": words, "_random": random}, V, top, images, clip, bert).reset_index()
    table.insert(0, "token", states.spellings[0])
    table.insert(2, "words", [str(words[k]) for k in table["concept"]])
    return table


def score_words_with_pictures(
    words_by_ending: dict[str, Sequence[Words]],
    activations: np.ndarray,
    top: np.ndarray,
    images: CaptionedImages,
    clip: ClipJudge,
    bert: BertJudge | None,
) -> pd.DataFrame:
    """Score words said of concepts with the pictures that activate these most."""
    shown, row_of = np.unique(top, return_inverse=True)
    scorer = PictureScorer(images[shown.tolist()], clip, bert)
    concept = np.repeat(np.arange(len(top)), top.shape[1])
    pairs = pd.DataFrame({"concept": concept, "row": row_of.ravel()})
    pairs = pairs[activations[top.ravel(), concept] > 0]
    for ending, words in words_by_ending.items():
        texts = [words[k].kept for k in pairs["concept"]]
        pairs["clipscore" + ending] = scorer.clip_scores(pairs["row"], texts)
        if bert is not None:
            pairs["bertscore" + ending] = scorer.bert_scores(pairs["row"], texts)
    return pairs.drop(columns="row").groupby("concept").mean()
