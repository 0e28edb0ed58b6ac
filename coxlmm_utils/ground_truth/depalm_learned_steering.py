"""Does P2S carry on a real language model? Wrong nouns in the DePALM's captions, steered to the right ones (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..images import CaptionedImages
from ..models import LMM
from ..picturebook import NOUNS, PLURALS
from ..statistics import share_of
from ..steering import CONTRAST_SOURCES, InputVectors, captions_under, prompt_to_steer
from ..text import words_in
from .error_inputs import AnsweredInputs, captioned_pages
from .error_scores import CONFUSED
from .factor_matching import pages_of
from .model_scores import as_text

LAYERS = (15, 24, 27, 29)  # of 30
ALPHAS = (1.0, 2.0, 4.0)
N_PAGES = {"validation": 100, "test": 200}  # of each subject, at most
COMPLETIONS = CONTRAST_SOURCES[
    :2
]  # a caption is asked for in one way alone: contrasts of inputs would be of its subject
MAX_NEW_TOKENS = 40
RANDOM = "random"


def depalm_p2s_scores(lmm: LMM) -> dict:
    """P2S as the paper has it, an oracle: the model's own caption against the same with the right noun.

    Returns
    -------
    dict
        For each source of the vectors, and for random ones as long: mended, the share of test captions with a wrong noun
        that name the right one alone, with its interval; same, of those how many have every other word of the wanted
        caption; layer and alpha, chosen on validation captions; n.
    """
    errors = {split: wrong_captions(lmm, split, n) for split, n in N_PAGES.items()}
    scores = {}
    for source in (*COMPLETIONS, RANDOM):
        grid = {}
        for layer in LAYERS:
            shares = mended_by_alpha(lmm, *errors["validation"], source, layer, ALPHAS)
            grid |= {(layer, alpha): np.mean(mended) for alpha, (mended, _) in shares.items()}
        layer, alpha = max(grid, key=grid.get)
        mended, same = mended_by_alpha(lmm, *errors["test"], source, layer, [alpha])[alpha]
        scores[source] = {"mended": share_of(mended).ends, "same": share_of(same).ends}
        scores[source] |= {"layer": layer, "alpha": alpha, "n": len(mended)}
    return scores


def wrong_captions(lmm: LMM, split: str, n: int) -> tuple[AnsweredInputs, list[int]]:
    """Captioned pages, and the rows of those whose caption names a wrong noun."""
    inputs = captioned_pages(lmm, split, CONFUSED, n)
    return inputs, np.flatnonzero(inputs.claims & inputs.wrong).tolist()


def with_right_noun(caption: str, kind: str) -> str:
    """A caption with the page's noun in the place of every other one."""
    words = {word: kind for names in NOUNS.values() for word in names}
    words |= {plural: PLURALS[kind] for plural in PLURALS.values()}
    return " ".join(words.get(word, word) for word in caption.split())


def mended_by_alpha(
    lmm: LMM, inputs: AnsweredInputs, rows: Sequence[int], source: str, layer: int, alphas: Sequence[float]
) -> dict[float, tuple[list[bool], list[bool]]]:
    """For each alpha, of each wrong caption: whether it names the right noun, and whether it is the wanted caption."""
    images, own = inputs.images[list(rows)], [inputs.answers[row] for row in rows]
    wanted = [with_right_noun(text, page.kind) for text, page in zip(own, pages_of(images.ids))]
    vectors = vectors_from(lmm, images, wanted, own, source, layer)
    runs = [(alpha, vectors, alpha) for alpha in alphas]
    captions = captions_under(lmm, images, runs, "generated", None, MAX_NEW_TOKENS)
    return {
        alpha: (
            [inputs.is_right(row, text) for row, text in zip(rows, captions[alpha])],
            [words_in(text) == words_in(other) for text, other in zip(captions[alpha], wanted)],
        )
        for alpha in alphas
    }


def vectors_from(
    lmm: LMM, images: CaptionedImages, wanted: Sequence[str], own: Sequence[str], source: str, layer: int
) -> InputVectors:
    """P2S's vectors from a source, or random ones as long as those of the last token."""
    given = CONTRAST_SOURCES[0] if source == RANDOM else source
    vectors = prompt_to_steer(lmm, images, lmm.prompt, wanted, own, layer, given)
    return vectors.random() if source == RANDOM else vectors


def depalm_p2s_table(scores: Mapping[str, Mapping]) -> str:
    """The scores as text."""
    rows = {source: row | {name: row[name][0] for name in ("mended", "same")} for source, row in scores.items()}
    return as_text(pd.DataFrame.from_dict(rows, orient="index"))
