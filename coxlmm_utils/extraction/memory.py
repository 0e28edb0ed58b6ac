"""What memory an extraction takes, from the model's configuration and some of the pictures, before weights are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path

import torch
from PIL import Image

from ..images import CaptionedImages
from ..models import (
    LMM,
    BatchMemory,
    Layer,
    chosen_device,
    free_memory,
    linear_layers,
    load_without_weights,
    memory_of_batch,
    quantization_of,
    weights_of,
    without_weights,
)
from ..text import check_counts, in_bytes, quoted, whole_word
from .batches import AUTO, MAX_SIZE
from .blocks import BLOCK
from .extraction_plan import words_of
from .memory_plan import MemoryPlan

N_OPENED = 64  # pictures, whose sizes stand for those of all
LARGE = 0.05  # as a share of all, from which on captured states are worth a word


def plan(
    model: str | Path | LMM,
    images: CaptionedImages,
    token: str | Sequence[str] | None = None,
    layer: Layer | Sequence[Layer] | None = None,
    prompt: str | None = None,
    max_new_tokens: int = 40,
    batch_size: int | str = 32,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    quantization: str | None = None,
    memory: int | None = None,
    **from_pretrained_kwargs,
) -> MemoryPlan:
    """What memory `extract` will take, before any weights are loaded or fetched (ours).

    The model is made of its configuration, without values for its weights, and run on the largest of some 64 pictures,
    where an operation gives nothing but the shape of its result: so the parts are computed, whatever the family.

    Parameters
    ----------
    model : str, Path or LMM
        As for `load_lmm`: a name, a hub id or a folder. Or an LMM that is loaded.
    images, token, layer, prompt, max_new_tokens, batch_size
        As for `extract`; without a token all pictures may be samples, without a layer it is the last block's output.
    device, dtype, quantization
        As for `load_lmm`; of an LMM they are known.
    memory : int, optional
        Bytes that there are. By default what is free on the device, beside the weights of an LMM that lie there.
    **from_pretrained_kwargs
        As of `load_lmm`: those of the hub, such as `revision` and `trust_remote_code`, and `attn_implementation`.

    Returns
    -------
    MemoryPlan
        Printed, a table; with what to change where the memory is too little.

    Raises
    ------
    OSError
        If the configuration cannot be had, or none of the pictures can be read.
    ValueError
        If no picture may be a sample; if an option is unknown, or one is given for an LMM; for a layer that there is
        not; if the model's code asks for numbers that only weights could give.

    Notes
    -----
    Equal to what the CPU allocates, but for what single kernels need inside (below 1 MB). A GPU rounds each piece up, and
    its libraries take some hundred MB once: leave a tenth free there. Pictures and inputs that are made ahead, on the CPU,
    are not counted. Of a model that `extract` runs one picture at a time (`LMM.one_by_one`), only a loaded one is known.
    """
    check_counts(max_new_tokens=max_new_tokens, batch_size=MAX_SIZE if batch_size == AUTO else batch_size)
    options = dict(device=device, dtype=dtype, quantization=quantization, **from_pretrained_kwargs)
    lmm, weights = _weightless(model, options)
    layer = lmm.n_layers if layer is None else layer
    layers = list(dict.fromkeys([layer] if isinstance(layer, (Integral, str)) else layer))
    for one in layers:
        lmm.check_layer(one)
    if memory is None:
        where = model.device if isinstance(model, LMM) else chosen_device(device)
        memory = free_memory(where)
        memory = memory + (weights or 0) if memory is not None else None
    images = images if token is None else _eligible(images, token)
    if isinstance(model, LMM):
        quantization = quantization_of(model.model)
    extraction = _Extraction(lmm, _block(images), layers, prompt, int(max_new_tokens), quantization, weights)
    size = extraction.batch_size(batch_size, memory)
    disk = len(images) * len(layers) * lmm.width * lmm.model.dtype.itemsize
    advice = () if memory is None or extraction.total(size) <= memory else tuple(_advice(extraction, size, memory))
    return extraction.plan(size, disk, memory, advice)


def _weightless(model: str | Path | LMM, options: dict) -> tuple[LMM, int | None]:
    """The model without its weights, and their bytes where they lie in memory already."""
    if not isinstance(model, LMM):
        return load_without_weights(model, **options), None
    if given := [name for name, value in options.items() if value is not None]:
        raise ValueError(f"{model.name} is loaded, so leave {' and '.join(given)} out; or give plan the model's name.")
    return without_weights(model), weights_of(model)


def _eligible(images: CaptionedImages, token: str | Sequence[str]) -> CaptionedImages:
    """The pictures that may be samples: with the token in a reference, or without references."""
    words = words_of(token)
    mentioned = set(images.rows_with(whole_word(*words)))
    rows = [row for row, captions in enumerate(images.references) if not captions or row in mentioned]
    if not rows:
        raise ValueError(
            f"no reference caption of the {len(images):,} pictures has {quoted(words)}: choose another word"
        )
    return images[rows]


def _block(images: CaptionedImages) -> list[Image.Image]:
    """What a block of pictures is like, the largest ones last: `extract` makes its batches of pictures of about one size."""
    if not len(images):
        raise ValueError("there are no pictures: give some")
    n = min(N_OPENED, len(images))
    _, pictures, problems = images.opened(number * len(images) // n for number in range(n))
    if not pictures:
        raise OSError(f"none of the {n} pictures tried can be read: {next(iter(problems.values()))}")
    pictures = sorted(pictures, key=lambda picture: picture.width * picture.height)
    in_block = min(BLOCK, len(images))
    return [pictures[number * len(pictures) // in_block] for number in range(in_block)]


@dataclass(frozen=True)
class _Extraction:
    """All that decides what a batch takes, but how many pictures it holds."""

    lmm: LMM  # without weights
    pictures: list[Image.Image]  # of a block, the largest last
    layers: list[Layer]
    prompt: str | None
    max_new_tokens: int
    quantization: str | None = None
    loaded: int | None = None  # bytes of the weights, where they are in memory
    runs: dict = field(default_factory=dict)  # see `memory_of_batch`

    @cached_property
    def weights(self) -> int:
        return weights_of(self.lmm, self.quantization) if self.loaded is None else self.loaded

    def batch(self, size: int) -> BatchMemory:
        """What the largest pictures take beside the weights."""
        pictures = self.pictures[-size:]
        return memory_of_batch(self.lmm, pictures, self.layers, self.prompt, self.max_new_tokens, self.runs)

    def unpacked(self, size: int) -> int:
        """Bytes of the largest packed weight, which a product with it unpacks."""
        if self.quantization is None or self.batch(size).during == "pictures":
            return 0
        return max((linear.weight.nbytes for linear in linear_layers(self.lmm)), default=0)

    def total(self, size: int) -> int:
        """Bytes of all parts together."""
        return self.weights + self.batch(size).total + self.unpacked(size)

    def largest(self, memory: int, most: int) -> int:
        """The most pictures at once that fit, up to a number; 0 if not even one does."""
        fits, too_many, size = 0, most + 1, most
        while too_many - fits > 1:
            total = self.total(size)
            fits, too_many = (size, too_many) if total <= memory else (fits, size)
            # All but the weights grows nearly in proportion, so that a few tries find it.
            guess = int(size * (memory - self.weights) / (total - self.weights))
            size = min(max(guess, fits + 1), too_many - 1)
        return fits

    def batch_size(self, asked: int | str, memory: int | None) -> int:
        """How many pictures `extract` runs at once."""
        most = 1 if self.lmm.one_by_one else min(MAX_SIZE if asked == AUTO else asked, len(self.pictures))
        if asked != AUTO or memory is None:
            return most
        return 2 ** (max(1, self.largest(memory, most)).bit_length() - 1)  # it doubles while they fit

    def plan(self, size: int, disk: int, memory: int | None, advice: tuple[str, ...]) -> MemoryPlan:
        batch, counts = self.batch(size), self.batch(size).image_tokens
        held = str(self.lmm.model.dtype).removeprefix("torch.")
        held += f", blocks in {self.quantization}" if self.quantization else ""
        return MemoryPlan(
            model=f"{self.lmm.name} in {held}",
            weights=self.weights,
            cache=batch.cache,
            states=batch.states,
            activations=batch.activations + self.unpacked(size),
            during=batch.during,
            batch_size=size,
            max_new_tokens=self.max_new_tokens,
            prompt_length=batch.prompt_length,
            image_tokens=(min(counts), max(counts)) if counts else (),
            disk=disk,
            memory=memory,
            advice=advice,
        )


def _advice(extraction: _Extraction, size: int, memory: int) -> Iterator[str]:
    """What to change where a batch is too large, and what each change gives."""
    most = extraction.largest(memory, size - 1)
    if most:
        yield f"batch_size={most} takes {in_bytes(extraction.total(most))}: the most pictures at once that fit."
    else:
        yield f"Not even one picture at a time fits: that takes {in_bytes(extraction.total(1))}."
    for change, other in _others(extraction, size):
        fit = other.largest(memory, size)
        result = ", which fits" if fit == size else f"; batch_size={fit} fits" if fit else ", and no batch_size fits"
        yield f"{change} takes {in_bytes(other.total(size))}{result}."
        most = max(most, fit)
    if not most:
        yield 'Take a smaller model, or device_map="auto", which keeps some of the weights in the machine\'s memory.'


def _others(extraction: _Extraction, size: int) -> Iterator[tuple[str, _Extraction]]:
    """Other ways to extract that take less, with what to write."""
    lmm, half = extraction.lmm, ""
    packed = extraction.quantization or getattr(lmm.model.config, "quantization_config", None)
    if lmm.model.dtype.itemsize > 2 and not packed:
        half = 'dtype="bfloat16"'
        extraction = replace(extraction, lmm=without_weights(lmm, torch.bfloat16), loaded=None, runs={})
        yield half, extraction
    if not packed:
        words = ", ".join(filter(None, [half, 'quantization="4bit"']))
        yield words, replace(extraction, quantization="4bit", loaded=None)
    if len(extraction.layers) > 1 and extraction.batch(size).states > LARGE * extraction.total(size):
        yield "one layer alone", replace(extraction, layers=extraction.layers[-1:], runs={})
