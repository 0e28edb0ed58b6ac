"""Any image-text model of transformers as one object: its blocks, final norm, unembedding and processor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from numbers import Integral
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import BatchFeature, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from ..files import digest
from .inputs import append, drops_out, pad_left
from .weights import checksum, fingerprint

Layer = int | str  # 0..n_layers, or "norm"

PAPER_PROMPT = "Provide a one-sentence caption for the provided image."
GREY = Image.new("RGB", (224, 224), "grey")  # stands in where the picture does not matter


class OutOfDomain(Protocol):
    """What can tell pictures that a model knows nothing of, such as `OODDetector`."""

    def warn_if_out_of_domain(self, lmm: LMM, pictures: Sequence[Image.Image]) -> None:
        """Warn of such pictures, if there are some."""


@dataclass(eq=False, repr=False)
class LMM:
    """A large multimodal model and the parts of it that the method reads; made by `load_lmm`.

    Layer `L` (0..n_layers) is the residual stream after L blocks: 0 the embeddings, n_layers the last block's
    output before the final norm. Layer "norm" is the final norm's output.

    Parameters
    ----------
    name : str
        What `load_lmm` was given: "picturebook", a hub id or a folder.
    model, processor
        As transformers loads them; the model frozen and in evaluation mode.
    layers : nn.ModuleList
        The blocks of the language model, in order.
    final_norm, unembedding : nn.Module
        What turns the last block's output into logits: `unembedding(final_norm(states))`.
    prompt : str
        The instruction used where none is given.
    lens : {"exact", "scaled"}
        Whether `unembed` gives the model's own logits, or the model then scales or caps them: the order of the
        words is then the same, their probabilities are not.
    words_kept : int, optional
        At most so many words ground a concept, where the vocabulary is small; by default all that pass the word filter.
    ood : OutOfDomain, optional
        Warns of pictures that the model knows nothing of; the bundled model has one.
    left_out : dict
        Generation settings of the checkpoint that are not in effect, since captions are greedy.
    configuration : str
        A digest of the model's configuration as it was loaded.
    one_by_one : bool
        Whether a picture's states depend on the others of its batch, so that each is to be a batch of its own.
    checksums : dict of str to int
        Of all weights, by precision: as they were loaded, and as they first were in another precision.

    Notes
    -----
    The parts are the paper's (arXiv 2406.08074); finding them by structure is ours.
    """

    name: str
    model: PreTrainedModel
    processor: ProcessorMixin
    layers: nn.ModuleList
    final_norm: nn.Module
    unembedding: nn.Module
    prompt: str
    lens: str = "exact"
    words_kept: int | None = None
    ood: OutOfDomain | None = None
    left_out: dict = field(default_factory=dict)
    configuration: str = ""
    one_by_one: bool = False
    checksums: dict[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"LMM({self.name!r}, {self.n_layers} layers, width {self.width}, on {self.device})"

    @property
    def fingerprint(self) -> str:
        """Tells one set of weights from another: those that the model has now, with its adapters and edits."""
        mark, (precision, now) = fingerprint(self.model), checksum(self.model)
        # In another precision nobody can tell what came before, but from then on.
        return mark if self.checksums.setdefault(precision, now) == now else digest([mark, precision, now])

    @property
    def n_layers(self) -> int:
        """Number of blocks of the language model."""
        return len(self.layers)

    @property
    def width(self) -> int:
        """Length of one state."""
        return self.unembedding.in_features  # of its weight, the shape may be a packed one

    @property
    def device(self) -> torch.device:
        """Where the model takes its inputs."""
        return self.model.device

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    def check_layer(self, layer: Layer) -> None:
        """Raise a ValueError for a layer that this model does not have."""
        if layer == "norm" or (isinstance(layer, Integral) and 0 <= layer <= self.n_layers):
            return
        raise ValueError(
            f"{self.name} has no layer {layer!r}: give 0 (the embeddings) to {self.n_layers} "
            f"(the last block's output), or \"norm\" (the final norm's output)."
        )

    def warn_if_out_of_domain(self, pictures: Sequence[Image.Image]) -> None:
        """Warn of pictures that the model knows nothing of, if it can tell: only the bundled one can (ours)."""
        if self.ood is not None:
            self.ood.warn_if_out_of_domain(self, pictures)

    def inputs(
        self,
        pictures: Sequence[Image.Image],
        prompt: str | Sequence[str] | None = None,
        continuations: Sequence[Sequence[int]] | None = None,
        device: torch.device | str | None = None,
    ) -> BatchFeature:
        """Make the model's inputs for a batch of pictures, with one prompt for all or one for each (ours).

        Prompts are padded on the left, so that all of them end at one position. Continuations come after them and are
        padded on the right: with P = input_ids.shape[1] - (length of the longest continuation), token j of each is at
        position P + j, and the state that predicts it at position P + j - 1.

        Parameters
        ----------
        pictures : sequence of PIL images
            RGB, of any sizes.
        prompt : str or sequence of str, optional
            The instruction for all pictures, or one for each; the model's own `prompt` by default. It goes through the
            processor's chat template, or, without one, after the image token as it is, unless it holds that already.
        continuations : sequence of sequences of int, optional
            Token ids that follow each prompt, for a teacher-forced pass over given captions.
        device : torch.device or str, optional
            Default: the model's.

        Returns
        -------
        BatchFeature
            Pass all of it on, `model.generate(**inputs)`: models differ in what they need.

        Raises
        ------
        ValueError
            If there are no pictures, not one prompt or continuation for each, or the model is in training mode.
        """
        if self.model.training or any(drops_out(module) for module in self.model.modules()):
            raise ValueError(
                f"{self.name} is in training mode, where dropout makes states random: call lmm.model.eval() first."
            )
        if isinstance(pictures, Image.Image) or len(pictures) == 0:
            raise ValueError("This batch holds no pictures, or is no list of them: give at least one, [picture].")
        prompt = self.prompt if prompt is None else prompt
        prompts = [prompt] * len(pictures) if isinstance(prompt, str) else list(prompt)
        if len(prompts) != len(pictures):
            raise ValueError(
                f"There are {len(prompts)} prompts for {len(pictures)} pictures: give one, or one for each."
            )
        has_template = getattr(self.processor, "chat_template", None) is not None
        batch = self._chat(pictures, prompts) if has_template else self._plain(pictures, prompts)
        pad_left(batch)
        batch.pop("labels", None)  # PaliGemma's processor adds them, and the model would compute a loss
        if continuations is not None:
            append(self.model, batch, continuations, self.tokenizer.pad_token_id)
        return batch.to(device or self.device, self.model.dtype)

    @cached_property
    def image_token_in_text(self) -> bool:
        """Whether the processor wants the image token in a text; some write all of theirs by themselves."""
        token = getattr(self.processor, "image_token", None)
        if not isinstance(token, str):  # BLIP-2 keeps no str
            return False
        image_ids = [self.tokenizer.convert_tokens_to_ids(token), getattr(self.model.config, "image_token_id", -1)]

        def count(text: str) -> int:
            ids = self.processor(images=[GREY], text=[text], return_tensors="pt")["input_ids"]
            return int(torch.isin(ids, torch.tensor(image_ids)).sum())

        try:
            alone = count("a")
        except Exception:  # of any kind: it misses the token
            return True
        try:
            return alone == 0 or count(f"{token}a") == alone  # PaliGemma takes both
        except Exception:  # of any kind: it has one too many
            return False

    def shown_prompt(self, prompt: str | None = None) -> str:
        """The text that the model gets with one picture and a prompt, by default its own; "<image> x 576" for repeats.

        Where the number of image tokens depends on the picture's size, it is that of a grey one of 224 x 224 pixels.
        """
        return " ".join(collapse_repeats(self.tokenizer, self.inputs([GREY], prompt)["input_ids"][0].tolist()))

    def _chat(self, pictures: Sequence[Image.Image], prompts: list[str]) -> BatchFeature:
        """One user turn for each picture, by the model's chat template."""
        chats = [
            [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": prompt}]}]
            for picture, prompt in zip(pictures, prompts)
        ]
        return self.processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )

    def _plain(self, pictures: Sequence[Image.Image], prompts: list[str]) -> BatchFeature:
        """The prompts as they are, after the image token where the processor wants one in the text."""
        if self.image_token_in_text:
            token = self.processor.image_token
            prompts = [prompt if token in prompt else token + prompt for prompt in prompts]
        return self.processor(images=list(pictures), text=prompts, padding=True, return_tensors="pt")

    def unembed(self, vectors: Tensor, layer: Layer, norm: bool | None = None) -> Tensor:
        """Score every token of the vocabulary for states, or for directions among them.

        Parameters
        ----------
        vectors : Tensor, (n, width)
            States or concepts.
        layer : int or str
            The layer that they come from.
        norm : bool, optional
            Whether the final norm comes first. By default it does, unless the vectors have been through it
            already (`layer="norm"`).

        Returns
        -------
        Tensor, (n, vocabulary)
            Logits, on the model's device; without the scale or cap that some models then put on them.

        Raises
        ------
        ValueError
            If the layer or the width is not this model's.

        Notes
        -----
        The paper's text grounding, W_U u (arXiv 2406.08074); the final norm before it is ours.
        """
        self.check_layer(layer)
        if vectors.dim() != 2 or vectors.shape[1] != self.width:
            shape = tuple(vectors.shape)
            raise ValueError(f"{self.name} unembeds vectors of shape (n, {self.width}), not {shape}.")
        vectors = vectors.to(self.device, self.model.dtype)
        apply_norm = layer != "norm" if norm is None else norm
        return self.unembedding(self.final_norm(vectors) if apply_norm else vectors)


def collapse_repeats(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, ...]:
    """Token ids as texts: ordinary tokens together, each run of one special token as "<image> x 64", nothing blank.

    Rows of image tokens, as Pixtral has them, become "([IMG] x 16 [IMG_BREAK]) x 11".
    """
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    parts = []
    for kind, run in groupby(ids, key=lambda token: token if token in special else None):
        run = list(run)
        if kind is None:
            parts.append(tokenizer.decode(run).strip())
        else:
            parts.append(tokenizer.convert_ids_to_tokens(kind) + (f" x {len(run)}" if len(run) > 1 else ""))
    return tuple(_collapse_pairs([part for part in parts if part]))


def _collapse_pairs(parts: list[str]) -> Iterator[str]:
    """The same texts, but a pair that repeats only once, with its count."""
    while parts:
        pair, n = parts[:2], 1
        while len(pair) == 2 and parts[2 * n : 2 * n + 2] == pair:
            n += 1
        yield f"({pair[0]} {pair[1]}) x {n}" if n > 1 else parts[0]
        parts = parts[2 * n :] if n > 1 else parts[1:]
