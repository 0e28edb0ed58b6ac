"""Learners that have seen one batch over and over."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch

from coxlmm_utils.picturebook.factors import Factors


def teach(learner: torch.nn.Module, pictures: np.ndarray | None, pages: Sequence[Factors], steps: int):
    """The same learner after some steps on one batch, with its `losses`."""
    optimiser = torch.optim.AdamW(learner.parameters(), lr=1e-3)
    learner.losses = []
    for _ in range(steps):
        loss = learner.loss(pictures, pages, random.Random(0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        learner.losses.append(loss.item())
    return learner.eval()
