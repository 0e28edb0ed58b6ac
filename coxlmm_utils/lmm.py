"""Any image-text model of transformers as one object: its blocks, final norm, unembedding and processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from PIL.Image import Image
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    BatchFeature,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from .picturebook import familiarity
from .picturebook.familiarity import Familiarity
from .structure import find_layers_and_norm, find_unembedding, fingerprint

Layer = int | str  # 0..n_layers, or "norm"

PAPER_PROMPT = "Provide a one-sentence caption for the provided image."
PICTUREBOOK_FOLDER = Path(__file__).parents[1] / "data" / "picturebook" / "lmm"
PICTUREBOOK_WORDS_KEPT = 5  # of a vocabulary of 149 tokens, the 15 most probable are not all telling
HUB_OPTIONS = ("revision", "cache_dir", "token", "local_files_only", "force_download", "trust_remote_code")


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
    fingerprint : str
        Tells one set of weights from another, see `fingerprint`.

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
    fingerprint: str
    words_kept: int | None = None
    familiarity: Familiarity | None = None

    def __repr__(self) -> str:
        return f"LMM({self.name!r}, {self.n_layers} layers, width {self.width}, on {self.device})"

    @property
    def n_layers(self) -> int:
        """Number of blocks of the language model."""
        return len(self.layers)

    @property
    def width(self) -> int:
        """Length of one state."""
        return self.unembedding.weight.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the model takes its inputs."""
        return self.model.device

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    def check_layer(self, layer: Layer) -> None:
        """Refuse a layer that this model does not have (ours).

        Parameters
        ----------
        layer : int or str
            0..n_layers, or "norm".

        Raises
        ------
        ValueError
            If there is no such layer; the message lists those that there are.
        """
        if layer == "norm" or (isinstance(layer, Integral) and 0 <= layer <= self.n_layers):
            return
        raise ValueError(
            f"{self.name} has no layer {layer!r}: give 0 (the embeddings) to {self.n_layers} "
            f"(the last block's output), or \"norm\" (the final norm's output)."
        )

    def warn_if_strange(self, pictures: Sequence[Image]) -> None:
        """Warn of pictures that the model knows nothing of, if it can tell: only the bundled one can (ours)."""
        if self.familiarity is not None:
            self.familiarity.warn_if_strange(self, pictures)

    def inputs(
        self,
        pictures: Sequence[Image],
        prompt: str | None = None,
        continuations: Sequence[Sequence[int]] | None = None,
    ) -> BatchFeature:
        """Make the model's inputs for a batch of pictures, all with the same prompt (ours).

        Prompts are padded on the left, so that all of them end at one position. Continuations come after them
        and are padded on the right: with P = input_ids.shape[1] - (length of the longest continuation),
        token j of each is at position P + j, and the state that predicts it at position P + j - 1.

        Parameters
        ----------
        pictures : sequence of PIL images
            RGB, of any sizes.
        prompt : str, optional
            The instruction, put through the processor's chat template; the model's own `prompt` by default.
            Without a template it is used as it is, after the image token if it does not hold one already.
        continuations : sequence of sequences of int, optional
            Token ids that follow each prompt, for a teacher-forced pass over given captions.

        Returns
        -------
        BatchFeature
            On the model's device. Pass all of it on, `model.generate(**inputs)`: models differ in what they
            need.

        Raises
        ------
        ValueError
            If there are no pictures, or not one continuation for each.
        """
        if len(pictures) == 0:
            raise ValueError("This batch holds no pictures: give at least one.")
        prompt = self.prompt if prompt is None else prompt
        has_template = getattr(self.processor, "chat_template", None) is not None
        batch = self._chat(pictures, prompt) if has_template else self._plain(pictures, prompt)
        batch.pop("labels", None)  # PaliGemma's processor adds them, and the model would compute a loss
        if continuations is not None:
            _append(batch, continuations, self.tokenizer.pad_token_id)
        return batch.to(self.device, self.model.dtype)

    def _chat(self, pictures: Sequence[Image], prompt: str) -> BatchFeature:
        """One user turn for each picture, by the model's chat template."""
        text = {"type": "text", "text": prompt}
        chats = [[{"role": "user", "content": [{"type": "image", "image": p}, text]}] for p in pictures]
        options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
        return self.processor.apply_chat_template(
            chats, add_generation_prompt=True, processor_kwargs={"padding": True}, **options
        )

    def _plain(self, pictures: Sequence[Image], prompt: str) -> BatchFeature:
        """The prompt as it is, after the image token where the processor wants one in the text."""
        token = getattr(self.processor, "image_token", None)
        if isinstance(token, str) and token not in prompt:  # BLIP-2 keeps no str: it adds its tokens itself
            prompt = token + prompt
        texts = [prompt] * len(pictures)
        return self.processor(images=list(pictures), text=texts, padding=True, return_tensors="pt")

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


def load_lmm(
    name: str | Path = "picturebook",
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    prompt: str | None = None,
    **from_pretrained_kwargs,
) -> LMM:
    """Load an image-text model, ready to be read (ours).

    Parameters
    ----------
    name : str or Path
        "picturebook" (the bundled model), a hub id such as "llava-hf/llava-1.5-7b-hf", or a folder written by
        `save_pretrained`.
    device : str or torch.device, optional
        By default the first available of cuda, mps and cpu.
    dtype : str or torch.dtype, optional
        By default float32 on the CPU, elsewhere as stored.
    prompt : str, optional
        The instruction used where none is given; by default the paper's for LLaVA, `PAPER_PROMPT`.
    **from_pretrained_kwargs
        Go to transformers: `revision`, `token`, `device_map`, ... Code that comes with a model is run only if
        `trust_remote_code=True` is among them.

    Returns
    -------
    LMM
        Frozen and in evaluation mode.

    Raises
    ------
    FileNotFoundError
        If the folder is missing or holds no model.
    OSError
        If the hub has no such model or cannot be reached.
    ValueError
        If the model takes no pictures, or a part of it is not found.
    """
    source = _source(str(name))
    hub = {"trust_remote_code": False}  # said outright: else transformers would stop and ask
    hub |= {key: value for key, value in from_pretrained_kwargs.items() if key in HUB_OPTIONS}
    _check_takes_pictures(_load_config(source, hub), source)
    processor = _load_processor(source, hub)
    device = torch.device(device or _best_device())
    dtype = dtype or (torch.float32 if device.type == "cpu" else "auto")
    options = from_pretrained_kwargs | hub
    model = AutoModelForImageTextToText.from_pretrained(source, dtype=dtype, **options)
    model = (model if "device_map" in options else model.to(device)).eval().requires_grad_(False)
    layers, final_norm = find_layers_and_norm(model)
    return LMM(
        name=str(name),
        model=model,
        processor=processor,
        layers=layers,
        final_norm=final_norm,
        unembedding=find_unembedding(model),
        prompt=prompt or PAPER_PROMPT,
        fingerprint=fingerprint(model),
        **_picturebook_settings(source),
    )


def _picturebook_settings(folder: str) -> dict:
    """What only a model of the picture book has; its folder is known by the measure of what its pages look like."""
    if not (Path(folder) / familiarity.FILE).is_file():
        return {}
    return {"words_kept": PICTUREBOOK_WORDS_KEPT, "familiarity": Familiarity.load(Path(folder))}


def _append(batch: BatchFeature, continuations: Sequence[Sequence[int]], pad: int) -> None:
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
    for key, value in batch.items():
        if torch.is_tensor(value) and value.shape == prompts.shape:
            tail = tails.get(key, value[:, -1:].expand(-1, longest))  # token types go on as in generate
            batch[key] = torch.cat([value, tail], dim=1)


def _best_device() -> str:
    """The first available of cuda, mps and cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _source(name: str) -> str:
    """The folder or hub id that a name stands for."""
    if name == "picturebook":
        folder = PICTUREBOOK_FOLDER
        missing = f"The bundled model is not at {folder}: run from a full clone of the repository."
    else:
        folder = Path(name).expanduser()
        if not folder.exists() and name[0] not in "./~" and name.count("/") < 2 and "\\" not in name:
            return name
        missing = f"There is no model at {folder}: give a folder written by save_pretrained, or a hub id."
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(missing)
    return str(folder)


def _load_config(source: str, hub: dict) -> PreTrainedConfig:
    """The model's configuration, or one sentence on why it cannot be had."""
    try:
        return AutoConfig.from_pretrained(source, **hub)
    except OSError as error:
        if Path(source).is_dir():
            raise
        raise OSError(
            f'"{source}" is not a folder here, and {_why_not(error.__cause__)}; '
            f"check the name, or give a folder written by save_pretrained."
        ) from error


def _why_not(cause: BaseException | None) -> str:
    """What kept the Hugging Face hub from giving a model."""
    if isinstance(cause, GatedRepoError):
        return "the Hugging Face hub wants its licence accepted there and a login (hf auth login)"
    if isinstance(cause, (RepositoryNotFoundError, HFValidationError)):
        return "the Hugging Face hub has no public model of that name"
    if isinstance(cause, LocalEntryNotFoundError):
        return "the Hugging Face hub cannot be reached (no network), nor has it been fetched before"
    return f"the Hugging Face hub did not give it ({str(cause).splitlines()[0]})"


def _check_takes_pictures(config: PreTrainedConfig, source: str) -> None:
    """Refuse a kind of model that transformers does not know to take pictures and text."""
    own_code = "AutoModelForImageTextToText" in getattr(config, "auto_map", {})
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and not own_code:
        kind = config.model_type
        raise ValueError(f"{source} is of type {kind}, which takes no pictures: give an image-text model.")


def _load_processor(source: str, hub: dict) -> ProcessorMixin:
    """The processor, with a tokenizer that can pad on the left."""
    try:
        processor = AutoProcessor.from_pretrained(source, **hub)
    except (OSError, ValueError) as error:
        raise ValueError(f"{source} has no processor: add it with processor.save_pretrained.") from error
    if not (hasattr(processor, "image_processor") and hasattr(processor, "tokenizer")):
        kind = type(processor).__name__
        raise ValueError(f"{source} has only a {kind}, which does not take pictures and text: add one.")
    tokenizer = processor.tokenizer
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor
