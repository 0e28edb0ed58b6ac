"""How a direction and a learned network are kept: a safetensors file and a json beside it, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..files import is_trouble, write_folder

FORMAT = 1  # of the files
DAMAGES = (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OSError, SafetensorError)
Saved = TypeVar("Saved")


def save_tensors(folder: str | Path, kind: str, name: str, tensors: dict[str, Tensor], record: dict) -> Path:
    """Write NAME.safetensors and NAME.json into a folder that is new, empty or of an earlier one of this kind."""

    def write(scratch: Path) -> None:
        scratch.mkdir()
        path = scratch / f"{name}.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
        path.chmod(0o644)  # safetensors writes for the owner alone
        (scratch / f"{name}.json").write_text(json.dumps(record | {"format": FORMAT}, indent=1))

    return write_folder(folder, write, f"{kind} was", (f"{name}.safetensors", f"{name}.json"), "")


def load_tensors(folder: str | Path, kind: str, name: str, make: Callable[[dict, dict[str, Tensor]], Saved]) -> Saved:
    """What `make` has of the record and the tensors; FileNotFoundError or ValueError if there are none, or damaged."""
    folder = Path(folder).expanduser()
    if not (folder / f"{name}.json").is_file():
        raise FileNotFoundError(f"{folder} holds no {kind}: {name}.json is missing")
    try:
        record = json.loads((folder / f"{name}.json").read_text())
        if (format := record.pop("format")) != FORMAT:
            raise ValueError(f"it is of format {format!r}, and {FORMAT} is known")
        return make(record, load_file(folder / f"{name}.safetensors"))
    except DAMAGES as error:
        if is_trouble(error):
            raise
        raise ValueError(f"the {kind} in {folder} is damaged ({error}); save it again") from error
