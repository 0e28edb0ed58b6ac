"""Attention that is blocked, or read: knock-out of attention to image tokens, and eager attention with its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from .hooks import uncompiled_around
from .image_tokens import image_tokens
from .lmm import LMM


@contextmanager
def attention_knockout(lmm: LMM, layer: int) -> Iterator[None]:
    """Block attention to image tokens, from all other positions, in the blocks `lmm.layers[layer:]` (ours).

    States up to layer `layer` are unchanged. From layer 0 on, other positions know of the picture only how many image
    tokens it has; from `n_layers` on, nothing changes.

    Parameters
    ----------
    lmm : LMM
        A model whose blocks read the picture as tokens of the text and take a mask as `attention_mask` (LLaVA,
        LLaVA-NeXT, LLaVA-OneVision, Qwen-VL, Idefics, PaliGemma, Gemma 3, InternVL, Aya Vision, Mistral 3, BLIP-2
        and DePALM were tried), with eager or sdpa attention. Llama 3.2 Vision (Mllama), which has cross-attention, is refused.
    layer : int
        0 to `lmm.n_layers`.

    Yields
    ------
    None

    Raises
    ------
    ValueError
        If there is no such layer, or the attention takes no mask; when the model runs, if its image tokens cannot be
        hidden, or its inputs are not whole ones.

    Notes
    -----
    For whole inputs only, not `generate`. `extract` inside it needs captions and `cache=False`: what is cached knows
    nothing of the knock-out.
    """
    lmm.check_layer(layer)
    if layer == "norm":
        raise ValueError(f"attention is knocked out from a numbered layer on: give 0 to {lmm.n_layers}.")
    kind = lmm.model.config.get_text_config(decoder=True)._attn_implementation
    if kind not in ("eager", "sdpa"):
        raise ValueError(f'{kind} attention takes no mask for single positions: load with attn_implementation="sdpa".')
    is_image: list[Tensor] = []  # (batch, positions) of the pass that is on: blocks do not get to see the input ids

    def find_image_tokens(model, args: tuple, kwargs: dict) -> None:
        is_image[:] = [image_tokens(lmm, kwargs)]

    def mask_out(block, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if kwargs.get("cross_attention_mask") is not None or "attention_mask" not in kwargs or not is_image:
            raise ValueError(f"{lmm.name} does not read pictures as tokens under one mask: they cannot be cut.")
        return args, {**kwargs, "attention_mask": _masked(kwargs["attention_mask"], is_image[0])}

    with ExitStack() as hooks:
        hooks.enter_context(lmm.model.register_forward_pre_hook(find_image_tokens, with_kwargs=True))
        hooks.enter_context(uncompiled_around(lmm, lmm.model))
        for block in lmm.layers[layer:]:
            hooks.enter_context(uncompiled_around(lmm, block))
            hooks.enter_context(block.register_forward_pre_hook(mask_out, with_kwargs=True))
        yield


def _masked(mask: Tensor | None, is_image: Tensor) -> Tensor:
    """A block's attention mask, (batch, 1, queries, keys), that also hides image tokens from all other positions."""
    n = is_image.shape[1]
    if mask is None:  # without padding, sdpa attention gets none and is causal by itself
        mask = torch.ones(1, 1, n, n, dtype=torch.bool, device=is_image.device).tril()
    if mask.dim() != 4 or mask.shape[2:] != (n, n):
        raise ValueError(f"a mask of shape {tuple(mask.shape)} is not over the {n} positions of whole inputs.")
    hidden = (~is_image[:, :, None] & is_image[:, None, :])[:, None].to(mask.device)
    # A boolean mask says what may be seen, one of numbers is added to the attention scores.
    return mask & ~hidden if mask.dtype == torch.bool else mask.masked_fill(hidden, torch.finfo(mask.dtype).min)


@contextmanager
def eager_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let a model compute its attention eagerly, so that it can return the weights, and afterwards as before."""
    before = [(config, config._attn_implementation) for config in _configs(model)]
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        for config, kind in before:
            config._attn_implementation_internal = kind  # the property's setter would set the held configurations, too


def _configs(model: PreTrainedModel) -> list[PreTrainedConfig]:
    """The configurations of a model and of the models in it, and those that they hold."""
    configs = [module.config for module in model.modules() if isinstance(module, PreTrainedModel)]
    for config in configs:  # the list grows meanwhile, so that held configurations are searched as well
        configs += [held for name in config.sub_configs if (held := getattr(config, name, None)) is not None]
    return configs
