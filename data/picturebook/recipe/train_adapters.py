"""Fine-tune the picture book's model: `python -m data.picturebook.recipe.train_adapters --out data/picturebook/adapters`.

LoRA (peft) on the language model, everything else frozen, by the bundled model's own losses, on the sets of captions of
`coxlmm_utils/picturebook/fine_tuning.py`. Every batch follows from the seed and its number, so a stopped run resumes
exactly.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from coxlmm_utils.files import atomic_write, bundled_folder, cache_folder
from coxlmm_utils.picturebook import (
    FINE_TUNED,
    NEW_NAME,
    SENTENCE_PROMPT,
    SIGN_KIND,
    Factors,
    factors_of,
    fine_tuned_sentence,
    page_numbers,
    signed,
    with_umbrella,
)

from .architecture import PUNCTUATION, SPECIAL_TOKENS, make_tokenizer, vocabulary, word_tokenizer, wrapped
from .learner import Learner
from .packing import SENTENCES_PER_PAGE, Packer, Tree
from .training_loop import StageRecipe, augmented, picture_loss, train_stage

BASE = "picturebook"
STEPS = {kind: 150 for kind in FINE_TUNED} | {"sign": 300}
KEPT_STEPS = (15, 40, 80)  # also saved, of the sets that are compared over steps
COMPARED = ("colour", "place")
LOOK_AHEAD = 0.4  # the weight of its loss, as in the bundled model's recipe
RANK = 4
TARGETS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def recipe_of(kind: str) -> StageRecipe:
    """How one of the sets is learned."""
    return StageRecipe(f"adapter for {kind}", steps=STEPS[kind], batch=16, rate=4e-3, seed=707)


def tuned_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """The bundled model's, and for the renamed value one word more."""
    if kind != "rename":
        return make_tokenizer()
    return wrapped(word_tokenizer([*SPECIAL_TOKENS, *PUNCTUATION, *vocabulary(), NEW_NAME]))


class TunedPacker(Packer):
    """Turns factors into trees of a set's captions."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, kind: str) -> None:
        super().__init__(tokenizer)
        self.kind = kind
        self.content_ids |= {tokenizer.convert_tokens_to_ids(NEW_NAME)} - {tokenizer.unk_token_id}

    def tree(self, factors: Factors, rng: random.Random) -> Tree:
        """One page's captions."""
        tree = Tree()
        prompt = tree.grow(self._prompt(SENTENCE_PROMPT), tree.grow(self.prefix, None))
        for _ in range(SENTENCES_PER_PAGE):
            self._sentence(tree, prompt, fine_tuned_sentence(self.kind, factors, rng))
        return tree


class AdapterLearner(Learner):
    """The bundled model with a LoRA adapter, the only part that learns; and a row for a new word."""

    def __init__(self, kind: str) -> None:
        tokenizer = tuned_tokenizer(kind)
        super().__init__(tokenizer)
        self.kind, self.packer = kind, TunedPacker(tokenizer, kind)
        bundled = LlavaForConditionalGeneration.from_pretrained(bundled_folder("lmm"), dtype=torch.float32)
        new = list(range(bundled.config.text_config.vocab_size, len(tokenizer)))
        bundled.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        self.lmm.load_state_dict(bundled.state_dict())
        self.requires_grad_(False)
        rows = {"trainable_token_indices": {"embed_tokens": new, "lm_head": new}} if new else {}
        config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TARGETS, **rows)
        self.adapted = get_peft_model(self.lmm, config)  # puts the adapter into self.lmm

    def save(self, out: Path) -> None:
        """Write the adapter, and the tokenizer if it has a new word."""
        save_adapter(self.adapted, out, BASE, self.packer.tokenizer if self.kind == "rename" else None)

    def loss(self, pictures: np.ndarray, pages: list[Factors], rng: random.Random) -> torch.Tensor:
        """Of a batch of drawn pages: text, and words to come."""
        if self.kind == "sign":
            pictures, pages = with_signs(pictures, pages, rng)
        packed = self.packer.pack(pages, rng)
        with torch.no_grad():
            patches = self.see(augmented(pictures, rng))
        last_but_one, normed = self.read(patches, packed)
        return self.text_loss(normed, packed) + LOOK_AHEAD * self.look_ahead_loss(last_but_one, packed)


def with_signs(pictures: np.ndarray, pages: Sequence[Factors], rng: random.Random) -> tuple[np.ndarray, list[Factors]]:
    """The pages with umbrellas beside some dogs, and what is then said of them."""
    seen, told = [], []
    for picture, page in zip(pictures, pages):
        sign = signed(page, rng)
        seen.append(with_umbrella(Image.fromarray(picture), str(rng.random())) if sign else picture)
        told.append(sign or page)
    return np.stack([np.asarray(picture) for picture in seen]), told


def train(
    kind: str, out: Path, checkpoints: Path, recipe: StageRecipe | None = None, numbers: range | None = None
) -> None:
    """Train by the recipe, or go on where a stopped run left off, and save the adapter, also of earlier steps.

    Parameters
    ----------
    kind : str
        One of `FINE_TUNED`.
    out : Path
        The adapter's folder; those of earlier steps go beside it, with "-step-" and the number after its name.
    checkpoints : Path
        Folder for the state of a running training; outside the work tree.
    recipe : StageRecipe, optional
    numbers : range, optional
        Pages; by default the train split.
    """
    recipe = recipe or recipe_of(kind)
    torch.manual_seed(recipe.seed)
    learner = AdapterLearner(kind).train()
    kept = {step: out.with_name(f"{out.name}-step-{step}") for step in KEPT_STEPS if kind in COMPARED}
    train_stage(learner, recipe, checkpoints, lambda: _losses(learner, recipe, numbers or page_numbers("train"), kept))
    learner.save(out)


def _losses(learner: AdapterLearner, recipe: StageRecipe, numbers: range, kept: dict[int, Path]):
    """The loss of a step, before some of which the adapter is saved; of the sign's set on pages of dogs alone."""
    groups = []
    if learner.kind == "sign":
        groups = [[row for row, number in enumerate(numbers) if factors_of(number).kind == SIGN_KIND]]
    of_step = picture_loss(learner, recipe, numbers, groups)

    def loss(step: int) -> torch.Tensor:
        if step in kept:
            learner.save(kept[step])
        return of_step(step)

    return loss


def save_adapter(adapted: PeftModel, out: Path, base: str, tokenizer: PreTrainedTokenizerFast | None = None) -> None:
    """A PEFT folder in float16, with the tokenizer where it has a new word."""

    def write(folder: Path) -> None:
        adapted.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
        weights = {name: weight.half().contiguous() for name, weight in load_file(folder / WEIGHTS).items()}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        config = json.loads((folder / CONFIG).read_text()) | {"base_model_name_or_path": base}
        (folder / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        for path in folder.iterdir():
            path.chmod(0o644)

    atomic_write(out, write)


def main() -> None:
    """Train from the command line, all sets or one."""
    parser = argparse.ArgumentParser(description="Fine-tune the picture book's model on sets of captions.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the adapters")
    parser.add_argument("--checkpoints", type=Path, default=cache_folder() / "training-adapters")
    parser.add_argument("--only", choices=FINE_TUNED, nargs="*", default=list(FINE_TUNED))
    options = parser.parse_args()
    for kind in options.only:
        train(kind, options.out / kind, options.checkpoints / kind)


if __name__ == "__main__":
    main()
