"""Where a model comes from: a bundled name, a folder or the hub; and what is refused before its weights are read."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import getproxies

from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import GatedRepoError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoConfig, PreTrainedConfig
from transformers.utils import is_peft_available

from ..files import bundled_folder
from .depalm.picturebook import joined_folder

HUB_OPTIONS = ("revision", "cache_dir", "token", "local_files_only", "force_download", "trust_remote_code")


def source_of(name: str) -> str:
    """The folder or hub id that a name stands for."""
    if name == "picturebook":
        return str(bundled_folder("lmm"))
    if name == "picturebook-biased":
        return str(bundled_folder("biased"))
    if name == "picturebook-depalm":
        return str(joined_folder())
    folder = Path(name).expanduser()
    if not folder.exists() and name[0] not in "./~" and name.count("/") < 2 and "\\" not in name:
        return name
    _check_adapter(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"There is no model at {folder}: give a folder written by save_pretrained, or a hub id."
        )
    return str(folder)


def hub_options(source: str, options: dict) -> dict:
    """Those of the options of `from_pretrained` that count for every file of a model, code that comes with it refused."""
    hub = {"trust_remote_code": False}  # said outright: else transformers would stop and ask
    hub |= {key: value for key, value in options.items() if key in HUB_OPTIONS}
    if not Path(source).is_dir() and not _hub_has_an_address():
        hub["local_files_only"] = True  # else every file is asked for six times, for 23 seconds
    return hub


def load_config(source: str, hub: dict) -> PreTrainedConfig:
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


def check_kind(source: str, config: PreTrainedConfig) -> None:
    """Refuse a kind of model that takes no pictures and text, or that generates by a decoder of its own."""
    own_code, kind = "AutoModelForImageTextToText" in getattr(config, "auto_map", {}), config.model_type
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and not own_code:
        raise ValueError(f"{source} is of type {kind}, which takes no pictures: give an image-text model.")
    if config.is_encoder_decoder:
        raise ValueError(f"{source} ({kind}) reads with an encoder and writes with a decoder: give a decoder-only one.")


def _check_adapter(folder: Path) -> None:
    """Refuse an adapter without its model, and one beside its model that would be left out without a word."""
    path = folder / "adapter_config.json"
    if not path.is_file() or ((folder / "config.json").is_file() and is_peft_available()):
        return
    base = json.loads(path.read_text()).get("base_model_name_or_path") or "its model"
    raise FileNotFoundError(
        f"{folder} holds an adapter of {base}: load that model with it, load_lmm({base!r}, adapter={str(folder)!r}), "
        "for which peft has to be installed (pip install peft)."
    )


def _hub_has_an_address() -> bool:
    """Whether the hub's name can be resolved, which shows at once; behind a proxy it need not be."""
    try:
        return bool(getproxies() or socket.getaddrinfo(urlparse(ENDPOINT).hostname, None))
    except OSError:
        return False


def _why_not(cause: BaseException | None) -> str:
    """What kept the Hugging Face hub from giving a model."""
    if isinstance(cause, GatedRepoError):
        return "the Hugging Face hub wants its licence accepted there and a login (hf auth login)"
    if isinstance(cause, (RepositoryNotFoundError, HFValidationError)):
        return "the Hugging Face hub has no public model of that name"
    if isinstance(cause, LocalEntryNotFoundError):
        return "the Hugging Face hub cannot be reached (no network), nor has it been fetched before"
    return f"the Hugging Face hub did not give it ({str(cause).splitlines()[0]})"
