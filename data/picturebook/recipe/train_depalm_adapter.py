"""Fine-tune the picture book's DePALM: `python -m data.picturebook.recipe.train_depalm_adapter --out data/picturebook/adapters/depalm-place`.

LoRA (peft) on its language model, which was never trained here before, by captions about places alone. Each step's batch
follows from the seed and its number, so a stopped run resumes.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from coxlmm_utils.files import cache_folder
from coxlmm_utils.models import load_lmm
from coxlmm_utils.models.depalm import DePALMForConditionalGeneration
from coxlmm_utils.picturebook import Factors, fine_tuned_sentence, page_numbers

from .connector import ConnectorLearner
from .train_adapters import save_adapter
from .train_depalm import caption_loss
from .training_loop import StageRecipe, train_stage

BASE, KIND = "picturebook-depalm", "place"
RECIPE = StageRecipe("adapter of the DePALM for place", steps=120, batch=16, rate=4e-3, seed=808)
N_PAGES = 4000
RANK = 2
TARGETS = r".*language_model.*\.(q|v)_proj"


class PlaceLearner(ConnectorLearner):
    """A DePALM whose adapter alone learns, by captions about places."""

    def __init__(self, model: DePALMForConditionalGeneration, tokenizer) -> None:
        super().__init__(model, tokenizer)
        self.connector.requires_grad_(False)
        self.adapted = (get_peft_model(model, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TARGETS)),)
        self.adapter = nn.ParameterList(weight for name, weight in model.named_parameters() if "lora_" in name)

    def caption(self, page: Factors, rng: random.Random) -> str:
        """A caption about the page's place."""
        return fine_tuned_sentence(KIND, page, rng)


def train(out: Path, checkpoints: Path, recipe: StageRecipe = RECIPE, n_pages: int = N_PAGES) -> None:
    """Train by the recipe, or go on where a stopped run left off, and save the adapter."""
    torch.manual_seed(recipe.seed)
    lmm = load_lmm(BASE)
    learner, numbers = PlaceLearner(lmm.model, lmm.tokenizer), page_numbers("train")[:n_pages]
    tower = lmm.model.vision_tower
    train_stage(learner, recipe, checkpoints, lambda: caption_loss(learner, recipe, tower, numbers))
    save_adapter(learner.adapted[0], out, BASE)


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description="Fine-tune the picture book's DePALM on captions about places.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the adapter")
    parser.add_argument("--checkpoints", type=Path, default=cache_folder() / "training-depalm-adapter")
    options = parser.parse_args()
    train(options.out, options.checkpoints)


if __name__ == "__main__":
    main()
