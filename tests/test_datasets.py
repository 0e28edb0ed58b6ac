"""Captioned images from the picture book, COCO's files and a folder; the files are tiny ones made here."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from coxlmm_utils.captioned_images import CaptionedImages
from coxlmm_utils.datasets import load_images


def _save(path, colour="red", size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


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
        images[np.array([True, False])]  # a mask would be read as rows 1 and 0
    with pytest.raises(IndexError):
        images[[2]]


def test_mentioning_takes_whole_words_of_any_reference():
    images = _in_memory(("a plant", "a Dog!"), ("hot-dog stand",), ("dogma",), ("two dogs",), ())
    assert images.mentioning("dog").ids == ("a", "b")
    assert images.mentioning("dog", "dogs").ids == ("a", "b", "d")
    assert len(images.mentioning("zebra")) == 0
    with pytest.raises(ValueError, match="spelling"):
        images.mentioning()


def test_words_of_the_references():
    assert _in_memory(("A dog", "a cat."), (), ("dog",)).words() == {"a": 2, "dog": 2, "cat": 1}


def test_ids_and_references_must_fit():
    with pytest.raises(ValueError, match="2 pictures have 1"):
        CaptionedImages("", "all", ("a", "b"), ((),), dict().get)
    with pytest.raises(ValueError, match="'a' occurs more than once"):
        CaptionedImages("", "all", ("a", "b", "a"), ((), (), ()), dict().get)


@pytest.mark.parametrize("source", ["", "coco", "coco:", "folder:", "imagenet:/data", "picturebook:x"])
def test_an_unknown_source_names_the_three(source):
    with pytest.raises(ValueError, match='"picturebook", "coco:DIR" or "folder:DIR"'):
        load_images(source)


# COCO


def _coco(folder, under="."):
    rows = [
        ("train2014", "one.jpg", "train"),
        ("val2014", "two.jpg", "restval"),
        ("val2014", "three.jpg", "val"),
        ("val2014", "four.jpg", "test"),
        ("train2014", "five.jpg", "train"),
    ]
    entries = [
        {
            "filepath": place,
            "filename": name,
            "split": split,
            "cocoid": row,
            "sentences": [{"raw": f"a {name[:-4]} "}, {"raw": "A dog."}],
        }
        for row, (place, name, split) in enumerate(rows)
    ]
    for place, name, _ in rows:
        _save(folder / place / name)
    (folder / under).mkdir(exist_ok=True)
    (folder / under / "dataset_coco.json").write_text(json.dumps({"images": entries, "dataset": "coco"}))
    return f"coco:{folder}"


@pytest.mark.parametrize(
    "split, ids",
    [
        ("train", ("train2014/one.jpg", "val2014/two.jpg", "train2014/five.jpg")),
        ("train_only", ("train2014/one.jpg", "train2014/five.jpg")),
        ("validation", ("val2014/three.jpg",)),
        ("val", ("val2014/three.jpg",)),
        ("test", ("val2014/four.jpg",)),
    ],
)
def test_coco_splits(tmp_path, split, ids):
    images = load_images(_coco(tmp_path), split)
    assert images.ids == ids and images.split == ("validation" if split == "val" else split)
    assert images.source == f"coco:{tmp_path}"


def test_coco_references_and_pictures(tmp_path):
    images = load_images(_coco(tmp_path, under="annotations"), limit=2)
    assert images.ids == ("train2014/one.jpg", "val2014/two.jpg")
    assert images.references == (("a one", "A dog."), ("a two", "A dog."))
    assert images.picture(1).size == (8, 6)


def test_coco_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="dataset_coco.json.*train2014"):
        load_images(f"coco:{tmp_path}")
    source = _coco(tmp_path)
    with pytest.raises(ValueError, match="'testing'; choose one of train, train_only, validation, test"):
        load_images(source, "testing")
    (tmp_path / "train2014").rename(tmp_path / "elsewhere")
    assert len(load_images(source, "test")) == 1  # does not need the folder
    with pytest.raises(FileNotFoundError, match="no folder train2014 in"):
        load_images(source, "train")


@pytest.mark.parametrize(
    "content, says",
    [
        ('{"images": [', "damaged or not JSON"),
        ("[]", "not Karpathy's"),
        ('{"images": [{"split": "train"}]}', "filepath"),
        ('{"images": []}', "no pictures of the split train"),
    ],
)
def test_coco_files_of_another_kind(tmp_path, content, says):
    (tmp_path / "dataset_coco.json").write_text(content)
    with pytest.raises(ValueError, match=says):
        load_images(f"coco:{tmp_path}")


# A folder


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.JPG", "pets/dog.webp", "pets/._dog.png", ".cache/x.png"):
        _save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_a_folder_without_captions(folder):
    images = load_images(f"folder:{folder}", split="test")
    assert images.ids == ("a.JPG", "b.png", "pets/dog.webp") and images.split == "all"
    assert images.references == ((), (), ())
    assert images.picture(2).size == (8, 6)
    assert load_images(f"folder:{folder}", limit=2).ids == ("a.JPG", "b.png")


@pytest.mark.parametrize(
    "captions",
    [
        {"a.JPG": "a cat", "pets/dog.webp": ["a dog", " my dog ", ""]},
        {"./a.JPG": ["a cat"], "pets\\dog.webp": ["a dog", "my dog"]},
        [
            {"file": "pets/dog.webp", "captions": ["a dog"]},
            {"file": "pets/dog.webp", "captions": "my dog"},
            {"file": "a.JPG", "captions": "a cat"},
        ],
    ],
)
def test_captions_in_json(folder, captions):
    (folder / "captions.json").write_text(json.dumps(captions))
    images = load_images(f"folder:{folder}")
    assert images.references == (("a cat",), (), ("a dog", "my dog"))


def test_captions_in_a_table(folder):
    table = 'file,caption\na.JPG,"a cat, asleep"\npets/dog.webp,a dog\npets/dog.webp,my dog\n'
    (folder / "captions.csv").write_text("\ufeff" + table, encoding="utf-8")
    assert load_images(f"folder:{folder}").references == (("a cat, asleep",), (), ("a dog", "my dog"))


def test_captions_of_absent_pictures_are_counted(folder):
    (folder / "captions.json").write_text(json.dumps({"gone.png": "?", "a.JPG": "a cat", "lost.png": "?"}))
    with pytest.warns(UserWarning, match=r"2 pictures that are not there \(the first: gone.png\)") as caught:
        images = load_images(f"folder:{folder}")
    assert images.references[0] == ("a cat",) and len(images) == 3
    assert caught[0].filename == __file__  # the warning points at the caller


@pytest.mark.parametrize(
    "name, content",
    [
        ("captions.json", "{"),
        ("captions.json", "5"),
        ("captions.json", '["a.JPG"]'),
        ("captions.json", '[{"file": "a.JPG"}]'),
        ("captions.json", '[{"file": 1, "captions": "a cat"}]'),
        ("captions.json", '{"a.JPG": {"text": "a cat"}}'),
        ("captions.json", '{"a.JPG": [3]}'),
        ("captions.csv", "name;text\na.JPG;a cat\n"),
        ("captions.csv", "file,caption\na.JPG\n"),
    ],
)
def test_captions_of_another_layout_are_an_error(folder, name, content):
    (folder / name).write_text(content)
    with pytest.raises(ValueError, match=name):
        load_images(f"folder:{folder}")


def test_two_captions_files_are_an_error(folder):
    (folder / "captions.json").write_text("{}")
    (folder / "captions.csv").write_text("file,caption\n")
    with pytest.raises(ValueError, match="keep one"):
        load_images(f"folder:{folder}")


def test_a_folder_that_is_missing_or_bare(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_images(f"folder:{tmp_path / 'absent'}")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match="no pictures.*\\.jpg"):
        load_images(f"folder:{tmp_path}")


def test_unreadable_pictures_are_found_when_they_are_opened(folder):
    (folder / "b.png").write_bytes(b"")
    images = load_images(f"folder:{folder}")
    assert images.picture(0).size == (8, 6)
    with pytest.raises(OSError, match="b.png is empty"):
        images.picture(1)


def test_the_limit_is_at_least_one(folder):
    with pytest.raises(ValueError, match="at least 1"):
        load_images(f"folder:{folder}", limit=0)


def test_images_can_be_sent_to_another_process(folder):
    images = pickle.loads(pickle.dumps(load_images(f"folder:{folder}")))
    assert images.picture(0).size == (8, 6)


# The picture book


def test_the_picture_book_writes_its_references_when_asked():
    from coxlmm_utils.picturebook.captions import references

    images = load_images(limit=40)
    assert images.source == "picturebook" and images.split == "train" and len(images) == 40
    assert images.references[3] == references(3) and images.references[3] is images.references[3]
    assert images[3:5].references == (references(3), references(4))
    assert images.ids[39] == "39" and len(load_images(split="validation")) == 1600
    assert len(images.mentioning("dog", "puppy")) == 5  # every eighth page
    with pytest.raises(ValueError, match="'testing'"):
        load_images(split="testing")


def test_the_picture_book_is_drawn_once(tmp_path, monkeypatch):
    from coxlmm_utils.picturebook import page

    monkeypatch.setenv("COXLMM_CACHE", str(tmp_path))
    images = load_images(split="test", limit=2)
    drawn = images.picture(1)
    assert np.array_equal(drawn, page(number=int(images.ids[1])).picture)
    (kept,) = tmp_path.rglob("*.png")
    assert kept.name == f"{images.ids[1]}.png"
    Image.new("RGB", (3, 3)).save(kept)
    assert images.picture(1).size == (3, 3)  # read, not drawn again
