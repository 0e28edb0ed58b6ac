"""A JupyterLab server of its own: copies of notebooks in a temporary folder, and none of the user's settings."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from notebooks.run import KERNEL_ENVIRONMENT

ROOT = Path(__file__).parents[2]
GRACE = 15  # seconds that a server has to end its kernels and itself
NO_NEWS = {"fetchNews": "false", "checkForUpdates": False}
# A configuration file, not a start-up script: that would leave its names among the notebook's.
KERNEL_CACHE = "import os\n\nos.environ['COXLMM_CACHE'] = {!r}\n"


@dataclass(frozen=True)
class Lab:
    """A running server.

    Attributes
    ----------
    url : str
        Its address, without a slash at the end.
    folder : Path
        The notebooks; a kernel's working directory, so `../build` is a temporary folder too.
    home : Path
        What JupyterLab, its kernels and the user of this server keep.
    """

    url: str
    folder: Path
    home: Path

    def start_afresh(self) -> None:
        """End all kernels, go back to the first settings, and give later kernels the cache of this process."""
        for session in json.loads(self.ask("GET", "api/sessions")):
            self.ask("DELETE", f"api/sessions/{session['id']}")
        _write_settings(self.home)
        cache = os.environ.get("COXLMM_CACHE")
        config = self.home / "ipython" / "profile_default" / "ipython_kernel_config.py"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(KERNEL_CACHE.format(cache) if cache else "")

    def ask(self, method: str, path: str) -> str:
        """What the server answers to a request, as text."""
        request = urllib.request.Request(f"{self.url}/{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()


@contextmanager
def serve(notebooks: Iterable[Path], home: Path, patience: float = 180) -> Iterator[Lab]:
    """A JupyterLab server on a free port of this machine, ended with all its kernels (ours).

    It asks for no password: it can be reached from this machine only, and lives no longer than the tests.

    Parameters
    ----------
    notebooks : iterable of Path
        The notebooks to copy; the files stay as they are.
    home : Path
        An empty folder for the copies, with docs/ beside them, and all that JupyterLab keeps.
    patience : float, default 180
        Seconds to wait for the server's first answer.

    Yields
    ------
    Lab

    Raises
    ------
    RuntimeError
        If the server does not start; the message holds the end of its log.
    """
    folder = home / "notebooks"
    folder.mkdir(parents=True)
    for path in notebooks:
        shutil.copy(path, folder)
    shutil.copytree(ROOT / "docs", home / "docs")  # notebooks show pictures of it
    _write_settings(home)
    port = _free_port()
    log = home / "jupyter.log"
    with log.open("w") as sink:
        server = subprocess.Popen(
            _command(home, port),
            cwd=folder,
            env=_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a process group of its own, to be ended as a whole
        )
        try:
            lab = Lab(f"http://127.0.0.1:{port}", folder, home)
            _wait(lab, server, log, patience)
            yield lab
        finally:
            _end(server)


def _write_settings(home: Path) -> None:
    """Settings that hold nothing but the refusal of pop-ups with news and updates."""
    shutil.rmtree(home / "settings", ignore_errors=True)
    path = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(NO_NEWS))


def _free_port() -> int:
    """A port that nothing uses at this moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _command(home: Path, port: int) -> list[str]:
    """The command that starts the server."""
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": home,  # as `make lab` has it
        "ServerApp.disable_check_xsrf": True,
        "IdentityProvider.token": "",
        "KernelRestarter.restart_limit": 0,  # a kernel that died stays dead: one that restarts cannot be ended safely
        "LabApp.workspaces_dir": home / "workspaces",
        "LabApp.user_settings_dir": home / "settings",
        "LabApp.extension_manager": "readonly",  # no list of extensions from outside
    }
    flags = ["--no-browser", "--allow-root", "--expose-app-in-browser"]
    return [sys.executable, "-m", "jupyterlab", *flags, *(f"--{name}={value}" for name, value in options.items())]


def _environment(home: Path) -> dict[str, str]:
    """This process's environment without its Jupyter settings and cache, which `Lab.start_afresh` gives to kernels."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "IPYTHON")) and name != "COXLMM_CACHE"
    }
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **inherited,
        **KERNEL_ENVIRONMENT,
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONPATH": os.pathsep.join(paths),
    }


def _wait(lab: Lab, server: subprocess.Popen, log: Path, patience: float) -> None:
    """Return when the server answers."""
    deadline = time.monotonic() + patience
    while server.poll() is None and time.monotonic() < deadline:
        try:
            lab.ask("GET", "api/status")
            return
        except OSError:
            time.sleep(0.1)
    end = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise RuntimeError(f"JupyterLab did not start within {patience:g} seconds. The end of its log:\n{end}")


def _end(server: subprocess.Popen) -> None:
    """End the server's process group; it ends its kernels, and those of a killed server end by themselves."""
    if server.poll() is not None:
        return
    os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
