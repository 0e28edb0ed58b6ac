"""Which concepts does the model use, and does their order matter: tables of ablations with intervals (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..concepts import ConceptBank
from ..dictionaries import SemiNMF
from ..extraction import extract
from ..images import CaptionedImages
from ..models import LMM, POSITIONS, Layer
from ..statistics import SEEDS, Mean, bootstrap_mean, nested_bootstrap, share_of, share_over_seeds
from .ablation import MIN_SAMPLES, remove_concepts
from .answers import Answers, by_concept

SUFFIXES = {"own_step": "step", "later": "later", "mentions": "mentions"}  # of the columns of `remove_concepts`
WHERE = {  # each measure in words
    "own_step": "at the state's own step",
    "later": "at later steps",
    "mentions": "in expected mentions",
}
EFFECTS = ("own", "random", "others", "minus_random", "margin_over_others")


@dataclass(frozen=True)
class AblationSummary:
    """Which concepts have an effect of their own on the words that they are grounded in.

    Attributes
    ----------
    measure : {"own_step", "later", "mentions"}
        Of the words; see `ablation_summary`.
    concepts : pandas.DataFrame
        A row for each concept removed from at least ten samples, by number. Means over samples, in nats, each with the
        ends of its interval (`own`, `own_low`, `own_high`, ...):

        - own: change of the concept's words when it is removed
        - random: the same when a random direction of equal norm is removed in its place
        - others: how far the other active concepts' words move when it is removed, up or down (the mean magnitude over
          these concepts); 0 where a sample has none
        - minus_random: own minus random
        - margin_over_others: own plus others: below 0 where the concept's own words fall by more than the others' move

        and also n (samples), negative (minus_random and margin_over_others are below 0), significant (so are their
        whole intervals).
    share : Mean
        Of the concepts that are `significant`; its interval is exact, concepts taken for independent.
    share_negative : Mean
        Of the concepts that are `negative`, with its interval in the same way.
    minus_random : Mean
        Over all samples, each the mean over its concepts.
    n_excluded : int
        All other concepts of the bank, in no share: active on fewer samples or none, or without a word but the target.
    """

    measure: str
    concepts: pd.DataFrame
    share: Mean
    share_negative: Mean
    minus_random: Mean
    n_excluded: int

    def __str__(self) -> str:
        n, n_tested = self.concepts["significant"].sum(), len(self.concepts)
        where = WHERE[self.measure]
        text = f"{n} of {n_tested} concepts lower their own words {where} beyond a random direction and others' words"
        excluded = f"; {self.n_excluded} not tested" if self.n_excluded else ""
        return f"{text}; removal minus random {self.minus_random} nats{excluded}"


def ablation_summary(
    table: pd.DataFrame, measure: str = "own_step", level: float = 0.95, seed: int = 0
) -> AblationSummary:
    """Say for which concepts removal lowers their own words more than controls do (ours).

    Parameters
    ----------
    table : pandas.DataFrame
        From `remove_concepts`.
    measure : {"own_step", "later", "mentions"}
        Whether the words are promoted at the step that the patched state itself predicts, at the later ones, or how
        often they are expected; see `Effects`. A concept may pass one and not the other: report all.
    level : float, default 0.95
        Of the intervals; see `bootstrap_mean` and, of shares, `share_of`. They are not corrected for the number of
        concepts.
    seed : int, default 0
        Of the bootstrap.

    Returns
    -------
    AblationSummary

    Raises
    ------
    ValueError
        If there is no such measure, or fewer than two concepts were removed from ten samples or more.
    """
    if measure not in SUFFIXES:
        raise ValueError(f"there is no measure {measure!r} of words: choose one of {', '.join(SUFFIXES)}.")
    cases = _cases(table, SUFFIXES[measure])
    counts = cases.groupby("concept").size()
    tested = counts.index[counts >= MIN_SAMPLES]
    if len(tested) < 2:
        raise ValueError(
            f"{len(tested)} concepts were removed from at least {MIN_SAMPLES} samples, and a share takes two: "
            "give more samples, or remove more concepts of each."
        )
    rows = [_row(concept, cases[cases["concept"] == concept], level, seed) for concept in tested]
    concepts = pd.DataFrame(rows).set_index("concept")
    return AblationSummary(
        measure,
        concepts,
        share_of(concepts["significant"], level),
        share_of(concepts["negative"], level),
        bootstrap_mean(cases.groupby("sample")["minus_random"].mean(), level=level, seed=seed),
        int(table["n_concepts"].iloc[0]) - len(tested),
    )


def ablation_answers(bank, table: pd.DataFrame) -> Answers:
    """Does it push its own words? For the trust card, from the table of `remove_concepts`.

    A concept passes by the measure that the fewest pass; the values are of the state's own step, where there is most.
    """
    summaries = {measure: ablation_summary(table, measure) for measure in ("later", "mentions", "own_step")}
    n = {measure: int(summary.concepts["significant"].sum()) for measure, summary in summaries.items()}
    strictest, *laxer = sorted(n, key=n.get)
    step = summaries["own_step"]
    [values] = by_concept(bank, step.concepts, "minus_random")
    [holds] = by_concept(bank, summaries[strictest].concepts, "significant")
    finding = f"{WHERE[strictest]}, the strictest of three; " + ", ".join(f"{n[name]} {WHERE[name]}" for name in laxer)
    finding += f"; removal minus random at that step {step.minus_random} nats"
    finding += f"; {step.n_excluded} not tested" if step.n_excluded else ""
    return Answers(values, holds, finding)


def ablation_over(
    lmm: LMM,
    images: Mapping[str, tuple[CaptionedImages, CaptionedImages]],
    layer: Layer,
    positions: Sequence[str] = POSITIONS,
    n_concepts: int = 20,
    seeds: Sequence[int] = SEEDS,
) -> pd.DataFrame:
    """For how many concepts of each token, at each position, removal lowers their own words more than controls (ours).

    Parameters
    ----------
    lmm : LMM
    images : mapping of str to two CaptionedImages
        For each token those to learn from, and others to remove concepts on.
    layer : layer
    positions : sequence of str, default both
    n_concepts : int, default 20
        Of each dictionary, by Semi-NMF.
    seeds : sequence of int, default 0 to 4
        Of the dictionaries.

    Returns
    -------
    pandas.DataFrame
        A row for each token and position, means over seeds: for each measure of `ablation_summary` the share of concepts
        that are significant with its interval (own_step, own_step_low, own_step_high, later, ...; see
        `share_over_seeds`); tested and n_excluded, the mean numbers of concepts; seeds; and own, random and
        minus_random with their intervals over seeds and samples, of the measure own_step, in nats.
    """
    rows = []
    for token, parts in images.items():
        for position in positions:
            states, tested = (extract(lmm, part, token, layer, position) for part in parts)
            tables = []
            for seed in seeds:
                dictionary = SemiNMF(n_concepts, random_state=seed, verbose=False)
                tables.append(remove_concepts(lmm, ConceptBank.learn(lmm, states, dictionary), tested))
            rows.append({"token": token, "position": position} | _over_seeds(tables))
    return pd.DataFrame(rows)


def _over_seeds(tables: Sequence[pd.DataFrame]) -> dict:
    """The row of `ablation_over` of dictionaries of several seeds, from their tables of the same samples."""
    row = {}
    for measure in SUFFIXES:
        concepts = [summary.concepts for summary in (ablation_summary(table, measure) for table in tables)]
        row |= share_over_seeds([some["significant"] for some in concepts]).named(measure)
        if measure == "own_step":
            tested = np.mean([len(some) for some in concepts])
    n_concepts = tables[0]["n_concepts"].iloc[0]
    row |= {"tested": tested, "n_excluded": n_concepts - tested, "seeds": len(tables)}
    by_sample = [_cases(table, "step").groupby("sample").mean() for table in tables]
    for effect in ("own", "random", "minus_random"):
        aligned = pd.concat([means[effect] for means in by_sample], axis=1)  # (samples, seeds)
        row |= nested_bootstrap(aligned.to_numpy().T, crossed=True).named(effect)
    return row


def areas(table: pd.DataFrame, measure: str = "caption", level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """The areas under deletion and insertion curves, with intervals over samples (ours).

    Parameters
    ----------
    table : pandas.DataFrame
        From `curves`.
    measure : str, default "caption"
        The column under whose curve the area is taken.
    level : float, default 0.95
        Of the intervals.
    seed : int, default 0
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        A row for each curve and order, and their difference.
    """
    draws = ["curve", "sample", "order", "draw"]
    by_draw = {
        name: np.trapezoid(points[measure], points["share"]) for name, points in table.groupby(draws, sort=False)
    }
    area = pd.Series(by_draw).rename_axis(draws).groupby(draws[:3], sort=False).mean().unstack("order")
    area["difference"] = area["activation"] - area["random"]
    rows = []
    for curve in ("deletion", "insertion"):
        for order in ("activation", "random", "difference"):
            mean = bootstrap_mean(area.loc[curve, order], level=level, seed=seed)
            rows.append({"curve": curve, "order": order, **mean.named("value"), "n": mean.n})
    return pd.DataFrame(rows).rename(columns={"value_low": "low", "value_high": "high"})


def _cases(table: pd.DataFrame, suffix: str) -> pd.DataFrame:
    """A row for each sample and concept with words, and the five effects."""
    own, others = f"own_{suffix}", f"others_{suffix}"
    edits = table.pivot(index=["sample", "concept"], columns="edit", values=[own, others])
    cases = pd.DataFrame({"own": edits[own, "concept"], "random": edits[own, "random"]})
    cases["others"] = edits[others, "concept"].fillna(0)
    cases["minus_random"] = cases["own"] - cases["random"]
    cases["margin_over_others"] = cases["own"] + cases["others"]
    return cases.dropna().reset_index()


def _row(concept: int, cases: pd.DataFrame, level: float, seed: int) -> dict:
    """A concept's row of the summary."""
    means = {name: bootstrap_mean(cases[name], level=level, seed=seed) for name in EFFECTS}
    contrasts = means["minus_random"], means["margin_over_others"]
    row = {"concept": concept, "n": len(cases)}
    for name, mean in means.items():
        row |= mean.named(name)
    return row | {
        "negative": all(mean.value < 0 for mean in contrasts),
        "significant": all(mean.high < 0 for mean in contrasts),
    }
