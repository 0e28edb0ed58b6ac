"""Run the notebooks, as pages to read or anew with their outputs kept.

python notebooks/run.py                                               all of them, pages and contents in build/
python notebooks/run.py 04 --set DATA=folder:/my/pictures TOKEN=cat   one, with other settings
python notebooks/run.py --save                                        all, the new outputs kept in the files
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, FileSystemLoader
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbconvert.filters import strip_ansi
from nbformat import NotebookNode
from tqdm.auto import tqdm
from traitlets import default

from coxlmm_utils.files import atomic_write

NOTEBOOKS = Path(__file__).parent
PAGES = Path(__file__).parents[1] / "build"
SIZE_LIMIT = 1_000_000  # bytes of a committed notebook
MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:home|root|work|tmp|Users)/[^\s\"'`),;]*")
LINK = re.compile(r"\]\((\w+)\.ipynb(#[^)]*)?\)")  # in Markdown, to a notebook of the same folder
DATA_URL = re.compile(r"data:[\w/+.-]+;base64,[\w+/=\s]*")  # base64 may spell a path by chance
TEMPLATES = Environment(loader=FileSystemLoader(NOTEBOOKS / "templates"), autoescape=True)
WIDGET = "application/vnd.jupyter.widget-view+json"
# TQDM_DISABLE: no plain bars; those drawn as widgets ignore it.
KERNEL_ENVIRONMENT = {"TQDM_DISABLE": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}


class _OwnKernel(AsyncKernelManager):
    """Starts the kernel of the Python that runs this, whatever kernels are installed elsewhere."""

    transport_encryption = "auto"

    @default("kernel_spec_manager")
    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])


def execute(path: str | Path, parameters: Mapping[str, Any] | None = None, timeout: float = 1800) -> NotebookNode:
    """Run a copy of a notebook and return it with its outputs; the file stays as it is (ours).

    The kernel is this Python's, its working directory the notebook's folder. Widgets, progress bars among
    them, are left out of the outputs: without a kernel they show nothing.
    """
    path = Path(path)
    notebook = nbformat.read(path, as_version=4)
    if parameters:
        _set_parameters(notebook, parameters, path.name)
    reached: list[int] = []
    client = _client(notebook, path.parent, time.monotonic() + timeout, reached)
    try:
        client.execute(env={**os.environ, **KERNEL_ENVIRONMENT})
    except CellExecutionError as error:
        what = f"{error.ename}: {error.evalue}"
        raise RuntimeError(_failure(notebook, path.name, reached, what)) from None
    except CellTimeoutError:
        what = f"the notebook took over {timeout:g} seconds"
        raise RuntimeError(_failure(notebook, path.name, reached, what)) from None
    except DeadKernelError:
        what = "the kernel died (out of memory?)"
        raise RuntimeError(_failure(notebook, path.name, reached, what)) from None
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    return notebook


def _client(notebook: NotebookNode, folder: Path, deadline: float, reached: list[int]) -> NotebookClient:
    """A client that runs `notebook` in `folder` until `deadline`, noting in `reached` the cells it starts."""
    return NotebookClient(
        notebook,
        kernel_name="python3",
        kernel_manager_class=_OwnKernel,
        resources={"metadata": {"path": str(folder)}},
        timeout_func=lambda cell: max(1, round(deadline - time.monotonic())),  # 0 would mean no limit
        record_timing=False,
        store_widget_state=False,
        on_cell_start=lambda cell, cell_index: reached.append(cell_index),
    )


def parameters_of(notebook: NotebookNode, name: str) -> dict[str, ast.expr]:
    """What the cell tagged `parameters` sets: names, and the code of their values (ours)."""
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{name} has {len(tagged)} cells tagged `parameters`; it needs one to set values.")
    assigned = [node for node in ast.parse(tagged[0].source).body if isinstance(node, ast.Assign)]
    parts = [(part, node.value) for node in assigned for target in node.targets for part in ast.walk(target)]
    return {part.id: value for part, value in parts if isinstance(part, ast.Name)}


def _set_parameters(notebook: NotebookNode, parameters: Mapping[str, Any], name: str) -> None:
    """Add a cell that sets `parameters` after the cell tagged `parameters`."""
    known = parameters_of(notebook, name)
    if unknown := sorted(set(parameters) - set(known)):
        raise ValueError(f"{name} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    values = {key: _as_list(value, known[key]) for key, value in parameters.items()}
    [at] = [i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    source = "\n".join(f"{key} = {value!r}" for key, value in values.items())
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(source))


def _as_list(value: Any, default: ast.expr) -> Any:
    """A text as a list of words where the notebook has a list: "dog,bus" or "dog bus"."""
    is_list = any(isinstance(node, ast.List) for node in ast.walk(default))
    return re.split(r"[\s,]+", value.strip()) if is_list and isinstance(value, str) else value


def _failure(notebook: NotebookNode, name: str, reached: list[int], what: str) -> str:
    """What failed and where, then the cell and, if there is one, its traceback without colours."""
    if not reached:
        return f"{name} failed before its first cell: {what}"
    cell = notebook.cells[reached[-1]]
    source = "\n".join(f"    {line}" for line in cell.source.splitlines())
    errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
    trace = "\n".join(strip_ansi("\n".join(output.traceback)) for output in errors)
    where = f"{name}, cell {reached[-1] + 1} of {len(notebook.cells)}"
    return f"{where} failed: {what}\n\n{source}\n\n{trace}".rstrip()


def to_html(notebook: NotebookNode, title: str, folder: str | Path = NOTEBOOKS) -> str:
    """A notebook as one HTML page with its pictures inside it; links to other notebooks lead to their pages (ours)."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(r"](\1.html\2)", cell.source)
    exporter = HTMLExporter(embed_images=True, extra_loaders=[TEMPLATES.loader], template_file="page.html")
    exporter.log.setLevel("ERROR")
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title, "path": str(folder)}})
    return page


def contents(paths: Iterable[Path]) -> str:
    """A page with the title and question of each notebook, and links to their pages (ours)."""
    entries = []
    for path in paths:
        first = nbformat.read(path, as_version=4).cells[0].source
        question = re.search(r"\*\*Question\.\*\*\s*(.+?)(?:\n\n|$)", first, re.S)
        entries.append(
            (path.stem, first.splitlines()[0].lstrip("# "), question[1].replace("*", "") if question else "")
        )
    return TEMPLATES.get_template("contents.html").render(entries=entries)


def code_digest(notebook: NotebookNode) -> str:
    """The SHA-256 of the sources of a notebook's code cells, in order, as hexadecimal digits (ours).

    `save_committed` stores it, so that a test can tell whether the code changed after the outputs were made.
    """
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def save_committed(notebook: NotebookNode, path: str | Path) -> Path:
    """Write an executed notebook in the form that is committed (ours).

    Outputs are kept, but for what went to stderr; of the metadata stay only the cells' tags and the code's
    digest.
    """
    path = Path(path)
    clean = _cleaned(notebook)
    if paths := machine_paths(clean):
        shown = ", ".join(paths)
        raise ValueError(f"{path.name} shows paths of this machine: {shown}; print the file's name only.")
    text = nbformat.writes(clean) + "\n"
    if len(text.encode()) > SIZE_LIMIT:
        raise ValueError(
            f"{path.name} would take {len(text.encode()) / 1e6:.2f} MB of at most "
            f"{SIZE_LIMIT / 1e6:g} MB; show fewer or smaller figures."
        )
    return atomic_write(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def _cleaned(notebook: NotebookNode) -> NotebookNode:
    """A copy of `notebook` with only the outputs and metadata that are committed."""
    clean = copy.deepcopy(notebook)
    clean.metadata = nbformat.from_dict(
        {
            "coxlmm": {"code": code_digest(clean)},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in clean.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return clean


def machine_paths(notebook: NotebookNode) -> list[str]:
    """The absolute paths of somebody's machine that a notebook's cells and outputs show, sorted (ours)."""
    matches = (MACHINE_PATH.findall(DATA_URL.sub("", text)) for text in _texts(notebook))
    return sorted({path for paths in matches for path in paths})


def _texts(notebook: NotebookNode) -> Iterator[str]:
    """Every text that a reader of the notebook sees."""
    for cell in notebook.cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield "\n".join(output.get("traceback", []))
            yield from (value for kind, value in output.get("data", {}).items() if kind.startswith("text/"))


def main(arguments: list[str] | None = None) -> None:
    """Run notebooks; write their pages, or with `--save` the committed notebooks."""
    parser = argparse.ArgumentParser(prog="python notebooks/run.py", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="how a notebook's name begins: 04; default: all")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="other values of its parameters")
    parser.add_argument("--save", action="store_true", help="overwrite the committed notebooks")
    options = parser.parse_args(arguments)
    try:
        paths, parameters = _chosen(options.names), dict(map(_parameter, options.set))
        if options.save and parameters:
            raise ValueError("--save keeps the notebooks as they are committed: leave --set out.")
        of_each = _shared_out(parameters, paths)
        with tqdm(paths, unit="notebook") as bar:
            for path in bar:
                bar.set_description(path.stem)
                _run(path, options.save, of_each[path])
    except (RuntimeError, ValueError, OSError) as error:
        sys.exit(str(error))
    if not options.save:
        _write(PAGES / "index.html", contents(path for path in _all() if (PAGES / f"{path.stem}.html").exists()))
    where = NOTEBOOKS if options.save else PAGES / ("index.html" if len(paths) > 1 else f"{paths[0].stem}.html")
    print(f"{len(paths)} notebook{'s' * (len(paths) > 1)} ran. Now open {os.path.relpath(where)}.")


def _all() -> list[Path]:
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def _chosen(names: list[str]) -> list[Path]:
    """The notebooks whose names begin so, or all."""
    if not (paths := _all()):
        raise ValueError(f"There is no notebook in {NOTEBOOKS}.")
    names = [name.zfill(2) if name.isdigit() else name for name in names]  # 4 is 04
    for name in names:
        if not any(path.stem.startswith(name) for path in paths):
            raise ValueError(f"No notebook begins with {name!r}; there are {', '.join(path.stem for path in paths)}.")
    return [path for path in paths if not names or path.stem.startswith(tuple(names))]


def _parameter(setting: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as Python reads it, else as text."""
    name, given, value = setting.partition("=")
    if not given or not name.isidentifier():
        raise ValueError(
            f"{setting!r} is no setting: write NAME=VALUE, such as TOKEN=cat; with a space in it \"'NAME=a value'\"."
        )
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _shared_out(parameters: Mapping[str, Any], paths: list[Path]) -> dict[Path, dict[str, Any]]:
    """What each of several notebooks has of the parameters; of one, all of them."""
    if len(paths) == 1 or not parameters:
        return {path: dict(parameters) for path in paths}
    known = {path: parameters_of(nbformat.read(path, as_version=4), path.name) for path in paths}
    if unknown := sorted(set(parameters) - {name for names in known.values() for name in names}):
        raise ValueError(f"None of these notebooks has a parameter {', '.join(unknown)}.")
    return {path: {name: parameters[name] for name in known[path] if name in parameters} for path in paths}


def _run(path: Path, save: bool, parameters: Mapping[str, Any]) -> None:
    """Run one notebook and write it, or its page."""
    notebook = execute(path, parameters)
    if save:
        save_committed(notebook, path)
    else:
        _write(PAGES / f"{path.stem}.html", to_html(notebook, title=path.stem))


def _write(path: Path, text: str) -> None:
    atomic_write(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    main()
