"""Counterfactual edits: pages drawn again with one factor changed, and which concepts move: factor x concept (ours).

The caption is teacher-forced up to the token and names nothing but the kind, so that only the picture differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from PIL import Image

from ..concepts import ConceptBank
from ..extraction import extract, require_same
from ..faithfulness import Answers, bank_key, by_concept
from ..images import CaptionedImages
from ..models import LMM
from ..picturebook import allowed_values, factors_of, page
from ..statistics import Mean, bootstrap_mean, share_of
from .factor_matching import Value

CAPTION = "a {kind}"  # as all captions of the bundled model begin
LEVELS = ("factor", "value")


@dataclass(frozen=True)
class Counterfactuals:
    """Activations of a bank's concepts on pages that are edited to every other value of each factor.

    Attributes
    ----------
    bank : ConceptBank
    numbers : tuple of int
        The pages.
    values : list of (factor, value)
        Of all factors but kind; the values of a factor side by side.
    shown : numpy.ndarray
        bool (pages, values): which values a page shows as it is, one of each factor.
    states : numpy.ndarray
        (pages, values, width): with this value in the place of the page's own and all else equal. Where the page shows
        the value anyway, of the page as it is.
    """

    bank: ConceptBank
    numbers: tuple[int, ...]
    values: list[Value]
    shown: np.ndarray
    states: np.ndarray

    def of(self, bank: ConceptBank) -> Counterfactuals:
        """The same edits as another bank of these states sees them."""
        require_same(self.bank, bank, "fingerprint", "layer", "position", names=("the edits", "the bank"))
        return replace(self, bank=bank)

    @cached_property
    def activations(self) -> np.ndarray:
        """Of the states: (pages, values, concepts)."""
        n_pages, n_values, width = self.states.shape
        return self.bank.project(self.states.reshape(-1, width)).reshape(n_pages, n_values, -1)

    @property
    def factors(self) -> list[str]:
        """The factors, in the order of their values."""
        return list(dict.fromkeys(factor for factor, _ in self.values))

    def by_factor(self) -> pd.DataFrame:
        """How far each factor moves each concept, up or down: (factors, concepts), mean magnitude over pages and values."""
        return pd.DataFrame(self.moves.mean(0), self.factors).rename_axis(index="factor", columns="concept")

    def matrix(self) -> pd.DataFrame:
        """How much each factor value adds to each concept: (values, concepts), against the mean of its factor's others."""
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
        rises = np.empty_like(self._changes)
        for rows in self._rows:
            changes, n = self._changes[:, rows], rows.sum()
            # changes - mean of the other n - 1 values
            rises[:, rows] = (n * changes - changes.sum(1, keepdims=True)) / (n - 1)
        return rises

    @cached_property
    def _changes(self) -> np.ndarray:
        """(pages, values, concepts): from the page as it is, in standard deviations; 0 where it shows the value."""
        as_it_is = self.activations[np.arange(len(self.numbers)), self.shown.argmax(1)]  # (pages, concepts)
        learned = self.bank.activations
        units = np.where(np.ptp(learned, axis=0) > 0, learned.std(0), 1)  # (concepts,)
        return (self.activations - as_it_is[:, None]) / units

    @property
    def _rows(self) -> list[np.ndarray]:
        """For each factor which values are its own: bool (values,)."""
        return [np.array([factor == name for factor, _ in self.values]) for name in self.factors]


@dataclass(frozen=True)
class Selectivity:
    """For how many concepts the matched factor, or factor value, moves them most."""

    by: str
    # A row per matched concept: factor, value (matched); own (what its own factor moves it, or its own value raises it);
    # other (the factor or value that does most of all others), runner_up (how much that does); difference (own minus
    # runner_up) with its interval over pages, low and high; largest (own is); significant (so is the whole interval).
    concepts: pd.DataFrame
    # of the matched concepts that `largest` holds for; its interval is exact, concepts taken for independent
    share: Mean
    share_significant: Mean  # of those that are `significant`, with its interval in the same way
    # the share if the matched values are permuted over the concepts: its mean over all permutations
    chance: float
    n_unmatched: int  # concepts without a value: in no share
    bank_key: str

    def answers(self, bank: ConceptBank) -> Answers:
        """Does its own factor move it most? For the trust card."""
        if self.by != "factor":
            raise ValueError(f'this selectivity is by {self.by!r}: give the one by "factor".')
        values, holds = by_concept(bank, self.concepts, "difference", "significant")
        return Answers(values, holds, f"by chance {self.chance * len(self.concepts):.1f} of {len(self.concepts)}")

    def __str__(self) -> str:
        n, matched = self.concepts["largest"].sum(), len(self.concepts)
        done = "move most with their own factor" if self.by == "factor" else "rise most with their own value"
        unmatched = f"; {self.n_unmatched} not matched" if self.n_unmatched else ""
        return f"{n} of {matched} concepts {done}, {self.chance * matched:.1f} by chance{unmatched}"


def counterfactual_edits(lmm: LMM, bank: ConceptBank, numbers: Sequence[int], batch_size: int = 32) -> Counterfactuals:
    """Edit pages to every other value of one factor at a time, and re-encode the state of their kind (ours).

    The caption "a dog" is teacher-forced, whatever the picture shows.

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
    shown = np.array([[getattr(factors, factor) == value for factor, value in values] for factors in pages])
    names = [
        [str(number) if same else f"{number} {factor} {value}" for same, (factor, value) in zip(row, values)]
        for number, row in zip(numbers, shown)
    ]
    different = list(dict.fromkeys(sum(names, [])))
    by_name = _states(lmm, bank, CAPTION.format(kind=kind), different, batch_size)
    states = np.array([[by_name[name] for name in row] for row in names])
    return Counterfactuals(bank, numbers, values, shown, states)


def selectivity(
    changes: Counterfactuals,
    values: Sequence[Value | None],
    by: str = "factor",
    level: float = 0.95,
    seed: int = 0,
) -> Selectivity:
    """Which concepts are moved most by the factor, or raised most by the value, that they are matched with (ours).

    `values` has the (factor, value) of each concept, None for concepts without one; see `matched_values`. The level of
    the intervals over pages is not corrected for the number of concepts.
    """
    if by not in LEVELS:
        raise ValueError(f"there is no level {by!r} of the matrix: choose one of {', '.join(LEVELS)}.")
    _check(changes, values)
    matched = {k: value for k, value in enumerate(values) if value is not None}
    names, effects = (changes.factors, changes.moves) if by == "factor" else (changes.values, changes.rises)
    owns = [value[0] if by == "factor" else value for value in matched.values()]
    rows = [_row(names, effects[:, :, k], own, level, seed) for k, own in zip(matched, owns)]
    index = pd.Index(matched, name="concept")
    table = pd.DataFrame(list(matched.values()), index, ["factor", "value"]).join(pd.DataFrame(rows, index))
    tops = [_top(names, effects[:, :, k].mean(0)) for k in matched]
    chance = np.mean([[top == own for own in owns] for top in tops])
    shares = (share_of(table[name], level) for name in ("largest", "significant"))
    n_unmatched, key = len(values) - len(matched), bank_key(changes.bank.activations)
    return Selectivity(by, table, *shares, float(chance), n_unmatched, key)


def _kind(bank: ConceptBank, numbers: Sequence[int]) -> str:
    """The kind of all the pages."""
    kinds = {factors_of(number).kind for number in numbers}
    if len(kinds) != 1 or not kinds <= set(bank.spellings):
        raise ValueError(f"the pages are of {sorted(kinds)}, the bank of {bank.token!r}: give numbers of its pages.")
    if len(set(numbers)) < len(numbers):
        raise ValueError("a page number comes twice: give each once.")
    return kinds.pop()


def _states(lmm: LMM, bank: ConceptBank, caption: str, ids: Sequence[str], batch_size: int) -> dict:
    """The state, (width,), of each edited page."""
    images = CaptionedImages("", "edited", tuple(ids), [(caption,)] * len(ids), _edited)
    captions = dict.fromkeys(ids, caption)
    options = dict(prompt=bank.prompt, batch_size=batch_size, cache=False, captions=captions)
    states = extract(lmm, images, bank.spellings, bank.layer, bank.position, **options)
    return dict(zip(states.images.ids, states.Z.numpy()))


def _edited(id: str) -> Image.Image:
    """The page of an id such as "1000008 place beach", or as it is: "1000008"."""
    number, *change = id.split()
    return page(int(number)).with_(**dict([change] if change else [])).picture


def _check(changes: Counterfactuals, values: Sequence[Value | None]) -> None:
    """Refuse values that do not fit the edits, and too few of them."""
    unknown = [value for value in values if value is not None and value not in changes.values]
    if len(values) != len(changes.bank):
        raise ValueError(f"{len(values)} values for {len(changes.bank)} concepts: give one for each, or None.")
    if unknown:
        raise ValueError(f"no page was edited to {unknown[0]}: choose from {changes.values}.")
    if min(len(changes.numbers), len(values) - list(values).count(None)) < 2:
        raise ValueError("selectivity takes two pages and two matched concepts: give more numbers, or match more.")


def _row(names: list, effects: np.ndarray, own, level: float, seed: int) -> dict:
    """A concept's row of the table, from its effects, (pages, factors) or (pages, values)."""
    i, means = names.index(own), effects.mean(0)
    other = max((j for j in range(len(names)) if j != i), key=means.__getitem__)
    difference = bootstrap_mean(effects[:, i] - effects[:, other], level=level, seed=seed)
    row = {"own": means[i], "other": names[other], "runner_up": means[other], "difference": difference.value}
    row |= {"low": difference.low, "high": difference.high}
    return row | {"largest": means[i] > means[other], "significant": difference.low > 0}


def _top(names: list, means: np.ndarray):
    """The name of the largest mean; None where there is not one largest, as of a concept that never moves."""
    second, first = np.argsort(means)[-2:]
    return names[first] if means[first] > means[second] else None
