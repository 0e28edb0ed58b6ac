"""Extraction from the command line, by one process or many: `python -m coxlmm_utils.extraction --help`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ..files import cache_folder, require_writable
from ..images import CaptionedImages, load_images
from ..models import LMM, POSITIONS, load_lmm
from .batches import AUTO
from .blocks import BlockFolder
from .estimate import estimate
from .extraction_plan import REFERENCE_RULES, Settings, make_plan
from .loop import make_blocks
from .provenance import SAMPLES


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m coxlmm_utils.extraction",
        description="Read states into blocks on disk; `extract_many` with the same settings then takes them from there. "
        "Under torchrun or SLURM each process makes its share of the blocks.",
    )
    parser.add_argument("--model", default="picturebook")
    parser.add_argument("--adapter", help="the model as fine-tuned: a PEFT folder, see load_lmm")
    parser.add_argument(
        "--data", default="picturebook", help='"coco:DIR", "visual_genome:DIR", "folder:DIR" or "picturebook"'
    )
    parser.add_argument("--split", help="default: train; of a folder, all of it")
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    parser.add_argument("--token", action="append", required=True, help='repeat for several; spellings as "dog,dogs"')
    parser.add_argument("--layer", action="append", required=True, help="repeat for several")
    parser.add_argument("--position", action="append", choices=POSITIONS, help="default: both")
    parser.add_argument("--references", default="word", choices=REFERENCE_RULES)
    parser.add_argument("--samples", default=SAMPLES[0], choices=SAMPLES)
    parser.add_argument("--prompt")
    parser.add_argument("--max-new-tokens", type=int, default=40)
    parser.add_argument("--batch-size", type=batch_size, default=32, help='a number, or "auto"')
    parser.add_argument("--stop-early", action="store_true", help="stop a caption once its tokens have been generated")
    parser.add_argument("--dtype", help='such as "bfloat16"')
    parser.add_argument("--quantization", choices=("4bit", "8bit"), help="weights in so few bits, see load_lmm")
    parser.add_argument("--folder", type=Path, help="where the blocks go; default: the cache")
    return parser.parse_args(arguments)


def batch_size(text: str) -> int | str:
    """A number of pictures, or "auto"."""
    return text if text == AUTO else int(text)


def process_share() -> tuple[int, int]:
    """Which process of how many this is, as torchrun or SLURM say (ours); (0, 1) of one alone."""
    for number, count in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if number in os.environ:
            return int(os.environ[number]), int(os.environ[count])
    return 0, 1


def own_device() -> str | None:
    """The GPU of this process, where there are several (ours); None leaves the choice to `load_lmm`."""
    local = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID"))
    n_gpus = torch.cuda.device_count()
    return f"cuda:{int(local) % n_gpus}" if local is not None and n_gpus else None


def make_share(
    lmm: LMM,
    images: CaptionedImages,
    tokens: Mapping[str, Sequence[str]],
    settings: Settings,
    batch_size: int | str = 32,
    folder: Path | None = None,
) -> BlockFolder:
    """Make this process's share of the blocks of an extraction; `extract` then takes them from there (ours).

    Parameters
    ----------
    lmm, images, batch_size, folder
        As in `extract_many`.
    tokens : mapping of str to sequence of str
        The target words with their spellings.
    settings : Settings

    Returns
    -------
    BlockFolder
        Its `missing()` are the blocks that other processes have still to make.
    """
    plan = make_plan(lmm, images, tokens, settings)
    blocks = plan.folder(folder or cache_folder() / "states")
    shard, n_shards = process_share()
    if blocks.missing():
        require_writable(blocks.folder)
    if shard == 0 and blocks.missing():
        print(estimate(lmm, plan, blocks, batch_size, n_shards), flush=True)
    make_blocks(lmm, plan, blocks, batch_size, shard, n_shards)
    return blocks


def main(arguments: Sequence[str] | None = None) -> None:
    """Make this process's share of the blocks of an extraction, and say what there is."""
    options = _arguments(arguments)
    tokens = {words.split(",")[0]: words.split(",") for words in options.token}
    layers = [int(layer) if layer.isdigit() else layer for layer in options.layer]
    lmm = load_lmm(
        options.model,
        device=own_device(),
        dtype=options.dtype,
        adapter=options.adapter,
        quantization=options.quantization,
    )
    images = load_images(options.data, split=options.split, limit=options.limit)
    settings = Settings(
        layers,
        options.position or POSITIONS,
        options.references,
        options.prompt,
        options.max_new_tokens,
        stop_early=options.stop_early,
        samples=options.samples,
    )
    blocks = make_share(lmm, images, tokens, settings, options.batch_size, options.folder)
    shard, n_shards = process_share()
    n_present = len(blocks.names) - len(blocks.missing())
    print(
        f"process {shard + 1} of {n_shards} is done: {n_present} of {len(blocks.names)} blocks are in {blocks.folder}"
    )


if __name__ == "__main__":
    main()
