"""The benchmark on a GPU, tried on tiny models on the CPU: what it measures, when it stops, and what it makes of it."""

import json
import time
import weakref
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from .test_bench import script
from .test_results import pages

gpu = script("gpu")
cards, models, report = (import_module(name) for name in ("cards", "random_lmms", "gpu_report"))
CPU, CAPTION = torch.device("cpu"), [f"w{number}" for number in range(20)]
TIMED = ["generate", "ours", "early_stop", "given_captions", "inputs", "prefill"]


@pytest.fixture(scope="module", params=["llava", "qwen"])
def lmm(request):
    return gpu.random_lmm(request.param, CPU, tiny=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    files = gpu.photographs(tmp_path_factory.mktemp("photographs"), 4)
    return gpu.load_images([files.picture(row) for row in range(4)], captions=[gpu.WORD] * 4)


@pytest.fixture
def one_run(monkeypatch):
    monkeypatch.setattr(gpu, "RUNS", 1)


def soon():
    return time.perf_counter() + 600


# The models


@pytest.mark.parametrize("name, parameters", [("llava", 7_063_427_072), ("qwen", 8_292_166_656)])
def test_the_sizes_are_those_of_the_published_models(name, parameters):
    config, _ = models.MODELS[name](tiny=False)
    with torch.device("meta"):
        assert AutoModelForImageTextToText.from_config(config).num_parameters() == parameters


@pytest.mark.parametrize("name, token, n", [("llava", "<image>", 24 * 24), ("qwen", "<|image_pad|>", 23 * 17)])
def test_a_photograph_is_as_many_tokens_as_to_the_published_models(name, token, n, images):
    config, processor = models.MODELS[name](tiny=False)
    text = {"llava": "<image> a", "qwen": "<|image_pad|> a"}[name]
    ids = processor(images=[images.picture(0)], text=[text], return_tensors="pt")["input_ids"]
    assert (ids == processor.tokenizer.convert_tokens_to_ids(token)).sum() == n
    assert len(processor.tokenizer) == config.get_text_config().vocab_size


def test_one_caption_is_written_whatever_the_picture_and_then_ends(lmm, images):
    pictures = [images.picture(0), Image.new("RGB", (40, 300), "red")]
    batch = lmm.inputs(pictures)
    written = lmm.model.generate(**batch, max_new_tokens=40)[:, batch["input_ids"].shape[1] :]
    ids = lmm.tokenizer.convert_tokens_to_ids([*CAPTION, lmm.tokenizer.eos_token])
    assert written.tolist() == [ids, ids] and lmm.model.dtype == torch.bfloat16 and lmm.lens == "exact"


def test_a_model_that_does_not_write_its_caption_is_refused(monkeypatch):
    monkeypatch.setattr(models, "STRENGTH", 0.0)
    with pytest.raises(RuntimeError, match="STRENGTH"):
        models.random_lmm("llava", CPU, tiny=True)


@pytest.mark.parametrize("name, n_words", [("ours", 20), ("early_stop", 7), ("given_captions", 20)])
def test_every_picture_is_a_sample_and_early_stop_ends_a_word_after_it(lmm, images, tmp_path, name, n_words):
    plan = gpu.plans(lmm, images)[name]
    blocks = plan.folder(tmp_path)
    gpu.make_blocks(lmm, plan, blocks, 4)
    (block,) = blocks.read()
    assert [picture["caption"].split() for picture in block.pictures] == [CAPTION[:n_words]] * 4
    assert len(block.states) == 2 * (lmm.n_layers + 2) and all(len(states) == 4 for states in block.states.values())


# Measuring


def test_all_of_a_model_is_measured(lmm, images, one_run):
    *_, result = gpu.measured_model(lmm, images, {2: 2, 1: 1}, soon(), peak=0.1)
    assert [(row["batch"], row["pictures"]) for row in result["rows"]] == [(2, 2), (1, 1)]
    for row in result["rows"]:
        assert list(row["seconds"]) == list(row["memory_gb"]) == list(row["runs"]) == TIMED and not row["missing"]
        assert min(row["seconds"].values()) > 0 and row["kernels"]["products"] > 0 and row["kernels"]["attention"] > 0
        assert row["per_second"]["ours"] == row["pictures"] / row["seconds"]["ours"]
        assert sum(row["of_generate"].values()) == pytest.approx(1)
    assert list(result["released_loop"]["seconds"]) == ["released_loop"]
    json.dumps(result)


def test_operations_of_a_prefill_are_two_for_each_weight_and_token(lmm, images):
    inputs = lmm.inputs([images.picture(0)])
    blocks = sum(weight.numel() for weight in lmm.layers.parameters() if weight.dim() == 2)
    # The tower, attention and one position of the unembedding come on top.
    assert 1 < gpu.prefill_flop(lmm, inputs) / (2 * blocks * inputs["input_ids"].shape[1]) < 1.7


def test_when_time_is_up_nothing_is_begun(lmm, images):
    (result,) = gpu.measured_model(lmm, images, {2: 4}, 0, peak=0.1)
    (row,) = result["rows"]
    assert row["missing"] == dict.fromkeys(TIMED, gpu.OUT_OF_TIME) and row["per_second"] == row["seconds"] == {}
    assert result["released_loop"]["missing"] == {"released_loop": gpu.OUT_OF_TIME}


def test_what_was_measured_before_time_was_up_stays(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(gpu.time, "perf_counter", lambda: now[0])

    def work():
        now[0] += 1

    measured = gpu.measure({"first": work, "second": work}, CPU, deadline=2.5)  # warm-ups, and one run of the first
    assert measured["seconds"] == {"first": 1} and measured["runs"] == {"first": 1}
    assert measured["missing"] == {"second": gpu.OUT_OF_TIME}


def test_a_batch_that_does_not_fit_is_named_and_costs_nothing_else(lmm, images, one_run, monkeypatch):
    generate = lmm.model.generate

    def full(**inputs):
        if len(inputs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")
        return generate(**inputs)

    planned = gpu.plans(lmm, images)
    monkeypatch.setattr(lmm.model, "generate", full)
    row = gpu.row_of(lmm, images, planned, 4, soon())
    assert row["missing"] == dict.fromkeys(["generate", "ours", "early_stop"], gpu.OUT_OF_MEMORY)
    assert list(row["seconds"]) == ["given_captions", "inputs", "prefill"]
    assert not gpu.row_of(lmm, images[:2], planned, 2, soon())["missing"]


def test_other_errors_are_no_lack_of_memory():
    with pytest.raises(RuntimeError, match="shapes"):
        gpu.measure({"wrong": lambda: torch.ones(2) @ torch.ones(3)[:, None].T.expand(3, 3)}, CPU, soon())


# Cards


@pytest.mark.parametrize(
    "name, peak",
    [
        ("NVIDIA H200", 989),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA L4", 121),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA L40S", None),
        ("NVIDIA A10G", None),
        ("NVIDIA H100 NVL", None),
        ("Tesla T4", None),
    ],
)
def test_the_peak_of_a_card_by_its_name(name, peak):
    assert cards.data_sheet_peak(name) == peak


def test_an_unknown_card_is_measured():
    info = cards.card(CPU, tiny=True)
    assert info["peak_tflops"] == info["product_tflops"] > 0 and info["peak_by"] == "measured product"


def test_time_of_operators_goes_to_products_attention_and_all_else():
    A = torch.randn(300, 300)
    seconds = cards.kernel_seconds(lambda: A @ A, CPU)
    assert seconds["products"] > seconds["other"] >= seconds["attention"] == 0
    assert [
        cards._kind(f"aten::{name}") for name in ("addmm", "_flash_attention_forward", "cudnn_convolution", "mul")
    ] == [
        "products",
        "attention",
        "products",
        "other",
    ]


# What it comes to


def row(batch, **seconds):
    """A made-up row of 64 pictures with 2 TFLOP of prefill each, at a peak of 1,000 TFLOP/s."""
    kernels = {"products": 0.1, "attention": 0.05, "other": 0.05} if "prefill" in seconds else {}
    measured = {"batch": batch, "pictures": 64, "seconds": seconds, "memory_gb": {}, "missing": {}, "kernels": kernels}
    return measured | report.derived(measured, 2 * 10**12, 1000.0)


def test_rates_and_shares_by_hand():
    measured = row(32, generate=4.0, ours=5.0, inputs=1.0, prefill=0.5)
    assert measured["per_second"] == {"generate": 16, "ours": 12.8}
    assert measured["of_generate"] == {"inputs": 0.25, "prefill": 0.125, "decode": 0.625}
    assert measured["hooks_of_ours"] == pytest.approx(0.2)
    assert measured["prefill_tflops"] == 256 and measured["of_peak"] == 0.256
    shares = {"products": 0.4, "attention": 0.2, "other": 0.2, "waiting": 0.2}  # of the .25 s of one batch
    assert measured["of_prefill"] == pytest.approx(shares)


def test_targets_are_of_the_worst_batch_the_main_one_and_the_best():
    rows = [row(32, generate=4.0, ours=4.0, prefill=0.5), row(1, generate=3.0, ours=4.0, prefill=1.0), row(128)]
    loop = {"pictures": 4, "seconds": {"released_loop": 8.0}}
    fits = {"planted": {"ours": {"seconds": 0.5}, "sklearn": {"missing": "stopped after 60 s"}}}
    results = {"models": {"llava": {"rows": rows, "released_loop": loop}, "qwen": {"missing": "out of time"}}}
    found = report.targets(results | {"dictionary": fits})
    assert [entry["measured"] for entry in found] == [0.75, 32, 0.256, None, None, None, 0.5]
    assert [entry["reached"] for entry in found] == [False, True, False, False, False, False, True]
    assert (
        "products 40%" in found[2]["because"]
        and "640 TFLOP/s" in found[2]["because"]
        and "batch 32" in found[2]["because"]
    )


def in_this_process(monkeypatch):
    """`subprocess.run` of a Python script that is loaded already: importing torch once more takes long."""

    def run(command, **options):
        monkeypatch.setattr("sys.argv", command[1:])
        with redirect_stdout(StringIO()) as out:
            gpu.main()
        return SimpleNamespace(returncode=0, stdout=out.getvalue())

    return run


def test_the_whole_run_goes_on_after_a_model_that_fails(tmp_path, monkeypatch, one_run, capsys):
    monkeypatch.setattr(gpu, "TINY_PICTURES", {2: 2})
    monkeypatch.setattr(gpu, "DICTIONARIES", ("planted",))
    monkeypatch.setattr(gpu, "CASES", {"planted": (3, 300)})
    monkeypatch.setattr(gpu.subprocess, "run", in_this_process(monkeypatch))
    drawn = gpu.random_lmm

    def first_fails(name, *arguments):
        if name == "llava":
            raise ValueError("no such part")
        return drawn(name, *arguments)

    monkeypatch.setattr(gpu, "random_lmm", first_fails)
    results = gpu.run(["llava", "qwen"], CPU, True, 600, tmp_path / "bench.json")
    report.print_tables(results)
    assert json.loads((tmp_path / "bench.json").read_text())["gpu"] == json.loads(json.dumps(results))
    assert results["models"]["llava"] == {"missing": "ValueError: no such part"}
    assert results["models"]["qwen"]["rows"][0]["per_second"]["ours"] > 0
    fits = results["dictionary"]["planted"]
    assert fits["ours"]["objective"] == pytest.approx(fits["sklearn"]["objective"], rel=0.05)
    page = pages.page({"gpu": {"measured": {"commit": "none"}, "values": results}})
    assert "Qwen2.5-VL-7B, batch 2 |" in page and "LLaVA-1.5-7B: ValueError: no such part." in page
    printed = capsys.readouterr().out
    assert "no such part" in printed and "early_stop" in printed and "0.95 wanted, not measured" in printed


def test_one_model_is_gone_before_the_next_is_drawn(monkeypatch):
    drawn, alive = gpu.random_lmm, []

    def draw(*arguments):
        assert all(model() is None for model in alive)
        lmm = drawn(*arguments)
        alive.append(weakref.ref(lmm.model))
        return lmm

    monkeypatch.setattr(gpu, "TINY_PICTURES", {1: 1})
    monkeypatch.setattr(gpu, "random_lmm", draw)
    monkeypatch.setattr(gpu, "measure", lambda *_: {"seconds": {}, "missing": {}})
    results = {"models": {}, "peak_tflops": 0.1}
    for _ in gpu.measure_models(["llava", "qwen"], CPU, True, soon(), results):
        pass
    assert len(alive) == 2 and results["models"]["qwen"]["rows"] and results["open_s"] > 0


def test_without_time_the_run_ends_with_what_it_has(monkeypatch, one_run, capsys):
    monkeypatch.setattr(gpu, "DICTIONARIES", ("planted",))
    results = gpu.run(["llava", "qwen"], CPU, True, 0, None)
    report.print_tables(results)
    assert results["models"] == dict.fromkeys(["llava", "qwen"], {"missing": gpu.OUT_OF_TIME})
    assert results["dictionary"]["planted"]["sklearn"] == {"missing": "stopped after 0 s"}
    assert "out of time" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_large_is_begun(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu.py"])
    with pytest.raises(SystemExit):
        gpu.main()
    assert "there is no GPU here" in capsys.readouterr().err
