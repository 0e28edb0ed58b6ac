"""Captioned images from the picture book, COCO's files and a folder; the files are tiny ones made here.

What a folder's captions may look like is in test_caption_files, Datasets and lists in test_given_images.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

from coxlmm_utils.images.sources import load_images


def save(path, colour="red", size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.mark.parametrize("source", ["", "coco", "coco:", "folder:", "imagenet:/data", "picturebook:x"])
def test_an_unknown_source_names_the_four(source):
    with pytest.raises(ValueError, match='"picturebook", "coco:DIR", "visual_genome:DIR" or "folder:DIR"'):
        load_images(source)


@pytest.mark.parametrize(
    "source, meant",
    [
        ("picturebok", "picturebook"),
        ("Picturebook", "picturebook"),
        ("foldr:/a", "folder:/a"),
        ("COCO:/a", "coco:/a"),
        ("visual-genome:/a", "visual_genome:/a"),
    ],
)
def test_a_source_that_is_misspelt(source, meant):
    with pytest.raises(ValueError, match=f'unknown source of images .* did you mean "{meant}"'):
        load_images(source)


def test_a_folder_is_found_with_a_space_before_it_and_meant_by_its_path(tmp_path):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    assert load_images(f"folder: {tmp_path}").ids == ("a.png",)
    with pytest.raises(ValueError, match=re.escape(f'did you mean "folder:{tmp_path}"')):
        load_images(str(tmp_path))


def test_sources_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(ValueError, match='a PosixPath; use "picturebook"|a WindowsPath; use'):
        load_images(tmp_path)
    with pytest.raises(ValueError, match="'picturebook' brings its own captions"):
        load_images("picturebook", captions="caption")
    with pytest.raises(ValueError, match="brings its own captions and ids"):
        load_images(f"folder:{tmp_path}", id="name")


# COCO


def _coco(folder, under="."):
    """Five pictures, and Karpathy's file with all the fields that the real one has."""
    kept = [("train2014", 9, "train"), ("val2014", 42, "restval"), ("val2014", 73, "val"), ("val2014", 74, "test")]
    kept.append(("train2014", 25, "train"))
    entries = [_entry(imgid, *row) for imgid, row in enumerate(kept)]
    for entry in entries:
        save(folder / entry["filepath"] / entry["filename"], size=(8, entry["imgid"] + 1))
    (folder / under).mkdir(exist_ok=True)
    (folder / under / "dataset_coco.json").write_text(json.dumps({"images": entries, "dataset": "coco"}))
    return f"coco:{folder}"


def _entry(imgid, place, cocoid, split):
    return coco_entry(imgid, place, cocoid, split, [f"A Dog of {cocoid}.", "a cat, asleep "])


def coco_entry(imgid: int, place: str, cocoid: int, split: str, raws: list[str]) -> dict:
    """A picture as Karpathy's file has it."""
    sentids = [770337 + 1350 * number + imgid for number in range(len(raws))]
    sentences = [
        {"tokens": re.findall("[a-z0-9]+", raw.lower()), "raw": raw, "imgid": imgid, "sentid": sentid}
        for raw, sentid in zip(raws, sentids)
    ]
    return {
        "filepath": place,
        "sentids": sentids,
        "filename": f"COCO_{place}_{cocoid:012d}.jpg",
        "imgid": imgid,
        "split": split,
        "sentences": sentences,
        "cocoid": cocoid,
    }


TRAIN = ("train2014/COCO_train2014_000000000009.jpg", "train2014/COCO_train2014_000000000025.jpg")
RESTVAL, VALIDATION, TEST = (f"val2014/COCO_val2014_0000000000{cocoid}.jpg" for cocoid in (42, 73, 74))


@pytest.mark.parametrize(
    "split, ids",
    [
        ("train", (TRAIN[0], RESTVAL, TRAIN[1])),
        ("train_only", TRAIN),
        ("validation", (VALIDATION,)),
        ("val", (VALIDATION,)),
        ("test", (TEST,)),
    ],
)
def test_coco_splits(tmp_path, split, ids):
    images = load_images(_coco(tmp_path), split)
    assert images.ids == ids and images.split == ("validation" if split == "val" else split)
    assert images.source == f"coco:{tmp_path}"


@pytest.mark.parametrize(
    "split, ids, called",
    [
        ("validation+test", (VALIDATION, TEST), "validation+test"),
        ("test+val", (VALIDATION, TEST), "test+validation"),  # in the order of the file
        ("train+test", (TRAIN[0], RESTVAL, TEST, TRAIN[1]), "train+test"),
        ("train+train_only", (TRAIN[0], RESTVAL, TRAIN[1]), "train+train_only"),
        ("test+test", (TEST,), "test"),
    ],
)
def test_coco_splits_joined(tmp_path, split, ids, called):
    images = load_images(_coco(tmp_path), split)
    assert images.ids == ids and images.split == called
    assert load_images(images.source, images.split).ids == ids
    assert load_images(images.source, split, limit=1).ids == ids[:1]


def test_coco_splits_joined_with_one_that_there_is_not(tmp_path):
    for split in ("test+testing", "testing+test", "test+", "validation + test"):
        with pytest.raises(ValueError, match="COCO has no split '.*'; choose one of train, train_only"):
            load_images(_coco(tmp_path), split)


def test_coco_references_and_pictures(tmp_path):
    images = load_images(_coco(tmp_path, under="annotations"), limit=2)
    assert images.ids == (TRAIN[0], RESTVAL)
    assert images.references == (("A Dog of 9.", "a cat, asleep"), ("A Dog of 42.", "a cat, asleep"))
    assert [images.picture(row).size for row in range(2)] == [(8, 1), (8, 2)]


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
        ('{"images": [{"split": "train", "filename": "1.jpg", "sentences": []}], "dataset": "flickr8k"}', "'filepath'"),
        ('{"images": []}', "no pictures of the split train"),
    ],
)
def test_coco_files_of_another_kind(tmp_path, content, says):
    (tmp_path / "dataset_coco.json").write_text(content)
    with pytest.raises(ValueError, match=says):
        load_images(f"coco:{tmp_path}")


@pytest.mark.parametrize("place, name", [("..", "x.jpg"), ("train2014", "../../x.jpg"), ("/etc", "x.jpg"), ("C:", "x")])
def test_coco_names_that_lead_out_of_the_folder_are_refused(tmp_path, place, name):
    source = _coco(tmp_path)
    record = json.loads((tmp_path / "dataset_coco.json").read_text())
    record["images"][0] |= {"filepath": place, "filename": name}
    (tmp_path / "dataset_coco.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=f"names the picture '{place}/{name}', which is outside of its folder"):
        load_images(source)


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


def test_splits_of_the_picture_book_joined():
    validation, test = (load_images(split=split) for split in ("validation", "test"))
    both = load_images(split="val+test")
    assert both.ids == validation.ids + test.ids and both.split == "validation+test"
    assert both.references[len(validation)] == test.references[0]
    assert load_images(split=both.split, limit=1601).ids == both.ids[:1601]
    assert load_images(split="test+validation", limit=3).ids == test.ids[:3]
    assert len(load_images(split="test+test")) == len(test)
    with pytest.raises(ValueError, match="'testing'"):
        load_images(split="test+testing")


def test_the_picture_book_is_drawn_once(tmp_path, monkeypatch):
    from coxlmm_utils.picturebook.page import page

    monkeypatch.setenv("COXLMM_CACHE", str(tmp_path))
    images = load_images(split="test", limit=2)
    drawn = images.picture(1)
    assert np.array_equal(drawn, page(number=int(images.ids[1])).picture)
    (kept,) = tmp_path.rglob("*.png")
    assert kept.name == f"{images.ids[1]}.png"
    Image.new("RGB", (3, 3)).save(kept)
    assert images.picture(1).size == (3, 3)  # read, not drawn again


def test_pages_are_drawn_though_the_cache_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("COXLMM_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").touch()
    readable, pictures, problems = load_images(split="test", limit=2).opened(range(2))
    assert readable == [0, 1] and len(pictures) == 2 and not problems
