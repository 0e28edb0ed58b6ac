"""Telling one set of weights from another: full or packed into fewer bits, in memory or offloaded, with adapters or edits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel
from transformers.integrations.accelerate import load_offloaded_parameter

# Rows of words that are summed at once: one stays in a processor's cache; a GPU would be begun too often.
N_ROWS, N_ROWS_GPU = {"cpu": 1}, 256
# Fixed random numbers for `checksum`, odd: times an odd number modulo 2**64, no two words are the same.
FACTORS = torch.from_numpy(np.frombuffer(hashlib.shake_256(b"").digest(8 * 2**15), "<i8") | 1)


def fingerprint(model: PreTrainedModel) -> str:
    """Tell one set of weights from another, wherever and however precisely they are held (ours).

    Parameters
    ----------
    model : PreTrainedModel
        Of each of its parameters the name, the shape and up to 64 evenly spaced values are read; of one that is
        offloaded, they are read from where it lies. Of packed ones (in 4 or 8 bits) also their scales; of adapters
        (peft's) also which are active, and how strongly.

    Returns
    -------
    str
        16 hexadecimal digits: the same in float16, bfloat16 and float32 for weights stored in float16 or
        bfloat16. Weights stored in float32 give other digits in float16, which rounds them differently, and so do
        weights that were packed.

    Raises
    ------
    ValueError
        If values of a parameter are nowhere.
    """
    digest = hashlib.sha256(model.config.model_type.encode())
    for name, parameter in sorted(model.named_parameters()):
        for part, tensor in _plain_tensors(name, _values(model, name, parameter)):
            digest.update(f"{part}{tuple(tensor.shape)}".encode() + _sample(tensor.detach().flatten()))
    for name, tensor in sorted(_beside_packed(model).items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode() + _sample(tensor.detach().flatten()))
    for name, module in model.named_modules():
        if isinstance(active := getattr(module, "active_adapters", None), (list, tuple)):  # of a model, it is a method
            strength = [getattr(module, field, None) for field in ("disable_adapters", "merged_adapters", "scaling")]
            digest.update(f"{name}{active}{strength}".encode())
    return digest.hexdigest()[:16]


def checksum(model: PreTrainedModel) -> tuple[str, int]:
    """The precision, and a number that changes with any weight in memory, of which `fingerprint` reads only some (ours)."""
    total = 0
    tensors = dict(model.named_parameters()) | dict(_lasting_buffers(model)) | _beside_packed(model)
    for _, tensor in (part for name, held in sorted(tensors.items()) for part in _plain_tensors(name, held)):
        if tensor.numel() and not tensor.is_meta:  # else empty or offloaded
            try:
                total = (total * int(FACTORS[0]) + _hash(tensor.detach())) % 2**64
            except torch.OutOfMemoryError:
                raise
            except (NotImplementedError, RuntimeError, TypeError):  # kinds of packed weights that show no bytes
                continue
    return str(model.dtype), total


def is_packed(model: PreTrainedModel) -> bool:
    """Whether weights are held in fewer bits than they are computed with, as transformers quantises a model."""
    return getattr(model, "hf_quantizer", None) is not None


def held_tensors(model: PreTrainedModel) -> list[Tensor]:
    """All that a model keeps in memory: parameters, buffers, and what packed weights are made of."""
    held = dict(model.named_parameters()) | dict(model.named_buffers()) | _beside_packed(model)
    return [part for name, tensor in held.items() for _, part in _plain_tensors(name, tensor)]


def _hash(tensor: Tensor) -> int:
    """Sums of words by odd factors, modulo 2**64: exact, so the same in any order, on any device.

    No bit of a word is lost, its sign included, and edits cancel out only if they were made for these factors.
    """
    octets = tensor.contiguous().reshape(-1).view(torch.uint8)
    whole = octets.numel() % 4 == octets.storage_offset() % 4 == 0
    words = octets.view(torch.int32) if whole else octets
    factors, total = FACTORS.to(words.device), 0
    for chunk in words.split(N_ROWS.get(words.device.type, N_ROWS_GPU) * len(factors)):
        rows = pad(chunk, (0, -len(chunk) % len(factors))).view(-1, len(factors))
        for row in (rows * factors).sum(dim=1).tolist():
            total = (total * int(FACTORS[0]) + row) % 2**64
    return total


def _lasting_buffers(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """The buffers that running the model leaves as they are: saved ones, and frequencies of rotary positions."""
    for prefix, module in model.named_modules():
        changing = any(kind in str(getattr(module, "rope_type", "")) for kind in ("dynamic", "longrope"))
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set or (name.endswith("inv_freq") and not changing):
                yield f"{prefix}.{name}", buffer


def _plain_tensors(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A tensor, or those that it is made of, as torchao's are of packed values and scales."""
    if not hasattr(tensor, "__tensor_flatten__"):
        yield name, tensor
        return
    for inner in tensor.__tensor_flatten__()[0]:
        yield from _plain_tensors(f"{name}.{inner}", getattr(tensor, inner))


def _beside_packed(model: PreTrainedModel) -> dict[str, Tensor]:
    """What a quantised model would save beside its parameters, as the scales of bitsandbytes' packed weights."""
    if not is_packed(model):
        return {}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    saved = model.state_dict().items()
    return {name: tensor for name, tensor in saved if name not in parameters and torch.is_tensor(tensor)}


def _values(model: PreTrainedModel, name: str, parameter: Tensor) -> Tensor:
    """The values of a parameter, wherever it was offloaded to."""
    if not parameter.is_meta:
        return parameter
    try:
        return load_offloaded_parameter(model, name)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name} is not in memory, and nothing says where it was offloaded to, so {type(model).__name__} cannot be "
            "told from models with other weights: load it without offloading."
        ) from error


def _sample(values: Tensor) -> bytes:
    """Up to 64 evenly spaced values as bfloat16; what is too small for float16 counts as zero."""
    count = min(64, len(values))
    indices = torch.arange(count) * len(values) // max(count, 1)
    sample = values[indices.to(values.device)].to("cpu", torch.bfloat16)
    sample[sample.abs() < 2**-14] = 0  # float16 holds smaller ones less exactly than bfloat16
    return sample.view(torch.int16).numpy().tobytes()
