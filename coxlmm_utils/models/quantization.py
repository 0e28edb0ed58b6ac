"""The weights of a language model's blocks in 4 or 8 bits: how they are packed, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import nn
from transformers import (
    AutoModelForImageTextToText,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    TorchAoConfig,
)
from transformers.utils import is_accelerate_available, is_bitsandbytes_available, is_torchao_available
from transformers.utils.quantization_config import QuantizationConfigMixin

from .devices import computing_dtype
from .structure import find_parts

PACKAGES = {"4bit": "bitsandbytes", "8bit": "torchao"}


def check_quantization(quantization: str | None, options: dict, source: str, config: PreTrainedConfig) -> None:
    """Refuse what is no quantization, and one beside another."""
    if quantization is None:
        return
    if quantization not in PACKAGES:
        raise ValueError(f'there is no quantization {quantization!r}: give "4bit" or "8bit", or leave it out.')
    if options.get("quantization_config") is not None:
        raise ValueError(f"quantization={quantization!r} and quantization_config are two answers: give one of them.")
    if (stored := stored_quantization(config)) is not None:
        raise ValueError(
            f"{source} is stored quantised ({stored}), and can only be loaded so: leave quantization={quantization!r} "
            "out, or give the checkpoint in full precision."
        )


def require_packages(quantization: str | None) -> None:
    """Refuse (ImportError) a quantization that lacks its packages."""
    if quantization is None:
        return
    there = is_bitsandbytes_available() if quantization == "4bit" else is_torchao_available()
    if not (there and is_accelerate_available()):
        needed = f"{PACKAGES[quantization]} and accelerate"
        raise ImportError(
            f"quantization={quantization!r} needs the packages {needed}, of the extra coxlmm-utils[quantization]: "
            f"pip install {needed.replace(' and', '')}"
        )


def stored_quantization(config: PreTrainedConfig) -> str | None:
    """By what method the weights of a checkpoint were quantised; None in full precision."""
    for part in (config, config.get_text_config(decoder=True)):
        if (stored := getattr(part, "quantization_config", None)) is not None:
            method = stored.get("quant_method") if isinstance(stored, dict) else stored.quant_method
            return str(getattr(method, "value", method))
    return None


def quantization_of(model: PreTrainedModel) -> str | None:
    """As which of `PACKAGES` a loaded model was quantised; None if it was not, or otherwise."""
    config = getattr(getattr(model, "hf_quantizer", None), "quantization_config", None)
    if isinstance(config, BitsAndBytesConfig) and config.load_in_4bit:
        return "4bit"
    return "8bit" if isinstance(config, TorchAoConfig) else None


def quantised(
    quantization: str | None,
    options: dict,
    device: torch.device,
    config: PreTrainedConfig,
    parts: tuple[str | None, ...],
) -> dict:
    """What `from_pretrained` gets besides its options where weights are, or will be, held in fewer bits.

    Parameters
    ----------
    quantization : {"4bit", "8bit"} or None
    options : dict
        Those that it gets already, `dtype` among them.
    device : torch.device
        Where the model is to be, unless a device map says otherwise: packed weights are not moved after loading.
    config : PreTrainedConfig
    parts : tuple of str or None
        Names of the blocks, the final norm and the unembedding, as for `find_parts`.
    """
    added = {}
    if quantization is not None:
        added["dtype"] = computing_dtype(options["dtype"], device)
        added["quantization_config"] = _packing(quantization, added["dtype"], _skipped(config, options, parts))
    elif options.get("quantization_config") is None and stored_quantization(config) is None:
        return {}
    if options.get("device_map") is None and is_accelerate_available():
        added["device_map"] = {"": device}
    return added


def _packing(quantization: str, dtype: torch.dtype, skipped: list[str]) -> QuantizationConfigMixin:
    """Four bits by bitsandbytes: NF4 with quantised scales (QLoRA, arXiv 2305.14314). Eight by torchao: a scale a row.

    Both keep inputs as they are, so that a state depends on its own picture and text alone. The eight bits of
    bitsandbytes (LLM.int8(), arXiv 2208.07339) do not: which columns are rounded is decided over the whole batch.
    """
    if quantization == "4bit":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=skipped,
        )
    from torchao.quantization import Int8WeightOnlyConfig  # an extra, and slow to import

    return TorchAoConfig(Int8WeightOnlyConfig(set_inductor_config=False), modules_to_not_convert=skipped)


def _skipped(config: PreTrainedConfig, options: dict, parts: tuple[str | None, ...]) -> list[str]:
    """What stays as it is: all but the blocks of the language model.

    These are most of a model, 92% of the weights of LLaVA-1.5-7B. The unembedding is what concepts are read as words
    with; the vision tower and the connector are small, and what they see is what the concepts are of.
    """
    with torch.device("meta"):  # the model's modules, without weights
        skeleton = AutoModelForImageTextToText.from_config(
            deepcopy(config), trust_remote_code=options["trust_remote_code"]
        )
    return list(beside(skeleton, find_parts(skeleton, *parts).layers))


def beside(module: nn.Module, blocks: nn.Module, prefix: str = "") -> Iterator[str]:
    """The names of the largest modules that do not hold the blocks."""
    for name, child in module.named_children():
        if not any(inner is blocks for inner in child.modules()):
            yield prefix + name
        elif child is not blocks:
            yield from beside(child, blocks, f"{prefix}{name}.")


def keep_packed(model: PreTrainedModel) -> None:
    """Let packed weights lie as they are.

    On CPUs with bfloat16 instructions the first pass would pack those of 4 bits anew, with scales rounded to bfloat16:
    the model would be another one from then on.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):  # of bitsandbytes
            module.support_avx512bf16_for_cpu = False
