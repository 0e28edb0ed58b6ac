"""Inputs of a batch, prompts padded on the left and continuations after them; and whether a part drops some out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import BatchFeature, PreTrainedModel
from transformers.utils import ModelOutput


def pad_left(batch: BatchFeature) -> None:
    """Move padding to the left, in place: BLIP's processors put image tokens before the text after padding it."""
    order = batch["attention_mask"].argsort(dim=1, stable=True)  # (batch, prompt)
    for key in ("input_ids", "attention_mask"):
        batch[key] = batch[key].gather(1, order)


def append(model: PreTrainedModel, batch: BatchFeature, continuations: Sequence[Sequence[int]], pad: int) -> None:
    """Put each continuation after its prompt, in place; the mask covers the padding on its right."""
    prompts = batch["input_ids"]  # (batch, prompt)
    if len(continuations) != len(prompts):
        counts = f"{len(continuations)} continuations for {len(prompts)} pictures"
        raise ValueError(f"There are {counts}: give one for each.")
    longest = max(map(len, continuations))
    tails = {"input_ids": prompts.new_full((len(prompts), longest), pad)}
    tails["attention_mask"] = torch.zeros_like(tails["input_ids"])
    for row, ids in enumerate(continuations):
        tails["input_ids"][row, : len(ids)] = torch.as_tensor(ids)
        tails["attention_mask"][row, : len(ids)] = 1
    for key, column in _next_columns(model, batch).items():
        tail = tails.get(key, column.repeat_interleave(longest, 1))
        batch[key] = torch.cat([batch[key], tail], dim=1)


def _next_columns(model: PreTrainedModel, batch: BatchFeature) -> dict[str, Tensor]:
    """What each input that is as long as the prompt gets for one more token: (batch, 1, ...)."""
    # Families differ in which inputs these are (token types, masks of cross-attention) and in what they get, so the
    # model's own step of `generate` is asked.
    prompts = batch["input_ids"]
    grown = model._update_model_kwargs_for_generation(ModelOutput(), dict(batch), is_encoder_decoder=False)
    return {
        key: grown[key][:, -1:]
        for key, value in batch.items()
        if torch.is_tensor(value) and (value.shape == prompts.shape or value.shape != grown[key].shape)
    }


def drops_out(module: nn.Module) -> bool:
    """Whether a part of a model sets values to zero at random as it is."""
    rates = [rate for name, rate in vars(module).items() if "dropout" in name and isinstance(rate, float)]
    if isinstance(module, nn.Dropout):
        rates = [module.p]
    return module.training and any(rates)
