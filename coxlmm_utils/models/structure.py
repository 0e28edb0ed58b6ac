"""Where the parts of a language model are, found by structure and tried out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import BatchFeature, PreTrainedModel

INNER_NAMES = ("model", "language_model", "decoder", "text_model", "transformer")
NORM_NAMES = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f", "embedding_norm", "layer_norm")
BY_NAME = 'Name the parts of its language model: load_lmm(..., layers="...", final_norm="...", unembedding="...").'


@dataclass(frozen=True)
class Parts:
    """The blocks of a language model, and what turns the last block's output into logits."""

    layers: nn.ModuleList
    final_norm: nn.Module
    unembedding: nn.Module


def find_parts(
    model: PreTrainedModel,
    layers: str | None = None,
    final_norm: str | None = None,
    unembedding: str | None = None,
) -> Parts:
    """Find the parts of a model that the method reads: by name where one is given, else by structure (ours).

    Parameters
    ----------
    model : PreTrainedModel
        An image-text model, or a language model.
    layers : str, optional
        Dotted name of the list of blocks, "model.language_model.layers". By default the list in the decoder that
        is as long as the configuration says the language model is deep.
    final_norm : str, optional
        Dotted name of the final norm. By default the norm that stands beside the blocks.
    unembedding : str, optional
        Dotted name of the layer that makes logits. By default the model's output embeddings.

    Returns
    -------
    Parts
        Not tried out yet, see `check_lens`.

    Raises
    ------
    ValueError
        If a part is not found; the message says what there is, and which argument settles it.
    """
    blocks = _blocks(model, layers)
    norm = _named(model, "final_norm", final_norm) if final_norm else _norm_beside(model, blocks)
    if norm is None:
        raise ValueError(f"No final norm was found beside the blocks of {_overview(model)}")
    head = _named(model, "unembedding", unembedding) if unembedding else model.get_output_embeddings()
    if not hasattr(head, "in_features"):  # of nn.Linear, quantised or not
        raise ValueError(f"No linear layer that turns states into words was found in {_overview(model)}")
    return Parts(blocks, norm, head)


@torch.inference_mode()
def check_lens(model: PreTrainedModel, inputs: BatchFeature, parts: Parts) -> str:
    """Try the parts out on one run of the model: unembedding the normed last block's output gives its logits (ours).

    Parameters
    ----------
    model : PreTrainedModel
        The whole model, which generates one token.
    inputs : BatchFeature
        What the model gets for one picture.
    parts : Parts
        From `find_parts`.

    Returns
    -------
    {"exact", "scaled"}
        "scaled" if the model then scales or caps its logits: the order of the words is the same.

    Raises
    ------
    ValueError
        If the logits are others, or not finite, or the model does not generate after its prompt.
    """
    states = []
    keep = parts.layers[-1].register_forward_hook(lambda block, args, out: states.append(_stream(out)[:, -1]))
    options = dict(do_sample=False, num_beams=1, output_logits=True, return_dict_in_generate=True)
    try:
        with keep:
            generated = model.generate(**inputs, max_new_tokens=1, **options)
    except (IndexError, TypeError, ValueError) as error:
        kind = type(model).__name__
        raise ValueError(
            f"{kind} does not take what its processor makes of a picture and a prompt ({error}): "
            "see to the sizes in its processor_config.json, which may be of another model."
        ) from error
    if len(states) != 1 or generated.sequences.shape[1] != inputs["input_ids"].shape[1] + 1:
        raise ValueError(f"{type(model).__name__} does not generate a token after its prompt by one run of its blocks.")
    logits = generated.logits[0][0].float()  # (vocabulary,)
    if not logits.isfinite().all():
        kind = str(model.dtype).removeprefix("torch.")
        raise ValueError(f"The logits of {type(model).__name__} are not finite in {kind}: load it with another dtype.")
    try:
        lens = parts.unembedding(parts.final_norm(states[0]))[0].float().to(logits.device)
    except RuntimeError:  # the parts are of different widths: no logits at all
        lens = logits.new_empty(0)
    return _compare(lens, logits, model)


def _blocks(model: PreTrainedModel, name: str | None) -> nn.ModuleList:
    """The list of that name, or the one in the decoder that is as long as the language model is deep."""
    if name:
        blocks = _named(model, "layers", name)
        if not isinstance(blocks, nn.ModuleList) or not len(blocks):
            raise ValueError(f'layers="{name}" is not a list of blocks in {_overview(model)}')
        return blocks
    count = model.config.get_text_config(decoder=True).num_hidden_layers
    for module in _inner_modules(model.get_decoder()):
        for blocks in module.children():
            if isinstance(blocks, nn.ModuleList) and len(blocks) == count:
                return blocks
    raise ValueError(f"No list of {count} blocks was found in the decoder of {_overview(model)}")


def _norm_beside(model: PreTrainedModel, blocks: nn.ModuleList) -> nn.Module | None:
    """The norm in the module that holds the blocks, if there is one under a usual name."""
    holder = next(module for module in model.modules() if any(child is blocks for child in module.children()))
    norms = (getattr(holder, name, None) for name in NORM_NAMES)
    return next((norm for norm in norms if isinstance(norm, nn.Module)), None)


def _named(model: PreTrainedModel, part: str, name: str) -> nn.Module:
    """The module of a dotted name."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise ValueError(f'{part}="{name}" names no module of {_overview(model)}') from None


def _compare(lens: Tensor, logits: Tensor, model: PreTrainedModel) -> str:
    """Whether one is the other, "exact", or at least puts the words in the same order, "scaled"."""
    tolerance = 1e-3 if model.dtype in (torch.float32, torch.float64) else 2e-2
    if lens.shape == logits.shape:
        if (lens - logits).norm() <= tolerance * logits.norm():
            return "exact"
        ordered = logits[lens.argsort()]
        if (ordered[:-1] - ordered[1:]).max() <= tolerance * (logits.max() - logits.min()):
            return "scaled"
    raise ValueError(
        "unembedding(final_norm(the last block's output)) does not give the logits, "
        f"nor their order, with the parts that were found in {_overview(model)}"
    )


def _overview(model: PreTrainedModel) -> str:
    """A model's decoder, lists of blocks, norms and output, for a message; and what settles it."""
    decoder = model.get_decoder()
    lists, norms = [], []
    for name, module in model.named_modules():
        if any(piece.isdigit() for piece in name.split(".")):
            continue  # inside a block
        if isinstance(module, nn.ModuleList):
            lists.append(f"{name} ({len(module)})")
        elif "norm" in f"{name.rpartition('.')[2]} {type(module).__name__}".lower():
            norms.append(name)
    head = model.get_output_embeddings()
    output = next((name for name, module in model.named_modules() if module is head), "none")
    children = ", ".join(name for name, _ in decoder.named_children())
    return (
        f"{type(model).__name__}. Its decoder {type(decoder).__name__} holds {children}; lists: "
        f"{', '.join(lists) or 'none'}; norms: {', '.join(norms) or 'none'}; output embeddings: {output}. {BY_NAME}"
    )


def _inner_modules(module: nn.Module) -> Iterator[nn.Module]:
    """A module and those inside it under the usual names of a language model."""
    yield module
    own = getattr(module, "base_model_prefix", "")  # such as "gpt_neox"
    for name in dict.fromkeys((*INNER_NAMES, own)):
        inner = getattr(module, name, None)
        if isinstance(inner, nn.Module):
            yield from _inner_modules(inner)


def _stream(output: Tensor | tuple) -> Tensor:
    """What comes out of a block, which may be a tuple that begins with it: (batch, positions, width)."""
    return output if torch.is_tensor(output) else output[0]
