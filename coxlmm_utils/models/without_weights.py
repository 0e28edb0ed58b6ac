"""An LMM of its configuration alone: weights that have a shape and a precision, but no values, and take no memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForImageTextToText, GenerationConfig, PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from .devices import chosen_device, chosen_dtype, computing_dtype
from .lmm import LMM, PAPER_PROMPT
from .loading import PARTS, open_checkpoint
from .processors import load_processor
from .quantization import stored_quantization
from .sources import HUB_OPTIONS
from .structure import find_parts
from .weights import held_tensors

OPTIONS = ("torch_dtype", "attn_implementation")  # beside those of the hub, of `from_pretrained`, that are taken
# Bytes of a weight. 4 bits: NF4 in blocks of 64 with a scale of 8 bits each, and one of 32 bits for 256 of those scales
# (QLoRA, arXiv 2305.14314). 8 bits: the scales, one for each row in the precision that is computed in, are added.
BYTES_OF_WEIGHT = {"4bit": 1 / 2 + 1 / 64 + 4 / (64 * 256), "8bit": 1.0}


def load_without_weights(
    name: str | Path = "picturebook",
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    quantization: str | None = None,
    chat_template: str | None = None,
    **from_pretrained_kwargs,
) -> LMM:
    """An LMM as `load_lmm` loads it under the same arguments, but without its weights: nothing tells what it would say (ours).

    Of a model on the hub only its configuration and its processor are fetched.

    Returns
    -------
    LMM
        Whose `inputs` are real ones; a run of the model is for `memory_of_batch`.
    """
    _check_options(from_pretrained_kwargs)
    source, hub, config = open_checkpoint(name, quantization, from_pretrained_kwargs)
    if (stored := stored_quantization(config)) is not None:
        raise ValueError(
            f"what {name} takes is not known, since it is stored quantised ({stored}): load it, and give that"
        )
    processor = load_processor(source, hub, config, chat_template)
    older, attention = (from_pretrained_kwargs.get(option) for option in OPTIONS)
    device = chosen_device(device)
    precision = _precision(config, chosen_dtype(dtype, older, device), device, quantization)
    options = {"dtype": precision, "trust_remote_code": hub["trust_remote_code"]}
    if attention is not None:
        options["attn_implementation"] = _runnable_attention(attention)
    with _no_values():
        model = AutoModelForImageTextToText.from_config(_runnable(config), **options)
    parts = vars(find_parts(model))
    return LMM(str(name), _ready(model), processor, prompt=getattr(processor, "prompt", PAPER_PROMPT), **parts)


def without_weights(lmm: LMM, dtype: torch.dtype | None = None) -> LMM:
    """The same LMM without its weights, or in another precision (ours).

    Parameters
    ----------
    lmm : LMM
        Loaded, or without weights itself.
    dtype : torch.dtype, optional
        By default its own.
    """
    with _no_values():
        model = type(lmm.model)._from_config(_runnable(lmm.model.config), dtype=dtype or lmm.model.dtype)
    names = {module: name for name, module in lmm.model.named_modules()}
    parts = {part: model.get_submodule(names[getattr(lmm, part)]) for part in PARTS}
    return replace(lmm, model=_ready(model), ood=None, checksums={}, **parts)


def weights_of(lmm: LMM, quantization: str | None = None) -> int:
    """Bytes of the weights and buffers, each once however often it is used; or of blocks whose weights are in few bits."""
    tensors = held_tensors(lmm.model)
    total = sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())
    if quantization is None:
        return total
    packed = [module.weight for module in linear_layers(lmm)]
    scales = sum(weight.itemsize * len(weight) for weight in packed) if quantization == "8bit" else 0
    saved = sum(weight.numel() * (weight.itemsize - BYTES_OF_WEIGHT[quantization]) for weight in packed)
    return int(total - saved) + scales


def linear_layers(lmm: LMM) -> list[nn.Linear]:
    """What quantization packs: the linear layers of the language model's blocks."""
    return [module for module in lmm.layers.modules() if isinstance(module, nn.Linear)]


@contextmanager
def _no_values() -> Iterator[None]:
    """Let tensors that are made have a shape alone."""
    with FakeTensorMode(allow_non_fake_inputs=True), no_init_weights(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")  # copying a layer does that
        yield


def _check_options(options: dict) -> None:
    """Refuse options of `load_lmm` that would change what a model takes, and are not taken here."""
    if others := sorted(set(options) - {*HUB_OPTIONS, *OPTIONS}):
        raise ValueError(
            f"plan takes no {others[0]!r} with a model's name: check the name, or load the model with it, and give that"
        )


def _precision(
    config: PreTrainedConfig, chosen: str | torch.dtype, device: torch.device, quantization: str | None
) -> torch.dtype:
    """The precision that the model would be loaded in: where it is as stored, what the configuration says."""
    if quantization is not None:
        return computing_dtype(chosen, device)
    if chosen == "auto":
        chosen = config.dtype or config.get_text_config(decoder=True).dtype or torch.float32
    return chosen if isinstance(chosen, torch.dtype) else getattr(torch, str(chosen).removeprefix("torch."))


def _runnable(config: PreTrainedConfig) -> PreTrainedConfig:
    """A copy that the model can be made of here; flash attention takes the memory that torch's own does."""
    config = deepcopy(config)
    if config._attn_implementation is not None:
        config._attn_implementation = _runnable_attention(config._attn_implementation)
    return config


def _runnable_attention(kind: str) -> str:
    return "sdpa" if "flash" in kind else kind


def _ready(model: PreTrainedModel) -> PreTrainedModel:
    """In evaluation mode, and with no end: what the model would say is not known, so that captions are the longest."""
    model.tie_weights()
    for module in model.modules():  # BLIP's language model writes by settings of its own
        if isinstance(module, PreTrainedModel) and module.can_generate():
            module.generation_config = GenerationConfig()
    return model.eval().requires_grad_(False)
