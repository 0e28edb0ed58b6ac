"""Tests of the project as a whole: what it needs, how large its files are, and what must not be in them."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import coxlmm_utils
from notebooks.run import MACHINE_PATH

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "coxlmm_utils"
SOURCES = sorted(PACKAGE.rglob("*.py"))
README = (ROOT / "README.md").read_text()
PICKLERS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
REGISTRY = re.compile(r"[\w.-]*(?:pypi|pythonhost|debian|npmjs)[\w-]*\.[a-z]{2,}|-index[-]url", re.I)


def _pins():
    """The pins of requirements.txt, in its order."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _tracked():
    """The files that git tracks."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


def _texts():
    """The tracked text files with their text; a file with a zero byte is none."""
    contents = ((path, path.read_bytes()) for path in _tracked())
    return [(path, content.decode(errors="replace")) for path, content in contents if b"\0" not in content]


def _imported(path):
    """The top-level names of what a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def test_every_need_has_an_exact_pin():
    assert [pin for pin in _pins() if not re.fullmatch(r"[\w-]+==[\w.]+", pin)] == []


def test_needs_are_sorted():
    names = [pin.split("==")[0].lower() for pin in _pins()]
    assert names == sorted(names)


def test_environment_is_in_step_with_requirements():
    text = (ROOT / "environment.yml").read_text()
    assert re.findall(r"^      - (.+)$", text, re.M) == [*_pins(), "-e ."]


def _needs(*extras):
    """The names that pyproject.toml asks for: of the package itself, and of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    names = (_normal(re.match(r"[\w-]+", need).group()) for needs in lists for need in needs)
    return {name for name in names if name != "coxlmm-utils"}


def test_the_pins_are_the_needs_of_package_notebooks_and_tests():
    assert {_normal(pin.split("==")[0]) for pin in _pins()} == _needs("adapters", "depalm", "notebooks", "test")


def _not_among(needs, paths):
    """Third-party imports of files that no need brings."""
    names = {name for path in paths for name in _imported(path)}
    ours = {"coxlmm_utils", "data", "notebooks", "tests", *(path.stem for path in (ROOT / "docs").glob("*.py"))}
    third_party = names - set(sys.stdlib_module_names) - ours
    distributions = packages_distributions()
    return [
        name
        for name in sorted(third_party)
        if not needs & {_normal(distribution) for distribution in distributions.get(name, [name])}
    ]


def test_every_third_party_import_of_the_package_is_a_need():
    # The extras' only where an adapter or a quantization is given.
    assert _not_among(_needs("adapters", "quantization"), SOURCES) == []


def test_every_third_party_import_beside_the_package_is_in_an_extra():
    others = [path for folder in ("data", "notebooks", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    assert _not_among(_needs("adapters", "depalm", "notebooks", "test"), others) == []


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_pickled(path):
    text = path.read_text()
    assert PICKLERS.isdisjoint(_imported(path))
    assert not re.search(r"allow_pickle=True|weights_only=False|to_pickle\(|read_pickle\(", text)
    assert text.count("torch.load(") == text.count("weights_only=True")


def test_no_tracked_file_is_over_10_megabytes():
    assert [path.name for path in _tracked() if path.stat().st_size > 10_000_000] == []


def test_no_tracked_text_names_a_machine_path_or_a_package_registry():
    hits = [
        (path.relative_to(ROOT).as_posix(), match.group())
        for path, text in _texts()
        for pattern in (MACHINE_PATH, REGISTRY)
        for match in pattern.finditer(text)
    ]
    assert hits == []


def test_citation_gives_the_version():
    assert f"\nversion: {coxlmm_utils.__version__}\n" in (ROOT / "CITATION.cff").read_text()


# The README


def test_the_readme_is_short_and_cites_the_version():
    assert len(README.splitlines()) < 200
    assert f"version = {{{coxlmm_utils.__version__}}}" in README


def test_the_readme_names_only_what_is_there():
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (`.+`) \|$", README, re.M)
    rooms = {path.parent.name for path in SOURCES if path.name == "__init__.py" and path.parent.parent == PACKAGE}
    assert {room for room, _ in rows} == rooms
    for room, names in rows:
        module = importlib.import_module(f"coxlmm_utils.{room}")
        assert [name for name in re.findall(r"`(\w+)`", names) if name not in module.__all__] == []
    for names in re.findall(r"^from coxlmm_utils import (.+)$", README, re.M):
        assert set(names.split(", ")) <= set(coxlmm_utils.__all__)


def test_the_readme_makes_only_what_the_makefile_has():
    targets = re.findall(r"^([a-z-]+):.*  ## ", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"(?:^    |`)make ([a-z-]+)", README, re.M)) <= set(targets)


@pytest.mark.parametrize("text, path", re.findall(r"!\[(.*)\]\((.+)\)", README))
def test_a_picture_of_the_readme_is_small_and_has_a_text(text, path):
    assert len(text) > 60 and (ROOT / path).stat().st_size <= 200_000
