"""Extraction against captioning alone and against the released loop: prints a table, writes build/bench.json.

    generate        pictures per second of `model.generate`, processor included
    ours            the same with all states of all layers hooked, tokens found, both positions kept, blocks on disk
    released_loop   a re-enactment of the released code's loop: one picture at a time, every position of every hooked
                    layer copied to the CPU and kept until the end

    one_word        ours for "dog" alone, at one layer: captions written whole
    stop_early      the same, each caption ended when the word has come
    given           the same of known captions, in one pass
    two_prompts     two completions of one prompt on each picture, each by itself
    shared_prefix   the same, each picture run once

All on the picture book's model, with pictures that are drawn already; medians of five interleaved runs. Then what an
extraction takes whose pictures come as slowly as the model runs (both only wait here), in units of the model's time
alone; the peak memory over 1,000 and over 4,000 pictures; twenty runs that are killed at random moments and resumed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from measuring import RESULTS, keep, peak_mb
from safetensors.torch import load_file

from coxlmm_utils import load_images, load_lmm
from coxlmm_utils.extraction import blocks, completion_states, extract, extract_many, loop, prompt_states
from coxlmm_utils.extraction import main as run_extraction
from coxlmm_utils.images import CaptionedImages, captioned_images
from coxlmm_utils.models import capture
from coxlmm_utils.picturebook import SUBJECTS

BATCH, N_PICTURES, N_RELEASED, RUNS = 32, 256, 48, 5
TOKEN, COMPLETIONS = "dog", ("Yes, there is.", "No, there is not.")
N_SLOW, SLOW_STEP = 1_920, 0.02  # fifteen blocks; seconds for each picture, of opening it as of the model
MAX_NEW_TOKENS = 40
KILLS, KILLED_PICTURES, SMALL_BLOCK = 20, 1_600, 16  # a hundred blocks


def generate_alone(lmm, images, batch: int = BATCH) -> float:
    """Seconds of captioning and nothing else."""
    begin = time.perf_counter()
    for start in range(0, len(images), batch):
        pictures = [images.picture(row) for row in range(start, min(start + batch, len(images)))]
        lmm.model.generate(**lmm.inputs(pictures), max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
    return time.perf_counter() - begin


def ours(lmm, images) -> float:
    """Seconds of an extraction of all subjects, all layers and both positions, blocks on disk."""
    layers = [*range(lmm.n_layers + 1), "norm"]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        extract_many(lmm, images, SUBJECTS, layers, batch_size=BATCH, max_new_tokens=MAX_NEW_TOKENS, folder=folder)
        return time.perf_counter() - begin


def released_loop(lmm, images) -> float:
    """Seconds of the released loop, in our words: batch 1, all positions of all layers to the CPU, all kept."""
    layers, kept = [*range(1, lmm.n_layers + 1), "norm"], []
    begin = time.perf_counter()
    for row in range(len(images)):
        with capture(lmm, layers, positions="all") as captured:
            ids = lmm.model.generate(
                **lmm.inputs([images.picture(row)]), max_new_tokens=MAX_NEW_TOKENS, do_sample=False
            )
        states = {layer: torch.cat([step.cpu() for step in steps], dim=1) for layer, steps in captured.items()}
        kept.append((lmm.tokenizer.decode(ids[0]), states))
    return time.perf_counter() - begin


def one_word(lmm, images, **options) -> float:
    """Seconds of an extraction of one word at one layer."""
    begin = time.perf_counter()
    extract(lmm, images, TOKEN, 4, batch_size=BATCH, max_new_tokens=MAX_NEW_TOKENS, cache=False, **options)
    return time.perf_counter() - begin


def stop_early(lmm, images) -> float:
    """The same, where captions end with the word."""
    return one_word(lmm, images, stop_early=True)


def given(lmm, images) -> float:
    """The same, of the first reference captions."""
    return one_word(lmm, images, captions=dict(zip(images.ids, (texts[0] for texts in images.references))))


def two_prompts(lmm, images) -> float:
    """Seconds of the states of two completions, one after the other."""
    begin = time.perf_counter()
    for texts in COMPLETIONS:
        prompt_states(lmm, images, lmm.prompt, [4], [texts] * len(images), batch_size=BATCH)
    return time.perf_counter() - begin


def shared_prefix(lmm, images) -> float:
    """Seconds of the same by one pass over each picture."""
    begin = time.perf_counter()
    completion_states(lmm, images, lmm.prompt, [4], [[texts] * len(images) for texts in COMPLETIONS], batch_size=BATCH)
    return time.perf_counter() - begin


def speeds() -> dict[str, float]:
    """Pictures per second, medians of interleaved runs."""
    lmm, images = load_lmm(), in_memory(N_PICTURES)
    functions = (generate_alone, ours, released_loop, one_word, stop_early, given, two_prompts, shared_prefix)
    counts = {function: N_RELEASED if function is released_loop else N_PICTURES for function in functions}
    seconds = {function: [] for function in counts}
    for number in range(RUNS + 1):  # the first run warms up
        for function, count in counts.items():
            taken = function(lmm, images[:count])
            if number:
                seconds[function].append(taken)
    names = {generate_alone: "generate"}
    return {
        names.get(function, function.__name__): count / statistics.median(seconds[function])
        for function, count in counts.items()
    }


def overlap() -> float:
    """Seconds of an extraction whose pictures come as slowly as the model runs, in units of the model's seconds alone.

    What opens pictures, and the model, only wait here; inputs are made and blocks written as ever.
    """
    lmm, page, ids = load_lmm(), in_memory(1).picture(0), tuple(map(str, range(N_SLOW)))

    def slow_open(id: str):
        time.sleep(SLOW_STEP * captioned_images.N_OPENERS)  # as so many are opened side by side
        return page

    def slow_batch(lmm, plan, ready, rows):
        time.sleep(SLOW_STEP * len(rows))
        entry = {"version": "", "ids": [0], "caption": TOKEN, "steps": {TOKEN: 0}}
        own = [ready.ids[row] for row in rows]
        state = torch.zeros(lmm.width)
        return {id: {"id": id, **entry} for id in own}, {(id, *key): state for id in own for key in plan.keys}

    images = CaptionedImages("slow", "train", ids, (("a dog",),) * N_SLOW, slow_open, version=str)
    with patch.object(loop, "_extract_batch", slow_batch), tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        extract_many(lmm, images, [TOKEN], [4], batch_size=BATCH, max_new_tokens=MAX_NEW_TOKENS, folder=folder)
        return (time.perf_counter() - begin) / (SLOW_STEP * N_SLOW)


def in_memory(n: int):
    """The first pages, opened, as a list that has nothing left to draw or decode."""
    pages = load_images("picturebook", limit=n)
    opened = {id: pages.picture(row) for row, id in enumerate(pages.ids)}
    references = tuple(pages.references[row] for row in range(n))
    return replace(pages, references=references, open=opened.__getitem__)


def peak_of(n: int) -> float:
    """Peak megabytes of an extraction over n pages, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        extract_many(load_lmm(), load_images("picturebook", limit=n), SUBJECTS, [4], batch_size=BATCH, folder=folder)
    return peak_mb()


def killed_and_resumed() -> dict:
    """How often an extraction was killed, and whether what it ends with is what an undisturbed one ends with."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        undisturbed, killed = Path(place) / "undisturbed", Path(place) / "killed"
        subprocess.run(_extraction(undisturbed), check=True, capture_output=True)
        kills = sum(_killed(killed, rng.randint(0, 3), rng.uniform(0, 0.15)) for _ in range(KILLS))
        subprocess.run(_extraction(killed), check=True, capture_output=True)
        return {"kills": kills, "resumed_equals_undisturbed": _contents(killed) == _contents(undisturbed)}


def _killed(folder: Path, n_blocks: int, moment: float) -> bool:
    """Kill an extraction some blocks and a moment after it has begun to work; whether it was still at work."""
    process = subprocess.Popen(_extraction(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while process.stdout.readline().strip() not in ("ready", ""):
        pass
    until = _n_blocks(folder) + n_blocks
    while _n_blocks(folder) < until and process.poll() is None:
        time.sleep(0.002)
    time.sleep(moment)
    at_work = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return at_work


def _n_blocks(folder: Path) -> int:
    return len(list(folder.glob("*/*/*-*.json")))


def _extraction(folder: Path) -> list[str]:
    return [sys.executable, __file__, "--only", "extraction", str(folder)]


def _contents(folder: Path) -> dict:
    """What all blocks hold."""
    result = {path.name: path.read_text() for path in folder.glob("*/*/*-*.json")}
    states = {path.name: load_file(path) for path in folder.glob("*/*/*.safetensors")}
    return result | {name: {key: value.tolist() for key, value in item.items()} for name, item in states.items()}


def only(task: str, argument: str) -> None:
    """One task in this process."""
    if task == "peak":
        print(json.dumps(peak_of(int(argument))))
    else:
        blocks.BLOCK = SMALL_BLOCK
        tokens = [option for subject in SUBJECTS for option in ("--token", subject)]
        print("ready", flush=True)
        run_extraction([*tokens, "--layer", "4", "--limit", str(KILLED_PICTURES), "--folder", argument])


def peak_alone(n: int) -> float:
    """`peak_of` in a process of its own."""
    command = [sys.executable, __file__, "--only", "peak", str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"TQDM_DISABLE": "1"})
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure all, print, write."""
    parser = argparse.ArgumentParser(description="Extraction: speed, memory, and what a crash costs.")
    parser.add_argument("--only", nargs=2, metavar=("TASK", "ARGUMENT"), help="one task in this process")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.only:
        only(*options.only)
        return
    result = speeds() | {"overlap": overlap()}
    keep("extraction", result, options.out)
    result |= {"peak_mb_1000": peak_alone(1000), "peak_mb_4000": peak_alone(4000)} | killed_and_resumed()
    keep("extraction", result, options.out)
    for name, value in result.items():
        print(f"extraction.{name:28} {value if isinstance(value, (bool, int)) else round(value, 1)}")
    print(f"\nours takes {result['generate'] / result['ours'] - 1:+.1%} of generate's time more, ", end="")
    print(f"and is {result['ours'] / result['released_loop']:.1f} times as fast as the released loop")


if __name__ == "__main__":
    main()
