"""Whether a concept comes from the picture or from the words before it: states read again without the picture (ours).

The caption is forced up to the token, so that only the picture differs. Two ways to take it away: altered pictures, and
image tokens that no later position may attend to from some layer on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..concepts import ConceptBank
from ..evaluation import BertJudge, ClipJudge, PictureScorer, System
from ..extraction import States, reread
from ..images import CaptionedImages, blank_images, blurred_images, masked_images, noise_images
from ..models import LMM, attention_knockout, decode, find_token, state_of
from ..statistics import Mean, bootstrap_mean

ORIGINAL = "original"
ALTERATIONS = {
    "patches grey": masked_images,
    "blurred": blurred_images,
    "noise": noise_images,
    "blank": blank_images,
}
FROM_PICTURE, FROM_WORDS = 0.5, 0.8  # of a concept's activation, the share that is unchanged: at most, at least; ours


@dataclass(frozen=True)
class VisualDependence:
    """Activations of a bank's concepts with the picture and without it.

    Attributes
    ----------
    bank : ConceptBank
    ids : list of str
        The samples' picture ids.
    prefixes : list of str
        What the model had read of each sample's caption where the state was taken.
    activations : dict of str to numpy.ndarray
        For each condition (samples, concepts); the first is "original".
    cut_from : tuple of int
        The layers from which image tokens were cut; their conditions are named by `cut_name`.
    """

    bank: ConceptBank
    ids: list[str]
    prefixes: list[str]
    activations: dict[str, np.ndarray]
    cut_from: tuple[int, ...]

    def table(self) -> pd.DataFrame:
        """What is left of each concept under each condition (ours).

        Returns
        -------
        pandas.DataFrame
            One row for each concept and condition: concept, words, condition;

            - kept: mean magnitude of the activation, as a share of the original; above 1 if it grows;
            - unchanged: what original and altered activations have in common, sample by sample, as a share of what
              either has (sum of minima / sum of maxima; parts of opposite sign have nothing in common): 1 if nothing
              changes, near 0 if the concept goes, or comes up on other samples;
            - correlation: with the original activations over samples; NaN where either is constant.

            Shares of a concept that is never active are NaN.
        """
        original, rows = self.activations[ORIGINAL], []
        for condition, altered in self.activations.items():
            measures = _kept(original, altered), _unchanged(original, altered), _correlations(original, altered)
            for k, values in enumerate(zip(*measures)):
                rows.append((k, str(self.bank.words[k]), condition, *map(float, values)))
        return pd.DataFrame(rows, columns=["concept", "words", "condition", "kept", "unchanged", "correlation"])

    def verdicts(self, condition: str = "blank") -> list[str]:
        """Where each concept comes from: "from the picture", "mixed" or "from the words" (ours).

        Parameters
        ----------
        condition : str, default "blank"
            One that leaves nothing of the picture.

        Returns
        -------
        list of str
            By the share `unchanged` of `table`: at most `FROM_PICTURE`, in between, or at least `FROM_WORDS`; "never
            active" for a concept that is not. The share `kept` would not do: grey pictures make "grey" five times as
            active, on every sample.

        Raises
        ------
        ValueError
            If there is no such condition.
        """
        if condition not in self.activations:
            raise ValueError(f"there is no condition {condition!r}; choose one of {', '.join(self.activations)}.")
        return [_verdict(share) for share in _unchanged(self.activations[ORIGINAL], self.activations[condition])]


def visual_dependence(
    lmm: LMM,
    bank: ConceptBank,
    states: States,
    alterations: Mapping[str, Callable[[CaptionedImages], CaptionedImages]] = ALTERATIONS,
    cut_from: Sequence[int] | None = None,
    batch_size: int = 32,
) -> VisualDependence:
    """Read the states of some samples again without the picture, their captions forced up to the token (ours).

    Parameters
    ----------
    lmm : LMM
        The model that the bank was learned on.
    bank : ConceptBank
    states : States
        The samples: those that the bank was learned from, or new ones, at its position.
    alterations : mapping of str to callable, default `ALTERATIONS`
        Each makes altered captioned images of captioned images.
    cut_from : sequence of int, optional
        Layers; see `attention_knockout`. Default: 0 to the one before the bank's. Give () for a model with
        which that does not work.
    batch_size : int

    Returns
    -------
    VisualDependence

    Raises
    ------
    ValueError
        If the model or the position is not the bank's, there is no such layer, or image tokens cannot be cut.
    """
    bank.check_model(lmm)
    _check_position(bank, states)
    if cut_from is None:
        cut_from = range(lmm.n_layers if bank.layer == "norm" else bank.layer)
    lmm = replace(lmm, ood=None)  # altered pictures are strange on purpose
    original = reread(lmm, states, bank.layer, batch_size=batch_size)
    activations = {ORIGINAL: bank.project(original.Z)}
    for name, alter in alterations.items():
        altered = reread(lmm, states, bank.layer, alter(states.images), batch_size=batch_size)
        activations[name] = bank.project(altered.Z)
    for layer in cut_from:
        with attention_knockout(lmm, layer):
            cut = reread(lmm, states, bank.layer, batch_size=batch_size, cache=False)
        activations[cut_name(layer)] = bank.project(cut.Z)
    prefixes = words_before(lmm, original.captions, states.spellings, states.position)
    return VisualDependence(bank, list(original.images.ids), prefixes, activations, tuple(cut_from))


def cut_name(layer: int) -> str:
    """What the condition is called in which image tokens are cut from a layer on."""
    return f"cut from layer {layer}"


def words_before(lmm: LMM, captions: Sequence[str], spellings: Sequence[str], position: str) -> list[str]:
    """What the model has read of each caption where the token's state is taken (ours).

    Parameters
    ----------
    lmm : LMM
    captions : sequence of str
        Each with the token.
    spellings : sequence of str
    position : {"predicts", "own"}
        "own": the words end with the token.
    """
    found = []
    for caption in captions:
        ids = lmm.tokenizer(caption, add_special_tokens=False)["input_ids"]
        found.append(decode(lmm, ids[: state_of(find_token(lmm, ids, spellings), position)]))
    return found


def _check_position(bank: ConceptBank, states: States) -> None:
    """Refuse states of another position."""
    mine, theirs = bank.position, states.position
    if mine != theirs:
        raise ValueError(f"the bank is of position {mine!r}, the states of {theirs!r}: extract with position={mine!r}.")


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where there is no whole."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _kept(original: np.ndarray, altered: np.ndarray) -> np.ndarray:
    """(concepts,), see `table`."""
    return _share(np.abs(altered).mean(0), np.abs(original).mean(0))


def _unchanged(original: np.ndarray, altered: np.ndarray) -> np.ndarray:
    """(concepts,), see `table`."""
    one, other = (np.concatenate([each.clip(min=0), (-each).clip(min=0)]) for each in (original, altered))
    return _share(np.minimum(one, other).sum(0), np.maximum(one, other).sum(0))


def _correlations(original: np.ndarray, altered: np.ndarray) -> np.ndarray:
    """(concepts,), see `table`."""
    one, other = (each - each.mean(0) for each in (original, altered))
    varies = (np.ptp(original, 0) > 0) & (np.ptp(altered, 0) > 0)
    return np.where(varies, _share((one * other).sum(0), np.sqrt((one**2).sum(0) * (other**2).sum(0))), np.nan)


def _verdict(share: float) -> str:
    """In words, see `verdicts`."""
    if np.isnan(share):
        return "never active"
    if share <= FROM_PICTURE:
        return "from the picture"
    return "from the words" if share >= FROM_WORDS else "mixed"


ANOTHER = "another's words"  # the condition that shows what chance gives
MEASURES = {"same_words": "words that stay", "clipscore": "CLIPScore", "bertscore": "BERTScore"}


def words_without_picture(
    found: VisualDependence,
    images: CaptionedImages,
    clip: ClipJudge,
    bert: BertJudge,
    n_concepts: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """The words of each sample's most active concepts under each condition, judged with its true picture (ours).

    Parameters
    ----------
    found : VisualDependence
    images : CaptionedImages
        Among them the samples, by their ids, as they are; their references are what BERTScore needs.
    clip : ClipJudge
    bert : BertJudge
    n_concepts : int, default 3
        Of each sample, of those that are active.
    seed : int, default 0
        Of the last condition, `ANOTHER`: each sample is dealt what another one says with its picture.

    Returns
    -------
    pandas.DataFrame
        A row for each condition and sample: condition, sample (its id), clipscore and bertscore (means over its
        concepts, as in the paper's section 4), and same_words: of the words that its concepts say with the picture, the
        share that they still say; NaN where they said none.
    """
    judged = PictureScorer(images.with_ids(found.ids), clip, bert)
    activations = {**found.activations, ANOTHER: found.activations[ORIGINAL][_others(len(found.ids), seed)]}
    said = {name: System("", 0, found.bank.words, each).explanations(n_concepts) for name, each in activations.items()}
    each = [
        (condition, row, words) for condition, rows in said.items() for row, all in enumerate(rows) for words in all
    ]
    table = pd.DataFrame(each, columns=["condition", "sample", "words"])
    table["clipscore"] = judged.clip_scores(table["sample"], table["words"])
    table["bertscore"] = judged.bert_scores(table["sample"], table["words"])
    means = table.groupby(["condition", "sample"], sort=False)[["clipscore", "bertscore"]].mean().reset_index()
    means["same_words"] = np.concatenate([_still_said(said[ORIGINAL], rows) for rows in said.values()])
    means["sample"] = np.array(found.ids, dtype=object)[means["sample"]]
    return means


def means_by_condition(table: pd.DataFrame, measure: str, seed: int = 0) -> dict[str, Mean]:
    """The mean of one measure under each condition, with its interval over samples (ours).

    Parameters
    ----------
    table : pandas.DataFrame
        From `words_without_picture`, or any other with a column "condition".
    measure : str
        Its column. Values that are NaN are left out and counted.
    seed : int, default 0
        Of the bootstrap.

    Returns
    -------
    dict of str to Mean

    Raises
    ------
    ValueError
        If a condition has fewer than two values.
    """
    return {
        condition: bootstrap_mean(rows[measure], seed=seed)
        for condition, rows in table.groupby("condition", sort=False)
    }


def _others(n: int, seed: int) -> np.ndarray:
    """For each of n samples another one, no two the same: (n,)."""
    order, others = np.random.default_rng(seed).permutation(n), np.empty(n, dtype=int)
    others[order] = np.roll(order, 1)
    return others


def _still_said(before: list[list[tuple]], after: list[list[tuple]]) -> np.ndarray:
    """Of the words of each sample's concepts the share that are said again: (samples,)."""
    both = [(set().union(*first), set().union(*second)) for first, second in zip(before, after)]
    return np.array([len(first & second) / len(first) if first else np.nan for first, second in both])
