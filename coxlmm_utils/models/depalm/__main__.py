"""The lab's checkpoint of DePALM as a folder that `load_lmm` loads.

    python -m coxlmm_utils.models.depalm convert checkpoint_best.pth
        --vision openai/clip-vit-large-patch14 --language-model facebook/opt-6.7b FOLDER

What the file holds, and under which names, is read in the code that writes it (mshukor/ima-lmms, DePALM/: the connector,
and `filter_state` of training, which keeps nothing of the vision tower and the language model); the published file
itself has not been opened here. So whatever is not as that code says is refused, by name.
"""

from __future__ import annotations

import argparse
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedModel,
)

from ..._version import __version__
from ...files import write_folder
from ..loading import check_complete
from . import DePALMConfig, DePALMForConditionalGeneration, DePALMProcessor

OURS = {"const": "queries", "trans": "body", "proj": "out"}  # by the lab's names; all others are the same
BEFORE = "connector.0."
RECORD = "conversion.json"  # what the folder was made of; also tells that it may be written anew
WRITTEN = (
    r"generation_config\.json|model.*\.(safetensors|json)|processor_config\.json|.*token.*\.json|chat_template\.jinja"
)
# What the lab's code takes from its settings: with others, it computes something else.
SETTINGS = {"connector_type": ("trans", "qsformer"), "vis_tokens": ("all",), "inject_outside": (True,)}
OF_CONNECTOR = {"qs_former": (True,), "activation": ("relu",), "block": ("sa",), "use_upsample": (True,)}
N_HEADS = 8  # in the lab's settings, and where they are not told


def convert(checkpoint: str | Path, vision: str, language_model: str, folder: str | Path) -> Path:
    """Write a model folder of the lab's checkpoint and the two models that it was trained between.

    Parameters
    ----------
    checkpoint : str or Path
        Of torch.save, such as checkpoint_best.pth. Nothing in it is run (`weights_only`).
    vision, language_model : str
        A folder or a hub id of each; CLIP's may hold its text side, too.
    folder : str or Path
        New, empty, or of an earlier conversion. It is written whole or not at all, in the language model's precision.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    ValueError
        If the checkpoint is no such file, lacks a tensor or has another, or does not fit the two models.
    FileExistsError
        If the folder holds anything else.
    """

    def write(made: Path) -> None:
        weights, settings = read_checkpoint(Path(checkpoint))
        processor = _processor(weights, settings, vision, language_model)
        sizes = {
            "num_query_tokens": processor.num_query_tokens,
            "connector_hidden_size": weights["queries"].shape[1],
            "connector_layers": _n_layers(weights),
            "connector_heads": settings.get("connector_config", {}).get("num_heads", N_HEADS),
            "image_token_id": processor.image_token_id,
        }
        _check_names(checkpoint, weights, _wanted(vision, language_model, sizes))  # before gigabytes are read
        writer = _load(AutoModelForCausalLM, language_model, "auto")
        tower = _load(CLIPVisionModel, vision, writer.dtype)
        model = DePALMForConditionalGeneration.from_parts(tower, writer, **sizes)
        model.connector.load_state_dict(weights)
        model.save_pretrained(made)
        processor.save_pretrained(made)
        record = {"checkpoint": Path(checkpoint).name, "vision": vision, "language_model": language_model}
        (made / RECORD).write_text(json.dumps(record | {"coxlmm_utils": __version__}, indent=1))

    return write_folder(folder, write, "model was", ("config.json", RECORD), WRITTEN)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict]:
    """The connector's tensors of a checkpoint, by our names, and the settings that it was trained with."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of several kinds, and no two versions of torch have the same
        if not zipfile.is_zipfile(path):  # as torch.save writes
            raise ValueError(f"{path} is no file of torch.save, or a damaged one: fetch it again.") from error
        raise ValueError(
            f"{path} holds more than tensors and plain values, which loading would have to run: where you trust it, "
            f'load it with the code it comes from, and save {{"model": ..., "config": ...}} of it anew.'
        ) from error
    tensors, settings = (held.get(name) for name in ("model", "config")) if isinstance(held, dict) else (None, None)
    if not isinstance(tensors, dict):
        raise ValueError(f'{path} has no "model", as a checkpoint of the lab\'s DePALM has: give that file.')
    settings = settings or {}
    _check_settings(path, settings, SETTINGS)
    _check_settings(path, settings.get("connector_config", {}), OF_CONNECTOR)
    weights = {_our_name(name): tensor for name, tensor in tensors.items()}
    if "queries" not in weights:
        some = ", ".join(list(tensors)[:3]) or "nothing"
        raise ValueError(f"{path} has no {BEFORE}const, the queries of the lab's connector, but {some}: give another.")
    return weights, settings


def _our_name(name: str) -> str:
    """Of a tensor of the lab's; with all that is not of its connector as it is."""
    first, *rest = name.removeprefix(BEFORE).split(".")
    return ".".join([OURS.get(first, first), *rest]) if name.startswith(BEFORE) else f"{name} (as it is)"


def _lab_name(name: str) -> str:
    """The lab's name of one of ours."""
    if name.endswith(" (as it is)"):
        return name.removesuffix(" (as it is)")
    first, *rest = name.split(".")
    return BEFORE + ".".join([{ours: theirs for theirs, ours in OURS.items()}.get(first, first), *rest])


def _n_layers(weights: dict[str, Tensor]) -> int:
    """As many as the highest number among the names says."""
    numbers = [int(found[1]) for name in weights if (found := re.match(r"body\.layers\.(\d+)\.", name))]
    return max(numbers, default=0) + 1


def _check_settings(path: Path, settings: dict, wanted: dict) -> None:
    """Refuse a checkpoint of another kind of connector."""
    for name, values in wanted.items():
        if name in settings and settings[name] not in values:
            raise ValueError(f"{path} was trained with {name}={settings[name]!r}: only {values[0]!r} can be converted.")


def _check_names(path: str | Path, weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Refuse a checkpoint that lacks a tensor, has one too many, or one of another shape."""
    missing, unexpected = (
        sorted(map(_lab_name, names)) for names in (wanted.keys() - weights, weights.keys() - wanted)
    )
    if missing or unexpected:
        parts = [
            f"{what} {', '.join(names)}" for what, names in (("lacks", missing), ("also has", unexpected)) if names
        ]
        raise ValueError(f"{path} is not as the lab's code says that it is: it {' and '.join(parts)}.")
    for name, tensor in wanted.items():
        if tensor.shape != weights[name].shape:
            have, need = (tuple(each.shape) for each in (weights[name], tensor))
            raise ValueError(
                f"{_lab_name(name)} of {path} is of shape {have}, but these models need {need}: "
                "give the vision tower and the language model that it was trained between."
            )


def _load(auto_class: type, source: str, dtype: str | torch.dtype) -> PreTrainedModel:
    """A model with all of its weights."""
    model, info = auto_class.from_pretrained(source, dtype=dtype, output_loading_info=True)
    check_complete(source, model, info)
    return model


def _wanted(vision: str, language_model: str, sizes: dict) -> dict[str, Tensor]:
    """The connector's tensors between two models, without their values."""
    config = DePALMConfig(CLIPVisionConfig.from_pretrained(vision), AutoConfig.from_pretrained(language_model), **sizes)
    with torch.device("meta"):
        return DePALMForConditionalGeneration(config).connector.state_dict()


def _processor(weights: dict[str, Tensor], settings: dict, vision: str, language_model: str) -> DePALMProcessor:
    """Pictures are resized to a square, and texts begin with the tokenizer's own token, as OPT's and Llama's do."""
    size = CLIPVisionConfig.from_pretrained(vision).image_size
    pictures = CLIPImageProcessor(size={"height": size, "width": size}, do_center_crop=False)
    tokenizer = AutoTokenizer.from_pretrained(language_model, padding_side="left")
    if tokenizer("")["input_ids"] != [tokenizer.bos_token_id]:
        tokenizer.add_bos_token = True
    if tokenizer("")["input_ids"] != [tokenizer.bos_token_id]:
        raise ValueError(
            f"the tokenizer of {language_model} does not begin texts with a token of its own, as OPT's does."
        )
    instruction = settings.get("instruction")
    return DePALMProcessor(
        pictures, tokenizer, len(weights["queries"]), instruction if isinstance(instruction, str) else ""
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert, and say where the model is, or in one sentence why not."""
    parser = argparse.ArgumentParser(prog="python -m coxlmm_utils.models.depalm", description=__doc__.split("\n")[0])
    command = parser.add_subparsers(dest="command", required=True).add_parser("convert")
    command.add_argument("checkpoint", help="the lab's file, checkpoint_best.pth")
    command.add_argument("--vision", required=True, help="CLIP ViT-L/14: a folder or a hub id")
    command.add_argument("--language-model", required=True, help="OPT-6.7B: a folder or a hub id")
    command.add_argument("folder", help="where the model goes: a new or an empty folder")
    options = parser.parse_args(arguments)
    try:
        folder = convert(options.checkpoint, options.vision, options.language_model, options.folder)
    except (OSError, ValueError) as error:
        raise SystemExit(f"not converted: {error}") from error
    print(f'converted: load_lmm("{folder}")')


if __name__ == "__main__":
    main()
