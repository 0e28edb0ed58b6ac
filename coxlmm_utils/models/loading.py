"""Loading any image-text model of transformers, and trying out whether it can be read."""

from __future__ import annotations

import re
import warnings
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from .adapters import adapted, adapter_name
from .devices import check_device_map, chosen_device, chosen_dtype
from .generation_settings import configuration, make_greedy, refused_settings
from .lmm import LMM, PAPER_PROMPT
from .out_of_domain import FILE, OODDetector
from .passes import depends_on_batch
from .processors import load_processor, trial_inputs
from .quantization import check_quantization, keep_packed, quantised, require_packages
from .sources import check_kind, hub_options, load_config, source_of
from .structure import check_lens, find_parts
from .weights import checksum, is_packed

SMALL_VOCABULARY, FEW_WORDS = 1000, 5  # of the book's 149 tokens, the 15 most probable are not all telling
COMPUTED = ("inv_freq", "position_ids")  # buffers that old checkpoints hold and models make by themselves
PARTS = ("layers", "final_norm", "unembedding")  # of an LMM, modules of its model


def load_lmm(
    name: str | Path = "picturebook",
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    prompt: str | None = None,
    chat_template: str | None = None,
    layers: str | None = None,
    final_norm: str | None = None,
    unembedding: str | None = None,
    adapter: str | Path | None = None,
    quantization: str | None = None,
    **from_pretrained_kwargs,
) -> LMM:
    """Load an image-text model, and try out on a grey picture that its states can be read as words (ours).

    Parameters
    ----------
    name : str or Path
        "picturebook" (the bundled model), "picturebook-biased" (the same with three planted faults, see data/README),
        "picturebook-depalm" (the bundled DePALM, on SmolLM2-135M-Instruct; joined at first use), a hub id such as
        "llava-hf/llava-1.5-7b-hf", or a folder written by `save_pretrained`.
    device : str or torch.device, optional
        By default the first available of cuda, mps and cpu. Not with `device_map`.
    dtype : str or torch.dtype, optional
        By default float32 on the CPU, elsewhere as stored. `torch_dtype`, its older name, is taken for it.
    prompt : str, optional
        The instruction used where none is given; by default what the processor has as `prompt`, else the paper's for
        LLaVA, `PAPER_PROMPT`.
    chat_template : str, optional
        What stands around the instruction, as a Jinja template; by default the processor's own. A model without
        one (PaliGemma, BLIP-2) gets the instruction as it is. `lmm.shown_prompt()` shows what comes of it.
    layers, final_norm, unembedding : str, optional
        Dotted names of the parts of the language model, "model.language_model.layers". By default they are found
        by structure, see `find_parts`.
    adapter : str or Path, optional
        The model as fine-tuned: a folder that peft wrote (LoRA and its kin), merged into the weights; or one of the
        book's own, "picturebook-place", "-colour", "-time", "-rename", "-sign", "-null",
        "-depalm-place". For these peft is needed.
    quantization : {"4bit", "8bit"}, optional
        Holds the linear layers of the language model's blocks in so few bits, by bitsandbytes or torchao: LLaVA-1.5-7B
        takes 4.5 or 7.7 GB in place of 14. All else stays in `dtype`, which is then by default bfloat16 where the GPU
        computes in it, else float16. States are those of another model, with a fingerprint of its own. An adapter is
        not merged then, but computed beside the packed weights.
    **from_pretrained_kwargs
        Go to transformers: `revision`, `token`, `device_map`, `quantization_config`, ... Code that comes with a
        model is run only if `trust_remote_code=True` is among them.

    Returns
    -------
    LMM
        Frozen and in evaluation mode.

    Warns
    -----
    UserWarning
        If the checkpoint has generation settings that are left out since captions are greedy.

    Raises
    ------
    FileNotFoundError
        If the folder is missing or holds no model, such as one with nothing but an adapter; if the language model of
        "picturebook-depalm" is found nowhere.
    ImportError
        If `device_map` is given, and the package accelerate is not there; if `adapter` is, and peft is not; if
        `quantization` is, and not the packages that it needs.
    OSError
        If the hub has no such model or cannot be reached, or the weights are damaged.
    ValueError
        If the model takes no pictures, some of its weights are not in the checkpoint, or a part of it is not found or
        not what it seemed to be; if the adapter is of another model, or damaged; if the checkpoint is quantised
        already, and `quantization` is given.
    """
    check_device_map(device, from_pretrained_kwargs.get("device_map"))
    source, hub, config = open_checkpoint(name, quantization, from_pretrained_kwargs)
    require_packages(quantization)
    processor = load_processor(source, hub, config, chat_template)
    device = chosen_device(device)
    options = from_pretrained_kwargs | hub
    options["dtype"] = chosen_dtype(dtype, options.pop("torch_dtype", None), device)
    options |= quantised(quantization, options, device, config, (layers, final_norm, unembedding))
    model = _load_model(source, device, options, hub)
    if adapter is not None:
        model = adapted(model, processor, adapter, (str(name), source))
    parts = find_parts(model, layers, final_norm, unembedding)
    lmm = LMM(
        name=_name(name, adapter, quantization),
        model=model,
        processor=processor,
        layers=parts.layers,
        final_norm=parts.final_norm,
        unembedding=parts.unembedding,
        prompt=getattr(processor, "prompt", PAPER_PROMPT) if prompt is None else prompt,
        left_out=make_greedy(model),
        configuration=configuration(model),
    )
    if lmm.left_out:
        warnings.warn(_left_out(lmm))
    if (Path(source) / FILE).is_file():  # a model of the picture book, and only such
        lmm.ood = OODDetector.load(Path(source))
        if model.config.get_text_config().vocab_size < SMALL_VOCABULARY:
            lmm.words_kept = FEW_WORDS
    lmm.lens = check_lens(model, trial_inputs(lmm), parts)
    lmm.one_by_one, lmm.checksums = depends_on_batch(lmm), dict([checksum(model)])
    return lmm


def open_checkpoint(name: str | Path, quantization: str | None, options: dict) -> tuple[str, dict, PreTrainedConfig]:
    """Where a model lies, the options that all its files are read with, and its configuration; or what is wrong."""
    source = source_of(str(name))
    hub = hub_options(source, options)
    config = load_config(source, hub)
    check_kind(source, config)
    check_quantization(quantization, options, source, config)
    return source, hub, config


def randomly_initialised(lmm: LMM, seed: int = 0) -> LMM:
    """An LMM of the same architecture and processor with freshly drawn weights, as before training (ours).

    Its concepts are a control: what the architecture and the words of captions explain by themselves. It has a name
    and a fingerprint of its own, so that its states are never confused with the trained model's.

    Parameters
    ----------
    seed : int, default 0
        Of the weights. Torch's global random numbers go on as if nothing was drawn.

    Returns
    -------
    LMM

    Raises
    ------
    ValueError
        If the model is quantised: its copy could only be drawn in full precision.
    """
    if is_packed(lmm.model):
        raise ValueError(
            f"{lmm.name} is quantised, and weights can only be drawn anew in full precision: load it without "
            "quantization for this control."
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs, too
        model = type(lmm.model)(deepcopy(lmm.model.config))
    model = model.to(lmm.device, lmm.model.dtype).eval().requires_grad_(False)
    model.generation_config = deepcopy(lmm.model.generation_config)  # not made of weights: where captions end
    names = {module: name for name, module in lmm.model.named_modules()}
    parts = {part: model.get_submodule(names[getattr(lmm, part)]) for part in PARTS}
    # "untrained" is in the digests of cached states: another word would be another folder.
    name = f"{lmm.name}, untrained {seed}"
    return replace(lmm, name=name, model=model, ood=None, checksums=dict([checksum(model)]), **parts)


def _name(name: str | Path, adapter: str | Path | None, quantization: str | None) -> str:
    """What an LMM goes by: its model, and what was done to it."""
    name = str(name) if adapter is None else f"{name} + {adapter_name(adapter)}"
    return name if quantization is None else f"{name}, {quantization}"


def _left_out(lmm: LMM) -> str:
    """A sentence on the generation settings that are not in effect."""
    settings = ", ".join(f"{name}={value!r}" for name, value in lmm.left_out.items())
    return (
        f"captions are greedy, so these generation settings that come with {lmm.name} are left out: {settings}; "
        "see generate_captions for those that count if you set them"
    )


def _load_model(source: str, device: torch.device, options: dict, hub: dict) -> PreTrainedModel:
    """The model on its device, frozen and in evaluation mode."""
    refused = refused_settings(source, hub)
    if refused is not None:
        options = {"generation_config": GenerationConfig(), **options}
    try:
        model, info = AutoModelForImageTextToText.from_pretrained(source, output_loading_info=True, **options)
    except TypeError as error:
        if not (unknown := re.search(r"unexpected keyword argument '(\w+)'", str(error))):
            raise
        raise ValueError(f"neither load_lmm nor transformers has an option {unknown[1]!r}: check its name.") from error
    except SafetensorError as error:
        raise OSError(
            f"the weights of {source} are damaged, or only pointers to them ({error}): fetch them again (git lfs pull)."
        ) from error
    check_complete(source, model, info)
    model.generation_config = refused or model.generation_config
    keep_packed(model)
    if options.get("device_map") is None:  # else it has been put in place
        model = model.to(device)
    return model.eval().requires_grad_(False)


def check_complete(source: str, model: PreTrainedModel, info: dict) -> None:
    """Refuse a model with weights that are not in its checkpoint, but drawn at random; warn of weights left out."""
    names = [name for name, _ in model.named_parameters()]  # tied ones once, and no buffers
    drawn = {*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])}
    if missing := [name for name in names if name in drawn]:
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ValueError(
            f"{source} lacks {len(missing)} of the {len(names)} weights of {type(model).__name__}, which would be "
            f"random ones: {some}; its names may be of another version: save it again with the version that wrote it."
        )
    left_out = sorted(name for name in info.get("unexpected_keys", ()) if not name.endswith(COMPUTED))
    if left_out:
        warnings.warn(
            f"{source} has {len(left_out)} weights that {type(model).__name__} does not take, and that are left out, "
            f"such as {left_out[0]}: if it should take them, see to the numbers of layers in its config.json."
        )
