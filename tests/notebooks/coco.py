"""Pictures laid out as COCO's, about which a tiny model says one word."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from coxlmm_utils.concepts.word_filter import WordFilter
from coxlmm_utils.images.pictures import open_picture
from coxlmm_utils.models import LMM, generate_captions, load_lmm
from tests.conftest import in_plain_words, noise
from tests.images.test_sources import coco_entry
from tests.tiny_lmms import tiny_llava

SPLITS = ["train"] * 4 + ["restval"] * 2 + ["test"] * 4
PLACE = {"train": "train2014", "restval": "val2014", "test": "val2014"}


def as_coco(folder: Path, token: str, paths: list[Path], splits: list[str] = SPLITS) -> str:
    """Pictures in the folders of COCO, with five captions each in Karpathy's file."""
    raws = [f"A {token} dog.", "a red bus in the snow", f"the {token} street at night ", "cat", "A small bird."]
    entries = [coco_entry(n, PLACE[split], 100 + n, split, raws) for n, split in enumerate(splits)]
    for entry, path in zip(entries, paths, strict=True):
        (folder / entry["filepath"]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / entry["filepath"] / entry["filename"])
    (folder / "dataset_coco.json").write_text(json.dumps({"images": entries, "dataset": "coco"}))
    return f"coco:{folder}"


def plain_lmm(folder: Path, build: Callable[[Path], Path] = tiny_llava) -> LMM:
    """A tiny LLaVA, or another tiny model, that writes plain words wherever it is loaded."""
    lmm = in_plain_words(load_lmm(build(folder), device="cpu"))
    lmm.model.generation_config.save_pretrained(folder)
    return lmm


def favourite(lmm: LMM, paths: list[Path], n: int = 10) -> tuple[str, list[Path]]:
    """The word that the model writes about most pictures, of those that may ground a concept, and some of these."""
    captions = [written.caption.split() for written in generate_captions(lmm, [open_picture(path) for path in paths])]
    words = WordFilter().split(sorted({word for caption in captions for word in caption}))[0]
    word = max(words, key=lambda word: sum(word in caption for caption in captions))
    return word, [path for path, caption in zip(paths, captions) if word in caption][:n]


def noises(folder: Path, n: int) -> list[Path]:
    """Coloured noises of different sizes, as files."""
    paths = [folder / f"{number}.jpg" for number in range(n)]
    for number, path in enumerate(paths):
        noise(number).save(path)
    return paths
