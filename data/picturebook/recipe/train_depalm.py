"""Train the picture book's DePALM: `python -m data.picturebook.recipe.train_depalm --out data/picturebook/depalm`.

Two rounds, each of the vision tower, by contrast of pictures and captions alone, and then, between it and the frozen
language model, of the connector, by captions alone. In the second round the tower learns from pages whose captions have
a word in common, so that it has to see what else there is: by the first alone it could hardly tell dogs from horses.
Each step's batch follows from the seed and its number, so a stopped run resumes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPVisionModel, PreTrainedModel, PreTrainedTokenizerBase

from coxlmm_utils.files import atomic_write, cache_folder
from coxlmm_utils.ground_truth import caption_scores, captions_of_test_pages, model_table
from coxlmm_utils.models import load_lmm
from coxlmm_utils.models.depalm import DePALMForConditionalGeneration, vision_tokens
from coxlmm_utils.models.depalm.picturebook import find_language_model, join, load_language_model
from coxlmm_utils.picturebook import drawn_pages, factors_of, page_numbers, references

from .connector import ConnectorLearner
from .tower import TowerLearner, rows_by_word
from .training_loop import AT_ONCE, StageRecipe, learned_ood, looked_at, picture_loss, train_stage


@dataclass(frozen=True)
class Round:
    """Of the tower, on any pages or on pages with a word in common, then of the connector."""

    tower: StageRecipe
    connector: StageRecipe
    on_like: bool


ROUNDS = (
    Round(
        StageRecipe("tower", steps=2000, batch=96, rate=1.5e-3, seed=303),
        StageRecipe("connector", steps=2200, batch=32, rate=1e-3, seed=404),
        on_like=False,
    ),
    Round(
        StageRecipe("tower on like pages", steps=3000, batch=96, rate=1e-3, seed=305),
        StageRecipe("connector again", steps=1500, batch=32, rate=5e-4, seed=406),
        on_like=True,
    ),
)
# The lab's has 5 layers; with these, tower and connector are 6 MB at most.
SIZES = dict(num_query_tokens=10, connector_hidden_size=256, connector_layers=3, connector_heads=8)


def train(
    language_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    checkpoints: Path,
    rounds: Sequence[Round] = ROUNDS,
) -> tuple[CLIPVisionModel, nn.Module]:
    """The vision tower, rounded to float16 as it is bundled, and the connector between it and a language model.

    Parameters
    ----------
    language_model : PreTrainedModel
        Brought to bfloat16; its weights are not learned.
    tokenizer : PreTrainedTokenizerBase
    checkpoints : Path
        Folder for the state of a running training, from which a stopped one goes on; outside the work tree.
    rounds : sequence of Round
    """
    numbers = page_numbers("train")
    torch.manual_seed(rounds[0].tower.seed)
    seeing, speaking = TowerLearner().train(), None
    for i, of_round in enumerate(rounds, start=1):
        recipe, groups = of_round.tower, ()
        if of_round.on_like:
            groups = rows_by_word([references(number)[0] for number in numbers], recipe.batch)
        folder = checkpoints / f"round {i}"
        train_stage(seeing, recipe, folder / "tower", partial(picture_loss, seeing, recipe, numbers, groups))
        tower = seeing.tower()
        if speaking is None:
            torch.manual_seed(of_round.connector.seed)
            model = DePALMForConditionalGeneration.from_parts(tower, language_model, **SIZES)
            speaking = ConnectorLearner(model, tokenizer)
            speaking.start_as_words(looked_at(vision_tokens, tower, drawn_pages(numbers)[:AT_ONCE]))
        loss = partial(caption_loss, speaking, of_round.connector, tower, numbers)
        train_stage(speaking, of_round.connector, folder / "connector", loss)
    return tower, speaking.connector


def caption_loss(
    learner: ConnectorLearner, recipe: StageRecipe, tower: CLIPVisionModel, numbers: range
) -> Callable[[int], Tensor]:
    """The loss of a step, on pages that its number and the recipe's seed choose, all of which are looked at once."""
    pages = [factors_of(number) for number in numbers]
    features = looked_at(vision_tokens, tower, drawn_pages(numbers)).half()  # (pages, tokens, vision width)

    def loss(step: int) -> Tensor:
        chosen, rows = learner.batch(pages, recipe.batch, f"{recipe.kind} {recipe.seed}", step)
        return learner.loss(features[chosen].float(), rows)

    return loss


def save_bundle(out: Path, tower: CLIPVisionModel, connector: nn.Module) -> None:
    """All that was trained, in float16, and what pages look like to the tower."""

    def write(folder: Path) -> None:
        folder.mkdir()
        sizes = SIZES | {"vision_config": tower.config.to_diff_dict()}
        (folder / "config.json").write_text(json.dumps(sizes, indent=1))
        for name, part in (("vision_tower", tower), ("connector", connector)):
            weights = {key: weight.half().contiguous() for key, weight in part.state_dict().items()}
            save_file(weights, folder / f"{name}.safetensors")
        learned_ood(tower, *map(page_numbers, ("train", "validation"))).save(folder)
        for file in folder.iterdir():
            file.chmod(0o644)

    atomic_write(out, write)


def main() -> None:
    """Train from the command line, and print how true the captions are at the end."""
    parser = argparse.ArgumentParser(description="Train the picture book's DePALM.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained tower and connector")
    parser.add_argument("--checkpoints", type=Path, default=cache_folder() / "training", help="folder to resume from")
    options = parser.parse_args()
    source = find_language_model()
    save_bundle(options.out, *train(*load_language_model(source), options.checkpoints))
    with tempfile.TemporaryDirectory() as folder:
        join(options.out, source, Path(folder) / "depalm")
        lmm = load_lmm(str(Path(folder) / "depalm"))
        print(model_table(caption_scores(*captions_of_test_pages(lmm))))


if __name__ == "__main__":
    main()
