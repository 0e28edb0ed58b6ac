"""Where cached work lives, and writing files whole or not at all."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Callable

from safetensors import SafetensorError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# An installed wheel carries the models inside the package; a clone, also an editable one, has them in its data folder.
_INSTALLED = Path(__file__).parent / "bundled"
BUNDLED = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1] / "data" / "picturebook"

LASTING = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL)
DAY = 24 * 3600  # seconds; no file takes as long to write
LITTER = ("Thumbs.db", "desktop.ini")  # of file managers; others' names begin with a dot


def cache_folder() -> Path:
    """The folder for drawn pages and extracted states: `$COXLMM_CACHE`, else `~/.cache/coxlmm`.

    Everything in it can be made again; delete the folder to clear the cache.

    Returns
    -------
    Path
    """
    return Path(os.environ.get("COXLMM_CACHE") or Path.home() / ".cache" / "coxlmm").expanduser()


def bundled_folder(model: str) -> Path:
    """Where a model of the picture book lies: "lmm", "depalm", "clip" or "bert".

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


def sha256(content: bytes) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits: whether two files are of one writer (ours)."""
    return hashlib.sha256(content).hexdigest()


def folder_name(*parts: object) -> str:
    """A name for a folder of results, made of a model, its data, a token, ...; other parts give another name (ours).

    Parameters
    ----------
    *parts : str
        Anything with a text: "llava-hf/llava-1.5-7b-hf", "folder:/my/pictures", "dog".

    Returns
    -------
    str
        The parts with "_" between them, and "-" for what not every disk takes. Where a part was changed or all are over
        100 characters, six digits of a hash follow.
    """
    texts = [str(part) for part in parts]
    name = "_".join(re.sub(r"[^\w.]+|_+", "-", text).strip("-.") for text in texts)
    return name if name == "_".join(texts) and len(name) <= 100 else f"{name[:100]}_{digest(texts)[:6]}"


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
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.{_machine()}-{os.getpid()}.", dir=path.parent))
    made = scratch / path.name
    try:
        write(made)
        _take_place(made, path, scratch)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from error
    except OSError as error:
        if error.errno is None or error.filename:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk does not say of which file
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return path


def _take_place(made: Path, path: Path, scratch: Path) -> None:
    """Rename `made` to `path`; an old folder there is first moved into `scratch`, since rename refuses it."""
    if not made.is_dir():
        return os.replace(made, path)
    for number in range(100):  # another process may put its own there in between
        old = scratch / f"old {number}"
        if path.is_dir():
            with suppress(FileNotFoundError):
                os.replace(path, old)
        try:
            return os.replace(made, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                if old.exists():
                    os.replace(old, path)
                raise
    raise FileExistsError(f"{path} is written by others all the time: give a folder of its own")


def recover(path: Path) -> None:
    """Sweep what dead processes left of writing `path`; an old folder that one had just moved away is put back.

    What a living process writes stays, and so does that of another machine, which may live: until it is a day old.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        of = re.fullmatch(r"\.(\w{16})-(\d{1,9})\.\w+", left.name[len(path.name) + 1 :])
        with suppress(OSError):  # another process may sweep at the same time
            if of and left.is_dir() and _is_left(left, *of.groups()):
                moved = sorted(left.glob("old *"))
                if moved and not path.exists():
                    os.replace(moved[0], path)
                shutil.rmtree(left)


def _is_left(scratch: Path, machine: str, process: str) -> bool:
    """Whether the process that made a scratch folder is dead."""
    if machine != _machine() or os.name == "nt":  # where asking for a process would end it
        return time.time() - scratch.stat().st_mtime > DAY
    try:
        os.kill(int(process), 0)  # which only asks
    except ProcessLookupError:
        return True
    return False


@cache
def _machine() -> str:
    """Within what a process number means something: this machine, since it was started, or a container on it."""
    known = [platform.node()]
    with suppress(OSError):  # not Linux
        known += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return digest(known)


def write_folder(
    folder: str | Path, write: Callable[[Path], None], what: str, needed: tuple[str, ...], own: str
) -> Path:
    """`atomic_write` of a folder, in place of nothing, an empty folder or one of the same kind alone (ours).

    Hidden files, as file managers leave them, stay where they are.

    Parameters
    ----------
    folder, write
        As in `atomic_write`.
    what : str
        Such as "bank was", for the message.
    needed : tuple of str
        The files that every such folder has.
    own : str
        A pattern of all else that it may have: "name", or "name/" of a folder.

    Raises
    ------
    FileExistsError
        If there is a file, or a folder with anything else in it.
    """
    folder = Path(folder).expanduser()
    folder = folder.resolve() if folder.is_symlink() else folder  # the link stays, to what it leads to
    recover(folder)
    if found := _foreign(folder, needed, own):
        raise FileExistsError(f"no {what} saved to {folder}, which has {found!r} in it: give a new or an empty folder")

    def write_all(made: Path) -> None:
        write(made)
        for path in folder.rglob("*"):
            kept = made / path.relative_to(folder)
            if _is_litter(path) and kept.parent.is_dir():
                shutil.copy2(path, kept)

    return atomic_write(folder, write_all)


def require_writable(folder: Path) -> None:
    """Refuse (OSError) a folder in which nothing can be kept, before any work is done for it (ours)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(os.urandom(2**20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        text = f"nothing can be kept in {folder} ({error.strerror}): free its disk, or choose another place by "
        raise OSError(error.errno, text + "COXLMM_CACHE or `folder`") from error


def _foreign(folder: Path, needed: tuple[str, ...], own: str) -> str:
    """Something in a folder that is not of its kind; "" if there is nothing."""
    if not folder.is_dir():
        return folder.name if folder.exists() else ""
    whole = all((folder / name).is_file() for name in needed)
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix() + "/" * path.is_dir()
        if not _is_litter(path) and not (whole and (name in needed or re.fullmatch(own, name))):
            return name
    return ""


def _is_litter(path: Path) -> bool:
    return (path.name.startswith(".") or path.name in LITTER) and path.is_file()


@contextmanager
def locked(path: Path, shared: bool = False) -> Iterator[None]:
    """Alone with a file among the processes that ask for it, or (`shared`) with others that only read.

    A process that ends, however it does, gives its lock back. Where the disk has no locks, nobody waits.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            file = stack.enter_context(open(path, "rb" if shared else "ab"))  # which makes it, and changes nothing
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def is_trouble(error: Exception) -> bool:
    """Whether an error is the disk's or the machine's, which passes, and not of the file that was read."""
    return isinstance(error, OSError) and error.errno not in LASTING
