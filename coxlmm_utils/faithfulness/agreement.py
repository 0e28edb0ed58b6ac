"""Do picture and word agree: the words nearest to a concept's pictures, against those of the unembedding (ours).

A judge scores every candidate word for every concept from the concept's pictures alone; then the words that the model
reads from the concept are looked up in its ranking. Random directions agree with their pictures, too, if less: both are
found by one direction. So compare a dictionary's agreement with a `RandomDictionary`'s, not with chance alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from ..concepts import ConceptBank
from ..dictionaries import match
from ..statistics import Mean, bootstrap_mean
from .word_scorers import ClipWords, ReferenceWords

NEAREST = 15  # of the judge's words, as many as the paper decodes for a concept
PERMUTATIONS = 10_000
MEASURES = ("rank", "shared")


@dataclass(frozen=True)
class Agreement:
    """How near the words of a bank's concepts are to the pictures of the same concepts, in the eyes of a judge.

    Attributes
    ----------
    concepts : pandas.DataFrame
        A row for each concept, by number; NaN where it has no words, or the judge no picture to go by:

        - words: the unembedding's, a tuple; nearest: as many of the judge's, nearest first
        - rank: where its words are in the judge's ranking of all candidate words, on average: 1 nearest, 0 farthest;
          words with equal scores share a place. Random words have 0.5
        - rank_others: the same of the other concepts' words, each concept counting once; rank_beyond: rank minus that
        - above: the share of the other concepts whose words are farther from its pictures than its own; chance is .5
        - shared: share of its words among the judge's nearest; shared_others, shared_beyond as above
    rank, rank_others, rank_beyond, shared, shared_others, shared_beyond : Mean
        Over concepts. Intervals take concepts for independent, though all share the other concepts' words.
    shared_chance : float
        What `shared` is of random candidate words.
    p : float
        How often `rank` is as high when the concepts' words are dealt to concepts at random: a permutation test, which
        takes nothing for independent.
    n_unjudged : int
        Concepts with NaN: in no mean, and their words are in nobody's others.
    """

    concepts: pd.DataFrame
    rank: Mean
    rank_others: Mean
    rank_beyond: Mean
    shared: Mean
    shared_others: Mean
    shared_beyond: Mean
    shared_chance: float
    p: float
    n_unjudged: int

    def __str__(self) -> str:
        unjudged = f"; {self.n_unjudged} concepts not judged" if self.n_unjudged else ""
        beyond = f"{self.rank_beyond} nearer than other concepts' words (p ≤ {self.p:.2g})"
        return f"own words at {self.rank} of the judge's ranking, {beyond}{unjudged}"


def agreement(
    bank: ConceptBank,
    judge: ClipWords | ReferenceWords,
    n_nearest: int = NEAREST,
    level: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """Say how near each concept's words are to its own pictures, against chance and other concepts' words (ours).

    Parameters
    ----------
    bank : ConceptBank
        Its pictures are `bank.top`, five of a concept unless it was learned with another `n_pictures`; only those count
        on which the concept's activation is above 0, since its words are read from its positive direction.
    judge : ClipWords or ReferenceWords
        Or whatever else has `words` and `scores(bank)`.
    n_nearest : int, default 15
        How many words of the judge `shared` looks among.
    level : float, default 0.95
        Of the intervals; see `bootstrap_mean`.
    seed : int, default 0
        Of the bootstrap and the permutations.

    Returns
    -------
    Agreement

    Raises
    ------
    ValueError
        If a word of the bank is not among the judge's, or fewer than two concepts can be judged.
    """
    scores, own = judge.scores(bank), _places(bank, judge.words)
    judged = [k for k, places in enumerate(own) if places and not np.isnan(scores[k]).any()]
    if len(judged) < 2:
        raise ValueError(
            f"{len(judged)} of {len(bank.words)} concepts have both words and pictures that the judge can go by, and a "
            "comparison takes two: give a bank of more concepts, or images with references."
        )
    pairs = dict(zip(MEASURES, _pairs(scores[judged], [own[k] for k in judged], n_nearest)))
    columns = _columns(pairs, judged)
    concepts = _concepts(bank, judge.words, scores, own).join(columns)
    means = {name: bootstrap_mean(concepts[name], level=level, seed=seed) for name in columns}
    concepts["above"] = _above(pairs["rank"], judged).reindex(concepts.index)
    chance, p = min(1, n_nearest / len(judge.words)), _p(pairs["rank"], seed)
    return Agreement(concepts, **means, shared_chance=chance, p=p, n_unjudged=len(own) - len(judged))


def agreement_over(
    banks: Mapping[str, ConceptBank],
    judges: Mapping[str, ClipWords | ReferenceWords],
    n_nearest: int = NEAREST,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How stable agreement is over banks, such as those of other seeds or samples, and over judges (ours).

    Parameters
    ----------
    banks : mapping of str to ConceptBank
        Of one model and layer, by name.
    judges : mapping of str to ClipWords or ReferenceWords
        By name; they know all banks' pictures.
    n_nearest, level, seed
        See `agreement`.

    Returns
    -------
    table : pandas.DataFrame
        A row for each bank and judge: bank, judge, n (concepts judged), n_unjudged, then each mean of `Agreement` with
        the ends of its interval (rank, rank_low, rank_high, ...), shared_chance and p.
    repeats : pandas.DataFrame
        A row for each two judges of one bank, and each two banks of one judge: bank, judge, other_bank, other_judge,
        n (concepts judged in both), cosine (mean over them, of concepts matched by `match`; 1 within a bank) and
        correlation (Spearman's, of `rank_beyond`): does the same concept agree, or fail to, again? NaN of fewer than
        three concepts, or where all have one value.

    Raises
    ------
    ValueError
        As `agreement` does, or if the banks' concepts are of different widths.
    """
    widths = {name: bank.concepts.shape[1] for name, bank in banks.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"the banks' concepts have different widths, {widths}: give banks of one model and layer.")
    found = {
        (name, eyes): agreement(bank, judge, n_nearest, level, seed)
        for name, bank in banks.items()
        for eyes, judge in judges.items()
    }
    repeats = [
        _repeat(banks, found, one, other)
        for one, other in combinations(found, 2)
        if one[0] == other[0] or one[1] == other[1]
    ]
    names = ["bank", "judge", "other_bank", "other_judge", "n", "cosine", "correlation"]
    return pd.DataFrame([_row(*key, each) for key, each in found.items()]), pd.DataFrame(repeats, columns=names)


def _places(bank: ConceptBank, words: Sequence[str]) -> list[list[int]]:
    """Where each concept's words are among the candidates."""
    place = {word.lower(): number for number, word in enumerate(words)}
    missing = [(word, k) for k, mine in enumerate(bank.words) for word in mine.kept if word.lower() not in place]
    if missing:
        raise ValueError(
            f"the word {missing[0][0]!r} of concept {missing[0][1]} is not among the judge's {len(words):,} words: "
            "make the judge with `candidate_words` and the bank's word filter, or add all concepts' words to yours."
        )
    return [[place[word.lower()] for word in mine.kept] for mine in bank.words]


def _pairs(scores: np.ndarray, own: list[list[int]], n_nearest: int) -> tuple[np.ndarray, np.ndarray]:
    """`rank` and `shared` of each concept's words (columns) in each concept's ranking (rows): (concepts, concepts)."""
    n_words = scores.shape[1]
    below, upto = (rankdata(scores, way, axis=1) for way in ("min", "max"))  # (concepts, words), from 1
    rank = ((below + upto) / 2 - 1) / max(1, n_words - 1)
    left = n_nearest - (n_words - upto)  # places among the nearest for a word and its equals
    nearest = np.clip(left / (upto - below + 1), 0, 1)
    return tuple(np.column_stack([values[:, places].mean(axis=1) for places in own]) for values in (rank, nearest))


def _concepts(bank: ConceptBank, words: Sequence[str], scores: np.ndarray, own: list[list[int]]) -> pd.DataFrame:
    """The words of each concept, and as many of the judge's."""
    order = np.argsort(-scores, axis=1, kind="stable")
    judged = ~np.isnan(scores).any(axis=1)
    nearest = [tuple(words[w] for w in order[k, : len(mine)]) if judged[k] else () for k, mine in enumerate(own)]
    return pd.DataFrame({"words": [mine.kept for mine in bank.words], "nearest": nearest}).rename_axis("concept")


def _columns(pairs: Mapping[str, np.ndarray], judged: list[int]) -> pd.DataFrame:
    """Own, others' and the difference of each measure for the concepts that are judged."""
    table = pd.DataFrame(index=judged)
    for name, values in pairs.items():
        table[name] = np.diag(values)
        table[f"{name}_others"] = (values.sum(axis=1) - np.diag(values)) / (len(values) - 1)
        table[f"{name}_beyond"] = table[name] - table[f"{name}_others"]
    return table


def _above(ranks: np.ndarray, judged: list[int]) -> pd.Series:
    """The share of the other concepts whose words are farther from a concept's pictures than its own."""
    return pd.Series((ranks < np.diag(ranks)[:, None]).sum(axis=1) / (len(ranks) - 1), judged)


def _p(ranks: np.ndarray, seed: int) -> float:
    """How often words dealt to concepts at random are as near as the concepts' own are."""
    rng, places = np.random.default_rng(seed), np.arange(len(ranks))
    dealt = np.array([ranks[places, rng.permutation(places)].mean() for _ in range(PERMUTATIONS)])
    return float((1 + (dealt >= np.diag(ranks).mean() - 1e-12).sum()) / (1 + PERMUTATIONS))


def _row(bank: str, judge: str, found: Agreement) -> dict:
    """A row of the table."""
    row = {"bank": bank, "judge": judge, "n": found.rank.n, "n_unjudged": found.n_unjudged}
    for name in (f"{measure}{ending}" for measure in MEASURES for ending in ("", "_others", "_beyond")):
        row |= getattr(found, name).named(name)
    return row | {"shared_chance": found.shared_chance, "p": found.p}


def _repeat(banks: Mapping[str, ConceptBank], found: Mapping, one: tuple[str, str], other: tuple[str, str]) -> tuple:
    """How well one agreement says what another is, concept by concept; each is named by its bank and judge."""
    partners, cosines = match(banks[one[0]].concepts, banks[other[0]].concepts)
    if one[0] == other[0]:
        partners, cosines = np.arange(len(partners)), np.ones(len(partners))
    mine, theirs = (found[key].concepts["rank_beyond"] for key in (one, other))
    paired = pd.DataFrame({"mine": mine.to_numpy(), "theirs": theirs.reindex(partners).to_numpy(), "cosine": cosines})
    paired = paired.dropna()
    told = len(paired) > 2 and (paired[["mine", "theirs"]].nunique() > 1).all()
    correlation = paired["mine"].corr(paired["theirs"], method="spearman") if told else np.nan
    return *one, *other, len(paired), paired["cosine"].mean(), correlation
