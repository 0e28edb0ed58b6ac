"""Explain the caption that the LMM generates for one picture, by its few most active concepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image
from tqdm.auto import tqdm

from ..concepts import ConceptBank, Words, figures
from ..images import CaptionedImages, as_rgb, open_picture
from ..models import LMM, GeneratedCaption, decode, end_of_token, find_token, generate_captions, last_logits
from ..text import check_counts

COLUMNS = ("activation", "relative", "share", "words")  # of a table, after the concept's number


@dataclass(frozen=True)
class Explanation:
    """Why one caption has the token: the concepts active in the state behind it.

    Attributes
    ----------
    bank : ConceptBank
    picture : PIL.Image.Image
    caption : str
        As the LMM generated it.
    ids : list of int
        The caption's tokens as generated: the tokenizer may cut the text into other pieces.
    tokens : list of str
        The same as text.
    step : int
        Which of them is the token.
    activations : numpy.ndarray
        (concepts,); PCA's have a sign, all others are >= 0.
    state : numpy.ndarray, optional
        (width,), which they are the projection of.
    """

    bank: ConceptBank
    picture: Image.Image
    caption: str
    ids: list[int]
    tokens: list[str]
    step: int
    activations: np.ndarray
    state: np.ndarray | None = None

    @property
    def relative(self) -> np.ndarray:
        """Activations divided by the largest magnitude, with their sign (paper's Fig 5); zeros if none is active."""
        largest = np.abs(self.activations).max(initial=0)
        return self.activations / largest if largest > 0 else np.zeros_like(self.activations)

    def top(self, n: int = 3) -> list[int]:
        """The n concepts of largest magnitude, largest first (paper); none whose activation is zero."""
        order = np.argsort(-np.abs(self.activations), kind="stable")[:n]
        return [int(concept) for concept in order if self.activations[concept] != 0]

    def title(self, concept: int) -> str:
        """What a concept is called on the side that is active here; see `ConceptBank.title`."""
        return self.bank.title(concept, self.activations[concept])

    def words(self, concept: int) -> Words:
        """A concept's words on the side that is active here; see `ConceptBank.words_of`."""
        return self.bank.words_of(concept, self.activations[concept])

    @property
    def shares(self) -> np.ndarray:
        """What part of all activation each concept has, ``|v_k| / sum_l |v_l|``: (concepts,); zeros if none is active.

        A share of the activation, not of the state's variance; for K-Means and Simple, whose activations are all much
        alike, it is never far from 1 / K (ours).
        """
        magnitudes = np.abs(self.activations).astype(float)
        return magnitudes / (magnitudes.sum() or 1.0)

    def reconstructed(self, concepts: Sequence[int] | None = None) -> float:
        """What part of the state these concepts (default: all) reconstruct, ``1 - ||z - sum_k v_k u_k||^2 / ||z||^2`` (ours).

        The activations stay those of all concepts, and a method's mean, if it has one, counts as reconstructed. What
        all states share is part of z, too: compare `mean_alone`.
        Below zero if the sum is further from the state than zero is; NaN if the state is zero or not kept.
        """
        kept = np.zeros_like(self.activations)
        kept[slice(None) if concepts is None else concepts] = 1
        return self._reconstructed_by(kept * self.activations)

    @property
    def mean_alone(self) -> float:
        """What part of the state the mean of the bank's states is, as its concepts reconstruct that; see `reconstructed`."""
        return self._reconstructed_by(self.bank.activations.mean(axis=0))

    def _reconstructed_by(self, activations: np.ndarray) -> float:
        if self.state is None or not self.state.any():
            return float("nan")
        [made] = self.bank.dictionary.reconstruct(activations[None])  # (width,)
        return 1 - float(np.square(self.state - made).sum() / np.square(self.state).sum())

    def share_text(self, n: int = 3) -> str:
        """What parts of the activation and of the state (`reconstructed`) the n most active concepts have, as text (ours)."""
        top, n_active = self.top(n), int((self.activations != 0).sum())
        if not top:
            return "no concept is active"
        s = "" if len(top) > 1 else "s"
        text = f"{len(top)} of {n_active} active concepts hold{s} {self.shares[top].sum():.0%} of the activation"
        if np.isnan(self.reconstructed()):
            return text
        others = f"all concepts {self.reconstructed():.0%}, the mean state alone {self.mean_alone:.0%}"
        return f"{text} and reconstruct{s} {self.reconstructed(top):.0%} of the state ({others})"

    def table(self, n: int = 3) -> pd.DataFrame:
        """The n most active concepts: number, activation, relative activation, share of all activation, words."""
        rows = [(k, self.activations[k], self.relative[k], self.shares[k], str(self.words(k))) for k in self.top(n)]
        return pd.DataFrame(rows, columns=["concept", *COLUMNS])

    def figure(self, n: int = 3) -> Figure:
        """The paper's Fig 5: the picture, its top concepts as bars, and each one's words and pictures."""
        return figures.explanation(self, n)

    def __repr__(self) -> str:
        words = "; ".join(f"{self.relative[k]:.2f} {self.words(k)}" for k in self.top())
        return f"Explanation of {self.bank.token!r} in {self.caption!r}: {words} ({self.share_text()})"


def explain(lmm: LMM, bank: ConceptBank, picture: Image.Image | np.ndarray | str | Path) -> Explanation:
    """Caption a picture and explain the bank's token in the caption (paper, arXiv 2406.08074).

    Parameters
    ----------
    lmm : LMM
        The model that the bank was learned on.
    bank : ConceptBank
    picture : PIL.Image.Image, numpy.ndarray or path
        Of any size and mode.

    Returns
    -------
    Explanation

    Raises
    ------
    ValueError
        If the model is not the bank's (names both), or the caption does not have the token (shows the caption).
    OSError
        If the picture cannot be read.
    """
    bank.check_model(lmm)
    picture = open_picture(picture) if isinstance(picture, (str, Path)) else as_rgb(picture)
    lmm.warn_if_out_of_domain([picture])
    generated = generated_for(lmm, bank, [picture])[0]
    explained = explanation_of(lmm, bank, picture, generated)
    if explained is None:
        raise ValueError(
            f"the caption is {generated.caption!r}: it has no {bank.token!r}, which is all that this bank explains"
        )
    return explained


def explanation_of(
    lmm: LMM, bank: ConceptBank, picture: Image.Image, generated: GeneratedCaption
) -> Explanation | None:
    """The explanation of a generated caption, None if it lacks the token (paper, arXiv 2406.08074).

    Parameters
    ----------
    lmm : LMM
        The model that the bank was learned on.
    picture : PIL.Image.Image
    generated : GeneratedCaption
        With the states of the bank's layer.

    Returns
    -------
    Explanation or None
    """
    step = find_token(lmm, generated.ids, bank.spellings)
    if step is None:
        return None
    state = generated.state(bank.layer, step, bank.position)  # (width,)
    tokens = [lmm.tokenizer.decode([token]).strip() for token in generated.ids]
    [activations] = bank.project(state[None])
    state = state.float().cpu().numpy()
    return Explanation(bank, picture, generated.caption, generated.ids, tokens, step, activations, state)


def explain_many(
    lmm: LMM, bank: ConceptBank, images: CaptionedImages, n_concepts: int = 3, batch_size: int = 32
) -> pd.DataFrame:
    """Explain many pictures at once, as a table (ours).

    Parameters
    ----------
    lmm : LMM
        The model that the bank was learned on.
    bank : ConceptBank
    images : CaptionedImages
    n_concepts : int
        How many of the most active concepts get columns.
    batch_size : int

    Returns
    -------
    pandas.DataFrame
        One row per picture: id, caption, and for r = 1 .. n_concepts concept_r, activation_r, relative_r, share_r,
        words_r, see `Explanation.table`; empty where the caption lacks the token or fewer concepts are active. A
        picture that cannot be read has its reason in `problem`.

    Raises
    ------
    ValueError
        If the model is not the bank's (names both).
    """
    check_counts(n_concepts=n_concepts, batch_size=batch_size)
    bank.check_model(lmm)
    rows = []
    with tqdm(total=len(images), desc=f"explaining {bank.token!r}", unit="pictures") as bar:
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            rows += _batch_rows(lmm, bank, batch, n_concepts)
            bar.update(len(batch))
    columns = ["id", "caption", "problem"]
    columns += [f"{name}_{r + 1}" for r in range(n_concepts) for name in ("concept", *COLUMNS)]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({f"concept_{r + 1}": "Int64" for r in range(n_concepts)})


def generated_for(lmm: LMM, bank: ConceptBank, pictures: list[Image.Image]) -> list[GeneratedCaption]:
    """Captions generated just as those that the bank was learned from, with the states of the bank's layer."""
    return generate_captions(lmm, pictures, [bank.layer], bank.prompt, bank.provenance["max_new_tokens"])


def _batch_rows(lmm: LMM, bank: ConceptBank, batch: CaptionedImages, n_concepts: int) -> list[dict]:
    """Table rows of one batch."""
    readable, pictures, problems = batch.opened(range(len(batch)))
    rows = [{"id": id, "problem": problems.get(id, "")} for id in batch.ids]
    if not pictures:
        return rows
    lmm.warn_if_out_of_domain(pictures)
    for number, picture, generated in zip(readable, pictures, generated_for(lmm, bank, pictures)):
        row = rows[number]
        row["caption"] = generated.caption
        explained = explanation_of(lmm, bank, picture, generated)
        if explained is None:
            row["problem"] = f"no {bank.token!r} in the caption"
        else:
            row.update(_columns(explained, n_concepts))
    return rows


def _columns(explained: Explanation, n: int) -> dict:
    """The rows of an explanation's table side by side."""
    ranked = enumerate(explained.table(n).to_dict("records"), start=1)
    return {f"{name}_{rank}": value for rank, concept in ranked for name, value in concept.items()}


@torch.inference_mode()
def next_words(lmm: LMM, explanation: Explanation, n: int = 5) -> list[tuple[str, float]]:
    """The most probable next words after the explained token, with the caption up to it as it was generated (ours).

    Parameters
    ----------
    lmm : LMM
        The model that the explanation is of.
    explanation : Explanation
    n : int
        How many words.

    Returns
    -------
    list of (str, float)
        Most probable first, with probabilities from 0 to 1 by the model's own logits. A piece that continues the token
        has a hyphen before it ("-s" after "dog"); a special token, such as the end, is written as the tokenizer has it.

    Raises
    ------
    ValueError
        If the model is not the bank's (names both).
    """
    explanation.bank.check_model(lmm)
    ids = explanation.ids[: end_of_token(lmm, explanation.ids, explanation.bank.spellings)]
    batch = lmm.inputs([explanation.picture], explanation.bank.prompt, continuations=[ids])
    probabilities = last_logits(lmm, batch, 1)[0, 0].float().softmax(dim=0)  # (vocabulary,)
    best = probabilities.topk(min(n, len(probabilities)))
    return [(_as_next(lmm, ids, token), p) for token, p in zip(best.indices.tolist(), best.values.tolist())]


def _as_next(lmm: LMM, ids: Sequence[int], token: int) -> str:
    """A token as what it adds to the text before it."""
    added = decode(lmm, [*ids, token])[len(decode(lmm, ids)) :]
    if not added.strip():  # a special token, or white space
        return lmm.tokenizer.convert_ids_to_tokens(token)
    return f"-{added}" if added[0].isalnum() else added.strip()
