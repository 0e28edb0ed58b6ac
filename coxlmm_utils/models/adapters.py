"""Fine-tuned copies of a model: an adapter of peft (LoRA and its kin), merged into the weights it was trained on."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedModel, ProcessorMixin
from transformers.utils import is_peft_available

from ..files import bundled_folder

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TOKENIZER = "tokenizer_config.json"
BUNDLED = "picturebook-"  # of the names of the book's own adapters
INCOMPLETE = "Found missing adapter keys"  # how peft's warning begins


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


def adapted(
    model: PreTrainedModel, processor: ProcessorMixin, adapter: str | Path, names: tuple[str, ...]
) -> PreTrainedModel:
    """The model with an adapter merged into its weights; new words of the adapter's own tokenizer get their rows.

    Merged, it is a model as any other: as fast, its parts where they were, and of a fingerprint of its own.

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
    base = _base(folder)
    if base and not {base, Path(base).name} & {*names, *(Path(name).name for name in names)}:
        raise ValueError(
            f"the adapter {adapter} is of the model {base!r}, and this is {names[0]!r}: load it on its own model"
        )
    if (folder / TOKENIZER).is_file():
        processor.tokenizer = AutoTokenizer.from_pretrained(folder)
        if len(processor.tokenizer) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
    return _merged(model, folder, f"the adapter {adapter} of {base or 'an unnamed model'} does not fit {names[0]}")


def _base(folder: Path) -> str:
    """The model that an adapter was trained on, as its configuration names it; "" if it does not."""
    try:
        return str(json.loads((folder / CONFIG).read_text()).get("base_model_name_or_path") or "")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{folder / CONFIG} is damaged ({error}): save the adapter again") from error


def _merged(model: PreTrainedModel, folder: Path, misfit: str) -> PreTrainedModel:
    """The model with the adapter in its weights; ValueError, which begins as `misfit` says, if it cannot be."""
    from peft import PeftModel  # an extra, and slow to import

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # of peft's use of transformers
        warnings.filterwarnings("error", INCOMPLETE)  # else they would stay as they were drawn
        try:
            merged = PeftModel.from_pretrained(model, folder).merge_and_unload(safe_merge=True)
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, UserWarning) as error:
            raise ValueError(f"{misfit}: {str(error).splitlines()[0]}") from error
    return merged.eval().requires_grad_(False)
