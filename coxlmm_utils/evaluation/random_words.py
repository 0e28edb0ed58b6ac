"""The paper's baseline Rnd-Words: random words in the place of a concept's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..concepts import WordFilter, Words, ground_words
from ..models import LMM, Layer, vocabulary

SOURCES = ("uniform", "gaussian", "vocabulary")
N_DECODED = 10  # tokens per word wanted, as in the released code
MAX_DRAWS = 20  # random directions per concept before giving up


def random_words(
    lmm: LMM,
    words: Sequence[Words],
    layer: Layer,
    source: str = "uniform",
    word_filter: WordFilter | None = None,
    seed: int = 0,
) -> list[Words]:
    """As many random words for each concept as it has: the paper's baseline Rnd-Words (arXiv 2406.08074).

    Parameters
    ----------
    words : sequence of Words
        Of all concepts.
    layer : layer
        Where the concepts live; decides, as in `ground_words`, whether the final norm comes first.
    source : str, default "uniform"
        Where the words come from:

        - "uniform": decoded from a random direction with entries in [0, 1), the released code's. Such directions lie
          near each other, so that the concepts get much the same words;
        - "gaussian": from a direction that is equally likely to be any (ours);
        - "vocabulary": any of the vocabulary's words, all equally likely (ours).
    word_filter : WordFilter, optional
        Should be the concepts' own. Default: `WordFilter()`.
    seed : int, default 0
        The words of a concept depend on it, on the concept's index and on its number of words only.

    Returns
    -------
    list of Words
        One for each concept. Those of a concept without words are none.

    Raises
    ------
    ValueError
        If there is no such source or layer, or too few words pass the filter; a direction with too few is drawn anew,
        twenty times at most (ours).
    """
    if source not in SOURCES:
        raise ValueError(f"there is no source {source!r} of random words: choose one of {', '.join(SOURCES)}.")
    lmm.check_layer(layer)
    word_filter = word_filter or WordFilter()
    if source == "vocabulary":
        passing = word_filter.split(vocabulary(lmm))[0]
        find = partial(_of_vocabulary, passing)
    else:
        find = partial(_of_directions, lmm, layer, source, word_filter)
    return [find(len(concept.kept), np.random.default_rng([seed, k])) for k, concept in enumerate(words)]


def _of_directions(
    lmm: LMM, layer: Layer, source: str, word_filter: WordFilter, n: int, rng: np.random.Generator
) -> Words:
    """The n best words of the first random direction that has so many."""
    most = 0
    for _ in range(MAX_DRAWS):
        direction = rng.random((1, lmm.width)) if source == "uniform" else rng.standard_normal((1, lmm.width))
        (drawn,) = ground_words(lmm, direction, layer, n_decoded=N_DECODED * n, n_kept=n, word_filter=word_filter)
        if len(drawn.kept) == n:
            return drawn
        most = max(most, len(drawn.kept))
    raise ValueError(
        f"{MAX_DRAWS} random directions of {lmm.name} gave at most {most} of the {n} words that a concept has: "
        'take source="vocabulary", or a word filter that lets more pass.'
    )


def _of_vocabulary(passing: list[str], n: int, rng: np.random.Generator) -> Words:
    """n different words of those that pass the filter."""
    if len(passing) < n:
        raise ValueError(
            f"only {len(passing)} words of the vocabulary pass the filter, and a concept has {n}: "
            "take the filter that its words have passed."
        )
    return Words(tuple(passing[row] for row in rng.choice(len(passing), n, replace=False)), ())
