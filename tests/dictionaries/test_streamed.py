"""States that lie on disk, or on another device: the same fit, without their being in memory."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from coxlmm_utils.dictionaries import blocks, streamed
from coxlmm_utils.dictionaries.base import squared_norms
from coxlmm_utils.dictionaries.baselines import METHODS
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF, largest_useful_lam
from coxlmm_utils.dictionaries.streamed import StreamedStates, as_states, let_go, lies_on_disk
from tests.dictionaries.test_semi_nmf import planted

SAMPLES, WIDTH, K = 130, 300, 4
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.fixture(scope="module")
def Z():
    return planted(SAMPLES, WIDTH, K)[0].astype(np.float32)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """What is many states, and many rows, in these tests."""
    monkeypatch.setattr(streamed, "MIN_NUMBERS", 1000)
    monkeypatch.setattr(blocks, "ROWS", 32)


@pytest.fixture
def path(Z, tmp_path):
    np.save(tmp_path / "Z.npy", Z)
    return tmp_path / "Z.npy"


def from_file(path, dtype=torch.float32):
    array = np.load(path, mmap_mode="r")
    first = array.offset // dtype.itemsize
    flat = torch.from_file(str(path), shared=True, size=first + array.size, dtype=dtype)
    return flat[first:].view(array.shape)


OPENED = {
    "r": lambda path: np.load(path, mmap_mode="r"),
    "r+": lambda path: np.load(path, mmap_mode="r+"),
    "c": lambda path: np.load(path, mmap_mode="c"),
    "view": lambda path: np.asarray(np.load(path, mmap_mode="r")),
    "shared tensor": lambda path: from_file(path),
}


@pytest.mark.parametrize("opened", OPENED.values(), ids=OPENED)
def test_a_fit_of_states_on_disk_is_that_in_memory(Z, path, opened):
    on_disk = opened(path)
    assert isinstance(as_states(on_disk), StreamedStates)
    ours, memory = SemiNMF(K).fit(on_disk), SemiNMF(K).fit(Z)
    assert ours.objective_ == pytest.approx(memory.objective_, rel=1e-9)
    assert ours.n_running_ == memory.n_running_ and ours.lam_ == memory.lam_
    assert ours.components_ == pytest.approx(memory.components_, abs=1e-6)
    assert ours.activations_ == pytest.approx(memory.activations_, abs=1e-5)
    for name in ("reconstruction_error_", "mean_cosine_", "kkt_U_"):
        assert getattr(ours, name) == pytest.approx(getattr(memory, name), rel=1e-5)
    assert ours.kkt_V_ <= 1e-8
    assert np.array_equal(ours.transform(on_disk), ours.activations_)
    assert np.array_equal(memory.transform(on_disk), memory.activations_)  # to the last bit


def test_centred_and_relative_to_the_longest(Z, path):
    on_disk, options = np.load(path, mmap_mode="r"), {"relative_lam": 0.03, "centre": True}
    ours, memory = SemiNMF(K, **options).fit(on_disk), SemiNMF(K, **options).fit(Z)
    assert largest_useful_lam(on_disk) == largest_useful_lam(Z) and ours.lam_ == pytest.approx(memory.lam_, rel=1e-12)
    assert ours.mean_ == pytest.approx(memory.mean_, rel=1e-6)
    assert ours.objective_[-1] == pytest.approx(memory.objective_[-1], rel=1e-9)
    assert np.array_equal(ours.transform(on_disk), ours.activations_)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4", np.int32])
def test_other_types(Z, tmp_path, dtype):
    other = (Z * 10).astype(dtype)
    np.save(tmp_path / "Z.npy", other)
    ours, memory = (SemiNMF(K).fit(states) for states in (np.load(tmp_path / "Z.npy", mmap_mode="r"), other))
    assert ours.objective_[-1] == pytest.approx(memory.objective_[-1], rel=1e-9)


def test_bfloat16(Z, tmp_path):
    short = torch.tensor(Z).bfloat16()
    np.save(tmp_path / "Z.npy", short.view(torch.int16).numpy())
    on_disk = from_file(tmp_path / "Z.npy", torch.bfloat16)
    assert isinstance(as_states(on_disk), StreamedStates)
    assert SemiNMF(K).fit(on_disk).objective_[-1] == pytest.approx(SemiNMF(K).fit(short).objective_[-1], rel=1e-9)


@pytest.mark.parametrize(
    "make", [lambda Z: Z[::2], lambda Z: Z[10:], lambda Z: Z[:, ::2]], ids=["step", "part", "columns"]
)
def test_views(Z, path, make):
    part = make(np.load(path, mmap_mode="r"))
    assert isinstance(as_states(part), StreamedStates)
    assert SemiNMF(K).fit(part).objective_[-1] == pytest.approx(SemiNMF(K).fit(make(Z)).objective_[-1], rel=1e-9)


def test_columns_first(Z, tmp_path):
    np.save(tmp_path / "Z.npy", np.asfortranarray(Z))
    ours = SemiNMF(K).fit(np.load(tmp_path / "Z.npy", mmap_mode="r"))
    assert ours.objective_[-1] == pytest.approx(SemiNMF(K).fit(Z).objective_[-1], rel=1e-9)


def test_what_is_in_memory_or_small_is_a_tensor(Z, path, monkeypatch):
    on_disk = np.load(path, mmap_mode="r")
    shared = torch.tensor(Z).share_memory_()
    for states in (Z, Z.tolist(), torch.tensor(Z), on_disk[[0, 5, 9] * 10], on_disk + 1, shared, on_disk[:3]):
        assert isinstance(as_states(states), torch.Tensor)
    assert lies_on_disk(on_disk[:3]) and not lies_on_disk(Z)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_baselines_take_them_too(Z, path, method):
    given, plain = method(K).fit(np.load(path, mmap_mode="r")), method(K).fit(Z)
    assert given.components_ == pytest.approx(plain.components_, abs=1e-6)


# Another device: its path on the CPU


def test_a_device_that_they_are_on_changes_nothing(Z):
    given, plain = SemiNMF(K, device="cpu").fit(Z), SemiNMF(K).fit(Z)
    assert given.objective_ == plain.objective_ and np.array_equal(given.components_, plain.components_)


def test_streamed_to_a_device_whose_memory_holds_the_activations(Z, path, monkeypatch):
    monkeypatch.setattr(streamed, "Scratch", list)  # as for a GPU
    for options in ({}, {"centre": True}):
        ours, memory = SemiNMF(K, **options).fit(np.load(path, mmap_mode="r")), SemiNMF(K, **options).fit(Z)
        assert ours.objective_ == memory.objective_ and np.array_equal(ours.components_, memory.components_)
        assert np.array_equal(ours.activations_, memory.activations_)


def test_a_device_is_no_part_of_what_was_learned():
    dictionary = SemiNMF(K, device="cpu")
    assert "device" not in dictionary.get_params() and dictionary.clone().device == "cpu"


@pytest.mark.parametrize("device", ["nowhere", "cuda:99"])
def test_a_device_that_there_is_not(Z, device):
    with pytest.raises(ValueError, match=f"device='{device}' cannot be used .*: leave it out, or name another"):
        SemiNMF(K, device=device).fit(Z)


# What is wrong with the states


def test_the_first_bad_sample_is_named_by_its_number_in_all(Z, path):
    on_disk = np.load(path, mmap_mode="r+")
    fitted = SemiNMF(K).fit(on_disk)
    on_disk[[100, 120], 7] = np.nan
    for run in (SemiNMF(K).fit, SemiNMF(K, centre=True).fit, fitted.transform):
        with pytest.raises(ValueError, match="Sample 100 has a NaN or infinite value: drop or redo it"):
            run(on_disk)


def test_what_is_no_matrix_of_real_numbers(Z, path, tmp_path):
    on_disk = np.load(path, mmap_mode="r")
    with pytest.raises(ValueError, match=rf"one row for each sample, got shape \({SAMPLES * WIDTH},\)"):
        SemiNMF(K).fit(on_disk.reshape(-1))
    with pytest.raises(ValueError, match=f"The states have width 10, not {WIDTH}"):
        SemiNMF.from_components(np.eye(K, WIDTH)).transform(on_disk.reshape(-1, 10))
    with pytest.raises(ValueError, match="n_concepts=131 is more than the 130 samples"):
        SemiNMF(131).fit(on_disk)
    np.save(tmp_path / "complex.npy", Z + 1j)
    with pytest.raises(ValueError, match="The samples are complex numbers"):
        SemiNMF(K).fit(np.load(tmp_path / "complex.npy", mmap_mode="r"))


# Memory


def test_letting_go_keeps_what_was_written_to_a_private_mapping(Z, path):
    private = np.load(path, mmap_mode="c")
    private[5, 3] = 42
    for rows in (private, np.asarray(private)):
        let_go(rows, 0, SAMPLES)
        assert private[5, 3] == 42 and np.array_equal(np.asarray(private)[6:], Z[6:])
    assert np.load(path)[5, 3] == Z[5, 3]


def test_letting_go_keeps_memory_and_what_was_written_to_a_file(Z, path):
    plain, shared = Z.copy(), np.load(path, mmap_mode="r+")
    shared[5, 3] = 42
    for rows in (plain, shared, torch.tensor(Z)):
        let_go(rows, 0, SAMPLES)
        assert np.array_equal(np.asarray(rows)[6:], Z[6:])
    assert shared[5, 3] == 42


def held(path) -> int:
    """How much of a file's mappings counts as this process's memory, in kilobytes."""
    mappings = re.findall(r"^\w+-\w+ .*?(?=^\w+-\w+ |\Z)", Path("/proc/self/smaps").read_text(), re.M | re.S)
    return sum(int(re.search(r"^Rss: +(\d+)", mapping, re.M)[1]) for mapping in mappings if str(path) in mapping)


@only_linux
@pytest.mark.parametrize("opened", [OPENED[name] for name in ("r", "r+", "view")])
def test_rows_that_were_read_are_not_held(tmp_path, opened):
    path = tmp_path / "Z.npy"
    np.save(path, np.ones((1000, 4096), dtype=np.float32))
    on_disk = opened(path)
    states = as_states(on_disk)
    assert len(states[torch.arange(0, 1000, 10)]) == 100 and held(path) < 200
    assert torch.allclose(squared_norms(states), torch.tensor(4096.0).double()) and held(path) < 200
    assert on_disk.sum() == 4096_000 and held(path) > 16_000  # as it would be otherwise


FITTED = """
import re, sys
from pathlib import Path
import numpy as np
from coxlmm_utils import SemiNMF

def kilobytes(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

SemiNMF(5, max_iter=2).fit(np.random.default_rng(0).standard_normal((3000, 300)))  # what libraries keep from their first call
Z = np.load(sys.argv[1], mmap_mode=sys.argv[2] if sys.argv[2] != "None" else None)
Path("/proc/self/clear_refs").write_text("5")
before = kilobytes("VmRSS")
fitted = SemiNMF(20, lam=2.0, n_init=2, tol=1e-2, verbose=False).fit(Z)
print((kilobytes("VmHWM") - before) * 1024, repr(fitted.objective_[-1]), (fitted.transform(Z) == fitted.activations_).all())
"""


@only_linux
def test_a_fit_out_of_core_takes_a_quarter_of_the_memory_of_the_states(tmp_path):
    """10^5 states of 512: the most that the process ever holds, mapped pages included, and the same objective."""
    path, rng = tmp_path / "Z.npy", np.random.default_rng(0)
    Z = np.lib.format.open_memmap(path, "w+", np.float32, (100_000, 512))
    U = rng.standard_normal((20, 512), dtype=np.float32) / np.sqrt(512)
    for rows in np.split(Z, 50):
        V = rng.gamma(4.0, 1.0, (len(rows), 20)) * (rng.random((len(rows), 20)) < 0.3)
        rows[:] = V @ U + 0.2 * rng.standard_normal(rows.shape, dtype=np.float32)
    peaks, objectives = [], []
    for mode in ("r", "None"):
        command = [sys.executable, "-W", "ignore", "-c", FITTED, path, mode]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peak, objective, equal = done.stdout.split()
        peaks.append(int(peak))
        objectives.append(float(objective))
        assert equal == "True"
    assert peaks[0] < Z.nbytes / 4 < peaks[1]
    assert objectives[0] == pytest.approx(objectives[1], rel=1e-6)
