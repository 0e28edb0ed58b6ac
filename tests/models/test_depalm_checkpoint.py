"""The lab's checkpoint: a miniature of its layout becomes a model that computes what it computed; others are refused."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionModel,
    OPTConfig,
    OPTForCausalLM,
)

from coxlmm_utils.models import generate_captions, load_lmm
from coxlmm_utils.models.depalm import __main__ as conversion
from tests.conftest import in_plain_words, noise
from tests.tiny_lmms import WIDTH, tiny_llava
from tests.tiny_lmms.depalms import OPT
from tests.tiny_lmms.parts import livelier, make_tokenizer, save, text_sizes, vision_sizes

QUERIES, INNER, VISION = 3, 16, 32
SETTINGS = {
    "image_res": 224,
    "instruction": "",
    "connector_type": "trans",
    "vis_tokens": "all",
    "inject_outside": True,
    "connector_config": {
        "hidden_dim": INNER,
        "num_heads": 2,
        "num_layers": 2,
        "output_length": QUERIES,
        "activation": "relu",
        "qs_former": True,
    },
}


class LabConnector(nn.Module):
    """Parts under the names, and of the kinds, that the lab's code gives them."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(INNER, 2, 2 * INNER, 0.0, batch_first=True, norm_first=True)
        self.down, self.up = nn.Linear(VISION, INNER), nn.Linear(INNER, VISION)
        self.trans = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.const = nn.Parameter(torch.randn(QUERIES, INNER))
        self.proj = nn.Linear(VISION, WIDTH)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        queries = self.const[None].expand(len(features), -1, -1)
        return self.proj(self.up(self.trans(torch.cat([self.down(features), queries], 1))[:, -QUERIES:]))


class Lab(nn.Module):
    """Its connector is the first of a list."""

    def __init__(self) -> None:
        super().__init__()
        self.connector = nn.ModuleList([LabConnector()])


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> dict[str, str]:
    """Folders of the two models that the checkpoint is of: a whole CLIP, and an OPT."""
    folder, tokenizer = tmp_path_factory.mktemp("parts"), make_tokenizer()
    torch.manual_seed(0)
    text = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, vocab_size=50)
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision_sizes("clip_vision_model")))
    livelier(clip).save_pretrained(folder / "clip")
    opt = OPTForCausalLM(OPTConfig(**text_sizes(tokenizer, "opt") | OPT))
    save(folder / "opt", livelier(opt).half(), tokenizer)
    return {"vision": str(folder / "clip"), "language_model": str(folder / "opt")}


@pytest.fixture(scope="module")
def lab() -> Lab:
    torch.manual_seed(1)
    return livelier(Lab()).eval()


def write(path: Path, lab: Lab, change=lambda held: None) -> Path:
    """A file as training writes it."""
    held = {
        "model": dict(lab.state_dict()),
        "optimizer": torch.optim.AdamW(lab.parameters()).state_dict(),
        "lr_scheduler": {"base_values": [2e-4], "metric": None},
        "config": json.loads(json.dumps(SETTINGS)),
        "epoch": 7,
        "best_valid": 1.3,
        "best_epoch": 7,
    }
    change(held)
    torch.save(held, path)
    return path


def test_what_is_converted_computes_what_the_checkpoint_did(lab, parts, tmp_path):
    folder = conversion.convert(write(tmp_path / "best.pth", lab), folder=tmp_path / "out", **parts)
    lmm = in_plain_words(load_lmm(folder, device="cpu"))
    assert lmm.prompt == "" and lmm.shown_prompt() == f"<image> x {QUERIES} <s>"
    assert load_lmm(folder, device="cpu", dtype="auto").model.dtype == torch.float16  # as the language model
    pictures = [noise(0), noise(1)]
    pixels = lmm.inputs(pictures)["pixel_values"]
    tower = CLIPVisionModel.from_pretrained(parts["vision"])
    writer = OPTForCausalLM.from_pretrained(parts["language_model"], dtype=torch.float32)
    with torch.no_grad():
        vectors = lab.connector[0](tower.post_layernorm(tower(pixels).last_hidden_state))
        begin = writer.get_input_embeddings()(torch.full((2, 1), lmm.tokenizer.bos_token_id))
        expected = writer(inputs_embeds=torch.cat([vectors, begin], dim=1)).logits
    logits = lmm.model(**lmm.inputs(pictures)).logits
    assert (logits - expected).norm() < 0.02 * expected.norm()  # the folder holds half precision
    assert all(len(caption.ids) == 3 for caption in generate_captions(lmm, pictures, max_new_tokens=3))


def test_a_picture_is_resized_to_a_square_and_not_cropped(lab, parts, tmp_path):
    folder = conversion.convert(write(tmp_path / "best.pth", lab), folder=tmp_path / "out", **parts)
    processor = load_lmm(folder, device="cpu").processor.image_processor
    assert not processor.do_center_crop and dict(processor.size) == {"height": 32, "width": 32}
    assert processor.resample == 3  # bicubic


def drop(*names):
    return lambda held: [held["model"].pop(name) for name in names]


def add(name, shape=(1,)):
    return lambda held: held["model"].update({name: torch.zeros(shape)})


def settle(name, value, within=()):
    def change(held):
        place = held["config"]
        for key in within:
            place = place[key]
        place[name] = value

    return change


BAD = {
    "it lacks connector.0.proj.bias, connector.0.trans.layers.0.norm1.weight.": drop(
        "connector.0.trans.layers.0.norm1.weight", "connector.0.proj.bias"
    ),
    "it also has prompt_module.prefix_embedding.0.weight.": add("prompt_module.prefix_embedding.0.weight"),
    "it also has connector.0.gate.": add("connector.0.gate"),
    "it lacks connector.0.down.bias and also has down.bias.": lambda held: (
        drop("connector.0.down.bias")(held),
        add("down.bias")(held),
    ),
    "connector.0.proj.weight of .* is of shape .128, 32., but these models need .64, 32.": add(
        "connector.0.proj.weight", (128, VISION)
    ),
    "has no connector.0.const, the queries of the lab's connector, but connector.0.down": drop("connector.0.const"),
    'has no "model"': lambda held: held.pop("model"),
    "trained with vis_tokens='cls': only 'all' can": settle("vis_tokens", "cls"),
    "trained with qs_former=False: only True can": settle("qs_former", False, ["connector_config"]),
    "holds more than tensors and plain values": settle("path", Path("a")),
}


@pytest.mark.parametrize("message", BAD)
def test_another_checkpoint_is_refused_by_name_and_nothing_is_written(message, lab, parts, tmp_path):
    path = write(tmp_path / "best.pth", lab, BAD[message])
    with pytest.raises(ValueError, match=message):
        conversion.convert(path, folder=tmp_path / "out", **parts)
    assert [left.name for left in tmp_path.iterdir()] == ["best.pth"]


def test_a_file_of_another_kind_is_refused(parts, tmp_path):
    (tmp_path / "best.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match="best.pth is no file of torch.save, or a damaged one: fetch it again."):
        conversion.convert(tmp_path / "best.pth", folder=tmp_path / "out", **parts)
    with pytest.raises(FileNotFoundError):
        conversion.convert(tmp_path / "none.pth", folder=tmp_path / "out", **parts)


def test_a_folder_of_others_is_left_alone_and_an_own_one_written_anew(lab, parts, tmp_path):
    path, other = write(tmp_path / "best.pth", lab), tiny_llava(tmp_path / "other")
    before = sorted(each.name for each in other.iterdir())
    with pytest.raises(FileExistsError, match="give a new or an empty folder"):
        conversion.convert(path, folder=other, **parts)
    assert sorted(each.name for each in other.iterdir()) == before
    folder = conversion.convert(path, folder=tmp_path / "out", **parts)
    first = load_lmm(folder, device="cpu").fingerprint
    conversion.convert(path, folder=folder, **parts)
    assert load_lmm(folder, device="cpu").fingerprint == first


def test_as_a_command_it_says_where_the_model_is(lab, parts, tmp_path, monkeypatch, capsys):
    line = f"convert {write(tmp_path / 'best.pth', lab)} --vision {parts['vision']} {tmp_path / 'out'}"
    monkeypatch.setattr(sys, "argv", ["depalm", *line.split(), "--language-model", parts["language_model"]])
    monkeypatch.delitem(sys.modules, "coxlmm_utils.models.depalm.__main__")
    runpy.run_module("coxlmm_utils.models.depalm", run_name="__main__")  # as python -m does
    assert capsys.readouterr().out == f'converted: load_lmm("{tmp_path / "out"}")\n'
    assert load_lmm(tmp_path / "out", device="cpu").n_layers == 3


def test_the_command_ends_with_one_sentence(parts, tmp_path):
    torch.save({"model": {}}, tmp_path / "empty.pth")
    line = f"convert {tmp_path}/empty.pth --vision {parts['vision']} --language-model {parts['language_model']}"
    with pytest.raises(SystemExit, match="not converted: .*has no connector.0.const.*but nothing: give another.$"):
        conversion.main([*line.split(), str(tmp_path / "out")])
