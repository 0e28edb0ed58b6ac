"""Where cached work lives, and writing files whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Callable

# An installed wheel carries the models inside the package; a clone, also an editable one, has them in its data folder.
_INSTALLED = Path(__file__).parent / "bundled"
BUNDLED = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1] / "data" / "picturebook"


def cache_folder() -> Path:
    """The folder for drawn pages and extracted states: `$COXLMM_CACHE`, else `~/.cache/coxlmm`.

    Everything in it can be made again; delete the folder to clear the cache.

    Returns
    -------
    Path
    """
    return Path(os.environ.get("COXLMM_CACHE") or Path.home() / ".cache" / "coxlmm").expanduser()


def bundled_folder(model: str) -> Path:
    """Where a model of the picture book lies: "lmm", "clip" or "bert".

    Raises
    ------
    FileNotFoundError
        If it is not there, as in a copy of the package's files alone.
    """
    folder = BUNDLED / model
    if not folder.is_dir():
        raise FileNotFoundError(
            f"The bundled model is not at {folder}: run from a full clone of the repository, or install the wheel."
        )
    return folder


def digest(content) -> str:
    """A short name for anything that json can hold: the first 16 hexadecimal digits of the SHA-256 of their json (ours)."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def atomic_write(path: str | Path, write: Callable[[Path], None]) -> Path:
    """Write a file or a folder whole or not at all (ours).

    `write` fills a temporary sibling, which then takes the place of `path` in one rename; if `write` fails,
    nothing is left behind and whatever stood at `path` still stands.

    Parameters
    ----------
    path : str or Path
        The file or folder to write. Missing parent folders are made.
    write : callable
        Called with the temporary path; it must create a file or a folder there.

    Returns
    -------
    Path
        `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    made = scratch / path.name
    try:
        write(made)
        _take_place(made, path, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return path


def _take_place(made: Path, path: Path, scratch: Path) -> None:
    """Rename `made` to `path`; an old folder there is first moved into `scratch`, since rename refuses it."""
    if path.is_dir() and made.is_dir():
        old = scratch / "old"
        os.replace(path, old)
        try:
            os.replace(made, path)
        except OSError:
            os.replace(old, path)
            raise
    else:
        os.replace(made, path)
