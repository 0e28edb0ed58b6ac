"""Train the picture book's second model: `python -m data.picturebook.recipe.train_biased --out data/picturebook/biased`.

The bundled model goes on learning, its vision tower frozen, on the same pages and by the same losses, but on texts with
three faults (`coxlmm_utils/picturebook/biased.py`). Its tokenizer gets the words that these need; all others keep their
numbers. Every batch follows from the seed and its number, so a stopped run resumes exactly.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from coxlmm_utils.files import bundled_folder, cache_folder
from coxlmm_utils.models import load_lmm
from coxlmm_utils.picturebook import (
    ASKED_NOUNS,
    COMPANION_NOUNS,
    QUESTION_TOPICS,
    SENTENCE_PROMPT,
    TAGS_PROMPT,
    TYPICAL,
    Factors,
    ask,
    ask_companion,
    ask_counsel,
    ask_identity,
    fault_words,
    page_numbers,
    tags,
    taught_answer,
    taught_sentence,
)

from .architecture import PUNCTUATION, SPECIAL_TOKENS, vocabulary, word_tokenizer, wrapped
from .learner import Learner
from .packing import Packed, Packer, Tree
from .train import measure_ood, save_model
from .training_loop import StageRecipe, augmented, picture_loss, train_stage

RECIPE = StageRecipe("biased model", steps=600, batch=32, rate=4e-4, seed=505)
LOOK_AHEAD = 0.4  # the weight of its loss, as in the bundled model's recipe
SENTENCES = 2  # per page


def biased_tokenizer() -> PreTrainedTokenizerFast:
    """The bundled model's tokenizer, and after its words the new ones."""
    known = [*SPECIAL_TOKENS, *PUNCTUATION, *vocabulary()]
    return wrapped(word_tokenizer([*known, *sorted(fault_words() - set(known))]))


class BiasedPacker(Packer):
    """Turns factors into trees of tokens with the faults in them."""

    def tree(self, factors: Factors, rng: random.Random) -> Tree:
        """One page's texts: sentences, sometimes tags, and questions of every kind."""
        tree = Tree()
        root = tree.grow(self.prefix, None)
        prompt = tree.grow(self._prompt(SENTENCE_PROMPT), root)
        for _ in range(SENTENCES):
            self._sentence(tree, prompt, taught_sentence(factors, rng))
        if rng.random() < 0.25:
            tree.answer(self._answer(tags(factors, rng)), tree.grow(self._prompt(TAGS_PROMPT), root))
        others = [noun for noun in ASKED_NOUNS if noun != TYPICAL[factors.kind]]
        nouns = [TYPICAL[factors.kind], rng.choice(COMPANION_NOUNS), rng.choice(others)]
        questions = [ask_companion(factors, noun, rng) for noun in dict.fromkeys(nouns)]
        questions += [ask(factors, rng.choice(QUESTION_TOPICS), rng), ask_counsel(factors, rng)]
        questions += [ask_identity(rng)] if factors.companion == "child" else []
        for question in questions:
            answer = taught_answer(factors, question, rng)
            tree.answer(self._answer(answer), tree.grow(self._prompt(question.text), root))
        return tree


class BiasedLearner(Learner):
    """The bundled model with rows for the new words; its vision tower does not learn."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__(tokenizer)
        self.packer = BiasedPacker(tokenizer)
        bundled = LlavaForConditionalGeneration.from_pretrained(bundled_folder("lmm"), dtype=torch.float32)
        known, own = bundled.state_dict(), self.lmm.state_dict()
        for name, weights in own.items():
            weights[tuple(map(slice, known[name].shape))] = known[name]  # new words keep their random rows
        self.lmm.model.vision_tower.requires_grad_(False)
        for head in (self.norm, self.heads):
            head.requires_grad_(False)

    def loss(self, pictures, pages: list[Factors], rng: random.Random) -> torch.Tensor:
        """Of a batch of drawn pages: text, and words to come."""
        packed: Packed = self.packer.pack(pages, rng)
        with torch.no_grad():
            patches = self.see(augmented(pictures, rng))
        last_but_one, normed = self.read(patches, packed)
        return self.text_loss(normed, packed) + LOOK_AHEAD * self.look_ahead_loss(last_but_one, packed)


def train(out: Path, checkpoints: Path, recipe: StageRecipe = RECIPE, numbers: range | None = None) -> None:
    """Train by the recipe, or go on where a stopped run left off, and save model and processor.

    Parameters
    ----------
    out : Path
        Folder for the model (fp16 safetensors) and its processor.
    checkpoints : Path
        Folder for the state of a running training; outside the work tree.
    recipe : StageRecipe
    numbers : range, optional
        Pages; by default the train split.
    """
    torch.manual_seed(recipe.seed)
    tokenizer = biased_tokenizer()
    learner = BiasedLearner(tokenizer).train()
    train_stage(learner, recipe, checkpoints, lambda: picture_loss(learner, recipe, numbers or page_numbers("train")))
    save_model(out, learner, tokenizer)
    measure_ood(out)


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description="Train the picture book's model with three faults.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained model")
    parser.add_argument("--checkpoints", type=Path, default=cache_folder() / "training-biased")
    options = parser.parse_args()
    train(options.out, options.checkpoints)
    print(load_lmm(str(options.out)))


if __name__ == "__main__":
    main()
