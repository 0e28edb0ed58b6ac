"""Train the picture book's LMM: `python -m data.picturebook.recipe.train --out FOLDER`.

Two stages, on the pages of the train split. *Eyes*: the vision tower alone learns to tell the factors, by one linear
head a factor. *Words*: everything learns sentences, tags and answers, with two helpers: the factor heads keep a small
weight, and the look-ahead loss asks the state after the last block but one, at each position of a sentence, for the
content words still to come. The look-ahead is designed in (data/README.md says what it changes). Every batch follows
from the seed and its number, so a stopped run resumes exactly.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from coxlmm_utils.files import atomic_write, cache_folder
from coxlmm_utils.ground_truth import model_scores, model_table
from coxlmm_utils.models import load_lmm
from coxlmm_utils.picturebook import drawn_pages, factors_of, page_numbers

from .architecture import make_processor, make_tokenizer
from .learner import Learner, factor_indices
from .packing import Packer
from .training_loop import augmented, learned_ood, resume, rise_and_fall, save_checkpoint

SAVE_EVERY = 200  # steps


@dataclass(frozen=True)
class Recipe:
    """All that decides the trained weights (ours)."""

    eyes_steps: int = 3000
    eyes_batch: int = 64
    eyes_rate: float = 1e-3
    words_steps: int = 2200
    words_batch: int = 32
    words_rate: float = 1.5e-3
    words_horizon: int = 3400  # steps over which the cosine of the words' rate falls
    words_cooling: int = 800  # last steps, over which it is brought down to nothing
    eyes_share: float = 0.2  # of the words' rate, for the vision tower: it can see already
    factor_weight: float = 0.2
    look_ahead_weight: float = 0.4
    seed: int = 0

    @property
    def steps(self) -> int:
        """Steps of both stages."""
        return self.eyes_steps + self.words_steps

    def is_eyes(self, step: int) -> bool:
        """Whether a step belongs to the first stage."""
        return step < self.eyes_steps

    def rate(self, step: int) -> float:
        """The learning rate of a step: in each stage a short rise, then a half cosine; the words' ends by a cool-down."""
        if self.is_eyes(step):
            return self.eyes_rate * rise_and_fall(step, self.eyes_steps)
        done = step - self.eyes_steps
        cooling = min(1, (self.words_steps - done) / self.words_cooling)
        return self.words_rate * rise_and_fall(done, self.words_horizon) * cooling

    def rates(self, step: int) -> tuple[float, float]:
        """The learning rates of a step: of the vision tower, and of all else."""
        rate = self.rate(step)
        return (rate if self.is_eyes(step) else self.eyes_share * rate), rate


class Lesson:
    """The pages to learn from, drawn; batch by batch.

    Parameters
    ----------
    recipe : Recipe
    packer : Packer
    """

    def __init__(self, recipe: Recipe, packer: Packer):
        self.recipe, self.packer = recipe, packer
        numbers = page_numbers("train")
        self.pages = [factors_of(number) for number in numbers]
        self.pictures = drawn_pages(numbers)  # (pages, side, side, 3), uint8
        self.values = factor_indices(self.pages)

    def losses(self, learner: Learner, step: int) -> dict[str, torch.Tensor]:
        """The weighted losses of a step; the seed and the step alone decide its batch."""
        recipe = self.recipe
        rng = random.Random(f"{recipe.seed} batch {step}")
        size = recipe.eyes_batch if recipe.is_eyes(step) else recipe.words_batch
        chosen = sorted(rng.sample(range(len(self.pages)), size))
        patches = learner.see(augmented(self.pictures[chosen], rng))
        factors = learner.factor_loss(patches, self.values[chosen])
        if recipe.is_eyes(step):
            return {"factors": factors}
        packed = self.packer.pack([self.pages[i] for i in chosen], rng)
        last_but_one, normed = learner.read(patches, packed)
        losses = {"text": learner.text_loss(normed, packed), "factors": recipe.factor_weight * factors}
        if recipe.look_ahead_weight:
            losses["look-ahead"] = recipe.look_ahead_weight * learner.look_ahead_loss(last_but_one, packed)
        return losses


def make_optimiser(learner: Learner) -> torch.optim.Optimizer:
    """AdamW with two groups, the vision tower and all else; their rates are set at every step."""
    eyes = list(learner.lmm.model.vision_tower.parameters())
    known = {id(parameter) for parameter in eyes}
    rest = [parameter for parameter in learner.parameters() if id(parameter) not in known]
    return torch.optim.AdamW([{"params": eyes}, {"params": rest}], lr=0.0, betas=(0.9, 0.98), weight_decay=0.05)


def optimiser_step(
    learner: Learner, optimiser: torch.optim.Optimizer, loss: torch.Tensor, rates: tuple[float, float]
) -> None:
    """One step down the loss, at the rates of `Recipe.rates`."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    for group, rate in zip(optimiser.param_groups, rates):
        group["lr"] = rate
    optimiser.step()


def train(out: Path, checkpoints: Path, recipe: Recipe) -> None:
    """Train by the recipe, or go on where a stopped run left off, and save model and processor.

    Parameters
    ----------
    out : Path
        Folder for the model (fp16 safetensors) and its processor.
    checkpoints : Path
        Folder for the state of a running training; outside the work tree.
    recipe : Recipe
    """
    torch.manual_seed(recipe.seed)
    tokenizer = make_tokenizer()
    learner = Learner(tokenizer).train()
    optimiser = make_optimiser(learner)
    first = resume(checkpoints, recipe, learner, optimiser)  # may refuse, so before pages are drawn
    lesson = Lesson(recipe, Packer(tokenizer))
    bar = tqdm(range(first, recipe.steps), initial=first, total=recipe.steps, desc="training")
    for step in bar:
        losses = lesson.losses(learner, step)
        optimiser_step(learner, optimiser, sum(losses.values()), recipe.rates(step))
        if step % 25 == 0:
            bar.set_postfix({name: f"{loss.item():.3f}" for name, loss in losses.items()})
        if (step + 1) % SAVE_EVERY == 0:
            save_checkpoint(checkpoints, recipe, learner, optimiser, step + 1)
    save_model(out, learner, tokenizer)
    measure_ood(out)


def save_model(out: Path, learner: Learner, tokenizer) -> None:
    """Save model (fp16) and processor as transformers does, readable by all."""

    def write(folder: Path) -> None:
        learner.lmm.half().save_pretrained(folder)
        make_processor(tokenizer).save_pretrained(folder)
        for file in folder.iterdir():
            file.chmod(0o644)

    atomic_write(out, write)
    learner.lmm.float()


def measure_ood(folder: Path) -> None:
    """Save what pages look like to the trained vision tower, beside the model."""
    tower = load_lmm(str(folder)).model.model.vision_tower
    learned_ood(tower, *map(page_numbers, ("train", "validation"))).save(folder)


def main() -> None:
    """Train from the command line, and print the table of scores at the end."""
    parser = argparse.ArgumentParser(description="Train the picture book's LMM.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained model")
    parser.add_argument("--checkpoints", type=Path, default=cache_folder() / "training", help="folder to resume from")
    for field in fields(Recipe):
        parser.add_argument("--" + field.name.replace("_", "-"), type=type(field.default), default=field.default)
    options = vars(parser.parse_args())
    out, checkpoints = options.pop("out"), options.pop("checkpoints")
    train(out, checkpoints, Recipe(**options))
    print(model_table(model_scores(load_lmm(str(out)))))


if __name__ == "__main__":
    main()
