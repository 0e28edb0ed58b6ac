"""Captioned images: rows, ids, words, and opening several pictures of which some cannot be read."""

from __future__ import annotations

import errno
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from PIL import Image

from coxlmm_utils.images.captioned_images import CaptionedImages
from coxlmm_utils.images.sources import load_images


def _in_memory(*references):
    ids = tuple("abcdefgh"[: len(references)])
    pictures = {id: Image.new("L", (4, 4), 10 * row) for row, id in enumerate(ids)}
    return CaptionedImages("", "all", ids, references, pictures.__getitem__)


# Captioned images


def test_rows_pictures_and_ids():
    images = _in_memory(("a dog",), ("a cat",), ())
    assert len(images) == 3 and images.index("b") == 1
    assert images.picture(2).mode == "RGB" and images.picture(2).getpixel((0, 0)) == (20, 20, 20)
    assert repr(images) == "CaptionedImages(source='', split='all', 3 pictures)"
    with pytest.raises(ValueError, match="no picture 'z'"):
        images.index("z")


@pytest.mark.parametrize(
    "rows, ids",
    [
        (slice(1, 3), ("b", "c")),
        (slice(None, None, -2), ("d", "b")),
        ([2, 0], ("c", "a")),
        (np.array([3]), ("d",)),
        ([], ()),
        ([-1], ("d",)),
    ],
)
def test_some_of_the_pictures(rows, ids):
    images = _in_memory(("0",), ("1",), ("2",), ("3",))
    some = images[rows]
    assert some.ids == ids
    assert [int(captions[0]) for captions in some.references] == [images.index(id) for id in ids]
    assert [some.index(id) for id in ids] == list(range(len(ids)))


def test_other_ways_to_choose_are_errors():
    images = _in_memory((), ())
    with pytest.raises(TypeError, match=r"picture\(1\)"):
        images[1]
    with pytest.raises(TypeError):
        images[[0.0]]
    with pytest.raises(IndexError):
        images[[2]]


def test_pictures_are_chosen_by_true_and_false():
    images = _in_memory((), (), ())
    for mask in ([True, False, True], np.array([True, False, True])):
        assert images[mask].ids == ("a", "c")
    with pytest.raises(ValueError, match="2 times True or False for 3 pictures"):
        images[[True, False]]


@pytest.mark.parametrize("rows", ["a", ["a"], np.array(["a"])])
def test_ids_are_no_rows(rows):
    with pytest.raises(TypeError, match=r"with_ids\(\['a'"):
        _in_memory((), ())[rows]
    with pytest.raises(ValueError, match="one by one"):
        _in_memory(("a dog",)).mentioning(["dog"])


def test_mentioning_takes_whole_words_of_any_reference():
    images = _in_memory(("a plant", "a Dog!"), ("hot-dog stand",), ("dogma",), ("two dogs",), ())
    assert images.mentioning("dog").ids == ("a", "b")
    assert images.mentioning("dog", "dogs").ids == ("a", "b", "d")
    with pytest.warns(
        UserWarning, match="no reference caption of the 5 pictures has 'zebra'; words that do occur: .*plant"
    ):
        assert len(images.mentioning("zebra")) == 0
    with pytest.raises(IndexError, match="there is no picture 5 in CaptionedImages.*5 pictures"):
        images.picture(5)
    with pytest.raises(ValueError, match="spelling"):
        images.mentioning()


def test_without_references_all_are_kept_and_it_is_said():
    with pytest.warns(UserWarning, match="none of the 2 pictures has a reference .*all are kept.*'dog'") as caught:
        assert len(_in_memory((), ()).mentioning("dog")) == 2
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="no reference caption of the 2 pictures has 'dog'; words that do occur: cat"):
        assert len(_in_memory((), ("a cat",)).mentioning("dog")) == 0


def test_words_of_the_references():
    assert _in_memory(("A dog", "a cat."), (), ("dog",)).words() == {"a": 2, "dog": 2, "cat": 1}


def test_ids_and_references_must_fit():
    with pytest.raises(ValueError, match="2 pictures have 1"):
        CaptionedImages("", "all", ("a", "b"), ((),), dict().get)
    with pytest.raises(ValueError, match="'a' occurs more than once"):
        CaptionedImages("", "all", ("a", "b", "a"), ((), (), ()), dict().get)


# Opening several


@pytest.fixture
def damaged(tmp_path):
    """A folder of five: 0 and 4 can be read; 1 is cut short, 2 a text, 3 empty."""
    for name in "0", "1", "4":
        Image.effect_noise((60, 60), 90).save(tmp_path / f"{name}.jpg")
    whole = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "2.jpg").write_text("a letter")
    (tmp_path / "3.jpg").touch()
    return load_images(f"folder:{tmp_path}")


def test_opening_several_notes_those_that_cannot_be_read(damaged):
    readable, pictures, problems = damaged.opened(range(5))
    assert readable == [0, 4] and [picture.size for picture in pictures] == [(60, 60)] * 2
    assert [np.array_equal(p, damaged.picture(row)) for row, p in zip(readable, pictures)] == [True, True]
    assert list(problems) == ["1.jpg", "2.jpg", "3.jpg"]
    for (id, reason), says in zip(problems.items(), ["may be damaged", "is not a picture", "is empty"]):
        assert id in reason and says in reason


def test_opening_keeps_the_order_asked_for(damaged):
    assert damaged.opened([4, 2, 0])[0] == [4, 0]
    assert damaged.opened([]) == ([], [], {})
    assert damaged.opened(iter([3]))[::2] == ([], {"3.jpg": damaged.opened([3])[2]["3.jpg"]})


@pytest.mark.parametrize("error", [SyntaxError("not a TIFF file"), ValueError("odd"), KeyError(3), MemoryError()])
def test_whatever_is_raised_by_a_picture_names_it(error):
    def open(id):
        raise error

    with pytest.raises(OSError, match="the picture 'a' cannot be read"):
        CaptionedImages("", "all", ("a",), ((),), open).picture(0)


def test_a_fault_of_another_kind_is_no_damaged_picture():
    images = CaptionedImages("", "all", ("a",), ((),), {"a": "not a picture"}.__getitem__)
    with pytest.raises(TypeError, match="a picture is"):
        images.opened([0])


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_where_the_disk_fails_a_picture_is_tried_again_and_never_noted_as_damaged(monkeypatch, failures):
    left = [OSError(errno.EIO, "Input/output error")] * failures
    monkeypatch.setattr("coxlmm_utils.images.captioned_images.WAITS", (0, 0))

    def open(id):
        if left:
            raise left.pop()
        return Image.new("RGB", (4, 4))

    images = CaptionedImages("", "all", ("a",), ((),), open)
    if failures < 3:
        assert images.opened([0])[::2] == ([0], {})
    else:
        with pytest.raises(OSError, match="Input/output"):
            images.opened([0])


def test_opening_from_other_threads(tmp_path, monkeypatch, damaged):
    monkeypatch.setenv("COXLMM_CACHE", str(tmp_path / "cache"))  # so that the pages are drawn here
    pages = load_images(split="test", limit=3)
    filters = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(pages.opened, [range(3)] * 4))
        opened = list(pool.map(damaged.opened, [range(5)] * 40))
    assert warnings.filters == filters
    assert all(readable == [0, 4] and len(problems) == 3 for readable, _, problems in opened)
    expected = [np.asarray(pages.picture(row)) for row in range(3)]
    assert all(np.array_equal(p, e) for _, pictures, _ in drawn for p, e in zip(pictures, expected, strict=True))


def test_files_are_opened_side_by_side_and_stay_in_order():
    together = Barrier(4, timeout=20)  # breaks unless four threads come

    def open_with_others(id):
        together.wait()
        if id == "b":
            raise OSError("damaged")
        return Image.new("RGB", (2, 2), (int(id, 16), 0, 0))

    images = CaptionedImages("x", "all", tuple("abcd"), ((),) * 4, open_with_others, version=str)
    rows, pictures, problems = images.opened([3, 1, 0, 2])
    assert rows == [3, 0, 2] and [picture.getpixel((0, 0))[0] for picture in pictures] == [13, 10, 12]
    assert problems == {"b": "damaged"}


def test_pictures_in_memory_are_opened_one_by_one():
    running, most = [], []

    def open_alone(id):
        running.append(id)
        most.append(len(running))
        time.sleep(0.01)
        running.remove(id)
        return Image.new("RGB", (2, 2))

    CaptionedImages("", "all", tuple("abcdef"), ((),) * 6, open_alone).opened(range(6))
    assert max(most) == 1
