"""The wheel: it holds the bundled models, and what the quickstart calls works from it in any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

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
    for model in ("lmm/model", "bert/model", "clip/open_clip_model"):
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
