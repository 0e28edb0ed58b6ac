"""Where the parts of a language model are, found by structure, not by its name; and which weights it has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

INNER_NAMES = ("model", "language_model", "decoder", "text_model", "transformer")
NORM_NAMES = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f", "embedding_norm")


def find_layers_and_norm(model: PreTrainedModel) -> tuple[nn.ModuleList, nn.Module]:
    """Find the blocks of the language model, and the final norm that stands beside them (ours).

    Parameters
    ----------
    model : PreTrainedModel
        An image-text model, or a language model.

    Returns
    -------
    nn.ModuleList, nn.Module
        The list as long as the configuration says the language model is deep, and the norm.

    Raises
    ------
    ValueError
        If the decoder holds no such pair; the message says what it holds.
    """
    decoder = model.get_decoder()
    count = model.config.get_text_config(decoder=True).num_hidden_layers
    for place in _places(decoder):
        lists = [m for m in place.children() if isinstance(m, nn.ModuleList) and len(m) == count]
        norms = [m for m in (getattr(place, name, None) for name in NORM_NAMES) if isinstance(m, nn.Module)]
        if lists and norms:
            return lists[0], norms[0]
    found = ", ".join(name for name, _ in decoder.named_children())
    raise ValueError(
        f"No list of {count} blocks with a final norm beside it was found in {type(model).__name__}: "
        f"its decoder {type(decoder).__name__} holds {found}."
    )


def find_unembedding(model: PreTrainedModel) -> nn.Module:
    """Find the layer that turns normed states into logits (ours).

    Parameters
    ----------
    model : PreTrainedModel
        An image-text model, or a language model.

    Returns
    -------
    nn.Module
        Its output embeddings.

    Raises
    ------
    ValueError
        If the model has none.
    """
    unembedding = model.get_output_embeddings()
    if unembedding is None:
        kind = type(model).__name__
        raise ValueError(f"{kind} has no output embeddings: its states cannot be read as words.")
    return unembedding


def fingerprint(model: PreTrainedModel) -> str:
    """Tell one set of weights from another, wherever and however precisely they are held (ours).

    Parameters
    ----------
    model : PreTrainedModel
        Of each of its parameters the name, the shape and up to 64 evenly spaced values are read.

    Returns
    -------
    str
        16 hexadecimal digits: the same in float16, bfloat16 and float32 for weights stored in float16 or
        bfloat16. Weights stored in float32 give other digits in float16, which rounds them differently.
    """
    digest = hashlib.sha256(model.config.model_type.encode())
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(_sample(parameter.detach().flatten()))
    return digest.hexdigest()[:16]


def _places(module: nn.Module) -> Iterator[nn.Module]:
    """A module and those inside it under the usual names of a language model."""
    yield module
    for name in INNER_NAMES:
        inner = getattr(module, name, None)
        if isinstance(inner, nn.Module):
            yield from _places(inner)


def _sample(values: Tensor) -> bytes:
    """Up to 64 evenly spaced values as bfloat16; what is too small for float16 counts as zero."""
    count = min(64, len(values))
    places = torch.arange(count) * len(values) // max(count, 1)
    sample = values[places.to(values.device)].to("cpu", torch.bfloat16)
    sample[sample.abs() < 2**-14] = 0
    return sample.view(torch.int16).numpy().tobytes()
