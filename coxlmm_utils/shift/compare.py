"""Two banks side by side, before and after fine-tuning: which concepts stay, are refined, emerge or are diminished.

Matching and T-Overlap are those of arXiv 2501.03012, for which a refined concept is of the same theme and more specific;
it gives no numbers. Here it is one that moved and shares its words (ours): whether it is more specific is not tested. The
cuts are ours, and best taken from a fine-tuning that changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..concepts import ConceptBank, Words
from ..dictionaries import cosines_between
from ..extraction import require_same

UNCHANGED, REFINED, EMERGED, DIMINISHED = CHANGES = "unchanged", "refined", "emerged", "diminished"
SAME = ("token", "layer", "position", "prompt", "samples")  # what two banks must share


@dataclass(frozen=True)
class Cuts:
    """From where on a concept has changed, and from where on its theme has (ours).

    Attributes
    ----------
    cosine : float, default 0.9
        A concept has changed if its cosine with its match is below this.
    overlap : float, default 50
        Of a concept that has changed the theme is the same if its T-Overlap with its match, in percent, is not below
        this: then it is refined, else diminished, or emerged.
    """

    cosine: float = 0.9
    overlap: float = 50.0

    @classmethod
    def of_null(cls, nulls: Sequence[ConceptShift], level: float = 0.05) -> Cuts:
        """The cosine that only this share of concepts falls below where fine-tuning changed nothing (ours).

        The T-Overlap stays at half of the words: that of one concept in two models may be low by chance, and then the
        null's would let concepts pass for refined that have hardly more than the token in common.

        Parameters
        ----------
        nulls : sequence of ConceptShift
            Comparisons with a model that was trained on as before, or learned with another seed.
        level : float, default 0.05
        """
        if not nulls:
            raise ValueError("there is no comparison to take cuts from: give at least one")
        cosines = [table["cosine"] for null in nulls for table in (null.before_table, null.after_table)]
        return cls(float(np.quantile(np.concatenate(cosines), level)))

    def change(self, cosine: float, overlap: float, gone: str) -> str:
        """What became of a concept; `gone` is the word for one whose theme is not found again."""
        if cosine >= self.cosine:
            return UNCHANGED
        return REFINED if overlap >= self.overlap else gone


@dataclass(frozen=True)
class ConceptShift:
    """Two banks of the same samples in two models, concept by concept.

    Attributes
    ----------
    before, after : ConceptBank
    cosines : numpy.ndarray
        (concepts before, concepts after).
    overlaps : numpy.ndarray
        Of the same shape: the T-Overlap of their words, 100 |T(u) and T(u')| / |T(u)| (paper); NaN where u has no words.
    cuts : Cuts
    """

    before: ConceptBank
    after: ConceptBank
    cosines: np.ndarray
    overlaps: np.ndarray
    cuts: Cuts

    @property
    def before_table(self) -> pd.DataFrame:
        """A row for each concept before: title, match (the nearest concept after, as in the paper), cosine, t_overlap, change."""
        return self._table(self.before, self.after, self.cosines, self.overlaps, DIMINISHED)

    @property
    def after_table(self) -> pd.DataFrame:
        """A row for each concept after, matched with the nearest before; the T-Overlap is that of the one before."""
        return self._table(self.after, self.before, self.cosines.T, self.overlaps.T, EMERGED)

    @property
    def counts(self) -> pd.Series:
        """How many concepts are unchanged, refined and diminished, of those before; emerged, of those after."""
        before, after = (table["change"].value_counts() for table in (self.before_table, self.after_table))
        return pd.concat([before, after.loc[after.index == EMERGED]]).reindex(list(CHANGES), fill_value=0)

    def changed_share(self) -> float:
        """The share of concepts, before and after together, that are not unchanged."""
        changes = pd.concat([self.before_table["change"], self.after_table["change"]])
        return float((changes != UNCHANGED).mean())

    def _table(self, own: ConceptBank, other: ConceptBank, cosines, overlaps, gone: str) -> pd.DataFrame:
        """One of the two tables."""
        matches, rows = cosines.argmax(axis=1), np.arange(len(own))
        values = {"cosine": cosines[rows, matches], "t_overlap": overlaps[rows, matches]}
        titles = {
            "title": [own.title(k) for k in rows],
            "match": matches,
            "match_title": [other.title(j) for j in matches],
        }
        changes = [self.cuts.change(*pair, gone) for pair in zip(*values.values())]
        return pd.DataFrame({**titles, **values, "change": changes}).rename_axis("concept")


def compare(before: ConceptBank, after: ConceptBank, cuts: Cuts | None = None) -> ConceptShift:
    """Match the concepts of two models, and say what became of each.

    Parameters
    ----------
    before, after : ConceptBank
        Learned from the same samples in both models, see `StatePair`.
    cuts : Cuts, optional
        Default: `Cuts()`, a guess; `Cuts.of_null` measures them.

    Returns
    -------
    ConceptShift

    Raises
    ------
    ValueError
        If the banks differ in token, layer, position, prompt or samples.
    """
    require_same(before, after, *SAME, names=("the bank before", "the bank after"))
    if list(before.ids) != list(after.ids):
        n_common = len({*before.ids} & {*after.ids})
        raise ValueError(
            f"the banks are not of the same samples, {n_common:,} of {len(before.ids):,} and {len(after.ids):,} are in "
            "both: learn them from the two sides of a StatePair"
        )
    return ConceptShift(
        before,
        after,
        cosines_between(before.concepts, after.concepts),
        t_overlaps(before.words, after.words),
        cuts or Cuts(),
    )


def t_overlaps(words: Sequence[Words], others: Sequence[Words]) -> np.ndarray:
    """The T-Overlap of each with each, in percent: the share of its words that the other has, too; NaN without words (paper).

    Returns
    -------
    numpy.ndarray
        (words, others).
    """
    first, second = ([set(some.kept) for some in grounded] for grounded in (words, others))
    return np.array([[100 * len(a & b) / len(a) if a else np.nan for b in second] for a in first]).reshape(
        len(first), -1
    )
