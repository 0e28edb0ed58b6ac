"""The paper's evaluation of one token: how well each system's words fit test pictures and their captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from ..concepts import WordFilter, overlaps
from ..dictionaries import SemiNMF
from ..extraction import ALIKE, States, require_same
from ..models import LMM
from ..statistics import SEEDS, Mean, nested_bootstrap
from .bertscore import BertJudge
from .clipscore import ClipJudge
from .comparison import compare
from .judges import PictureScorer
from .systems import NAMES, System, make_systems

METRICS = {"clipscore": "CLIPScore", "bertscore": "BERTScore"}
N_TOP = 3  # most active concepts of a picture
TOP = (1, N_TOP, "union")  # the most active one's score, the mean of three, or the score of their words as one list
Top = Literal[1, 3, "union"]


@dataclass(frozen=True)
class Evaluation:
    """Scores of all systems on the test pictures of one token.

    Attributes
    ----------
    token : str
    scores : pandas.DataFrame
        One row for each system, seed and test picture, the pictures always in the same order: system, seed, picture
        (its id), clipscore, clipscore_top3, clipscore_union, and the same of bertscore (NaN without any reference), and
        n_words: how many the three concepts have as one list, each once (NaN of GT-captions).
    concepts : pandas.DataFrame
        One row for each system, seed and concept: system, seed, concept, words (how many), overlap (NaN of a concept
        without words). Of PCA a row for each side of a concept: those of u_k, then those of -u_k.
    provenance : dict
        Of the states, with the judges, the numbers of samples, the dictionary's settings and the seeds.
    """

    token: str
    scores: pd.DataFrame
    concepts: pd.DataFrame
    provenance: dict

    def __repr__(self) -> str:
        n_tested, n_samples = self.provenance["tested"], self.provenance["samples"]
        return f"Evaluation of {self.token!r} on {n_tested:,} test pictures ({n_samples:,} learned from)"

    @property
    def systems(self) -> list[str]:
        """The systems, in the order of tables."""
        present = set(self.scores["system"])
        return [name for name in NAMES if name in present]

    def per_seed(self, metric: str = "clipscore", top: Top = 1) -> dict[str, np.ndarray]:
        """Each system's score of each test picture at each seed, (seeds, pictures); one row where nothing is seeded."""
        return {name: self._rows(name, _column(metric, top)) for name in self.systems}

    def per_picture(self, metric: str = "clipscore", top: Top = 1) -> dict[str, np.ndarray]:
        """Each system's score of each test picture, averaged over seeds: (pictures,)."""
        return {name: scores.mean(axis=0) for name, scores in self.per_seed(metric, top).items()}

    def mean(self, system: str, metric: str = "clipscore", top: Top = 1) -> Mean | None:
        """A system's mean score with its interval over seeds and test pictures; see `nested_bootstrap`."""
        key = system, metric, top
        if key not in self._means:
            self._means[key] = _mean(self._rows(system, _column(metric, top)), crossed=True)
        return self._means[key]

    def overlap(self, system: str) -> Mean | None:
        """A system's overlap (the paper's Table 2), with its interval over seeds and the concepts of each."""
        return _mean(self.overlaps(system))

    def means(self, system: str) -> dict[str, Mean | None]:
        """All mean scores of a system by name: of the most active concept, of three as one list, and the overlap."""
        scores = {metric: self.mean(system, metric) for metric in METRICS}
        union = {f"union_{metric}": self.mean(system, metric, "union") for metric in METRICS}
        return scores | union | {"overlap": self.overlap(system)}

    def seed_means(self, system: str, metric: str = "clipscore", top: Top = 1) -> np.ndarray:
        """The mean score, or with the metric "overlap" the overlap, at each seed: (seeds,); NaN where there is none."""
        rows = self.overlaps(system) if metric == "overlap" else self._rows(system, _column(metric, top))
        return np.array([row[~np.isnan(row)].mean() if (~np.isnan(row)).any() else np.nan for row in rows])

    def _rows(self, system: str, column: str) -> np.ndarray:
        """A column of the scores of one system: (seeds, pictures)."""
        rows = self.scores[self.scores["system"] == system]
        return rows[column].to_numpy().reshape(rows["seed"].nunique(), -1)

    def overlaps(self, system: str) -> list[np.ndarray]:
        """The overlap of each concept, (concepts,) for each seed."""
        rows = self.concepts[self.concepts["system"] == system]
        return [values.to_numpy() for _, values in rows.groupby("seed", sort=False)["overlap"]]

    @cached_property
    def _means(self) -> dict[tuple, Mean | None]:
        """Those asked for so far: tables, figures and exports ask for the same ones."""
        return {}

    def compare(self, metric: str = "clipscore", top: Top = 1, ours: str = "semi_nmf") -> pd.DataFrame:
        """One system against each other one with scores of the same pictures; see `comparison.compare`."""
        scores = self.per_seed(metric, top)
        scored = {name: ~np.isnan(values).any(axis=0) for name, values in scores.items()}  # (pictures,)
        comparable = {name: (scored[name] & scored[ours]).sum() > 1 for name in scores}
        return compare({name: values for name, values in scores.items() if comparable[name]}, ours)


def evaluate(
    lmm: LMM,
    states: States,
    tested: States,
    clip: ClipJudge,
    bert: BertJudge,
    dictionary: SemiNMF | None = None,
    seeds: Sequence[int] = SEEDS,
    word_filter: WordFilter | None = None,
) -> Evaluation:
    """Evaluate Semi-NMF beside the paper's baselines on test pictures (Tables 1 and 2 of arXiv 2406.08074).

    Parameters
    ----------
    states, tested : States
        To learn from, and of the test pictures: of the same token, layer and position.
    clip : ClipJudge
    bert : BertJudge
    dictionary : SemiNMF, optional
        Its settings, and the number of concepts for all. Default: the paper's, K = 20.
    seeds : sequence of int
        Of the dictionaries and of random words; the outer level of all intervals (ours; the paper has one).
    word_filter : WordFilter, optional

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If there are fewer than two test samples, some of them were learned from, or the two are not alike.
    """
    _check(states, tested, seeds)
    dictionary = dictionary or SemiNMF()
    systems = make_systems(lmm, states, tested, dictionary, seeds, word_filter)
    scorer = PictureScorer(tested.images, clip, bert)
    scores = pd.concat([_scores_of_systems(systems, scorer), _scores_of_references(scorer)], ignore_index=True)
    scores["picture"] = np.array(tested.images.ids, dtype=object)[scores["picture"]]
    concepts = pd.concat([_concepts(system) for system in systems], ignore_index=True)
    settings = {"samples": len(states), "tested": len(tested), "judges": {"clip": clip.name, "bert": bert.name}}
    settings |= {"dictionary": dictionary.get_params(), "seeds": list(map(int, seeds)), "layer": states.layer}
    token = ", ".join(states.spellings[:1])
    return Evaluation(token, scores, concepts, {**states.provenance, **settings})


def _scores_of_systems(systems: Sequence[System], scorer: PictureScorer) -> pd.DataFrame:
    """A row for each system, seed and picture."""
    explanations = [
        (system.name, system.seed, row, rank, words)
        for system in systems
        for row, concepts in enumerate(system.explanations(N_TOP))
        for rank, words in enumerate(concepts)
    ]
    table = _scored(explanations, scorer, 1)
    unions = [
        (system.name, system.seed, row, 0, words)
        for system in systems
        for row, words in enumerate(system.union_words(N_TOP))
    ]
    chosen = {1: table[table["rank"] < 1], N_TOP: table, "union": _scored(unions, scorer, N_TOP)}
    columns = {}
    for top, rows in chosen.items():
        means = rows.groupby(["system", "seed", "picture"], sort=False)[list(METRICS)].mean()
        columns |= {_column(metric, top): means[metric] for metric in METRICS}
    columns["n_words"] = chosen["union"].set_index(["system", "seed", "picture"])["words"].map(len)
    return pd.DataFrame(columns).reset_index()


def _scored(explanations: Sequence[tuple], scorer: PictureScorer, n_concepts: int) -> pd.DataFrame:
    """A row for each text, with its scores; scored all together, so that nothing is scored twice."""
    table = pd.DataFrame(explanations, columns=["system", "seed", "picture", "rank", "words"])
    table["clipscore"] = scorer.clip_scores(table["picture"], table["words"], n_concepts)
    table["bertscore"] = scorer.bert_scores(table["picture"], table["words"])
    return table


def _scores_of_references(scorer: PictureScorer) -> pd.DataFrame:
    """A row for each picture: GT-captions, whatever the number of concepts."""
    by_metric = {"clipscore": scorer.clip_of_references(), "bertscore": scorer.bert_of_references()}
    columns = {_column(metric, top): values for metric, values in by_metric.items() for top in TOP}
    return pd.DataFrame({"system": "gt_captions", "seed": 0, "picture": range(len(scorer)), **columns})


def _concepts(system: System) -> pd.DataFrame:
    """A row for each concept of a system."""
    columns = {"words": [len(words.kept) for words in system.words], "overlap": overlaps(system.words)}
    return pd.DataFrame({"system": system.name, "seed": system.seed, "concept": range(len(system.words)), **columns})


def _column(metric: str, top: Top) -> str:
    """The column of a metric in `Evaluation.scores`."""
    if metric not in METRICS or top not in TOP:
        raise ValueError(
            f"there is no {metric!r} of the top {top}: choose one of {', '.join(METRICS)}, and top of {TOP}"
        )
    return {1: metric, "union": f"{metric}_union"}.get(top, f"{metric}_top{top}")


def _mean(rows: Sequence[np.ndarray], crossed: bool = False) -> Mean | None:
    """The mean with its interval, if a seed has two values or more."""
    enough = any((~np.isnan(row)).sum() > 1 for row in rows)
    return nested_bootstrap(rows, crossed) if enough else None


def _check(states: States, tested: States, seeds: Sequence[int]) -> None:
    """Refuse states that cannot be compared, test pictures that were learned from, and seeds that are none."""
    check_apart(states, tested)
    if len(tested) < 2:
        raise ValueError(f"there are {len(tested)} test samples of {states.spellings[0]!r}: two at least")
    if not len(seeds) or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={list(seeds)}: give at least one, and none twice")


def check_apart(states: States, tested: States) -> None:
    """Refuse states that were not read alike, and test pictures that were learned from."""
    require_same(states, tested, "token", *ALIKE, names=("the states to learn from", "those to test"))
    if states.layer != tested.layer:
        raise ValueError(f"the states are of layer {states.layer}, those to test of layer {tested.layer}")
    images, others = states.images, tested.images
    # equal ids of two lists of pictures in memory mean nothing
    same_source = images.source == others.source if images.source else images.open == others.open
    if same_source and (shared := set(images.ids) & set(others.ids)):
        raise ValueError(
            f"{len(shared):,} of {len(tested):,} test pictures were also learned from: give others, "
            "such as those of another split"
        )
