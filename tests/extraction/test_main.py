"""The command that makes a share of an extraction: the model as fine-tuned, and a batch size that finds itself."""

import pytest

from coxlmm_utils.extraction import extract
from coxlmm_utils.extraction.__main__ import main
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models import load_lmm

ASKED = ["--token", "dog", "--layer", "4", "--limit", "24", "--max-new-tokens", "8", "--position", "predicts"]


def test_it_takes_an_adapter_and_auto_and_extract_finds_the_blocks(tmp_path, capsys):
    main([*ASKED, "--adapter", "picturebook-place", "--batch-size", "auto", "--folder", str(tmp_path)])
    assert "process 1 of 1 is done: 1 of 1 blocks are in" in capsys.readouterr().out
    blocks = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    lmm = load_lmm("picturebook", adapter="picturebook-place")
    states = extract(lmm, load_images(limit=24), "dog", 4, max_new_tokens=8, folder=tmp_path)
    assert states.model_name == "picturebook + place" and len(states) > 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == blocks


def test_it_takes_a_quantization(tmp_path):
    pytest.importorskip("bitsandbytes")
    main([*ASKED, "--quantization", "4bit", "--folder", str(tmp_path)])
    lmm = load_lmm("picturebook", quantization="4bit")
    states = extract(lmm, load_images(limit=24), "dog", 4, max_new_tokens=8, folder=tmp_path)
    assert states.model_name == "picturebook, 4bit" and len(states) > 0
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1  # the block was found, not made again


def test_another_batch_size_is_refused(capsys):
    with pytest.raises(SystemExit):
        main([*ASKED, "--batch-size", "large"])
    assert "invalid batch_size value: 'large'" in capsys.readouterr().err
