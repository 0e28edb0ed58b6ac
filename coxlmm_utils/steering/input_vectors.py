"""A steering vector for each input, by contrast of two completions (P2S, arXiv 2508.12815), and what stands in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor

from ..extraction import States, completion_states
from ..images import CaptionedImages
from ..models import LMM, Layer
from .directions import Direction

SHORTEST = 1e-3  # of the longest: shorter vectors are zero, but for rounding
SOURCES = ("last", "mean")  # of a completion's states: its last token (paper), or the mean over its tokens (POPE code)


@dataclass(frozen=True, eq=False)
class InputVectors:
    """A vector for each input, a picture with its prompt, of one layer's residual stream.

    Attributes
    ----------
    vectors : Tensor
        (inputs, width), float32, on the CPU.
    ids : tuple of str
        Of the pictures.
    layer : layer
    made : str
        How, in words.
    model : str
        The LMM's name, for others to read.
    fingerprint : str
        Of its weights.
    """

    vectors: Tensor
    ids: tuple[str, ...]
    layer: Layer
    made: str
    model: str
    fingerprint: str

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        norms = self.vectors.norm(dim=1)
        return (
            f"InputVectors({len(self):,} at layer {self.layer} of {self.model}, norm {norms.mean():.3g}: {self.made})"
        )

    def subset(self, rows: Sequence[int]) -> InputVectors:
        """Those of some inputs, by number."""
        rows = list(rows)
        return replace(self, vectors=self.vectors[rows], ids=tuple(self.ids[row] for row in rows))

    def change(self, states: Tensor) -> Tensor:
        """What is to be added to states, (batch, positions, width): its own vector to each input's."""
        if len(states) != len(self):
            raise ValueError(f"{len(self)} vectors do not fit a batch of {len(states)}: give one for each input")
        return self.vectors.to(states)[:, None].expand_as(states)

    def check_model(self, lmm: LMM) -> None:
        """Refuse (ValueError) another model than that of the states it was made of."""
        if self.fingerprint != lmm.fingerprint:
            raise ValueError(
                f"the vectors are of {self.model} (weights {self.fingerprint}), not of {lmm.name} "
                f"({lmm.fingerprint}): make them anew with this model's states"
            )

    def scaled(self, factors: Sequence[float]) -> InputVectors:
        """Each vector times a number of its own."""
        return replace(self, vectors=self.vectors * torch.tensor(list(factors)).to(self.vectors)[:, None])

    def equalising_factors(self, groups: Sequence[str]) -> dict[str, float]:
        """What to scale each group's vectors by, so that their mean length is the first's (as in the released code).

        A group of vectors that are zero, but for rounding, has the factor 1.
        """
        lengths = pd.Series(self.vectors.norm(dim=1).tolist()).groupby(list(groups), sort=False).mean()
        shortest = SHORTEST * lengths.max()
        return {
            group: float(lengths.iloc[0] / length) if length > shortest else 1.0 for group, length in lengths.items()
        }

    def mean(self) -> Direction:
        """The mean of all: one direction for every input (the baseline Mean-S)."""
        made = f"mean of {len(self):,} vectors, {self.made}"
        return Direction(self.vectors.mean(dim=0), self.layer, made, self.model, self.fingerprint, (len(self),))

    def random(self, seed: int = 0) -> InputVectors:
        """Random vectors, each of the length of the one in whose place it stands (the baseline Norm-Rnd)."""
        noise = torch.randn(self.vectors.shape, generator=torch.Generator().manual_seed(seed))
        lengths = self.vectors.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True)
        return replace(self, vectors=noise * lengths, made=f"random, seed {seed}")


def prompt_to_steer(
    lmm: LMM,
    images: CaptionedImages,
    prompts: str | Sequence[str],
    wanted: Sequence[str],
    unwanted: Sequence[str],
    layer: Layer,
    source: str = "last",
    batch_size: int = 32,
) -> InputVectors:
    """For each input the state after the wanted completion minus that after the unwanted one (P2S, arXiv 2508.12815).

    Parameters
    ----------
    lmm : LMM
    images : CaptionedImages
    prompts : str or sequence of str
        One for all pictures, or one for each.
    wanted, unwanted : sequence of str
        A completion of each kind for each input, teacher-forced. The same two for all inputs make the vectors of the
        baseline Mean-S(BA).
    layer : layer
        L*, whose states are steered.
    source : {"last", "mean"}, default "last"
        The completion's last token (paper), or the mean over its tokens (as the released code for POPE).
    batch_size : int, default 32

    Returns
    -------
    InputVectors
        Of the inputs that can be read.

    Raises
    ------
    ValueError
        If the source is unknown, completions are not one for each input, or one has no tokens.
    """
    if source not in SOURCES:
        raise ValueError(f"there is no source {source!r}: choose one of {', '.join(SOURCES)}")
    average = source == "mean"
    parts = completion_states(lmm, images, prompts, [layer], (wanted, unwanted), average, batch_size)
    made = f"contrast of two completions, {'the mean over their tokens' if average else 'their last tokens'}"
    return vectors_of(parts[0], parts[0].Z - parts[1].Z, made)


def answer_contrasts(states: States, groups: Sequence[str], answers: Sequence[str]) -> InputVectors:
    """For each input the mean state of those with its right answer minus the mean of the others, at the last input token (ours).

    Where answers are so short that the states after them have nothing to say (one word, after which only the end comes),
    P2S's contrast is empty; the states before the answer are not.

    Parameters
    ----------
    states : States
        Of `prompt_states` without completions, at one layer.
    groups : sequence of str
        Of each input, such as its question: only inputs of one group are compared.
    answers : sequence of str
        The right one of each input.

    Returns
    -------
    InputVectors
        Zero where all inputs of a group have the same answer.
    """
    if not len(states) == len(groups) == len(answers):
        raise ValueError(f"{len(groups)} groups and {len(answers)} answers are given for {len(states)} states")
    keys, Z, vectors = list(zip(groups, answers)), states.Z, torch.zeros_like(states.Z)
    for group, answer in dict.fromkeys(keys):
        own = torch.tensor([key == (group, answer) for key in keys])
        other = torch.tensor([key[0] == group and key[1] != answer for key in keys])
        if other.any():
            vectors[own] = Z[own].mean(dim=0) - Z[other].mean(dim=0)
    return vectors_of(states, vectors, "means of states by right answer, at the last input token (ours)")


def vectors_of(states: States, vectors: Tensor, made: str) -> InputVectors:
    """Vectors for the inputs of some states."""
    return InputVectors(
        vectors.float(), tuple(states.images.ids), states.layer, made, states.model_name, states.fingerprint
    )
