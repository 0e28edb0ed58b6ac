"""Redraw pages with one factor changed and see which concepts move: a factor x concept matrix (ours).

The caption is forced up to the token and names nothing but the kind, so that only the picture differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from PIL import Image

from ..concepts import ConceptBank
from ..extraction import extract
from ..images import CaptionedImages
from ..models import LMM
from ..picturebook import allowed_values, factors_of, page
from ..statistics import Mean, bootstrap_mean, share_of
from .factor_matching import Value

CAPTION = "a {kind}"  # as all captions of the bundled model begin
LEVELS = ("factor", "value")


@dataclass(frozen=True)
class Counterfactuals:
    """Activations of a bank's concepts on pages that are redrawn with every other value of each factor.

    Attributes
    ----------
    bank : ConceptBank
    numbers : tuple of int
        The pages.
    values : list of (factor, value)
        Of all factors but kind; the values of a factor side by side.
    shown : numpy.ndarray
        bool (pages, values): which values a page shows as it is, one of each factor.
    activations : numpy.ndarray
        (pages, values, concepts): with this value in the place of the page's own and all else equal. Where the page
        shows the value anyway, of the page as it is.
    """

    bank: ConceptBank
    numbers: tuple[int, ...]
    values: list[Value]
    shown: np.ndarray
    activations: np.ndarray

    @property
    def factors(self) -> list[str]:
        """The factors, in the order of their values."""
        return list(dict.fromkeys(factor for factor, _ in self.values))

    def by_factor(self) -> pd.DataFrame:
        """How far each factor moves each concept, up or down (ours).

        Returns
        -------
        pandas.DataFrame
            Factors x concepts: the mean magnitude of change over the switches to a factor's other values, averaged over
            pages, in each concept's standard deviations over the bank's samples (a concept that is constant there keeps
            its own unit). A concept of one value among many is left alone by most switches of its factor, and so its
            own factor counts for less than one of two values does: the comparison is a strict one.
        """
        return pd.DataFrame(self.moves.mean(0), self.factors).rename_axis(index="factor", columns="concept")

    def matrix(self) -> pd.DataFrame:
        """How much each factor value adds to each concept (ours).

        Returns
        -------
        pandas.DataFrame
            (factor, value) x concepts: the activation with the value minus its mean with the factor's other values, all
            else equal, averaged over pages, in the units of `by_factor`.
        """
        index = pd.MultiIndex.from_tuples(self.values, names=["factor", "value"])
        return pd.DataFrame(self.rises.mean(0), index).rename_axis(columns="concept")

    @cached_property
    def moves(self) -> np.ndarray:
        """(pages, factors, concepts), see `by_factor`."""
        sizes = np.abs(self._changes)
        return np.stack([sizes[:, rows].sum(1) / (rows.sum() - 1) for rows in self._rows], axis=1)

    @cached_property
    def rises(self) -> np.ndarray:
        """(pages, values, concepts), see `matrix`."""
        found = np.empty_like(self._changes)
        for rows in self._rows:
            with_it, n = self._changes[:, rows], rows.sum()
            found[:, rows] = (n * with_it - with_it.sum(1, keepdims=True)) / (n - 1)
        return found

    @cached_property
    def _changes(self) -> np.ndarray:
        """(pages, values, concepts): from the page as it is, in standard deviations; 0 where it shows the value."""
        as_it_is = self.activations[np.arange(len(self.numbers)), self.shown.argmax(1)]  # (pages, concepts)
        known = self.bank.activations
        units = np.where(np.ptp(known, axis=0) > 0, known.std(0), 1)  # (concepts,)
        return (self.activations - as_it_is[:, None]) / units

    @property
    def _rows(self) -> list[np.ndarray]:
        """For each factor which values are its own: bool (values,)."""
        return [np.array([factor == name for factor, _ in self.values]) for name in self.factors]


@dataclass(frozen=True)
class Selectivity:
    """For how many concepts the matched factor, or factor value, moves them most.

    Attributes
    ----------
    by : {"factor", "value"}
    concepts : pandas.DataFrame
        A row for each matched concept, by number: factor, value (matched); own (what its own factor moves it, or its
        own value raises it), other (the factor or value that does most of all others), rival (how much that does),
        difference (own minus rival) with the ends of its interval over pages, low and high; largest (own is the
        largest of all), sure (so is it over the whole interval).
    share : Mean
        Of the matched concepts that `largest` holds for; its interval is exact, concepts taken for independent.
    share_sure : Mean
        Of those that are `sure`, with its interval in the same way.
    chance : float
        The share if the matched values are dealt to the concepts at random: its mean over all ways to do so.
    n_unmatched : int
        Concepts without a value: in no share.
    """

    by: str
    concepts: pd.DataFrame
    share: Mean
    share_sure: Mean
    chance: float
    n_unmatched: int

    def __str__(self) -> str:
        n, matched = self.concepts["largest"].sum(), len(self.concepts)
        done = "move most with their own factor" if self.by == "factor" else "rise most with their own value"
        unmatched = f"; {self.n_unmatched} not matched" if self.n_unmatched else ""
        return f"{n} of {matched} concepts {done}, {self.chance * matched:.1f} by chance{unmatched}"


def counterfactual_edits(lmm: LMM, bank: ConceptBank, numbers: Sequence[int], batch_size: int = 32) -> Counterfactuals:
    """Redraw pages with every other value of one factor at a time, and read the state of their kind again (ours).

    The caption "a dog" is forced, whatever the picture shows.

    Parameters
    ----------
    lmm : LMM
        The model that the bank was learned on.
    bank : ConceptBank
        Of a token that is a kind of the book, such as "dog"; or of several tokens.
    numbers : sequence of int
        Pages of that kind; for an honest score, none that the bank was learned from.
    batch_size : int, default 32

    Returns
    -------
    Counterfactuals

    Raises
    ------
    ValueError
        If the model is not the bank's, or the pages are none, come twice, or are not of one kind that is the bank's.
    """
    bank.check_model(lmm)
    numbers = tuple(int(number) for number in numbers)
    kind = _kind(bank, numbers)
    allowed = allowed_values(kind)
    values = [(factor, value) for factor in allowed if factor != "kind" for value in allowed[factor]]
    pages = [factors_of(number) for number in numbers]
    shown = np.array([[getattr(each, factor) == value for factor, value in values] for each in pages])
    names = [
        [str(number) if same else f"{number} {factor} {value}" for same, (factor, value) in zip(row, values)]
        for number, row in zip(numbers, shown)
    ]
    different = list(dict.fromkeys(sum(names, [])))
    found = _activations(lmm, bank, CAPTION.format(kind=kind), different, batch_size)
    activations = np.array([[found[name] for name in row] for row in names])
    return Counterfactuals(bank, numbers, values, shown, activations)


def diagonal(
    changes: Counterfactuals,
    values: Sequence[Value | None],
    by: str = "factor",
    level: float = 0.95,
    seed: int = 0,
) -> Selectivity:
    """Say which concepts are moved most by the factor that they are matched with, and which are not (ours).

    Parameters
    ----------
    changes : Counterfactuals
    values : sequence of (factor, value) or None
        What each of the bank's concepts is matched with, chosen on other pages; None for a concept that is left over.
    by : {"factor", "value"}, default "factor"
        Whether its own factor moves a concept more than any other factor does (`by_factor`), or its own value raises it
        more than any other value of any factor (`matrix`).
    level : float, default 0.95
        Of the intervals; see `bootstrap_mean` and, of shares, `share_of`. They are not corrected for the number of
        concepts.
    seed : int, default 0
        Of the bootstrap.

    Returns
    -------
    Diagonal

    Raises
    ------
    ValueError
        If `by` is neither, the values are not one for each concept or not of these pages, or there are fewer than two
        pages or matched concepts.
    """
    if by not in LEVELS:
        raise ValueError(f"there is no level {by!r} of the matrix: choose one of {', '.join(LEVELS)}.")
    _check(changes, values)
    matched = {k: value for k, value in enumerate(values) if value is not None}
    names, each = (changes.factors, changes.moves) if by == "factor" else (changes.values, changes.rises)
    owns = [value[0] if by == "factor" else value for value in matched.values()]
    rows = [_judged(names, each[:, :, k], own, level, seed) for k, own in zip(matched, owns)]
    index = pd.Index(matched, name="concept")
    table = pd.DataFrame(list(matched.values()), index, ["factor", "value"]).join(pd.DataFrame(rows, index))
    tops = [_top(names, each[:, :, k].mean(0)) for k in matched]
    chance = np.mean([[top == own for own in owns] for top in tops])
    shares = (share_of(table[name], level) for name in ("largest", "sure"))
    return Selectivity(by, table, *shares, float(chance), len(values) - len(matched))


def _kind(bank: ConceptBank, numbers: Sequence[int]) -> str:
    """The kind of all the pages."""
    kinds = {factors_of(number).kind for number in numbers}
    if len(kinds) != 1 or not kinds <= set(bank.spellings):
        raise ValueError(f"the pages are of {sorted(kinds)}, the bank of {bank.token!r}: give numbers of its pages.")
    if len(set(numbers)) < len(numbers):
        raise ValueError("a page number comes twice: give each once.")
    return kinds.pop()


def _activations(lmm: LMM, bank: ConceptBank, caption: str, ids: Sequence[str], batch_size: int) -> dict:
    """The activations, (concepts,), of each redrawn page."""
    images = CaptionedImages("", "redrawn", tuple(ids), [(caption,)] * len(ids), _redrawn)
    settings, captions = bank.provenance, dict.fromkeys(ids, caption)
    options = dict(prompt=settings["prompt"], batch_size=batch_size, cache=False, captions=captions)
    states = extract(lmm, images, settings["token"], bank.layer, settings["position"], **options)
    return dict(zip(states.images.ids, bank.project(states.Z)))


def _redrawn(id: str) -> Image.Image:
    """The page of an id such as "1000008 place beach", or as it is: "1000008"."""
    number, *change = id.split()
    return page(int(number)).with_(**dict([change] if change else [])).picture


def _check(changes: Counterfactuals, values: Sequence[Value | None]) -> None:
    """Refuse what cannot be judged."""
    unknown = [value for value in values if value is not None and value not in changes.values]
    if len(values) != len(changes.bank):
        raise ValueError(f"{len(values)} values for {len(changes.bank)} concepts: give one for each, or None.")
    if unknown:
        raise ValueError(f"no page was redrawn with {unknown[0]}: choose from {changes.values}.")
    if min(len(changes.numbers), len(values) - list(values).count(None)) < 2:
        raise ValueError("the diagonal takes two pages and two matched concepts: give more numbers, or match more.")


def _judged(names: list, each: np.ndarray, own, level: float, seed: int) -> dict:
    """A concept's row of the table, from its (pages, factors) or (pages, values)."""
    place, means = names.index(own), each.mean(0)
    other = max((i for i in range(len(names)) if i != place), key=means.__getitem__)
    difference = bootstrap_mean(each[:, place] - each[:, other], level=level, seed=seed)
    row = {"own": means[place], "other": names[other], "rival": means[other], "difference": difference.value}
    row |= {"low": difference.low, "high": difference.high}
    return row | {"largest": means[place] > means[other], "sure": difference.low > 0}


def _top(names: list, means: np.ndarray):
    """The name of the largest mean; None where there is not one largest, as of a concept that never moves."""
    second, first = np.argsort(means)[-2:]
    return names[first] if means[first] > means[second] else None
