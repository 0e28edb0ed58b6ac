"""Fine-tuned copies of a model: an adapter of peft (LoRA and its kin), merged into the weights it was trained on."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedModel, ProcessorMixin
from transformers.utils import is_peft_available

from ..files import bundled_folder
from .weights import is_packed

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TOKENIZER = "tokenizer_config.json"
BUNDLED = "picturebook-"  # of the names of the book's own adapters
INCOMPLETE = "Found missing adapter keys"  # how peft's warning begins
STEP = re.compile(r"(step|checkpoint)-\d+")  # names that say nothing by themselves
MAX_REASON = 300  # characters of what peft says, which may list every weight


def adapter_folder(adapter: str | Path) -> Path:
    """Where an adapter lies, with its files there; FileNotFoundError if it does not.

    Parameters
    ----------
    adapter : str or Path
        A folder written by peft, or one of the book's own by name, such as "picturebook-place".
    """
    folder, name = Path(adapter).expanduser(), str(adapter)
    if name.startswith(BUNDLED) and not folder.exists():
        folder = bundled_folder("adapters") / name.removeprefix(BUNDLED)
        if not folder.is_dir():
            known = ", ".join(BUNDLED + path.name for path in sorted(folder.parent.iterdir()) if path.is_dir())
            raise FileNotFoundError(f"the picture book has no adapter {name!r}; there are {known}")
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise FileNotFoundError(
                f"{folder} holds no adapter: {file} is missing; give a folder that peft's save_pretrained wrote"
            )
    return folder


def adapter_name(adapter: str | Path) -> str:
    """An adapter's folder name; of a checkpoint, its training's name first."""
    folder = adapter_folder(adapter).resolve()
    return f"{folder.parent.name} {folder.name}" if STEP.fullmatch(folder.name) else folder.name


def adapted(
    model: PreTrainedModel, processor: ProcessorMixin, adapter: str | Path, names: tuple[str, ...]
) -> PreTrainedModel:
    """The model with an adapter in its weights; new words of the adapter's own tokenizer get their rows.

    Merged, it is a model as any other: as fast, its parts where they were, and of a fingerprint of its own. Into packed
    weights (4 or 8 bits) it would be rounded away: on a quantised model it is computed beside them, in their modules.

    Parameters
    ----------
    model : PreTrainedModel
        Changed in place.
    processor : ProcessorMixin
        Gets the adapter's tokenizer, if it brings one.
    adapter : str or Path
    names : tuple of str
        What the model goes by: an adapter that was trained on a model of another name is refused.

    Returns
    -------
    PreTrainedModel

    Raises
    ------
    ImportError
        If peft is not installed.
    FileNotFoundError
        If the folder holds no adapter.
    ValueError
        If it is of another model, damaged, or of a kind that cannot be merged.
    """
    if not is_peft_available():
        raise ImportError(f"the adapter {adapter} needs the package peft, which is not installed: pip install peft")
    folder = adapter_folder(adapter)
    base, kind = _base_and_kind(folder)
    if base and not {base, Path(base).name} & {*names, *(Path(name).name for name in names)}:
        raise ValueError(
            f"the adapter {adapter} is of the model {base!r}, and this is {names[0]!r}: load it on its own model"
        )
    _check_kind(adapter, kind)
    if (folder / TOKENIZER).is_file():
        _take_tokenizer(model, processor, folder)
    fitted = names[0]
    if is_packed(model):
        remedy = "where it fits the full ones, merge it there, save_pretrained, and quantise that"
        fitted = f"the packed weights of {fitted} ({remedy})"
    return _merged(model, folder, f"the adapter {adapter} of {base or 'an unnamed model'} does not fit {fitted}")


def _base_and_kind(folder: Path) -> tuple[str, str]:
    """The model that an adapter was trained on, "" if its configuration names none, and what kind of adapter it is."""
    try:
        configuration = json.loads((folder / CONFIG).read_text())
        return str(configuration.get("base_model_name_or_path") or ""), str(configuration["peft_type"])
    except (ValueError, AttributeError, KeyError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{folder / CONFIG} is damaged ({reason}): save the adapter again") from error


def _check_kind(adapter: str | Path, kind: str) -> None:
    """Refuse an adapter that is no change of weights, such as a learned prompt."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PromptLearningConfig  # an extra, and slow to import

    if kind not in PEFT_TYPE_TO_CONFIG_MAPPING:
        raise ValueError(f"the adapter {adapter} is of the kind {kind}, which this version of peft does not know")
    if issubclass(PEFT_TYPE_TO_CONFIG_MAPPING[kind], PromptLearningConfig):
        raise ValueError(
            f"the adapter {adapter} is of the kind {kind}, a learned prompt, which cannot be merged into weights: "
            "give one of LoRA or its kin"
        )


def _take_tokenizer(model: PreTrainedModel, processor: ProcessorMixin, folder: Path) -> None:
    """Give the processor the adapter's tokenizer, padded as its own was, and the model rows for new words."""
    own = processor.tokenizer
    try:
        processor.tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # of any kind: tokenizers raises a bare one
        raise ValueError(f"the tokenizer in {folder} is damaged ({_reason(error)}): save it again") from error
    processor.tokenizer.padding_side = own.padding_side
    processor.tokenizer.pad_token = processor.tokenizer.pad_token or own.pad_token
    if len(processor.tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)


def _merged(model: PreTrainedModel, folder: Path, misfit: str) -> PreTrainedModel:
    """The model with the adapter in its weights; ValueError, which begins as `misfit` says, if it cannot be."""
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # of peft's use of transformers
        warnings.filterwarnings("error", INCOMPLETE)  # else they would stay as they were drawn
        try:
            tuned = PeftModel.from_pretrained(model, folder)
            # Again, since only this says which of the weights have no place in the model.
            if left_over := tuned.load_adapter(folder, tuned.active_adapter).unexpected_keys:
                raise ValueError(f"it has no place for {len(left_over)} of its weights, such as {left_over[0]}")
            merged = tuned.get_base_model() if is_packed(model) else tuned.merge_and_unload(safe_merge=True)
        except SafetensorError as error:
            raise ValueError(
                f"{folder / WEIGHTS} is damaged, or only a pointer ({error}): save the adapter again, or fetch it again"
            ) from error
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, UserWarning) as error:
            raise ValueError(f"{misfit}: {_reason(error)}") from error
    return merged.eval().requires_grad_(False)


def _reason(error: Exception) -> str:
    """What an error says, shortened: torch has the shapes that do not fit in its second line."""
    text = " ".join(line.strip() for line in str(error).splitlines()[:2]) or type(error).__name__
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}..."
