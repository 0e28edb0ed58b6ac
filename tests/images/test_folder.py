"""Tests of folders of pictures: what is found there, and their splits."""

import pickle

import pytest

from coxlmm_utils.images import load_images
from tests.images.test_sources import save


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.JPG", "pets/dog.webp", "pets/._dog.png", ".cache/x.png"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_a_folder_without_captions(folder):
    images = load_images(f"folder:{folder}")
    assert images.ids == ("a.JPG", "b.png", "pets/dog.webp") and images.split == "all"
    assert images.references == ((), (), ())
    assert images.picture(2).size == (8, 6)
    assert load_images(f"folder:{folder}", limit=2).ids == ("a.JPG", "b.png")


def _many(folder, names):
    """Files that are named as pictures; none is opened."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return f"folder:{folder}"


def test_a_folder_is_split_by_ids_where_a_split_is_asked_for(tmp_path):
    source = _many(tmp_path / "many", (f"{number}.jpg" for number in range(1_000)))
    with pytest.warns(UserWarning, match=r"many has no splits of its own: its 1,000 .*\(train 8\d\d, test") as caught:
        train, test = (load_images(source, split) for split in ("train", "test"))
    assert caught[0].filename == __file__
    assert 160 <= len(test) <= 240 and (train.split, test.split) == ("train", "test")
    assert set(train.ids).isdisjoint(test.ids) and sorted(train.ids + test.ids) == list(load_images(source).ids)
    assert load_images(source, "test+train").ids == load_images(source, "all").ids
    assert load_images(source, "test", limit=5).ids == test.ids[:5]


def test_a_picture_of_a_folder_stays_in_its_split_when_others_come(tmp_path):
    before = load_images(_many(tmp_path / "a", (f"{number}.jpg" for number in range(50))), "test")
    after = load_images(_many(tmp_path / "b", (f"{number}.jpg" for number in range(90))), "test")
    assert set(before.ids) == {id for id in after.ids if int(id.split(".")[0]) < 50}


def test_splits_that_a_folder_has_not(tmp_path):
    source = _many(tmp_path / "few", ["0.jpg"])
    with pytest.raises(ValueError, match="a folder has no split 'validation'; choose train or test, or all"):
        load_images(source, "validation+test")
    empty = "test"  # by the name's hash
    with pytest.raises(ValueError, match=f"no picture of .*few is in the split '{empty}'.* images\\[8:\\]"):
        load_images(source, empty)


def test_a_folder_that_is_missing_or_bare(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_images(f"folder:{tmp_path / 'absent'}")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match="no pictures.*\\.jpg"):
        load_images(f"folder:{tmp_path}")


def test_linked_folders_are_said_and_linked_pictures_opened(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    save(other / "far.png")
    (folder / "pets" / "more").symlink_to(other)
    (folder / ".hidden").symlink_to(other)
    (folder / "near.png").symlink_to(other / "far.png")
    with pytest.warns(UserWarning, match="1 folders in .* are links or cannot be read .*pets/more.*left out") as caught:
        images = load_images(f"folder:{folder}")
    assert images.ids == ("a.JPG", "b.png", "near.png", "pets/dog.webp") and images.picture(2).size == (8, 6)
    assert len(caught) == 1 and caught[0].filename == __file__


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
