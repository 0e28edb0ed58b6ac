"""What every training of the picture book's models shares: changed pictures, the rate's course, and checkpoints."""

from __future__ import annotations

import math
import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from coxlmm_utils.files import atomic_write

SHIFT = 6  # pixels that a training picture may be moved by
RISE_STEPS = 150  # until the learning rate is full


def augmented(pictures: np.ndarray, rng: random.Random) -> torch.Tensor:
    """Pictures as the models' own processors would give them, some mirrored, all shifted a little.

    Parameters
    ----------
    pictures : numpy.ndarray
        (batch, side, side, 3), uint8.
    rng : random.Random

    Returns
    -------
    torch.Tensor
        (batch, 3, side, side), from -1 to 1.
    """
    out = []
    for picture in pictures:
        padded = np.pad(picture, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
        top, left = rng.randint(0, 2 * SHIFT), rng.randint(0, 2 * SHIFT)
        moved = padded[top : top + picture.shape[0], left : left + picture.shape[1]]
        out.append(moved[:, ::-1] if rng.random() < 0.5 else moved)
    return as_pixels(np.stack(out))


def as_pixels(pictures: np.ndarray) -> torch.Tensor:
    """Pictures as the models' own processors would give them: (batch, 3, side, side), from -1 to 1."""
    pixels = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2)
    return pixels.float().div_(127.5).sub_(1)


def rise_and_fall(step: int, steps: int) -> float:
    """A linear rise to about 1, then a half cosine down to 3%."""
    return min(1, (step + 1) / RISE_STEPS) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def save_checkpoint(folder: Path, recipe, learner: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    """Write the whole state of a running training; `recipe` is a dataclass of plain values."""
    state = {
        "recipe": asdict(recipe),
        "step": step,
        "learner": learner.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    atomic_write(folder / "checkpoint.pt", lambda path: torch.save(state, path))


def resume(folder: Path, recipe, learner: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Load a stopped run's state, if there is one; returns the step to go on with.

    Raises
    ------
    ValueError
        If the folder holds a run by another recipe.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["recipe"] != asdict(recipe):
        raise ValueError(f"{path} is of a training with another recipe; delete it or give another --checkpoints")
    learner.load_state_dict(state["learner"])
    optimiser.load_state_dict(state["optimiser"])
    return state["step"]
