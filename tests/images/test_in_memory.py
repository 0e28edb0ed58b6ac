"""A Dataset of Hugging Face's `datasets`, or a list of pictures, as captioned images.

Each test of a Dataset runs on a small stand-in with the same manners, and on the real thing where it is installed.
"""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.images.sources import load_images


def stamp_of(images):
    """The versions and references of all pictures; None where there is no version."""
    if images.version is None:
        return None
    return [images.version(id) for id in images.ids], [list(captions) for captions in images.references]


COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
CAPTIONS = [["a Dog", " two dogs"], "a cat", None]


def squares():
    return [Image.new("RGB", (8, 6), colour) for colour in COLOURS]


def held(image):
    """A picture as a Dataset keeps it."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


class StandIn:
    """Columns by name without decoding other columns, rows by number with pictures decoded; counts the decoding."""

    _fingerprint = "f00d"

    def __init__(self, columns):
        self.columns, self.column_names, self.decoded = columns, list(columns), 0

    def __len__(self):
        return len(self.columns[self.column_names[0]])

    def __getitem__(self, key):
        if isinstance(key, str):
            return [self._cell(key, value) for value in self.columns[key]]
        return {name: self._cell(name, values[key]) for name, values in self.columns.items()}

    def _cell(self, name, value):
        if name != "image" or not isinstance(value, dict):
            return value
        self.decoded += 1
        image = Image.open(io.BytesIO(value["bytes"]) if value["bytes"] is not None else value["path"])
        image.load()
        return image


def stand_in(columns):
    return StandIn(columns)


def real(columns):
    """The same columns in a Dataset of `datasets`, its column "image" decoded like the stand-in's."""
    datasets = pytest.importorskip("datasets")
    columns = {name: [_listed(value) if name == "caption" else value for value in columns[name]] for name in columns}
    dataset = datasets.Dataset.from_dict(columns)
    return dataset.cast_column("image", datasets.Image()) if isinstance(columns["image"][0], dict) else dataset


def _listed(value):
    """A column of `datasets` holds one type."""
    return [value] if isinstance(value, str) else value


@pytest.fixture(params=[stand_in, real], ids=lambda make: make.__name__)
def make(request):
    return request.param


def columns(**more):
    return {"image": [held(image) for image in squares()], "caption": CAPTIONS, "name": [7, 8, 9]} | more


# A Dataset


def test_the_rows_of_a_data_set(make):
    images = load_images(make(columns()), captions="caption", id="name")
    assert images.ids == ("7", "8", "9") and (images.source, images.split) == ("", "all")
    assert list(images.references) == [("a Dog", "two dogs"), ("a cat",), ()]
    assert [images.picture(row).getpixel((3, 3)) for row in range(3)] == COLOURS
    assert images[[2, 0]].picture(0).getpixel((3, 3)) == COLOURS[2]
    assert images.mentioning("dog", "cat").ids == ("7", "8")


def test_captions_and_ids_may_be_left_out(make):
    images = load_images(make(columns()), limit=2)
    assert images.ids == ("0", "1") and list(images.references) == [(), ()]
    assert images.picture(1).getpixel((3, 3)) == COLOURS[1]
    assert len(load_images(make(columns()), limit=9)) == 3


def test_a_limit_cuts_every_column(make):
    images = load_images(make(columns()), limit=2, captions="caption", id="name")
    assert images.ids == ("7", "8") and len(images.references) == 2


def test_pictures_are_decoded_only_when_they_are_opened():
    dataset = stand_in(columns())
    images = load_images(dataset, captions="caption", id="name")
    stamp_of(images.mentioning("dog"))
    assert dataset.decoded <= 1  # the first, to see that it is a picture
    before = dataset.decoded
    images.picture(2)
    assert dataset.decoded == before + 1


def test_real_pictures_are_decoded_only_when_they_are_opened(monkeypatch):
    datasets = pytest.importorskip("datasets")
    decoded, decode = [], datasets.Image.decode_example
    monkeypatch.setattr(datasets.Image, "decode_example", lambda *a, **k: decoded.append(1) or decode(*a, **k))
    images = load_images(real(columns()), captions="caption", id="name")
    stamp_of(images.mentioning("dog"))
    assert len(decoded) == 1
    images.picture(2)
    assert len(decoded) == 2


def test_a_column_of_paths_and_of_other_names(make, tmp_path):
    paths = [str(tmp_path / f"{number}.png") for number in range(3)]
    for path, colour in zip(paths, COLOURS):
        Image.new("RGB", (8, 6), colour).save(path)
    by_path = [{"bytes": None, "path": path} for path in paths]
    images = load_images(make(columns(image=by_path, file=paths)), image="file")
    assert [images.picture(row).getpixel((3, 3)) for row in range(3)] == COLOURS
    assert load_images(make(columns(image=by_path))).picture(1).getpixel((3, 3)) == COLOURS[1]


def test_undecoded_pictures_of_datasets():
    datasets = pytest.importorskip("datasets")
    images = load_images(real(columns()).cast_column("image", datasets.Image(decode=False)))
    assert images.picture(2).getpixel((3, 3)) == COLOURS[2]


def test_damaged_and_missing_pictures_are_noted(make):
    whole = held(Image.effect_noise((60, 60), 90))
    images = load_images(make({"image": [{"bytes": whole["bytes"][:1500], "path": None}, whole, None]}))
    readable, pictures, problems = images.opened(range(3))
    assert readable == [1] and len(pictures) == 1 and list(problems) == ["0", "2"]
    assert "'0' cannot be read" in problems["0"] and "'2' is missing" in problems["2"]


@pytest.mark.parametrize("given", [{"image": "img"}, {"captions": "texts"}, {"id": "key"}])
def test_an_unknown_column_names_those_that_there_are(make, given):
    (name,) = given.values()
    with pytest.raises(ValueError, match=f"no column '{name}'; it has image, caption, name"):
        load_images(make(columns()), **given)


def test_a_column_without_pictures_is_an_error(make):
    with pytest.raises(ValueError, match="the column 'name' holds int; a picture is"):
        load_images(make(columns()), image="name")


def test_a_data_set_without_rows_is_an_error(make):
    with pytest.raises(ValueError, match="no rows"):
        load_images(make({"image": [], "caption": []}) if make is stand_in else make(columns()).select([]))


def test_captions_that_cannot_be_understood_name_the_picture(make):
    with pytest.raises(ValueError, match="captions of the picture '7' .* not 7"):
        load_images(make(columns()), captions="name", id="name")


def test_ids_differ(make):
    with pytest.raises(ValueError, match="'8' occurs more than once"):
        load_images(make(columns(name=[8, 9, 8])), id="name")


def test_the_stamp_of_a_data_set_changes_with_it(make):
    def stamp(column="image", **more):
        return stamp_of(load_images(make(columns(mask=columns()["image"]) | more), image=column, captions="caption"))

    assert stamp() == stamp() is not None
    assert stamp() != stamp("mask") and stamp() != stamp(caption=["a dog", "a cat", "a cow"])


def test_the_stamp_changes_with_the_fingerprint_and_there_is_none_without():
    dataset = stand_in(columns())
    stamp = stamp_of(load_images(dataset))
    dataset._fingerprint = "beef"
    assert stamp != stamp_of(load_images(dataset))
    dataset._fingerprint = None
    assert stamp_of(load_images(dataset)) is None


def test_a_real_fingerprint_changes_with_the_pictures():
    stamp = load_images(real(columns())).stamp()
    assert stamp != load_images(real(columns(image=columns()["image"][::-1]))).stamp()
    transformed = real(columns())
    transformed.set_transform(lambda batch: batch)
    assert stamp != load_images(transformed).stamp()


def test_a_data_set_can_be_sent_to_another_process(make):
    images = pickle.loads(pickle.dumps(load_images(make(columns()), captions="caption")))
    assert images.picture(1).getpixel((3, 3)) == COLOURS[1] and stamp_of(images)


def test_several_data_sets_are_named():
    with pytest.raises(ValueError, match="several data sets, 'train', 'test'; give one"):
        load_images({"train": stand_in(columns()), "test": stand_in(columns())})


def test_several_real_data_sets_are_named():
    datasets = pytest.importorskip("datasets")
    with pytest.raises(ValueError, match="'train', 'test'"):
        load_images(datasets.DatasetDict(train=real(columns()), test=real(columns())))
    with pytest.raises(ValueError, match="streaming=False"):
        load_images(real(columns()).to_iterable_dataset())


# A list


def test_a_list_of_pictures():
    images = load_images(squares())
    assert images.ids == ("0", "1", "2") and list(images.references) == [(), (), ()]
    assert [images.picture(row).getpixel((3, 3)) for row in range(3)] == COLOURS
    assert (images.source, images.split, stamp_of(images)) == ("", "all", None)


def test_a_list_with_captions():
    images = load_images(squares(), captions=CAPTIONS)
    assert list(images.references) == [("a Dog", "two dogs"), ("a cat",), ()]
    some = load_images(squares(), captions=CAPTIONS, limit=2)
    assert some.ids == ("0", "1") and list(some.references) == [("a Dog", "two dogs"), ("a cat",)]


def test_captions_of_a_list_may_go_by_row_number():
    for given in ({"1": "a cat", "0": ["a dog"]}, {1: "a cat", 0: "a dog"}):
        assert list(load_images(squares(), captions=given).references) == [("a dog",), ("a cat",), ()]
    for key in ("a.png", 3, -1, "00"):
        with pytest.raises(
            ValueError, match=f"captions= has the key '{key}', and the ids of a list are row numbers, '0'"
        ):
            load_images(squares(), captions={0: "a dog", key: "a cat"})


def test_a_list_may_hold_arrays_paths_and_files_not_read_yet(tmp_path):
    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (8, 6), colour).save(tmp_path / f"{number}.png")
    images = load_images([np.asarray(squares()[0]), tmp_path / "1.png", Image.open(tmp_path / "2.png")])
    assert [images.picture(row).getpixel((3, 3)) for row in range(3)] == COLOURS


def test_a_list_is_not_changed_by_its_use():
    given = squares()
    images = load_images(given)
    images.picture(0).putpixel((0, 0), (9, 9, 9))
    given.pop()
    assert given[0].getpixel((0, 0)) == COLOURS[0] and images.picture(2).getpixel((3, 3)) == COLOURS[2]


@pytest.mark.parametrize(
    "pictures, given, says",
    [
        ([], {}, "list of pictures is empty"),
        ([Image.new("L", (2, 2)), 5], {}, "at 1, holds int"),
        ([Image.new("L", (2, 2)), Image.new("F", (2, 2))], {}, "the picture '1' of the list .* floating-point"),
        ([Image.new("L", (2, 2)), np.zeros((2, 2), np.uint16)], {}, "the picture '1' of the list .* uint16"),
        ([Image.new("L", (2, 2)), np.zeros((0, 2, 3), np.uint8)], {}, "the picture '1' of the list .* 2 x 0 pixels"),
        ([Image.new("L", (2, 2)), np.zeros((3, 9, 9), np.uint8)], {}, r"the picture '1' of the list .* \(3, 9, 9\)"),
        ([Image.new("L", (2, 2))], {"captions": ["a", "b"]}, "1 pictures and 2 captions"),
        ([Image.new("L", (2, 2))], {"captions": {"a dog"}}, "a list as long, not a set"),
        ([Image.new("L", (2, 2))], {"captions": [3]}, "the picture '0' .* not 3"),
        ([Image.new("L", (2, 2))], {"captions": "caption"}, "a list as long"),
        ([Image.new("L", (2, 2))], {"id": "name"}, "row numbers"),
    ],
)
def test_lists_that_do_not_fit(pictures, given, says):
    with pytest.raises(ValueError, match=says):
        load_images(pictures, **given)


# From either to states


def test_states_come_from_a_data_set_and_from_a_list_alike(llava, pictures, token, make):
    dataset = make({"image": [held(picture) for picture in pictures], "caption": [token] * 24})
    both = load_images(dataset, captions="caption"), load_images(pictures, captions=[token] * 24)
    first, second = (extract(llava, images, token, 2, max_new_tokens=6, cache=False) for images in both)
    assert first.images.ids == second.images.ids and len(first) > 3
    np.testing.assert_allclose(first.vectors[2], second.vectors[2], rtol=1e-4, atol=1e-4)


def test_states_of_a_data_set_are_cached_while_its_fingerprint_stays(llava, pictures, token):
    def run(fingerprint):
        dataset = stand_in({"image": [held(picture) for picture in pictures], "caption": [token] * 24})
        dataset._fingerprint = fingerprint
        extract(llava, load_images(dataset, captions="caption"), token, 2, max_new_tokens=6)
        return dataset.decoded

    assert run("first") > 24 and run("first") <= 1 and run("second") > 24


def test_what_is_in_memory_has_no_splits(pictures):
    assert load_images(pictures[:2], split="all").ids == ("0", "1")
    with pytest.raises(ValueError, match="a list has no split 'test': leave split= out"):
        load_images(pictures[:2], split="test")
