"""Questions with a wanted and an unwanted answer each, and every way to steer from the one to the other (arXiv 2508.12815)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from ..extraction import States, prompt_states
from ..images import Questions
from ..models import LMM, Layer
from .directions import Direction
from .input_vectors import InputVectors, answer_contrasts, prompt_to_steer, vectors_of
from .joined import Steering
from .learned import LearnedSteering, learn_to_steer
from .steer import captions_under

INPUT_METHODS = {
    "norm_rnd": "random, as long (Norm-Rnd)",
    "mean_s": "mean of all (Mean-S)",
    "mean_s_ba": "one pair for all (Mean-S(BA))",
    "probe_gate": "a probe chooses (ours)",
    "l2s": "learned (L2S)",
    "p2s": "oracle (P2S)",
}
LABEL_SENTENCES = {"yes": "Yes, there is.", "no": "No, there is not."}
CONTRAST_SOURCES = (
    "last",
    "mean",
    "last_input",
)  # of completions (paper, released code), or of inputs asked alike (ours)
PROBE_C = 0.1  # inverse strength of the probe's penalty


@dataclass(frozen=True, eq=False)
class Contrasts:
    """Questions with two answers each, of which the one is wanted and the other is not.

    Attributes
    ----------
    questions : Questions
    wanted, unwanted : tuple of str
        The same two where nothing is to change: their vector is zero.
    groups : tuple of str
        Of each question, for what is reported by group.
    """

    questions: Questions
    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        if {len(self.wanted), len(self.unwanted), len(self.groups)} != {len(self.questions)}:
            raise ValueError(
                f"{len(self.questions)} questions have {len(self.wanted)} wanted and {len(self.unwanted)} unwanted answers "
                f"and {len(self.groups)} groups: give one of each"
            )

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, rows: Sequence[int]) -> Contrasts:
        """Some of them, by number."""
        parts = (tuple(part[row] for row in rows) for part in (self.wanted, self.unwanted, self.groups))
        return Contrasts(self.questions[list(rows)], *parts)

    def vectors(self, lmm: LMM, layer: Layer, source: str, pair: tuple[str, str] | None = None) -> InputVectors:
        """P2S of each question, from a source of `CONTRAST_SOURCES`; with one pair of completions for all, of Mean-S(BA)."""
        if source == "last_input" and pair is None:
            contrasts = answer_contrasts(self.states(lmm, [layer]), self.questions.texts, self.wanted)
            return contrasts.scaled([float(target != "") for target in self.targets()])
        wanted, unwanted = ([text] * len(self) for text in pair) if pair else (self.wanted, self.unwanted)
        source = "mean" if source == "last_input" else source
        return prompt_to_steer(lmm, self.questions.images, self.questions.texts, wanted, unwanted, layer, source)

    def states(self, lmm: LMM, layers: Sequence[Layer]) -> States:
        """At the last input token."""
        return prompt_states(lmm, self.questions.images, self.questions.texts, layers)

    def targets(self) -> tuple[str, ...]:
        """The wanted answer where it differs from the unwanted one, else nothing: what a probe is to tell."""
        return tuple(w if w != u else "" for w, u in zip(self.wanted, self.unwanted))


def label_contrasts(questions: Questions) -> Contrasts:
    """The right label of yes/no questions against the other one, each as a short sentence; as for POPE.

    The released code lets the model go on after "Yes, the image" for up to 100 sampled tokens; here nothing is sampled.

    Raises
    ------
    ValueError
        If a question has not yes or no for its answer.
    """
    labels = [given[0] if given else "" for given in questions.answers]
    if unknown := set(labels) - set(LABEL_SENTENCES):
        raise ValueError(f"an answer is {sorted(unknown)[0]!r}: contrasts of labels are of yes and no")
    other = {label: next(text for name, text in LABEL_SENTENCES.items() if name != label) for label in LABEL_SENTENCES}
    wanted = tuple(LABEL_SENTENCES[label] for label in labels)
    return Contrasts(questions, wanted, tuple(other[label] for label in labels), tuple(labels))


@dataclass(frozen=True, eq=False)
class ProbeGate:
    """A linear probe of states at the last input token, and for each answer that it tells the mean vector (ours)."""

    probe: Pipeline
    means: dict[str, Tensor]  # (width,) each

    def predict(self, states: States) -> InputVectors:
        """The mean vector of the answer that is told for each input."""
        told = self.probe.predict(states.Z.numpy())
        return vectors_of(states, torch.stack([self.means[answer] for answer in told]), "means that a probe chooses")


def learn_probe_gate(states: States, vectors: InputVectors, targets: Sequence[str]) -> ProbeGate:
    """The probe of the wanted answers, and the mean vector of each."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=PROBE_C, max_iter=1000))
    probe.fit(states.Z.numpy(), list(targets))
    rows = pd.Series(range(len(targets))).groupby(list(targets)).indices
    return ProbeGate(probe, {answer: vectors.vectors[own].mean(dim=0) for answer, own in rows.items()})


@dataclass(frozen=True, eq=False)
class LearnedMethods:
    """What each method has learned from the same inputs; see `learn_methods`.

    Attributes
    ----------
    net : LearnedSteering
    gate : ProbeGate
    mean, mean_of_pair : Direction
        Of Mean-S and Mean-S(BA).
    vectors : InputVectors
        What all but the last learned from.
    source : str
        Of P2S's vectors.
    factors : dict of str to float
        What the vectors of each kind of question are scaled by.
    """

    net: LearnedSteering
    gate: ProbeGate
    mean: Direction
    mean_of_pair: Direction
    vectors: InputVectors
    source: str = "mean"
    factors: dict[str, float] = field(default_factory=dict)

    @classmethod
    def learn(
        cls, states: States, vectors: InputVectors, targets: Sequence[str], mean_of_pair: Direction, **training
    ) -> LearnedMethods:
        """From states at the last input token, the vector of each, and the answer that a probe is to tell."""
        net, gate = learn_to_steer(states, vectors, **training), learn_probe_gate(states, vectors, targets)
        return cls(net, gate, vectors.mean(), mean_of_pair, vectors)

    def steering(self, states: States, oracle: InputVectors) -> dict[str, Steering]:
        """For each of `INPUT_METHODS` what steers the inputs of some states; the oracle's vectors are P2S's."""
        learned = self.net.predict(states)
        own = {"l2s": learned, "norm_rnd": learned.random(), "probe_gate": self.gate.predict(states), "p2s": oracle}
        own |= {"mean_s": self.mean, "mean_s_ba": self.mean_of_pair}
        return {method: own[method] for method in INPUT_METHODS}

    def edits(self, lmm: LMM, asked: Contrasts) -> dict[str, Steering]:
        """For each of `INPUT_METHODS` what steers these questions; P2S alone reads their answers."""
        oracle = asked.vectors(lmm, self.net.layer, self.source)
        oracle = oracle.scaled([self.factors.get(kind, 1.0) for kind in asked.questions.kinds])
        return self.steering(asked.states(lmm, [self.net.input_layer]), oracle)


def learn_methods(
    lmm: LMM, learned: Contrasts, layer: Layer, pair: tuple[str, str], source: str = "mean", **training
) -> LearnedMethods:
    """Learn from contrasts to steer at a layer, by each method of arXiv 2508.12815 and by a probe (ours).

    Each kind of question's vectors are scaled to the mean length of the first kind's, as the released code has it for
    safety; there, test inputs are in the mean as well, here they are not.

    Parameters
    ----------
    lmm : LMM
    learned : Contrasts
        Not those that it is tested on. Those whose two answers are the same teach where to leave the model alone.
    layer : layer
        Where states are read and steered.
    pair : (str, str)
        A wanted and an unwanted completion for all questions alike, for Mean-S(BA).
    source : {"mean", "last", "last_input"}, default "mean"
        See `prompt_to_steer`; "last_input" (ours): `answer_contrasts` of questions in the same words.
    **training
        For `learn_to_steer`.

    Returns
    -------
    LearnedMethods
    """
    kinds, vectors = learned.questions.kinds, learned.vectors(lmm, layer, source)
    factors = vectors.equalising_factors(kinds)
    vectors = vectors.scaled([factors[kind] for kind in kinds])
    mean_of_pair = learned.vectors(lmm, layer, source, pair).mean()
    states = learned.states(lmm, [layer])
    methods = LearnedMethods.learn(states, vectors, learned.targets(), mean_of_pair, **training)
    return replace(methods, source=source, factors=factors)


def answers_by_method(
    lmm: LMM,
    asked: Contrasts,
    edits: Mapping[str, Steering],
    alphas: Mapping[str, Sequence[float]],
    positions: str = "generated",
    max_new_tokens: int = 14,
) -> pd.DataFrame:
    """What the model answers under each method and alpha: a column for each (method, alpha), and "unsteered".

    Parameters
    ----------
    lmm : LMM
    asked : Contrasts
    edits : mapping of str to edit
        As of `LearnedMethods.edits`.
    alphas : mapping of str to sequence of float
        Of each method.
    positions : {"generated", "all", "last_prompt"}, default "generated"
    max_new_tokens : int, default 14
    """
    runs = [((method, alpha), edits[method], alpha) for method, of in alphas.items() for alpha in of]
    questions = asked.questions
    return captions_under(lmm, questions.images, runs, positions, questions.texts, max_new_tokens)
