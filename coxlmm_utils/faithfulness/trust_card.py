"""One page on how far a bank's concepts can be trusted: what was measured of each, and what was not (ours)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..concepts import MIN_PER_CONCEPT
from . import trust_card_figure
from .ablation_summary import ablation_answers
from .agreement import MIN_ABOVE
from .answers import Answers, bank_key, mean_text

MIN_AUC = 0.9  # of a recovered factor value
MIN_COSINE = 0.9  # of a stable concept with its partner in other dictionaries

# By the argument of `trust_card` that answers it: name, question, when the answer is yes, what measures it.
QUESTIONS = {
    "recovery": (
        "recovered",
        "Does it recover something that is known to be there?",
        f"AUC above {MIN_AUC} for its own factor value on pages not learned from",
        "score_against_factors, on the picture book",
    ),
    "visual": (
        "visual",
        "Does it come from the picture?",
        "with the same words before, a blank picture leaves at most half of its activation as it was",
        "visual_dependence",
    ),
    "ablation": (
        "causal",
        "Does it push its own words?",
        "removing it lowers them, the target aside, beyond a random direction and others' words, by the strictest measure",
        "remove_concepts",
    ),
    "selectivity": (
        "selective",
        "Does its own factor move it most?",
        "of all factors edited in the picture its own moves it most, by more than its interval",
        "selectivity of counterfactual_edits, on the picture book",
    ),
    "agreement": (
        "agrees",
        "Do its words fit its pictures?",
        f"scored by its pictures, its words rank above those of at least {MIN_ABOVE:.0%} of the other concepts",
        "agreement",
    ),
    "stability": (
        "stable",
        "Is it found again in other dictionaries?",
        f"mean cosine of at least {MIN_COSINE} with its partners in the other dictionaries",
        "bank.measured(others=banks)",
    ),
}


@dataclass(frozen=True)
class Check:
    """One question to all concepts of a bank, with its answers if it was measured."""

    name: str  # short, for the head of a column
    question: str
    rule: str  # when the answer is yes for a concept
    how: str  # what measures it
    answers: Answers | None

    @property
    def n_yes(self) -> int:
        """For how many concepts it holds."""
        return 0 if self.answers is None else int(np.nansum(self.answers.holds))

    @property
    def n_evaluated(self) -> int:
        """For how many concepts there is an answer."""
        return 0 if self.answers is None else int((~np.isnan(self.answers.holds)).sum())


@dataclass(frozen=True, repr=False)
class TrustCard:
    """What a careful reader wants to see before believing a gallery.

    Attributes
    ----------
    bank : ConceptBank
    facts : dict of str to str
        What the bank was learned from, and how well it reconstructs it.
    checks : tuple of Check
        Those that were not measured say how they can be.
    """

    bank: object
    facts: dict[str, str]
    checks: tuple[Check, ...]

    @property
    def summary(self) -> pd.DataFrame:
        """A row for each check: question, yes, evaluated (concepts), finding, rule; a check not measured says so."""
        rows = [
            (
                check.name,
                check.question,
                check.n_yes,
                check.n_evaluated,
                check.answers.finding if check.answers else f"not measured: {check.how}",
                check.rule,
            )
            for check in self.checks
        ]
        return pd.DataFrame(rows, columns=["check", "question", "yes", "evaluated", "finding", "rule"]).set_index(
            "check"
        )

    @property
    def table(self) -> pd.DataFrame:
        """A row for each concept: title, samples it is active on, and the value of each check that was measured."""
        columns = {"title": [self.bank.title(k) for k in range(len(self.bank))], "samples": self.samples}
        columns |= {check.name: check.answers.values for check in self.checks if check.answers}
        return pd.DataFrame(columns).rename_axis("concept")

    @property
    def samples(self) -> np.ndarray:
        """On how many samples each concept is active: (concepts,)."""
        return (self.bank.activations != 0).sum(axis=0)

    def sentence(self, name: str) -> str:
        """What one check found, such as "Does it come from the picture? 14 of 16 concepts; ..."."""
        check = next(check for check in self.checks if check.name == name)
        if check.answers is None:
            return f"{check.question} Not measured; {check.how} measures it."
        return f"{check.question} {check.n_yes} of {check.n_evaluated} concepts; {check.answers.finding}."

    def figure(self) -> Figure:
        """The card on one page."""
        return trust_card_figure.trust_card(self)

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict[str, str], dict[str, dict]]:
        return self.figure()._repr_mimebundle_()

    def __repr__(self) -> str:
        lines = [f"Trust card of {self.bank!r}", *(f"  {name}: {text}" for name, text in self.facts.items())]
        for check in self.checks:
            known = (
                f"{check.n_yes} of {check.n_evaluated}; {check.answers.finding}" if check.answers else "not measured"
            )
            lines.append(f"  {check.question} {known}")
        return "\n".join(lines)


def trust_card(bank, recovery=None, visual=None, ablation=None, selectivity=None, agreement=None) -> TrustCard:
    """What was measured of a bank on one page, and what was not (ours).

    Parameters
    ----------
    bank : ConceptBank
    recovery : FactorRecovery, optional
        From `score_against_factors`; on the picture book.
    visual : VisualDependence, optional
        From `visual_dependence`, with the condition "blank".
    ablation : pandas.DataFrame, optional
        From `remove_concepts`.
    selectivity : Selectivity, optional
        From `selectivity`, by factor; on the picture book.
    agreement : Agreement, optional
        From `agreement`.

    Returns
    -------
    TrustCard
        Stability is on it if the bank was measured with others, see `ConceptBank.measured`. What is not given is said
        to be not measured.

    Raises
    ------
    ValueError
        If a result is of another bank (names it).
    """
    results = {"recovery": recovery, "visual": visual, "selectivity": selectivity, "agreement": agreement}
    given = {name: result for name, result in results.items() if result is not None}
    keys = {name: {result.bank_key} for name, result in given.items()}
    keys |= {} if ablation is None else {"ablation": set(ablation["bank"])}
    for name, of in keys.items():
        if of != {bank_key(bank.activations)}:
            raise ValueError(f"{name} is of another bank than this card: give what was measured of {bank!r}.")
    answers = {name: result.answers(bank) for name, result in given.items()}
    if ablation is not None:
        answers["ablation"] = ablation_answers(bank, ablation)
    if "stability" in bank.measures and len(bank.ids) >= MIN_PER_CONCEPT * len(
        bank
    ):  # else each sample is a concept, found again
        values = bank.measures["stability"]
        finding = f"cosine {mean_text(values)}, the lowest {np.nanmin(values):.2f}"
        answers["stability"] = Answers(values, values >= MIN_COSINE, finding)
    checks = tuple(Check(*texts, answers.get(argument)) for argument, texts in QUESTIONS.items())
    return TrustCard(bank, _facts(bank), checks)


def _facts(bank) -> dict[str, str]:
    """What a bank was learned from, in words."""
    active = bank.activations != 0  # (samples, concepts)
    n_never, n_wordless = int((~active.any(axis=0)).sum()), sum(not words.kept for words in bank.words)
    error = getattr(bank.dictionary, "reconstruction_error_", None)  # a saved dictionary does not keep it
    kind, _, folder = bank.provenance["data"]["source"].partition(":")
    source = f"{kind}:{Path(folder).name}" if folder else kind  # cards are shared, and where one's folders are is not
    few = f", too few for {len(bank)} concepts" if len(bank.ids) < MIN_PER_CONCEPT * len(bank) else ""
    residual = "unknown of a saved bank" if error is None else f"{error:.0%} of the states' norm is not reconstructed"
    return {
        "model": f"{bank.model_name}, {bank.where}",
        "samples": f"{len(bank.ids):,} from {source or 'pictures in memory'}{few}",
        "method": f"{bank.method}, {len(bank)} concepts, {active.sum(axis=1).mean():.1f} active per sample",
        "residual": residual,
        "unusable": f"{n_never} never active, {n_wordless} without words",
    }
