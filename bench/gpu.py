"""Extraction on a GPU against captioning alone and against the released loop: prints tables, writes build/bench.json.

    generate          `model.generate` alone, processor included
    ours              the same with all states of all layers hooked, the word found, both positions kept, blocks on disk
    early_stop        ours, each caption ended a token after its word, which is the sixth of twenty
    given_captions    ours, of captions that are there already: one teacher-forced pass each batch
    released_loop     a re-enactment of the released code's loop, see extraction.py; one picture at a time
    inputs, prefill   parts of generate: the processor, and one pass over pictures and prompts

LLaVA-1.5-7B and Qwen2.5-VL-7B with random weights (random_lmms.py), pictures of 640 x 480 in memory, captions of twenty
words and an end; medians of interleaved runs. What takes longer than there is time for, or more memory than the card
has, is named and left out. Then Semi-NMF on the card against scikit-learn, as in semi_nmf.py, at the paper's size.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from cards import card, free, kernel_seconds, peak_gb, reset_peak, seconds_of
from extraction import generate_alone, released_loop
from gpu_report import derived, print_tables, targets
from measuring import RESULTS, keep
from PIL import Image
from random_lmms import CAPTION, MODELS, random_lmm
from semi_nmf import CASES, LAM, fit_sklearn, massive, objective, planted
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import BatchFeature

from coxlmm_utils import LMM, SemiNMF, load_images
from coxlmm_utils.extraction import Settings
from coxlmm_utils.extraction.batches import is_out_of_memory
from coxlmm_utils.extraction.extraction_plan import ExtractionPlan, make_plan
from coxlmm_utils.extraction.loop import make_blocks
from coxlmm_utils.extraction.samples import gathered
from coxlmm_utils.images import CaptionedImages
from coxlmm_utils.models import last_logits

PICTURES, TINY_PICTURES = {32: 64, 1: 4, 8: 16, 128: 128}, {4: 8, 1: 2}  # by batch, the most telling one first
N_RELEASED, RUNS = 4, 3
WORD = CAPTION[5]
SECONDS, OF_DICTIONARIES = 520, 80  # for all, and what is left of it for Semi-NMF and scikit-learn
DICTIONARIES = ("planted", "massive")  # kinds of states, as in semi_nmf.py
PAPER_STATES, TINY_STATES = (3_700, 4_096), (120, 64)  # (samples, width) of "dog" in the paper's run, about
Result = TypeVar("Result")
OUT_OF_TIME, OUT_OF_MEMORY = "out of time", "out of memory"
HALVED = "a batch of .* did not fit the memory"  # what extraction warns of, and goes on with half of it


def photographs(folder: Path, n: int) -> CaptionedImages:
    """JPEG files of 640 x 480 pixels, each a slope of light with grain."""
    rng = np.random.default_rng(0)
    slope = np.linspace(0, 200, 640) + np.zeros((480, 640))
    for number in range(n):
        pixels = rng.permutation(3)[:, None, None] * slope / 3 + rng.integers(0, 56, (3, 480, 640))
        Image.fromarray(pixels.transpose(1, 2, 0).astype(np.uint8)).save(folder / f"{number:03d}.jpg")
    return load_images(f"folder:{folder}")


def measure(works: dict[str, Callable], device: torch.device, deadline: float) -> dict:
    """Median seconds over interleaved runs and the peak memory of each piece of work, or why there are none."""
    free(device)
    seconds, memory, missing = {name: [] for name in works}, {}, {}
    for number in range(RUNS + 1):  # the first run warms up, and shows the peak memory
        for name, work in works.items():
            if name in missing or time.perf_counter() > deadline:
                continue
            if number == 0:
                reset_peak(device)
            taken = if_it_fits(partial(seconds_of, work, device), device)
            if taken is None:
                missing[name] = OUT_OF_MEMORY
            elif number == 0:
                memory[name] = peak_gb(device)
            else:
                seconds[name].append(taken)
    missing |= {name: OUT_OF_TIME for name, values in seconds.items() if not values and name not in missing}
    medians = {name: statistics.median(values) for name, values in seconds.items() if name not in missing}
    runs = {name: len(seconds[name]) for name in medians}
    return {"seconds": medians, "runs": runs, "memory_gb": memory, "missing": missing}


def if_it_fits(work: Callable[[], Result], device: torch.device) -> Result | None:
    """What some work gives, or None if the memory does not hold it, batches as large as they are asked for."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", HALVED)
            return work()
    except (MemoryError, RuntimeError, UserWarning) as error:
        if not (is_out_of_memory(error) or re.match(HALVED, str(error))):
            raise
    free(device)  # only now: what failed is held as long as its error is
    return None


def plans(lmm: LMM, images: CaptionedImages) -> dict[str, ExtractionPlan]:
    """Those of our three extractions."""
    layers = [*range(lmm.n_layers + 1), "norm"]
    captions = dict.fromkeys(images.ids, " ".join(CAPTION))
    settings = {"ours": Settings(layers), "early_stop": Settings(layers, stop_early=True)}
    settings |= {"given_captions": Settings(layers, captions=captions)}
    return {name: make_plan(lmm, images, [WORD], of_one) for name, of_one in settings.items()}


def ours(lmm: LMM, plan: ExtractionPlan, batch: int) -> None:
    """An extraction from its plan on: making that takes a time of its own, whatever the number of pictures."""
    with tempfile.TemporaryDirectory() as folder:
        blocks = plan.folder(Path(folder))
        make_blocks(lmm, plan, blocks, batch)
        gathered(lmm, plan.images, plan, list(blocks.read()))


def prefill(lmm: LMM, inputs: Callable[[], BatchFeature], times: int = 1) -> None:
    """One pass over pictures and prompts, some times over."""
    with torch.inference_mode():
        for _ in range(times):
            last_logits(lmm, inputs(), 1)


def row_of(lmm: LMM, images: CaptionedImages, planned: dict, batch: int, deadline: float) -> dict:
    """All that is timed at one size of batch, over all these pictures."""
    starts = range(0, len(images), batch)

    def inputs(start: int = 0) -> BatchFeature:
        return lmm.inputs([images.picture(row) for row in range(start, start + batch)])

    first = cache(inputs)  # made when it is first asked for, since it may not fit, either
    works = {"generate": partial(generate_alone, lmm, images, batch)}
    works |= {
        name: partial(ours, lmm, replace(plan, images=plan.images[: len(images)]), batch)
        for name, plan in planned.items()
    }
    works |= {"inputs": lambda: [inputs(start) for start in starts]}
    works |= {"prefill": partial(prefill, lmm, first, len(starts))}
    row = {"batch": batch, "pictures": len(images)} | measure(works, lmm.device, deadline)
    if "prefill" in row["seconds"]:
        with suppress(RuntimeError):  # a profiler that may not look at the card, or lacks the memory
            row["kernels"] = kernel_seconds(partial(prefill, lmm, first), lmm.device)
    return row


def prefill_flop(lmm: LMM, inputs: BatchFeature) -> int:
    """Floating-point operations of one pass over a picture and its prompt, as torch counts them."""
    # Attention as plain products, which are counted on every device and in every version.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        last_logits(lmm, inputs, 1)
    return counter.get_total_flops()


def measured_model(lmm: LMM, images: CaptionedImages, sizes: dict[int, int], deadline: float, peak: float) -> Iterator:
    """What is known of one model: more and more of it, after each step."""
    begin = time.perf_counter()
    planned = plans(lmm, images)
    result = {"parameters": lmm.model.num_parameters(), "plan_s": (time.perf_counter() - begin) / len(planned)}
    inputs = lmm.inputs([images.picture(0)])
    result |= {"prompt_tokens": inputs["input_ids"].shape[1], "flop": prefill_flop(lmm, inputs), "rows": []}
    for batch, n in sizes.items():
        print(f"{lmm.name}: {n} pictures by {batch} ...", file=sys.stderr, flush=True)
        row = row_of(lmm, images[:n], planned, batch, deadline)
        result["rows"].append(row | derived(row, result["flop"], peak))
        if "released_loop" not in result:
            loop = measure({"released_loop": partial(released_loop, lmm, images[:N_RELEASED])}, lmm.device, deadline)
            result["released_loop"] = {"pictures": N_RELEASED} | loop
        yield result


def measure_models(names: list[str], device: torch.device, tiny: bool, end: float, results: dict) -> Iterator[None]:
    """Put what is measured of the models into the results, one model at a time; of what is left each has its share."""
    sizes = TINY_PICTURES if tiny else PICTURES
    with tempfile.TemporaryDirectory() as folder:
        files = photographs(Path(folder), max(sizes.values()))
        begin = time.perf_counter()
        pictures = [files.picture(row) for row in range(len(files))]
        results["open_s"] = (time.perf_counter() - begin) / len(pictures)
    images = load_images(pictures, captions=[WORD] * len(pictures))
    for number, name in enumerate(names):
        now = time.perf_counter()
        deadline = now + (end - now) / (len(names) - number)
        results["models"][name] = {} if now < deadline else {"missing": OUT_OF_TIME}
        if now > deadline:
            continue
        try:
            steps = measured_model(random_lmm(name, device, tiny), images, sizes, deadline, results["peak_tflops"])
            for known in steps:
                results["models"][name] = known
                yield
        except Exception as error:  # of any kind: the other model and the dictionaries are still to be measured
            traceback.print_exc()
            results["models"][name] |= {"missing": f"{type(error).__name__}: {error}"}
        free(device)  # of the model, which nothing holds any more


def dictionary(case: str, device: torch.device, tiny: bool) -> dict:
    """Our Semi-NMF of made-up states that lie on the device, the median of some fits."""
    Z, (n_concepts, max_iter) = made_up_states(case, tiny), CASES[case]
    on_device, learner = torch.from_numpy(Z).to(device), SemiNMF(n_concepts, lam=LAM, max_iter=max_iter)
    seconds = [seconds_of(lambda: learner.fit(on_device), device) for _ in range(RUNS + 1)]  # the first warms up
    reached = objective(Z.astype(float), learner.components_, learner.activations_)
    return {"seconds": statistics.median(seconds[1:]), "iterations": learner.n_iter_, "objective": reached}


def made_up_states(case: str, tiny: bool) -> np.ndarray:
    """(samples, width), float32."""
    return {"planted": planted, "massive": massive}[case](*(TINY_STATES if tiny else PAPER_STATES))


def sklearn_alone(case: str, tiny: bool, seconds: float) -> dict:
    """scikit-learn's solver in a process of its own, stopped after so many seconds."""
    command = [sys.executable, __file__, "--sklearn", case, *["--tiny"] * tiny]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"missing": f"stopped after {seconds:.0f} s"}
    if done.returncode:
        return {"missing": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def sklearn_here(case: str, tiny: bool) -> dict:
    """scikit-learn's solver in this process."""
    Z = made_up_states(case, tiny)
    result = fit_sklearn(Z, *CASES[case])
    reached = objective(Z.astype(float), result.pop("U"), result.pop("V"))
    return result | {"objective": reached}


def run(names: list[str], device: torch.device, tiny: bool, seconds: float, out: Path | None) -> dict:
    """Measure all; what is there so far is kept after each step, should it be the last."""
    end = time.perf_counter() + seconds
    results = card(device, tiny) | {"models": {}, "dictionary": {}}

    def keep_so_far() -> None:
        results["targets"] = targets(results)
        if out is not None:
            keep("gpu", results, out)

    for _ in measure_models(names, device, tiny, end - OF_DICTIONARIES * (not tiny), results):
        keep_so_far()
    for number, case in enumerate(DICTIONARIES):
        fits = results["dictionary"][case] = {"ours": dictionary(case, device, tiny)}
        share = max(0.0, (end - time.perf_counter()) / (len(DICTIONARIES) - number))
        fits["sklearn"] = sklearn_alone(case, tiny, share)
        keep_so_far()
    return results


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Extraction on a GPU: speed, memory, and where the time goes.")
    parser.add_argument("--tiny", action="store_true", help="models of three layers, on a CPU if need be; not kept")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which no run is begun")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--sklearn", choices=DICTIONARIES, help="its solver alone, in this process")
    options = parser.parse_args()
    if options.sklearn:
        warnings.simplefilter("ignore")
        print(json.dumps(sklearn_here(options.sklearn, options.tiny)))
        return
    if not (options.tiny or torch.cuda.is_available()):
        parser.error("there is no GPU here that PyTorch can use; --tiny tries the script out on the CPU")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    out = None if options.tiny else options.out  # what tiny models take is no result
    print_tables(run(options.models, device, options.tiny, options.seconds, out))


if __name__ == "__main__":
    main()
