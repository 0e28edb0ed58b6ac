"""What every training of the picture book's models shares: changed pictures, the rate's course, and checkpoints."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm
from transformers import CLIPVisionModel

from coxlmm_utils.files import atomic_write
from coxlmm_utils.models import OODDetector, tower_features
from coxlmm_utils.picturebook import drawn_pages, factors_of

SHIFT = 6  # pixels that a training picture may be moved by
RISE_STEPS = 150  # until the learning rate is full
SAVE_EVERY = 200  # steps
FAMILIAR_PAGES = 4000
AT_ONCE = 64  # pages that a vision tower looks at


@dataclass(frozen=True)
class StageRecipe:
    """All that decides the weights of a training of one stage (ours)."""

    kind: str
    steps: int
    batch: int
    rate: float
    seed: int


def train_stage(
    learner: nn.Module,
    recipe: StageRecipe,
    checkpoints: Path,
    make_loss: Callable[[], Callable[[int], torch.Tensor]],
) -> None:
    """Train by a recipe, or go on where a stopped run left off.

    Parameters
    ----------
    learner : nn.Module
        All that is learned, and in the checkpoints.
    recipe : StageRecipe
    checkpoints : Path
        Folder for the state of a running training; outside the work tree.
    make_loss : callable
        Prepares what is learned from, and gives the loss of a step by its number alone. Called after the checkpoint
        is read, which may refuse.
    """
    optimiser = torch.optim.AdamW(learner.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.05)
    first = resume(checkpoints, recipe, learner, optimiser)
    if first == recipe.steps:
        return
    loss_of = make_loss()
    bar = tqdm(range(first, recipe.steps), initial=first, total=recipe.steps, desc=f"training the {recipe.kind}")
    for step in bar:
        loss = loss_of(step)
        optimiser_step(learner, optimiser, loss, recipe.rate * rise_and_fall(step, recipe.steps))
        if step % 25 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
        if (step + 1) % SAVE_EVERY == 0:
            save_checkpoint(checkpoints, recipe, learner, optimiser, step + 1)


def picture_loss(
    learner: nn.Module, recipe: StageRecipe, numbers: range, groups: Sequence[Sequence[int]] = ()
) -> Callable[[int], torch.Tensor]:
    """The loss of a step, on pictures and pages that its number and the recipe's seed choose: of all pages, or of one of
    some groups, by their rows."""
    pictures, pages = drawn_pages(numbers), [factors_of(number) for number in numbers]
    groups = groups or [range(len(pages))]

    def loss(step: int) -> torch.Tensor:
        rng = random.Random(f"{recipe.kind} {recipe.seed} batch {step}")
        group = rng.choice(groups) if len(groups) > 1 else groups[0]
        chosen = sorted(rng.sample(group, recipe.batch))
        return learner.loss(pictures[chosen], [pages[i] for i in chosen], rng)

    return loss


def optimiser_step(learner: nn.Module, optimiser: torch.optim.Optimizer, loss: torch.Tensor, rate: float) -> None:
    """One step down the loss."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    optimiser.param_groups[0]["lr"] = rate
    optimiser.step()


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


@torch.inference_mode()
def looked_at(
    see: Callable[[CLIPVisionModel, torch.Tensor], torch.Tensor], tower: CLIPVisionModel, pictures: np.ndarray
) -> torch.Tensor:
    """What is seen of drawn pages, some at a time."""
    parts = tqdm([pictures[start : start + AT_ONCE] for start in range(0, len(pictures), AT_ONCE)], desc="looking")
    return torch.cat([see(tower, as_pixels(part).to(tower.device, tower.dtype)) for part in parts])


def learned_ood(tower: CLIPVisionModel, learned: range, held_out: range) -> OODDetector:
    """What pages look like to a trained vision tower."""
    pages = drawn_pages(learned)[:FAMILIAR_PAGES], drawn_pages(held_out)
    return OODDetector.learn(*(looked_at(tower_features, tower, some) for some in pages))


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
