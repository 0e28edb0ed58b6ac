"""The house: which rooms there are, in which order, that only doors are used, and how large things may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "coxlmm_utils"
# Lowest first. A room imports from rooms of lower levels only; the modules at the top of the package come before all.
LEVELS = (
    ("_version", "files", "plots", "statistics", "text"),
    ("dictionaries", "models", "picturebook"),
    ("images",),
    ("extraction",),
    ("concepts",),
    ("evaluation", "explanation", "shift"),
    ("faithfulness", "steering"),
    ("widgets",),
    ("ground_truth",),
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
# Views and checks are made of banks, and a bank offers them: only inside these methods, when they are called.
UPWARD = {
    ("ConceptBank", "measured"): "evaluation",
    ("ConceptBank", "to_html"): "widgets",
    ("ConceptBank", "trust_card"): "faithfulness",
}
CONSTANTS = {"_version.py", "evaluation/paper.py"}
FILES = sorted(PACKAGE.rglob("*.py"))
in_files = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())


def room_of(path: Path) -> str:
    """The room of a file, or the module's own name at the top."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> list[tuple[tuple[str, ...], tuple[str, str] | None]]:
    """What a file imports of the package: the path below it, and the class and method where that stands, if in one."""
    imports = []

    def visit(node: ast.AST, where: tuple[str, ...]) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.ClassDef, ast.FunctionDef)):
                visit(child, (*where, child.name))
                continue
            if isinstance(child, (ast.Import, ast.ImportFrom)):
                imports.extend((target, where or None) for target in targets(child, path))
            visit(child, where)

    visit(ast.parse(path.read_text()), ())
    return imports


def targets(node: ast.Import | ast.ImportFrom, path: Path) -> list[tuple[str, ...]]:
    """The modules of the package that an import names, as paths below it."""
    if isinstance(node, ast.Import):
        return [tuple(a.name.split(".")[1:]) for a in node.names if a.name.split(".")[0] == PACKAGE.name]
    if node.level == 0:
        parts = node.module.split(".")
        return [tuple(parts[1:])] if parts[0] == PACKAGE.name else []
    folder = path.relative_to(PACKAGE).parts[:-1]
    below = folder[: len(folder) - node.level + 1] + tuple(node.module.split(".") if node.module else ())
    if below in ((), folder):  # `from . import blocks`: the names are files
        return [(*below, alias.name) for alias in node.names]
    return [below]


def test_the_top_holds_the_rooms_and_at_most_six_modules():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert folders | modules <= set(LEVEL)
    assert len(modules) <= 6
    assert all((PACKAGE / folder / "__init__.py").exists() for folder in folders)


@in_files
def test_imports_point_down_and_go_through_doors(path):
    room = room_of(path)
    if room == "__init__":
        assert all(len(target) == 1 for target, _ in imports_of(path))
        return
    for target, where in imports_of(path):
        if target[0] == room:
            continue
        assert len(target) == 1, f"{target} reaches past a door"
        if UPWARD.get(where) != target[0]:
            both_at_the_top = LEVEL[target[0]] == LEVEL[room] == 0
            assert LEVEL[target[0]] < LEVEL[room] or both_at_the_top, f"{room} imports {target[0]} in {where}"


@pytest.mark.parametrize("room", sorted({room_of(path) for path in FILES if path.parent != PACKAGE} | {"top"}))
def test_no_circle_of_files(room):
    paths = sorted(PACKAGE.glob("*.py")) if room == "top" else sorted((PACKAGE / room).glob("*.py"))
    names = {path.stem for path in paths} - {"__init__"}
    needs = {
        path.stem: {
            target[-1]
            for target, _ in imports_of(path)
            if target[-1] in names and room_of(path) in (room, target[-1], path.stem)
        }
        for path in paths
        if path.stem in names
    }
    while free := [name for name, others in needs.items() if not others & set(needs)]:
        for name in free:
            del needs[name]
    assert needs == {}


@pytest.mark.parametrize("door", sorted(PACKAGE.glob("*/__init__.py")), ids=lambda path: path.parent.name)
def test_a_door_only_lets_through(door):
    tree = ast.parse(door.read_text())
    assert ast.get_docstring(tree)
    names = [
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    rest = [node for node in tree.body[1:] if not isinstance(node, ast.ImportFrom)]
    assert [node.targets[0].id for node in rest] == ["__all__"]
    assert sorted(names) == sorted(ast.literal_eval(rest[0].value))


@in_files
def test_size_of_a_file(path):
    length = len(path.read_text().splitlines())
    name = path.relative_to(PACKAGE).as_posix()
    assert length <= 300
    assert length >= 40 or path.name == "__init__.py" or name in CONSTANTS


@in_files
def test_no_function_is_longer_than_40_lines_of_code(path):
    lines = path.read_text().splitlines()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            code = lines[body[0].lineno - 1 : node.end_lineno] if body else []
            assert sum(bool(line.strip()) and not line.strip().startswith("#") for line in code) <= 40, node.name
