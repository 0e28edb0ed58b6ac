"""Train the picture book's judges: `python -m data.picturebook.recipe.train_judges --out data/picturebook`.

A CLIP and a BERT, each from nothing, by its own seed: other weights to start from and other batches than the LMM's, so
that a judge does not share the LMM's chance mistakes. What they share is the book. Both learn from sentences and, as
often, from lists of words, much as concepts are shown to them.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch

from coxlmm_utils.evaluation import load_bert_judge
from coxlmm_utils.files import cache_folder
from coxlmm_utils.picturebook import drawn_pages, factors_of, page_numbers, references

from .bert import BertLearner, measure_baseline, share_true_above_false
from .clip import ClipLearner
from .judge_texts import make_judge_tokenizer
from .training_loop import StageRecipe, picture_loss, train_stage

BASELINE_CAPTIONS = 8000  # train pages whose captions are drawn two by two
CHOOSING_PAGES = 4000  # train pages by which the BERT's layer is chosen: no page of another split decides it

LEARNERS = {"clip": ClipLearner, "bert": BertLearner}
RECIPES = {
    "clip": StageRecipe("clip", steps=2000, batch=96, rate=1.5e-3, seed=101),
    "bert": StageRecipe("bert", steps=2500, batch=64, rate=2e-3, seed=202),
}


def train_judge(out: Path, checkpoints: Path, recipe: StageRecipe) -> dict[str, float]:
    """Train a judge by its recipe, or go on where a stopped run left off, save it, and measure it.

    Parameters
    ----------
    out : Path
        Folder for the judge.
    checkpoints : Path
        Folder for the state of a running training; outside the work tree.
    recipe : StageRecipe

    Returns
    -------
    dict
        Shares, measured on the test pages.
    """
    torch.manual_seed(recipe.seed)
    learner = LEARNERS[recipe.kind](make_judge_tokenizer()).train()
    numbers = page_numbers("train")
    train_stage(learner, recipe, checkpoints, partial(picture_loss, learner, recipe, numbers))
    learner.eval().save(out)
    if recipe.kind == "bert":
        measure_baseline(out, [references(number)[0] for number in numbers[:BASELINE_CAPTIONS]])
    return measure(learner, out)


def measure(learner: ClipLearner | BertLearner, folder: Path) -> dict[str, float]:
    """The quality of a judge on the test pages, and of the saved BERT's layers on train pages."""
    numbers = page_numbers("test")
    shares = learner.quality(drawn_pages(numbers), [references(number)[0] for number in numbers])
    if isinstance(learner, BertLearner):
        pages = [factors_of(number) for number in page_numbers("train")[-CHOOSING_PAGES:]]
        for layer in range(1, learner.bert.config.num_hidden_layers + 1):
            judge = load_bert_judge(folder, layer, rescale=False, device="cpu")
            shares[f"true_above_false_layer_{layer}"] = share_true_above_false(judge, pages)
    return shares


def main() -> None:
    """Train from the command line, and print how good the judges are."""
    parser = argparse.ArgumentParser(description="Train the picture book's judges.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the folders of the judges")
    parser.add_argument("--checkpoints", type=Path, default=cache_folder() / "training", help="folder to resume from")
    parser.add_argument("--judges", nargs="+", default=list(RECIPES), choices=RECIPES)
    options = parser.parse_args()
    for kind in options.judges:
        scores = train_judge(options.out / kind, options.checkpoints / kind, RECIPES[kind])
        print(kind, *(f"{name} {share:.3f}" for name, share in scores.items()), sep="\n  ")


if __name__ == "__main__":
    main()
