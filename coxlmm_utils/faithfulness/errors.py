"""Which concepts tell a wrong answer from a right one, on held-out inputs, against a probe and random directions (ours).

The states are those of inputs that were answered alike, such as all questions with the answer yes: some are right and
some are hallucinations. Everything that is chosen is chosen on the inputs that were learned from.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ..concepts import ConceptBank
from ..dictionaries import RandomDictionary
from ..extraction import States, require_same
from ..statistics import SEEDS, Mean, aucs, weighted_aucs

PROBE_C = 1.0  # inverse weight of a probe's L2 penalty, on standardised states
N_RESAMPLES = 1000  # of held-out inputs, for the intervals
READINGS = {  # of a state, each a score of how likely its input was answered wrong
    "concept": "best concept",
    "random": "best random concept",
    "direction": "best concept as a direction",
    "random_direction": "best random direction",
    "probe": "linear probe",
}
ALIKE = ("fingerprint", "layer", "position")  # what a bank and both sets of states must share


@dataclass(frozen=True)
class ErrorDetection:
    """How well errors are told from right answers on held-out inputs, as AUROC (.5 is chance).

    Attributes
    ----------
    table : pandas.DataFrame
        A row for each concept: side, 1 where its high activations go with errors on the inputs that were learned from,
        -1 where its low ones do; auroc_train, there, .5 at least; auroc, low, high, of the same side on held-out
        inputs, with a 95 % interval over resampled inputs.
    best : int
        The concept of the highest auroc_train.
    concept, random : Mean
        AUROC on held-out inputs of that concept's activation; and of the best of as many random directions as there are
        concepts, with Semi-NMF's activations, chosen likewise, mean over draws.
    direction, random_direction : Mean
        The same where a state is read by its product with each concept or random direction, and not by activations.
    probe : Mean
        Of a linear probe: logistic regression on standardised states, C = 1.
    n_train, n_test : tuple of int
        How many inputs were answered wrong and right.
    """

    table: pd.DataFrame
    best: int
    concept: Mean
    direction: Mean
    probe: Mean
    random: Mean
    random_direction: Mean
    n_train: tuple[int, int]
    n_test: tuple[int, int]

    def __str__(self) -> str:
        (wrong, right), n = self.n_test, len(self.table)
        return (
            f"{wrong:,} of {wrong + right:,} held-out answers are wrong; AUROC of concept {self.best} {self.concept} "
            f"(best of {n} random ones {self.random}), of the best concept's direction {self.direction} (best of {n} "
            f"random ones {self.random_direction}), of a linear probe {self.probe}"
        )

    @property
    def means(self) -> dict[str, Mean]:
        """All AUROCs on held-out inputs, by the names of `READINGS`."""
        return {name: getattr(self, name) for name in READINGS}

    def telling(self, n: int | None = None, side: int | None = None) -> list[int]:
        """The n concepts of highest AUROC on the inputs that were learned from, highest first; of one side, if given."""
        table = self.table if side is None else self.table[self.table["side"] == side]
        return table.sort_values("auroc_train", ascending=False, kind="stable").index[:n].tolist()


def error_detection(
    bank: ConceptBank,
    states: States,
    wrong: Sequence[bool] | np.ndarray,
    held_out: States,
    held_out_wrong: Sequence[bool] | np.ndarray,
    groups: Sequence[Hashable] | None = None,
    seeds: Sequence[int] = SEEDS,
) -> ErrorDetection:
    """How well each concept, a linear probe and random directions tell errors on held-out inputs (ours).

    Parameters
    ----------
    bank : ConceptBank
        Of any LMM; learned from these states or from others of the same layer and position, but not from held-out ones.
    states : States
        Of inputs to choose the best concept on, and to learn the probe from. `prompt_states` reads them at the last
        input token or over an answer, `extract` at a word.
    wrong : sequence of bool
        (inputs,), whether the answer to each is wrong. Give inputs that were answered alike: else a concept of the
        answer tells an error, too.
    held_out, held_out_wrong
        The same of other inputs.
    groups : sequence, optional
        What each held-out input belongs to, such as its picture where several questions are about one: a resample
        draws whole groups. Default: each input by itself.
    seeds : sequence of int, default 0 to 4
        Of the draws of random directions.

    Returns
    -------
    ErrorDetection

    Raises
    ------
    ValueError
        If states are of another model, layer or position than the bank's; a list has not one value for each input;
        inputs of either set are all wrong, or none is; or held-out inputs are among those learned from.
    """
    for part, name in ((states, "the states"), (held_out, "the held-out states")):
        require_same(bank, part, *ALIKE, names=("the bank", name))
    if common := len(set(held_out.images.ids) & {*states.images.ids, *bank.ids}):
        raise ValueError(f"{common} of the held-out inputs were learned from: hold out others")
    wrong, tested = _labels(wrong, states, "learned from"), _labels(held_out_wrong, held_out, "held out")
    test = _Test(wrong, tested, _resamples(groups, len(tested)))
    Z = np.asarray(states.Z, dtype=float), np.asarray(held_out.Z, dtype=float)  # (inputs, width) each
    activations = bank.project(states.Z), bank.project(held_out.Z)
    table = test.table(*activations)
    logits = [linear_probe(Z[0], wrong).decision_function(part)[:, None] for part in Z]
    random = [RandomDictionary(len(bank), random_state=seed).fit(states.Z) for seed in seeds]
    readings = {
        "concept": [activations],
        "direction": [_products(Z, bank.concepts)],
        "probe": [logits],
        "random": [[dictionary.transform(part.Z) for part in (states, held_out)] for dictionary in random],
        "random_direction": [_products(Z, dictionary.components_) for dictionary in random],
    }
    means = {name: test.best_of(scores) for name, scores in readings.items()}
    counts = [(int(labels.sum()), int((~labels).sum())) for labels in (wrong, tested)]
    return ErrorDetection(table, int(table["auroc_train"].idxmax()), **means, n_train=counts[0], n_test=counts[1])


def auroc(scores: Sequence[float] | np.ndarray, labels: np.ndarray, groups: Sequence[Hashable] | None = None) -> Mean:
    """The AUROC of scores for one label, with a 95 % interval over resampled inputs (ours).

    Parameters
    ----------
    scores : sequence of float or numpy.ndarray
        (inputs,).
    labels : numpy.ndarray
        (inputs,) bool, both values among them.
    groups : sequence, optional
        What each input belongs to; a resample draws whole groups. Default: each input by itself.

    Returns
    -------
    Mean
    """
    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool)
    return _Test(labels, labels, _resamples(groups, len(labels))).mean([scores])


def linear_probe(Z: np.ndarray, labels: np.ndarray) -> Pipeline:
    """A linear probe of states for one label: logistic regression, L2 penalty, C = 1, on standardised states (ours).

    Parameters
    ----------
    Z : numpy.ndarray
        (samples, width).
    labels : numpy.ndarray
        (samples,) bool, both values among them.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Fitted; `decision_function` gives logits.
    """
    return make_pipeline(StandardScaler(), LogisticRegression(C=PROBE_C, max_iter=1000)).fit(Z, labels)


def _labels(wrong: Sequence[bool] | np.ndarray, states: States, which: str) -> np.ndarray:
    """One bool for each of the states, both values among them."""
    wrong = np.asarray(wrong)
    if wrong.shape != (len(states),) or not np.isin(wrong, (0, 1)).all():
        raise ValueError(
            f"{len(states)} inputs are {which}, and `wrong` has shape {wrong.shape}: give true or false for each"
        )
    wrong = wrong.astype(bool)
    if wrong.all() or not wrong.any():
        says = "wrong" if len(wrong) and wrong.all() else "right"
        raise ValueError(
            f"the answers to all {len(wrong)} inputs {which} are {says}: an error is told from what is not one"
        )
    return wrong


def _resamples(groups: Sequence[Hashable] | None, n: int) -> np.ndarray:
    """How often each of n inputs is drawn, with its group: (resamples, inputs)."""
    groups = range(n) if groups is None else groups
    if len(groups) != n:
        raise ValueError(f"{len(groups)} groups are given for {n} held-out inputs: give one for each")
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    shares = np.full(len(numbers), 1 / len(numbers))
    drawn = np.random.default_rng(0).multinomial(len(numbers), shares, size=N_RESAMPLES)
    return drawn[:, [numbers[group] for group in groups]].astype(float)


def _products(Z: Sequence[np.ndarray], directions: np.ndarray) -> list[np.ndarray]:
    """Of either set of states, (inputs, width), the products with directions: (inputs, directions) each."""
    return [part @ directions.T for part in Z]


@dataclass(frozen=True)
class _Test:
    """Scores every reading of the states on the same held-out inputs and the same resamples of them."""

    wrong: np.ndarray  # (inputs learned from,)
    tested: np.ndarray  # (held-out inputs,)
    weights: np.ndarray  # (resamples, held-out inputs)

    def sides(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of scores, (inputs, scores), which end tells errors, 1 or -1, and the AUROC of that end: (scores,) each."""
        high = aucs(scores, self.wrong[:, None])[:, 0]
        return np.where(high < 0.5, -1, 1), np.maximum(high, 1 - high)

    def table(self, learned: np.ndarray, held_out: np.ndarray) -> pd.DataFrame:
        """The rows of `ErrorDetection.table`, from activations, (inputs, concepts) each."""
        sides, scores = self.sides(learned)
        means = [self.mean([active]) for active in (sides * held_out).T]
        rows = [mean.named("auroc") for mean in means]
        table = pd.DataFrame({"side": sides, "auroc_train": scores}).join(pd.DataFrame(rows))
        return table.rename(columns={"auroc_low": "low", "auroc_high": "high"}).rename_axis("concept")

    def best_of(self, readings: Sequence[Sequence[np.ndarray]]) -> Mean:
        """The held-out AUROC of the score that is best on the inputs learned from, mean over readings of both sets."""
        chosen = []
        for learned, held_out in readings:
            sides, scores = self.sides(learned)
            chosen.append(sides[scores.argmax()] * held_out[:, scores.argmax()])
        return self.mean(chosen)

    def mean(self, several: Sequence[np.ndarray]) -> Mean:
        """The mean AUROC of scores of the held-out inputs, (held-out inputs,) each, with its interval."""
        value = aucs(np.stack(several, axis=1), self.tested[:, None]).mean()
        draws = np.mean([weighted_aucs(scores, self.tested, self.weights) for scores in several], axis=0)
        low, high = np.nanpercentile(draws, (2.5, 97.5))
        return Mean(float(value), float(low), float(high), len(self.tested), n_seeds=len(several))
