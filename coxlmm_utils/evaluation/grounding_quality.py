"""How well a concept's words fit its own pictures, against random words: the paper's Fig 3."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..concepts import WordFilter, Words, concept_stability, ground_pictures, ground_words
from ..dictionaries import SemiNMF
from ..extraction import States
from ..images import CaptionedImages
from ..models import LMM
from .bertscore import BertJudge
from .clipscore import ClipJudge
from .judges import PictureScorer
from .random_words import random_words


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


def grounding_quality(
    lmm: LMM,
    states: States,
    clip: ClipJudge,
    bert: BertJudge,
    dictionary: SemiNMF | None = None,
    n_pictures: int = 5,
    seed: int = 0,
    word_filter: WordFilter | None = None,
) -> pd.DataFrame:
    """Score each concept's words with its most activating pictures (paper section 4 and Fig 3, arXiv 2406.08074).

    Parameters
    ----------
    lmm : LMM
    states : States
        Of one token and layer.
    clip : ClipJudge
    bert : BertJudge
    dictionary : SemiNMF, optional
        Default: the paper's, K = 20. A copy is fitted.
    n_pictures : int, default 5
        The paper's N_MAS: its most activating pictures are judged.
    seed : int
        Of the random words, which are the paper's (see `random_words`).
    word_filter : WordFilter, optional

    Returns
    -------
    pandas.DataFrame
        One row for each concept: token, concept, words, then clipscore, bertscore (means over its pictures that have
        references) and the same with as many random words: clipscore_random, bertscore_random. A concept that is
        active on no picture is left out.
    """
    dictionary = SemiNMF(**(dictionary or SemiNMF()).get_params(), verbose=False).fit(states.Z)
    word_filter = word_filter or WordFilter()
    words = ground_words(lmm, dictionary.components_, states.layer, n_kept=lmm.words_kept, word_filter=word_filter)
    random = random_words(lmm, words, states.layer, word_filter=word_filter, seed=seed)
    top = ground_pictures(dictionary.activations_, n_pictures)  # (concepts, n_pictures)
    said = {"": words, "_random": random}
    table = score_words_with_pictures(said, dictionary.activations_, top, states.images, clip, bert).reset_index()
    table.insert(0, "token", states.spellings[0])
    table.insert(2, "words", [str(words[k]) for k in table["concept"]])
    return table


def score_words_with_pictures(
    said: dict[str, Sequence[Words]],
    activations: np.ndarray,
    top: np.ndarray,
    images: CaptionedImages,
    clip: ClipJudge,
    bert: BertJudge,
) -> pd.DataFrame:
    """Score words said of concepts with the pictures that activate these most.

    Parameters
    ----------
    said : dict of str to sequence of Words
        By an ending for the columns' names: words of every concept.
    activations : numpy.ndarray
        (samples, concepts). Pictures whose activation is not above zero are not judged.
    top : numpy.ndarray
        (concepts, pictures) sample numbers, as from `ground_pictures`.
    images : CaptionedImages
        The samples.
    clip : ClipJudge
    bert : BertJudge

    Returns
    -------
    pandas.DataFrame
        Means over a concept's pictures: clipscore and bertscore, with each ending. The index, concept, lacks those
        that are active on no picture.
    """
    shown, row_of = np.unique(top, return_inverse=True)
    judged = PictureScorer(images[shown.tolist()], clip, bert)
    concept = np.repeat(np.arange(len(top)), top.shape[1])
    pairs = pd.DataFrame({"concept": concept, "row": row_of.ravel()})
    pairs = pairs[activations[top.ravel(), concept] > 0]
    for ending, words in said.items():
        mine = [words[k].kept for k in pairs["concept"]]
        pairs["clipscore" + ending] = judged.clip_scores(pairs["row"], mine)
        pairs["bertscore" + ending] = judged.bert_scores(pairs["row"], mine)
    return pairs.drop(columns="row").groupby("concept").mean()
