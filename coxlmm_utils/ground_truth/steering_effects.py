"""Steering on the picture book: does the wanted fact change, and does everything else stay as it was? (ours)"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from ..extraction import States
from ..images import CaptionedImages
from ..models import LMM, generate_captions
from ..picturebook import facts_in
from ..statistics import Mean
from ..steering import Direction, PerPicture, Steering, mean_difference, random_direction, steer
from .factor_matching import pages_of
from .model_scores import BATCH_SIZE, captions_of

STEERED_FACTORS = ("colour", "place", "action")
MIN_STATES = 5  # that a mean is made of
SAME_BOUND = 0.85  # what must stay as it was, for a strength to be chosen
N_RESAMPLES = 1000
COLUMNS = ["id", "own", "wanted", "alpha", "hit", "same", "added", "unsteered", "steered"]

Change = tuple[str, str]  # the value that a caption names, and the wanted one


def value_directions(states: States, factor: str) -> dict[Change, Direction]:
    """Directions from each value of a factor to each other one: differences of means (arXiv 2501.03012, coarse).

    Parameters
    ----------
    states : States
        Of pages of one subject, at one layer.
    factor : str
        Such as "place".

    Returns
    -------
    dict of (str, str) to Direction
        By the value to leave and the wanted one; of values that at least five states have.
    """
    values, ids = np.array([getattr(page, factor) for page in pages_of(states.images.ids)]), np.array(states.images.ids)
    known = [value for value in dict.fromkeys(values) if (values == value).sum() >= MIN_STATES]
    parts = {value: states.subset(ids[values == value].tolist()) for value in known}
    return {(own, wanted): mean_difference(parts[own], parts[wanted]) for own, wanted in permutations(known, 2)}


def random_directions(directions: Mapping[Change, Direction], seed: int = 0) -> dict[Change, Direction]:
    """As many random directions, each as long as the one in whose place it stands: the control."""
    return {change: random_direction(like, seed + i) for i, (change, like) in enumerate(directions.items())}


def steering_effects(
    lmm: LMM,
    images: CaptionedImages,
    factor: str,
    edits: Mapping[Change, Steering],
    alphas: Sequence[float] = (1.0,),
    positions: str = "generated",
) -> pd.DataFrame:
    """Steer the caption of each page towards every other value of a factor, and compare it with the unsteered one.

    Parameters
    ----------
    lmm : LMM
    images : CaptionedImages
        Pages of the picture book, of one subject.
    factor : str
    edits : mapping of (str, str) to Direction or ConceptEdit
        By the value that the unsteered caption names, and the wanted one; of other changes there is no row.
    alphas : sequence of float, default (1.0,)
    positions : {"generated", "all", "last_prompt"}, default "generated"

    Returns
    -------
    pandas.DataFrame
        A row for each page whose caption names one value of the factor, wanted value and alpha: id, own, wanted, alpha;
        hit, whether the steered caption names the wanted value and no other; same, whether it says all else that the
        unsteered one says, subject included; added, whether it names another factor that the unsteered one does not;
        unsteered and steered, the captions.
    """
    pictures = {id: images.picture(row) for row, id in enumerate(images.ids)}
    cases = []
    for id, caption in zip(images.ids, captions_of(lmm, images)):
        named = facts_of(caption).get(factor, ())
        for (own, wanted), edit in edits.items():
            if named == (own,):
                cases.append(Case({"id": id, "own": own, "wanted": wanted}, pictures[id], caption, edit))
    return case_effects(lmm, cases, factor, alphas, positions)


@dataclass(frozen=True)
class Case:
    """A page that is captioned under an edit, beside what the model says without."""

    labels: dict[str, str]  # id, own, wanted and what else tells it from other cases
    picture: Image.Image
    unsteered: str
    edit: Steering


def case_effects(
    lmm: LMM, cases: Sequence[Case], factor: str, alphas: Sequence[float], positions: str = "generated"
) -> pd.DataFrame:
    """A row for each case and alpha: the case's labels, alpha, and how the steered caption compares with the unsteered."""
    rows = []
    for alpha, start in tqdm(list(product(alphas, range(0, len(cases), BATCH_SIZE))), desc=f"steering the {factor}"):
        batch = cases[start : start + BATCH_SIZE]
        with steer(lmm, PerPicture([case.edit for case in batch]), alpha, positions):
            captions = generate_captions(lmm, [case.picture for case in batch])
        for case, generated in zip(batch, captions):
            effect = compared(case.unsteered, generated.caption, factor, case.labels["wanted"])
            rows.append(case.labels | {"alpha": alpha} | effect)
    return pd.DataFrame(rows, columns=None if rows else COLUMNS)


def compared(unsteered: str, steered: str, factor: str, wanted: str) -> dict:
    """Whether a caption now names the wanted value alone, and says all else that it said before, or more."""
    before, after = facts_of(unsteered), facts_of(steered)
    before.pop(factor, None)
    hit, same = after.pop(factor, ()) == (wanted,), all(after.get(other) == named for other, named in before.items())
    return {
        "hit": hit,
        "same": same,
        "added": not after.keys() <= before.keys(),
        "unsteered": unsteered,
        "steered": steered,
    }


def facts_of(caption: str) -> dict[str, tuple[str, ...]]:
    """The different values that a caption names of each factor, in alphabetical order."""
    values = defaultdict(set)
    for factor, value in facts_in(caption):
        values[factor].add(value)
    return {factor: tuple(sorted(named)) for factor, named in values.items()}


def effect_means(rows: pd.DataFrame) -> dict[str, Mean]:
    """hit, same and added of one alpha: means over pages for each wanted value, then over values; 95 % intervals over pages.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `steering_effects`, of one factor, alpha and method; several subjects may be joined.
    """
    return {
        name: _mean_of_values(rows.pivot_table(index="id", columns="wanted", values=name))
        for name in ("hit", "same", "added")
    }


def _mean_of_values(table: pd.DataFrame) -> Mean:
    """The mean over columns of their means over rows, (pages, values); pages are resampled for the interval."""
    values, rng = table.to_numpy(float), np.random.default_rng(0)
    draws = rng.integers(len(values), size=(N_RESAMPLES, len(values)))
    counts = np.apply_along_axis(np.bincount, 1, draws, minlength=len(values))  # (resamples, pages)
    there, known = ~np.isnan(values), np.nan_to_num(values)
    means = np.nanmean((counts @ known) / np.where(counts @ there, counts @ there, np.nan), axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Mean(float(np.nanmean(values, axis=0).mean()), float(low), float(high), len(values))


def effects_table(rows: pd.DataFrame, by: Sequence[str] = ("alpha",)) -> pd.DataFrame:
    """`effect_means` for each setting, with the ends of their intervals, and the number of pages."""
    table = {}
    for setting, some in rows.groupby(list(by), sort=False):
        means = effect_means(some)
        row = {name: value for measure, mean in means.items() for name, value in mean.named(measure).items()}
        table[setting] = row | {"pages": means["hit"].n}
    index = pd.MultiIndex.from_tuples(list(table), names=by)
    return pd.DataFrame(list(table.values()), index=index if len(by) > 1 else index.get_level_values(0))


def best_setting(table: pd.DataFrame, bound: float = SAME_BOUND):
    """The setting of the largest hit x same among those whose same is at least the bound; of all, if none is.

    Choose it on validation pages, and report test pages.
    """
    allowed = table[table["same"] >= bound]
    allowed = allowed if len(allowed) else table
    return (allowed["hit"] * allowed["same"]).idxmax()
