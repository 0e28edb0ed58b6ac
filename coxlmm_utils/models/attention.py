"""What image tokens and attention a model works with: attention knockout, and eager attention whose weights can be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from .image_tokens import image_tokens
from .lmm import LMM


@contextmanager
def attention_knockout(lmm: LMM, layer: int) -> Iterator[None]:
    """From a layer on, let no position but image tokens attend to image tokens, whenever the model runs (ours).

    With layer 0, states at all other positions depend on the picture only by how many image tokens it has; with
    `n_layers` nothing changes. It works with every model whose blocks read the picture as tokens of the text and take
    the attention mask as `attention_mask` (LLaVA, LLaVA-NeXT, LLaVA-OneVision, Qwen-VL, Idefics, PaliGemma, Gemma 3,
    InternVL, Aya Vision, Mistral 3 and BLIP-2 were tried), under eager or sdpa attention; not with Llama 3.2 Vision
    (Mllama), which reads it by cross-attention.

    Parameters
    ----------
    lmm : LMM
    layer : int
        The first layer whose stream is affected in what is read of it: the blocks from `lmm.layers[layer]` on.

    Raises
    ------
    ValueError
        If there is no such layer, or image tokens of this model cannot be cut; the latter when the model runs.

    Notes
    -----
    Runs over whole inputs only, not `generate`. `extract` inside it needs captions and `cache=False`: what is cached
    does not know of the cut.
    """
    lmm.check_layer(layer)
    if layer == "norm":
        raise ValueError(f"image tokens are cut from a numbered layer on: give 0 to {lmm.n_layers}.")
    kind = lmm.model.config.get_text_config(decoder=True)._attn_implementation
    if kind not in ("eager", "sdpa"):
        raise ValueError(f'{kind} attention takes no mask for single positions: load with attn_implementation="sdpa".')
    image: list[Tensor] = []  # (batch, positions) of the run that is on

    def note(model, args: tuple, kwargs: dict) -> None:
        image[:] = [image_tokens(lmm, kwargs)]

    def cut(block, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if kwargs.get("cross_attention_mask") is not None or "attention_mask" not in kwargs or not image:
            raise ValueError(f"{lmm.name} does not read pictures as tokens under one mask: they cannot be cut.")
        return args, {**kwargs, "attention_mask": _without(kwargs["attention_mask"], image[0])}

    with ExitStack() as hooks:
        hooks.callback(lmm.model.register_forward_pre_hook(note, with_kwargs=True).remove)
        for block in lmm.layers[layer:]:
            hooks.callback(block.register_forward_pre_hook(cut, with_kwargs=True).remove)
        yield


def _without(mask: Tensor | None, image: Tensor) -> Tensor:
    """The attention mask of a block, (batch, 1, queries, keys), with image tokens hidden from all other positions."""
    n = image.shape[1]
    if mask is None:  # what the attention then takes for causal
        mask = torch.ones(1, 1, n, n, dtype=torch.bool, device=image.device).tril()
    if mask.dim() != 4 or mask.shape[2:] != (n, n):
        raise ValueError(f"a mask of shape {tuple(mask.shape)} is not over the {n} positions of whole inputs.")
    hidden = (~image[:, :, None] & image[:, None, :])[:, None].to(mask.device)
    return mask & ~hidden if mask.dtype == torch.bool else mask.masked_fill(hidden, torch.finfo(mask.dtype).min)


@contextmanager
def eager_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let a model compute its attention so that it can tell the weights, and then as before (ours)."""
    before = [(config, config._attn_implementation) for config in _configs(model)]
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        for config, kind in before:
            config._attn_implementation_internal = kind  # by itself: the property would set all that it holds


def _configs(model: PreTrainedModel) -> list[PreTrainedConfig]:
    """The configurations of a model and of the models in it, and those that they hold."""
    found = [module.config for module in model.modules() if isinstance(module, PreTrainedModel)]
    for config in found:  # which grows
        found += [held for name in config.sub_configs if (held := getattr(config, name, None)) is not None]
    return found
