"""The concept browser: prints a table, writes build/bench.json.

    open_s      seconds from saved banks on disk to the browser's cards: loading them included
    update_ms   milliseconds of the slowest update: sort, search, open a concept, compare with another bank

Two banks of 2,000 samples and 20 concepts, of made-up activations over pages that are drawn already. What the kernel
does is timed; what the notebook's page then draws is not.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import RESULTS, keep

from coxlmm_utils import ConceptBank, load_images
from coxlmm_utils.concepts import THUMBNAIL_SIDE, Words, ground_pictures
from coxlmm_utils.dictionaries import SemiNMF
from coxlmm_utils.images import as_rgb
from coxlmm_utils.widgets import Browser, browse

SAMPLES, CONCEPTS, WIDTH = 2_000, 20, 4_096
WORDS = ("beach", "sand", "snow", "tree", "night", "city", "brown", "white", "ball", "lake")


def made_up_bank(seed: int) -> ConceptBank:
    """A bank of pages of the picture book whose activations mean nothing; a third of them are zero."""
    rng = np.random.default_rng(seed)
    images = load_images("picturebook", limit=SAMPLES)
    activations = rng.gamma(1, 1, (SAMPLES, CONCEPTS)).astype(np.float32)
    activations[rng.random(activations.shape) < 1 / 3] = 0
    top = ground_pictures(activations)
    dictionary = SemiNMF.from_components(rng.normal(size=(CONCEPTS, WIDTH)).astype(np.float32))
    dictionary.lam_ = 1.0
    provenance = {
        "model": {"name": "made up", "fingerprint": "none"},
        "token": ["dog"],
        "position": "predicts",
        "layer": 4,
        "data": {"source": "picturebook", "split": "train"},
        "dictionary": {"method": "SemiNMF", **dictionary.get_params()} | {"random_state": seed},
    }
    return ConceptBank(
        dictionary,
        activations,
        [Words(tuple(rng.permutation(WORDS)[:5].tolist()), (("the", "function word"),)) for _ in range(CONCEPTS)],
        list(images.ids),
        [f"a dog on page {id}" for id in images.ids],
        top,
        {images.ids[row]: as_rgb(images.picture(row), THUMBNAIL_SIDE) for row in np.unique(top)},
        provenance,
    )


def seconds(work: Callable[[], object]) -> float:
    """How long some work takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def updates(browser: Browser) -> dict[str, float]:
    """Milliseconds of the slowest of each kind of update."""
    opened = [seconds(button.click) for button in browser.view.buttons]
    searched = [seconds(lambda: setattr(browser.search, "value", text)) for text in ("b", "be", "beach", "zebra", "")]
    ordered = [seconds(lambda: setattr(browser.order, "value", order)) for order in reversed(browser.order.options)]
    compared = [seconds(lambda: setattr(browser.other, "value", other)) for _, other in reversed(browser.other.options)]
    kinds = {"concept_details": opened, "search": searched, "sort": ordered, "compare": compared}
    return {f"{name}_ms": 1000 * max(taken) for name, taken in kinds.items()}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="The concept browser: opening it, and its slowest update.")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(2):
            made_up_bank(seed).save_pretrained(Path(folder) / f"seed-{seed}")
        updates(browse(folder))  # which draws the pages
        begin = time.perf_counter()
        browser = browse(folder)
        measured = {"open_s": time.perf_counter() - begin}
    durations = updates(browser)
    measured |= {"update_ms": max(durations.values())} | durations
    keep("browser", measured, options.out)
    for name, value in measured.items():
        print(f"browser.{name:16} {value:.3g}")


if __name__ == "__main__":
    main()
