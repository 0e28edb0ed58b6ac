"""Processes that are killed, and processes that share the work: the blocks are always the same."""

import functools
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from safetensors.torch import load_file
from tqdm.auto import tqdm

from coxlmm_utils import load_images, load_lmm
from coxlmm_utils.extraction import blocks, loop
from coxlmm_utils.extraction.extract import extract_many
from coxlmm_utils.models.captioning import generate_captions
from tests.conftest import noise
from tests.tiny_lmms import tiny_llava

N_PICTURES, BLOCK, N_BLOCKS = 160, 4, 40

# Blocks are small here, so that a short run has many. "ready" is printed when the work begins.
SCRIPT = f"""
import sys
import torch
torch.set_num_threads(1)
from coxlmm_utils.extraction import __main__, blocks
blocks.BLOCK = {BLOCK}
make = __main__.make_blocks
def make_blocks(*args):
    print("ready", flush=True)
    make(*args)
__main__.make_blocks = make_blocks
__main__.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model and a folder of pictures; all captions mention what the model likes to write."""
    folder = tmp_path_factory.mktemp("work")
    tiny_llava(folder / "model")
    (folder / "pictures").mkdir()
    for number in range(N_PICTURES):
        noise(number).save(folder / "pictures" / f"{number:03d}.png")
    (folder / "pictures" / "007.png").write_bytes(b"no picture")
    (folder / "run.py").write_text(SCRIPT)
    return folder


@pytest.fixture(scope="module")
def tokens(place):
    """Two words that the model writes."""
    lmm = load_lmm(place / "model", device="cpu")
    written = generate_captions(lmm, [noise(number) for number in range(8, 40)], max_new_tokens=8)
    words = [word for single in written for word in {*single.caption.split()} if word.isalpha()]
    return sorted({*words}, key=lambda word: (words.count(word), word))[-2:]  # in most captions


def command(place, tokens, out, *launcher) -> list[str]:
    chosen = [option for token in tokens for option in ("--token", token)]
    options = ["--model", place / "model", "--data", f"folder:{place / 'pictures'}", "--folder", place / out]
    launcher = launcher or (sys.executable,)
    return [
        *map(str, [*launcher, place / "run.py", *options, *chosen, "--layer", "2", "--layer", "norm"]),
        "--max-new-tokens=8",
    ]


def run(place, tokens, out, *launcher, **environment) -> str:
    done = subprocess.run(
        command(place, tokens, out, *launcher), env=_environment(**environment), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _environment(**more) -> dict:
    names = ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS")
    return {name: value for name, value in os.environ.items() if name not in names} | {
        "OMP_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
        **more,
    }


def contents(folder) -> dict:
    """What the blocks hold, by their names."""
    result = {path.name: json.loads(path.read_text()) for path in folder.glob("*/*/*-*.json")}
    states = {path.name: load_file(path) for path in folder.glob("*/*/*.safetensors")}
    assert {name.split(".")[0] for name in result} == {name.split(".")[0] for name in states}
    return {
        "captions": result,
        "states": {name: {k: v.tolist() for k, v in item.items()} for name, item in states.items()},
    }


@pytest.fixture(scope="module")
def undisturbed(place, tokens):
    output = run(place, tokens, "undisturbed")
    assert "160 pictures to read at" in output and f"{N_BLOCKS} of {N_BLOCKS} blocks are in" in output
    return contents(place / "undisturbed")


def test_every_picture_is_in_one_block_or_noted_as_unreadable(undisturbed):
    ids = [picture["id"] for block in undisturbed["captions"].values() for picture in block["pictures"]]
    unreadable = [id for block in undisturbed["captions"].values() for id in block["unreadable"]]
    assert sorted(ids + unreadable) == [f"{number:03d}.png" for number in range(N_PICTURES)]
    assert unreadable == ["007.png"]


def blocks_in(folder) -> int:
    return len(list(folder.glob("[!.]*/[!.]*/*-*.json")))


def test_killed_at_random_moments_and_resumed_it_ends_the_same(place, tokens, undisturbed):
    rng, folder = random.Random(0), place / "killed"
    for _ in range(2):
        until = blocks_in(folder) + rng.randint(0, 5)
        with subprocess.Popen(
            command(place, tokens, "killed"), env=_environment(), stdout=subprocess.PIPE, text=True
        ) as process:
            while process.stdout.readline().strip() not in ("ready", ""):
                pass
            while blocks_in(folder) < until and process.poll() is None:
                pass
            time.sleep(rng.uniform(0, 0.02))  # somewhere within a block
            assert process.poll() is None, "it was to be killed at work"
            process.send_signal(signal.SIGKILL)
    assert 0 < blocks_in(folder) < N_BLOCKS
    run(place, tokens, "killed")
    assert contents(folder) == undisturbed
    assert not list(folder.glob("*/*/.*"))  # nothing half-written is left


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows starts each process anew, which takes long")
def test_thirty_kills_at_random_moments_lose_nothing(place, tokens, undisturbed, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", BLOCK)
    # Forks share the lock of progress bars: one that is killed with it in its hand would keep it from all others.
    monkeypatch.setattr(tqdm, "_lock", threading.RLock(), raising=False)
    rng, folder, forking = random.Random(1), place / "thirty", multiprocessing.get_context("fork")
    lmm, images = load_lmm(place / "model", device="cpu"), load_images(f"folder:{place / 'pictures'}")
    work = functools.partial(extract_many, lmm, images, tokens, [2, "norm"], max_new_tokens=8, folder=folder)
    n_kills = n_at_work = 0
    while n_kills < 30:
        process = forking.Process(target=work)
        process.start()
        process.join(rng.uniform(0, 0.5))  # seconds
        if process.is_alive():
            n_kills += 1
            process.kill()
        process.join()
        n_at_work += 0 < blocks_in(folder) < N_BLOCKS
        if process.exitcode == 0:
            assert contents(folder) == undisturbed
            shutil.rmtree(folder)
        assert process.exitcode in (0, -signal.SIGKILL)
    assert n_at_work > 15
    work()
    assert contents(folder) == undisturbed and not list(folder.glob("*/*/.*"))


def test_two_processes_of_torchrun_make_the_same_blocks(place, tokens, undisturbed):
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29517")
    output = run(place, tokens, "two", *launcher)
    assert "process 1 of 2" in output and "process 2 of 2" in output
    assert contents(place / "two") == undisturbed


def test_a_resume_with_another_number_of_processes_is_right(place, tokens, undisturbed):
    output = run(place, tokens, "resumed", SLURM_PROCID="1", SLURM_NTASKS="3")
    assert f"process 2 of 3 is done: 13 of {N_BLOCKS} blocks" in output
    assert blocks_in(place / "resumed") == 13
    run(place, tokens, "resumed")
    assert contents(place / "resumed") == undisturbed


def test_the_same_call_reads_what_processes_have_made(place, tokens, undisturbed, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", BLOCK)
    monkeypatch.setattr(loop, "generate_batch", lambda *_, **__: pytest.fail("the model ran"))
    images, lmm = load_images(f"folder:{place / 'pictures'}"), load_lmm(str(place / "model"), device="cpu")
    with pytest.warns(UserWarning):
        result = extract_many(lmm, images, tokens, [2, "norm"], max_new_tokens=8, folder=place / "undisturbed")
    for (token, position), states in result.items():
        expected = [
            row
            for name in sorted(undisturbed["states"])
            for row in undisturbed["states"][name][f"{token}/{position}/2"]
        ]
        assert torch.equal(states.vectors[2], torch.tensor(expected))


def test_a_damaged_block_is_named(place, tokens, undisturbed, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", BLOCK)
    run(place, tokens, "damaged")
    victim = sorted((place / "damaged").glob("*/*/*.safetensors"))[3]
    victim.write_bytes(victim.read_bytes()[:50])
    images, lmm = load_images(f"folder:{place / 'pictures'}"), load_lmm(str(place / "model"), device="cpu")
    with pytest.raises(ValueError, match=f"the block .*{victim.stem}.* is damaged .*; delete it and extract again"):
        extract_many(lmm, images, tokens, [2, "norm"], max_new_tokens=8, folder=place / "damaged")
