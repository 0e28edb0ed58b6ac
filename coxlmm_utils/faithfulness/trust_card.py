"""One page on how far a bank's concepts can be trusted: what was measured of each, and what was not (ours)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..statistics import bootstrap_mean
from . import trust_card_figure
from .ablation_summary import removal_summary
from .agreement import Agreement
from .visual_dependence import VisualDependence

TOLD = 0.9
ABOVE = 0.9  # share of the other concepts whose words a concept's own are nearer than
STABLE = 0.9  # cosine with the same concept of other dictionaries


@dataclass(frozen=True)
class Check:
    """One question to all concepts of a bank.

    Attributes
    ----------
    name : str
        Short, for the head of a column.
    question : str
    rule : str
        When the answer is yes for a concept.
    how : str
        What measures it.
    values : numpy.ndarray or None
        (concepts,): what is measured of each; NaN where there is nothing to measure. None if nobody measured.
    holds : numpy.ndarray or None
        (concepts,): 1 yes, 0 no, NaN not judged.
    finding : str
        The numbers over all concepts, with intervals and controls.
    """

    name: str
    question: str
    rule: str
    how: str
    values: np.ndarray | None = None
    holds: np.ndarray | None = None
    finding: str = ""

    @property
    def yes(self) -> int:
        """For how many concepts it holds."""
        return 0 if self.holds is None else int(np.nansum(self.holds))

    @property
    def judged(self) -> int:
        """How many concepts were judged."""
        return 0 if self.holds is None else int((~np.isnan(self.holds)).sum())


@dataclass(frozen=True, repr=False)
class TrustCard:
    """What a careful reader wants to see before believing a gallery.

    Attributes
    ----------
    bank : ConceptBank
    facts : dict of str to str
        What the bank was learned from, and how well it rebuilds it.
    checks : tuple of Check
        Those that were not measured say how they can be.
    """

    bank: object
    facts: dict[str, str]
    checks: tuple[Check, ...]

    @property
    def summary(self) -> pd.DataFrame:
        """A row for each check: question, yes, judged (concepts), finding, rule; a finding may be that nobody measured."""
        rows = [
            (each.name, each.question, each.yes, each.judged, each.finding or f"not measured: {each.how}", each.rule)
            for each in self.checks
        ]
        return pd.DataFrame(rows, columns=["check", "question", "yes", "judged", "finding", "rule"]).set_index("check")

    @property
    def table(self) -> pd.DataFrame:
        """A row for each concept: title, samples it is active on, and the value of each check that was measured."""
        columns = {"title": [self.bank.title(k) for k in range(len(self.bank))], "samples": self.samples}
        columns |= {each.name: each.values for each in self.checks if each.values is not None}
        return pd.DataFrame(columns).rename_axis("concept")

    @property
    def samples(self) -> np.ndarray:
        """On how many samples each concept is active: (concepts,)."""
        return (self.bank.activations != 0).sum(axis=0)

    def figure(self) -> Figure:
        """The card on one page."""
        return trust_card_figure.trust_card(self)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return self.figure()._repr_mimebundle_()

    def __repr__(self) -> str:
        lines = [f"Trust card of {self.bank!r}", *(f"  {name}: {text}" for name, text in self.facts.items())]
        for each in self.checks:
            said = f"{each.yes} of {each.judged}; {each.finding}" if each.values is not None else "not measured"
            lines.append(f"  {each.question} {said}")
        return "\n".join(lines)


def trust_card(
    bank,
    known=None,
    visual: VisualDependence | None = None,
    removal: pd.DataFrame | None = None,
    redrawn=None,
    agreement: Agreement | None = None,
) -> TrustCard:
    """What was measured of a bank on one page, and what was not (ours).

    Parameters
    ----------
    bank : ConceptBank
    known : FactorRecovery, optional
        From `score_against_factors`; on the picture book.
    visual : VisualDependence, optional
        From `visual_dependence`, with the condition "blank".
    removal : pandas.DataFrame, optional
        From `remove_concepts`.
    redrawn : Diagonal, optional
        From `diagonal`; on the picture book.
    agreement : Agreement, optional
        From `agreement`.

    Returns
    -------
    TrustCard
        Stability is on it if the bank was measured with others, see `measured`. What is not given is said to be
        not measured.

    Raises
    ------
    ValueError
        If something was found of a bank with more concepts.
    """
    checks = (
        _known(bank, known),
        _visual(bank, visual),
        _removal(bank, removal),
        _redrawn(bank, redrawn),
        _agreement(bank, agreement),
        _stability(bank),
    )
    return TrustCard(bank, _facts(bank), checks)


def _facts(bank) -> dict[str, str]:
    """What a bank was learned from, in words."""
    known, active = bank.provenance, bank.activations != 0
    never, wordless = int((~active.any(axis=0)).sum()), sum(not words.kept for words in bank.words)
    error = bank.dictionary.reconstruction_error_
    return {
        "model": f"{known['model']['name']}, {bank.where}",
        "samples": f"{len(bank.ids):,} from {known['data']['source'] or 'pictures in memory'}",
        "method": f"{bank.method}, {len(bank)} concepts, {active.sum(axis=1).mean():.1f} active on a sample",
        "left over": f"{error:.0%} of the states' length is not rebuilt",
        "unusable": f"{never} never active, {wordless} without words",
    }


def _known(bank, found) -> Check:
    told = Check(
        "told",
        "Does it tell something that is known to be there?",
        f"AUC above {TOLD} for its own factor value on pages not learned from",
        "score_against_factors, on the picture book",
    )
    if found is None:
        return told
    [values] = _of_each(bank, found.table.set_index("concept"), "auc")
    covered = found.covered
    text = f"{covered.value:.0f} [{covered.low:.0f}, {covered.high:.0f}] of {found.n_values} factor values told; "
    return _measured(told, values, values > TOLD, text + f"mean AUC {found.mean_auc}")


def _visual(bank, found: VisualDependence | None) -> Check:
    seen = Check(
        "seen",
        "Does it come from the picture?",
        "with the same words before, a blank picture leaves at most half of its activation unchanged",
        "visual_dependence",
    )
    if found is None:
        return seen
    if not np.array_equal(found.bank.concepts, bank.concepts):
        raise ValueError("visual is of another bank: give what `visual_dependence` found of this one.")
    table = found.table()
    [values] = _of_each(bank, table[table["condition"] == "blank"].set_index("concept"), "unchanged")
    holds = np.array([verdict == "from the picture" for verdict in found.verdicts("blank")])
    return _measured(seen, values, holds, f"blank picture: {_mean(values)} of an activation stays as it was")


def _removal(bank, table: pd.DataFrame | None) -> Check:
    pushed = Check(
        "pushed",
        "Does it push its own words?",
        "removing it lowers them, from that step on, more than a random direction does and than it moves others' words",
        "remove_concepts",
    )
    if table is None:
        return pushed
    found = {measure: removal_summary(table, measure) for measure in ("words", "later", "mentions")}
    values, holds = _of_each(bank, found["words"].concepts, "minus_random", "sure")
    later, mentions = (int(found[measure].concepts["sure"].sum()) for measure in ("later", "mentions"))
    text = f"{found['words'].minus_random} nats against a random direction; {mentions} pass by how often the words are "
    return _measured(pushed, values, holds, text + f"expected, {later} without the step that the state itself writes")


def _redrawn(bank, found) -> Check:
    moves = Check(
        "moves",
        "Does its own factor move it most?",
        "of all factors changed in the picture its own moves it most, by more than its interval",
        "diagonal of counterfactual_edits, on the picture book",
    )
    if found is None:
        return moves
    if found.by != "factor":
        raise ValueError(f'redrawn is a diagonal by {found.by!r}: give the one by "factor".')
    values, holds = _of_each(bank, found.concepts, "difference", "sure")
    return _measured(
        moves, values, holds, f"by chance {found.chance * len(found.concepts):.1f} of {len(found.concepts)}"
    )


def _agreement(bank, found: Agreement | None) -> Check:
    agrees = Check(
        "agrees",
        "Do its words fit its pictures?",
        f"a judge of its pictures ranks its words above those of at least {ABOVE:.0%} of the other concepts",
        "agreement",
    )
    if found is None:
        return agrees
    values, above = _of_each(bank, found.concepts, "rank", "above")
    text = f"own words at {found.rank} of the judge's ranking, others' at {found.rank_others}, chance .5"
    return _measured(agrees, values, above >= ABOVE, text)


def _stability(bank) -> Check:
    again = Check(
        "found again",
        "Is it found again with another seed?",
        f"cosine of at least {STABLE} with its partner in the other dictionaries",
        "bank.measured(others=banks)",
    )
    if "stability" not in bank.measures:
        return again
    values = bank.measures["stability"]
    return _measured(again, values, values >= STABLE, f"cosine {_mean(values)}, the lowest {np.nanmin(values):.2f}")


def _of_each(bank, table: pd.DataFrame, *columns: str) -> list[np.ndarray]:
    """Columns of a table by concept number as numbers, (concepts,) each; NaN where a concept has no row."""
    if not set(table.index) <= set(range(len(bank))):
        raise ValueError(
            f"what was found is of concepts up to {max(table.index)}, but this bank has {len(bank)}: "
            "give what was found of this bank."
        )
    return [table[name].astype(float).reindex(range(len(bank))).to_numpy() for name in columns]


def _measured(check: Check, values, holds, finding: str) -> Check:
    """A check with its answers; where the value is NaN, nothing is judged."""
    values = np.asarray(values, dtype=float)
    holds = np.where(np.isnan(values), np.nan, np.asarray(holds, dtype=float))
    return replace(check, values=values, holds=holds, finding=finding)


def _mean(values: np.ndarray) -> str:
    """A mean over concepts with its interval, as far as there is one."""
    there = values[~np.isnan(values)]
    return str(bootstrap_mean(there)) if len(there) > 1 else f"{there.mean():.3f}" if len(there) else "unknown"
