"""Pages drawn at once are the pages drawn one by one, and are drawn only once."""

import ast
from pathlib import Path

import numpy as np
import pytest

from coxlmm_utils.picturebook import page_cache as drawn
from coxlmm_utils.picturebook.drawing import draw
from coxlmm_utils.picturebook.factors import factors_of


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COXLMM_CACHE", str(tmp_path))
    return tmp_path


def test_the_pages_are_those_of_the_book_and_are_drawn_once(cache, monkeypatch):
    numbers = range(1_000_003, 1_000_008)
    pictures = drawn.drawn_pages(numbers)
    assert pictures.shape == (5, 144, 144, 3) and pictures.dtype == np.uint8
    for number, picture in zip(numbers, pictures):
        np.testing.assert_array_equal(picture, np.asarray(draw(factors_of(number), number)))
    monkeypatch.setattr(drawn, "draw", None)  # a second drawing would fail
    np.testing.assert_array_equal(drawn.drawn_pages(numbers), pictures)
    assert [path.name for path in (cache / "drawn").iterdir()] == [
        f"picturebook-{drawn.drawing_version()}-1000003-1000008.npy"
    ]


def test_a_drawing_that_fails_leaves_nothing(cache, monkeypatch):
    def fail(number):
        raise OSError("no ink")

    monkeypatch.setattr(drawn, "ProcessPoolExecutor", OneByOne)
    monkeypatch.setattr(drawn, "_draw_one", fail)
    with pytest.raises(OSError, match="no ink"):
        drawn.drawn_pages(range(2))
    assert not list((cache / "drawn").iterdir())


def test_only_consecutive_pages_are_kept_together():
    with pytest.raises(ValueError, match="consecutive"):
        drawn.drawn_pages(range(0, 16, 2))


def test_the_version_covers_all_code_that_draws():
    folder = Path(drawn.__file__).parent
    reached, rooms = set(), {"drawing", "factors"}
    while rooms - reached:
        room = (rooms - reached).pop()
        reached.add(room)
        imports = [node for node in ast.walk(ast.parse((folder / f"{room}.py").read_text())) if is_own(node)]
        rooms |= {node.module for node in imports}
    assert reached == set(drawn._DRAWING_ROOMS)


def is_own(node):
    """Whether a piece of code is an import from the picture book's own package."""
    return isinstance(node, ast.ImportFrom) and node.level == 1 and node.module is not None


class OneByOne:
    """Stands in for the pool of processes."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def map(self, function, items, chunksize):
        return map(function, items)
