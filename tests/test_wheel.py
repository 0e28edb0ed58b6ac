"""The wheel: it holds the bundled models, and what the quickstart calls works from it in any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
QUICKSTART = """
import coxlmm_utils
from coxlmm_utils import ConceptBank, SemiNMF, explain, extract, load_images, load_judges, load_lmm
lmm = load_lmm("picturebook")
images = load_images("picturebook", split="test").mentioning("dog")[:12]
states = extract(lmm, images, token="dog", layer=4)
bank = ConceptBank.learn(lmm, states, SemiNMF(n_concepts=2, random_state=0))
bank.save_pretrained("bank")
explanation = explain(lmm, ConceptBank.from_pretrained("bank"), images.picture(0))
explanation.figure().savefig("explanation.png")
bank.to_html("gallery.html")
load_judges("picturebook")
print(coxlmm_utils.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, ROOT]
    subprocess.run(command, check=True)
    return next(folder.glob("coxlmm_utils-*.whl"))


def test_the_wheel_holds_the_bundled_models_and_no_recipe(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for model in (
        "lmm/model",
        "depalm/connector",
        "bert/model",
        "clip/open_clip_model",
        "adapters/place/adapter_model",
    ):
        assert f"coxlmm_utils/bundled/{model}.safetensors" in names
    assert not [name for name in names if "recipe" in name or name.startswith(("data", "tests", "notebooks"))]


def test_the_quickstart_runs_from_the_wheel_in_an_empty_folder(wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", site, wheel], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site), "COXLMM_CACHE": str(tmp_path / "cache")}
    run = subprocess.run(
        [sys.executable, "-c", QUICKSTART], cwd=empty, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == str(site / "coxlmm_utils" / "__init__.py")
    assert {path.name for path in empty.iterdir()} == {"bank", "explanation.png", "gallery.html"}


def test_the_quickstart_notebook_runs_from_a_clone_where_pytorch_is_there_already(tmp_path):
    """README's cell for Colab: a clone, `pip install ./coxlmm`, then the notebook; no PyTorch is brought along."""
    clone, python = tmp_path / "coxlmm", tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    for name in ("coxlmm_utils", "data", "notebooks"):
        shutil.copytree(ROOT / name, clone / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip())
    (site / "there_already.pth").write_text(sysconfig.get_path("purelib"))
    subprocess.run([*PIP, "--python", python, "install", "--no-index", "--no-build-isolation", clone], check=True)
    assert {path.name.partition("-")[0] for path in site.iterdir()} == {"coxlmm_utils", "there_already.pth"}
    cells = nbformat.read(clone / "notebooks" / "00_quickstart.ipynb", as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code").replace("[:1200]", "[:100]")
    code += "\nimport coxlmm_utils; print(coxlmm_utils.__file__)"
    environment = os.environ | {"COXLMM_CACHE": str(tmp_path / "cache"), "MPLBACKEND": "agg", "PYTHONPATH": ""}
    run = subprocess.run(
        [python, "-c", code],
        cwd=clone / "notebooks",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == str(site / "coxlmm_utils" / "__init__.py")
    assert list((clone / "build").glob("*/bank-00/bank.json"))
