"""Do picture and word agree: the words nearest to a concept's pictures, against those of the unembedding (ours).

A scorer scores every candidate word for every concept from the concept's pictures alone; then the words that the model
reads from the concept are looked up in its ranking. Random directions agree with their pictures, too, if less: words
and pictures are read from the same direction. So compare a dictionary's agreement with a `RandomDictionary`'s, not with
chance alone.
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
from .answers import Answers, bank_key, by_concept
from .word_scorers import ClipWords, ReferenceWords

N_NEAREST = 15  # of the scorer's words, as many as a bank decodes per concept
N_PERMUTATIONS = 10_000
MIN_ABOVE = 0.9  # share of the other concepts whose words a concept's own are nearer than, for the trust card
MEASURES = ("rank", "shared")


@dataclass(frozen=True)
class Agreement:
    """How near the words of a bank's concepts are to the pictures of the same concepts, by a scorer of words.

    Attributes
    ----------
    concepts : pandas.DataFrame
        A row for each concept, by number; NaN where it has no words, or no picture that can be scored:

        - words: the unembedding's, a tuple; nearest: as many of the scorer's, nearest first
        - rank: the mean rank of its words among all candidate words, scaled: 1 nearest, 0 farthest; ties get their
          mean rank. Random words have 0.5
        - rank_others: the same of the other concepts' words, each concept counting once; rank_margin: rank minus that
        - above: the share of the other concepts whose words are farther from its pictures than its own; chance is .5
        - shared: share of its words among the scorer's nearest; shared_others, shared_margin as above
    rank, rank_others, rank_margin, shared, shared_others, shared_margin : Mean
        Over concepts. Intervals take concepts for independent, though all share the other concepts' words.
    shared_chance : float
        What `shared` is of random candidate words.
    p : float
        How often `rank` is as high when the words are permuted among the concepts: a permutation test, which does not
        take concepts for independent.
    n_excluded : int
        Concepts with NaN: in no mean, and their words are not among others' words.
    bank_key : str
        Of the bank; see `bank_key`.
    """

    concepts: pd.DataFrame
    rank: Mean
    rank_others: Mean
    rank_margin: Mean
    shared: Mean
    shared_others: Mean
    shared_margin: Mean
    shared_chance: float
    p: float
    n_excluded: int
    bank_key: str

    def answers(self, bank: ConceptBank) -> Answers:
        """Do its words fit its pictures? For the trust card."""
        values, above = by_concept(bank, self.concepts, "rank", "above")
        finding = f"own words at {self.rank} of the ranking, others' at {self.rank_others}, chance .5"
        return Answers(values, above >= MIN_ABOVE, finding)

    def __str__(self) -> str:
        excluded = f"; {self.n_excluded} concepts not scored" if self.n_excluded else ""
        margin = f"{self.rank_margin} nearer than other concepts' words (p ≤ {self.p:.2g})"
        return f"own words at {self.rank} of the ranking, {margin}{excluded}"


def agreement(
    bank: ConceptBank,
    scorer: ClipWords | ReferenceWords,
    n_nearest: int = N_NEAREST,
    level: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """Say how near each concept's words are to its own pictures, against chance and other concepts' words (ours).

    Parameters
    ----------
    bank : ConceptBank
        Its pictures are `bank.top`, five of a concept unless it was learned with another `n_pictures`; only those count
        on which the concept's activation is above 0, since its words are read from its positive direction.
    scorer : ClipWords or ReferenceWords
        Or whatever else has `words` and `scores(bank)`.
    n_nearest : int, default 15
        Number of the scorer's nearest words that `shared` counts in.
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
        If a word of the bank is not among the scorer's, or fewer than two concepts can be scored.
    """
    scores, own = scorer.scores(bank), _word_indices(bank, scorer.words)
    scored = [k for k, indices in enumerate(own) if indices and not np.isnan(scores[k]).any()]
    if len(scored) < 2:
        raise ValueError(
            f"{len(scored)} of {len(bank.words)} concepts have both words and pictures that can be scored, and a "
            "comparison takes two: give a bank of more concepts, or images with references."
        )
    pairs = dict(zip(MEASURES, _pairs(scores[scored], [own[k] for k in scored], n_nearest)))
    columns = _columns(pairs, scored)
    concepts = _concepts(bank, scorer.words, scores, own).join(columns)
    means = {name: bootstrap_mean(concepts[name], level=level, seed=seed) for name in columns}
    concepts["above"] = _above(pairs["rank"], scored).reindex(concepts.index)
    chance, p = min(1, n_nearest / len(scorer.words)), _p(pairs["rank"], seed)
    n_excluded, key = len(own) - len(scored), bank_key(bank.activations)
    return Agreement(concepts, **means, shared_chance=chance, p=p, n_excluded=n_excluded, bank_key=key)


def agreement_over(
    banks: Mapping[str, ConceptBank],
    scorers: Mapping[str, ClipWords | ReferenceWords],
    n_nearest: int = N_NEAREST,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How stable agreement is over banks, such as those of other seeds or samples, and over scorers (ours).

    Parameters
    ----------
    banks : mapping of str to ConceptBank
        Of one model and layer, by name.
    scorers : mapping of str to ClipWords or ReferenceWords
        By name; they know all banks' pictures.
    n_nearest, level, seed
        See `agreement`.

    Returns
    -------
    table : pandas.DataFrame
        A row for each bank and scorer: bank, scorer, n (concepts scored), n_excluded, then each mean of `Agreement`
        with the ends of its interval (rank, rank_low, rank_high, ...), shared_chance and p.
    repeats : pandas.DataFrame
        A row for each two scorers of one bank, and each two banks of one scorer: bank, scorer, other_bank,
        other_scorer, n (concepts scored in both), cosine (mean over them, of concepts matched by `match`; 1 within a
        bank) and correlation (Spearman's, of `rank_margin`): does the same concept agree, or fail to agree, again? NaN
        of fewer than three concepts, or where all have one value.

    Raises
    ------
    ValueError
        As `agreement` does, or if the banks' concepts are of different widths.
    """
    widths = {name: bank.concepts.shape[1] for name, bank in banks.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"the banks' concepts have different widths, {widths}: give banks of one model and layer.")
    agreements = {
        (bank_name, scorer_name): agreement(bank, scorer, n_nearest, level, seed)
        for bank_name, bank in banks.items()
        for scorer_name, scorer in scorers.items()
    }
    repeats = [
        _repeat(banks, agreements, first, second)
        for first, second in combinations(agreements, 2)
        if first[0] == second[0] or first[1] == second[1]
    ]
    names = ["bank", "scorer", "other_bank", "other_scorer", "n", "cosine", "correlation"]
    rows = [_row(*key, result) for key, result in agreements.items()]
    return pd.DataFrame(rows), pd.DataFrame(repeats, columns=names)


def _word_indices(bank: ConceptBank, words: Sequence[str]) -> list[list[int]]:
    """The indices of each concept's words among the candidates."""
    index = {word.lower(): number for number, word in enumerate(words)}
    missing = [(word, k) for k, concept in enumerate(bank.words) for word in concept.kept if word.lower() not in index]
    if missing:
        raise ValueError(
            f"the word {missing[0][0]!r} of concept {missing[0][1]} is not among the scorer's {len(words):,} words: "
            "make the scorer with `candidate_words` and the bank's word filter, or add all concepts' words to yours."
        )
    return [[index[word.lower()] for word in concept.kept] for concept in bank.words]


def _pairs(scores: np.ndarray, own: list[list[int]], n_nearest: int) -> tuple[np.ndarray, np.ndarray]:
    """`rank` and `shared` of each concept's words (columns) in each concept's ranking (rows): (concepts, concepts)."""
    n_words = scores.shape[1]
    # Many words tie, above all words that no reference has. Tied words occupy the ranks low .. high (1 farthest): each
    # gets their mean rank, and an equal share of those of the n nearest ranks that the tie reaches into.
    low, high = (rankdata(scores, method, axis=1) for method in ("min", "max"))  # (concepts, words)
    rank = ((low + high) / 2 - 1) / max(1, n_words - 1)
    n_among_nearest = n_nearest - (n_words - high)  # of the tie's ranks; out of range where all or none are
    nearest = np.clip(n_among_nearest / (high - low + 1), 0, 1)
    return tuple(np.column_stack([values[:, words].mean(axis=1) for words in own]) for values in (rank, nearest))


def _concepts(bank: ConceptBank, words: Sequence[str], scores: np.ndarray, own: list[list[int]]) -> pd.DataFrame:
    """The words of each concept, and as many of the scorer's."""
    order = np.argsort(-scores, axis=1, kind="stable")
    scored = ~np.isnan(scores).any(axis=1)
    nearest = [tuple(words[w] for w in order[k, : len(ids)]) if scored[k] else () for k, ids in enumerate(own)]
    return pd.DataFrame({"words": [concept.kept for concept in bank.words], "nearest": nearest}).rename_axis("concept")


def _columns(pairs: Mapping[str, np.ndarray], scored: list[int]) -> pd.DataFrame:
    """Own, others' and the margin of each measure for the scored concepts."""
    table = pd.DataFrame(index=scored)
    for name, values in pairs.items():
        table[name] = np.diag(values)
        table[f"{name}_others"] = (values.sum(axis=1) - np.diag(values)) / (len(values) - 1)
        table[f"{name}_margin"] = table[name] - table[f"{name}_others"]
    return table


def _above(ranks: np.ndarray, scored: list[int]) -> pd.Series:
    """The share of the other concepts whose words are farther from a concept's pictures than its own."""
    return pd.Series((ranks < np.diag(ranks)[:, None]).sum(axis=1) / (len(ranks) - 1), scored)


def _p(ranks: np.ndarray, seed: int) -> float:
    """The p-value of a permutation test: how often permuted words are as near as the concepts' own."""
    rng, rows = np.random.default_rng(seed), np.arange(len(ranks))
    permuted = np.array([ranks[rows, rng.permutation(rows)].mean() for _ in range(N_PERMUTATIONS)])
    # 1e-12: a permutation that leaves all in place may differ by rounding; 1 +: the observed one is one of them
    return float((1 + (permuted >= np.diag(ranks).mean() - 1e-12).sum()) / (1 + N_PERMUTATIONS))


def _row(bank: str, scorer: str, result: Agreement) -> dict:
    """A row of the table."""
    row = {"bank": bank, "scorer": scorer, "n": result.rank.n, "n_excluded": result.n_excluded}
    for name in (f"{measure}{ending}" for measure in MEASURES for ending in ("", "_others", "_margin")):
        row |= getattr(result, name).named(name)
    return row | {"shared_chance": result.shared_chance, "p": result.p}


def _repeat(banks: Mapping[str, ConceptBank], agreements: Mapping, first: tuple, second: tuple) -> tuple:
    """How well two agreements, each named by (bank, scorer), correlate over matched concepts."""
    partners, cosines = match(banks[first[0]].concepts, banks[second[0]].concepts)
    if first[0] == second[0]:
        partners, cosines = np.arange(len(partners)), np.ones(len(partners))
    margins, others = (agreements[key].concepts["rank_margin"] for key in (first, second))
    pairs = {"margin": margins.to_numpy(), "other": others.reindex(partners).to_numpy(), "cosine": cosines}
    pairs = pd.DataFrame(pairs).dropna()
    defined = len(pairs) > 2 and (pairs[["margin", "other"]].nunique() > 1).all()
    correlation = pairs["margin"].corr(pairs["other"], method="spearman") if defined else np.nan
    return *first, *second, len(pairs), pairs["cosine"].mean(), correlation
