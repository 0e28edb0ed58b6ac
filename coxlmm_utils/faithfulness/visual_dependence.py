"""Whether a concept comes from the picture or from the words before it: states re-encoded without the picture (ours).

The caption is teacher-forced up to the token, so that only the picture differs. Two ways to remove it: perturbed
pictures, and attention knockout of the image tokens from some layer on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..concepts import ConceptBank
from ..evaluation import BertJudge, ClipJudge, PictureScorer, System
from ..extraction import States, require_same, reread
from ..images import CaptionedImages, blank_images, blurred_images, masked_images, noise_images
from ..models import LMM, attention_knockout, decode, find_token, state_of
from ..statistics import Mean, bootstrap_mean, derangement
from .answers import Answers, bank_key, mean_text

ORIGINAL = "original"
PERTURBATIONS = {
    "patches grey": masked_images,
    "blurred": blurred_images,
    "noise": noise_images,
    "blank": blank_images,
}
ANOTHER = "another's words"  # the condition that shows what chance gives
MEASURES = {"same_words": "words that stay", "clipscore": "CLIPScore", "bertscore": "BERTScore"}
FROM_PICTURE, FROM_WORDS = 0.5, 0.8  # weighted Jaccard: at most, at least; ours


@dataclass(frozen=True)
class VisualDependence:
    """Activations of a bank's concepts with the picture and without it.

    Attributes
    ----------
    bank : ConceptBank
    ids : list of str
        The samples' picture ids.
    prefixes : list of str
        What precedes the state in each sample's caption.
    activations : dict of str to numpy.ndarray
        For each condition (samples, concepts); the first is "original".
    knockout_from : tuple of int
        The layers from which attention to image tokens was knocked out; `knockout_name` names their conditions.
    """

    bank: ConceptBank
    ids: list[str]
    prefixes: list[str]
    activations: dict[str, np.ndarray]
    knockout_from: tuple[int, ...]

    def table(self) -> pd.DataFrame:
        """What is left of each concept under each condition: a row per concept and condition.

        kept: mean magnitude over that with the picture; weighted_jaccard: the sum over samples of the smaller of both
        activations over that of the larger, 1 if nothing changes, NaN if never active; correlation over samples, NaN
        where one is constant.
        """
        original, rows = self.activations[ORIGINAL], []
        for condition, perturbed in self.activations.items():
            measures = (
                _kept(original, perturbed),
                weighted_jaccard(original, perturbed),
                _correlations(original, perturbed),
            )
            for k, values in enumerate(zip(*measures)):
                rows.append((k, str(self.bank.words[k]), condition, *map(float, values)))
        return pd.DataFrame(rows, columns=["concept", "words", "condition", "kept", "weighted_jaccard", "correlation"])

    @property
    def bank_key(self) -> str:
        """Of the bank; see `answers.bank_key`."""
        return bank_key(self.bank.activations)

    def answers(self, bank: ConceptBank) -> Answers:
        """Does it come from the picture? For the trust card.

        Random directions pass, too: a yes says that this state depends on the picture, not that these concepts do so
        more than others. It cannot be read for activations that are nearly constant (K-Means, Simple).
        """
        holds = [verdict == "from the picture" for verdict in self.verdicts("blank")]
        original = self.activations[ORIGINAL]
        values = weighted_jaccard(original, self.activations["blank"])
        another = weighted_jaccard(original, np.roll(original, 1, axis=0))  # the page before, with its caption
        finding = f"blank picture: {mean_text(values)} of an activation stays as it was"
        return Answers(values, holds, f"{finding}; another page: {mean_text(another)}")

    def verdicts(self, condition: str = "blank") -> list[str]:
        """Where each concept comes from: "from the picture", "mixed", "from the words" or "never active" (ours)."""
        if condition not in self.activations:
            raise ValueError(f"there is no condition {condition!r}; choose one of {', '.join(self.activations)}.")
        return [_verdict(share) for share in weighted_jaccard(self.activations[ORIGINAL], self.activations[condition])]


def visual_dependence(
    lmm: LMM,
    bank: ConceptBank,
    states: States,
    perturbations: Mapping[str, Callable[[CaptionedImages], CaptionedImages]] = PERTURBATIONS,
    knockout_from: Sequence[int] | None = None,
    batch_size: int = 32,
) -> VisualDependence:
    """Re-encode some samples without the picture, their captions teacher-forced up to the token (ours).

    Parameters
    ----------
    lmm : LMM
        The model that the bank was learned on.
    bank : ConceptBank
    states : States
        The samples: those that the bank was learned from, or new ones, at its position.
    perturbations : mapping of str to callable, default `PERTURBATIONS`
        Each makes perturbed captioned images of captioned images.
    knockout_from : sequence of int, optional
        Layers; see `attention_knockout`. Default: 0 to the one before the bank's. Give () for a model that
        it does not work with.
    batch_size : int

    Returns
    -------
    VisualDependence

    Raises
    ------
    ValueError
        If the model or the position is not the bank's, there is no such layer, or attention cannot be knocked out.
    """
    bank.check_model(lmm)
    require_same(bank, states, "position", names=("the bank", "the states"))
    if knockout_from is None:
        knockout_from = range(lmm.n_layers if bank.layer == "norm" else bank.layer)
    lmm = replace(lmm, ood=None)  # perturbed pictures are out of domain on purpose
    original = reread(lmm, states, bank.layer, batch_size=batch_size)
    activations = {ORIGINAL: bank.project(original.Z)}
    for name, perturb in perturbations.items():
        perturbed = reread(lmm, states, bank.layer, perturb(states.images), batch_size=batch_size)
        activations[name] = bank.project(perturbed.Z)
    for layer in knockout_from:
        with attention_knockout(lmm, layer):
            blind = reread(lmm, states, bank.layer, batch_size=batch_size, cache=False)
        activations[knockout_name(layer)] = bank.project(blind.Z)
    token_ids = [original.caption_ids(lmm, row) for row in range(len(original))]
    prefixes = words_before(lmm, token_ids, states.spellings, states.position)
    return VisualDependence(bank, list(original.images.ids), prefixes, activations, tuple(knockout_from))


def knockout_name(layer: int) -> str:
    """The condition of attention knockout from a layer on."""
    return f"knockout from layer {layer}"


def words_before(lmm: LMM, token_ids: Sequence[Sequence[int]], spellings: Sequence[str], position: str) -> list[str]:
    """What precedes the token's state in each caption, given by its tokens."""
    return [decode(lmm, ids[: state_of(find_token(lmm, ids, spellings), position)]) for ids in token_ids]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where there is no whole."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _kept(original: np.ndarray, perturbed: np.ndarray) -> np.ndarray:
    """(concepts,), see `table`."""
    return _share(np.abs(perturbed).mean(0), np.abs(original).mean(0))


def weighted_jaccard(original: np.ndarray, perturbed: np.ndarray) -> np.ndarray:
    """(concepts,), see `table`."""
    # Positive and negative parts apart, so that signed activations on opposite sides share nothing.
    a, b = (np.concatenate([V.clip(min=0), (-V).clip(min=0)]) for V in (original, perturbed))
    return _share(np.minimum(a, b).sum(0), np.maximum(a, b).sum(0))


def _correlations(original: np.ndarray, perturbed: np.ndarray) -> np.ndarray:
    """(concepts,), see `table`."""
    a, b = (V - V.mean(0) for V in (original, perturbed))
    varies = (np.ptp(original, 0) > 0) & (np.ptp(perturbed, 0) > 0)
    return np.where(varies, _share((a * b).sum(0), np.sqrt((a**2).sum(0) * (b**2).sum(0))), np.nan)


def _verdict(share: float) -> str:
    """In words, see `verdicts`."""
    if np.isnan(share):
        return "never active"
    if share <= FROM_PICTURE:
        return "from the picture"
    return "from the words" if share >= FROM_WORDS else "mixed"


def words_without_picture(
    dependence: VisualDependence,
    images: CaptionedImages,
    clip: ClipJudge,
    bert: BertJudge,
    n_concepts: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """The words of each sample's most active concepts under each condition, scored with its true picture (ours).

    Parameters
    ----------
    dependence : VisualDependence
    images : CaptionedImages
        Among them the samples, by their ids, as they are; their references are what BERTScore needs.
    clip : ClipJudge
    bert : BertJudge
    n_concepts : int, default 3
        Of each sample, of those that are active.
    seed : int, default 0
        Of the last condition, `ANOTHER`: each sample gets the words of another one with its picture.

    Returns
    -------
    pandas.DataFrame
        A row for each condition and sample: condition, sample (its id), clipscore and bertscore (means over its
        concepts), and same_words: of the words of its concepts with the picture, the share
        that stays; NaN where there are none.
    """
    scorer = PictureScorer(images.with_ids(dependence.ids), clip, bert)
    others = dependence.activations[ORIGINAL][_others(len(dependence.ids), seed)]
    bank = dependence.bank
    explanations = {
        condition: System("", 0, bank.words + bank.negative_words, bank.dictionary.side_activations(V)).explanations(
            n_concepts
        )
        for condition, V in {**dependence.activations, ANOTHER: others}.items()
    }
    rows = [
        (condition, row, words)
        for condition, samples in explanations.items()
        for row, concepts in enumerate(samples)
        for words in concepts
    ]
    table = pd.DataFrame(rows, columns=["condition", "sample", "words"])
    table["clipscore"] = scorer.clip_scores(table["sample"], table["words"])
    table["bertscore"] = scorer.bert_scores(table["sample"], table["words"])
    means = table.groupby(["condition", "sample"], sort=False)[["clipscore", "bertscore"]].mean().reset_index()
    means["same_words"] = np.concatenate(
        [_shared_words(explanations[ORIGINAL], samples) for samples in explanations.values()]
    )
    means["sample"] = np.array(dependence.ids, dtype=object)[means["sample"]]
    return means


def means_by_condition(table: pd.DataFrame, measure: str, seed: int = 0) -> dict[str, Mean]:
    """The mean of one measure under each condition, with its interval over samples (ours).

    Parameters
    ----------
    table : pandas.DataFrame
        From `words_without_picture`, or of `VisualDependence.table`.
    measure : str
        One of its columns.
    seed : int, default 0
        Of the bootstrap.

    Returns
    -------
    dict of str to Mean
    """
    return {
        condition: bootstrap_mean(rows[measure], seed=seed)
        for condition, rows in table.groupby("condition", sort=False)
    }


def _others(n: int, seed: int) -> np.ndarray:
    """For each of n samples another one, no two the same: (n,)."""
    if n < 2:
        raise ValueError("there is one sample, and no other one's words to compare with: give at least 2")
    return derangement(n, np.random.default_rng(seed))


def _shared_words(before: list[list[tuple]], after: list[list[tuple]]) -> np.ndarray:
    """Of the words of each sample's concepts the share that stays: (samples,)."""
    both = [(set().union(*first), set().union(*second)) for first, second in zip(before, after)]
    return np.array([len(first & second) / len(first) if first else np.nan for first, second in both])
