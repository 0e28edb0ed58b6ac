"""Visual Genome in a miniature of its own files, and subsets of captioned pictures by keyword."""

from __future__ import annotations

import json

import pytest

from coxlmm_utils.images import KEYWORDS, CaptionedImages, keyword_subset, load_images
from tests.images.test_sources import save

PHRASES = {
    1: ["A Red clock on the wall", "shade of the tree ", " "],
    2: ["a man smiling", "the infrared lamp", "Red, red roses"],
    3: [],
    10: ["the beach at dusk"],
}
IDS = ("VG_100K_2/1.jpg", "VG_100K/2.jpg", "VG_100K/3.jpg", "VG_100K_2/10.jpg")


def entry(id: int, phrases: list, key: str = "id") -> dict:
    """A picture as region_descriptions.json has it."""
    box = {"x": 421, "y": 57, "width": 82, "height": 139}
    regions = [{"region_id": 100 * id + n, **box, "image_id": id, "phrase": text} for n, text in enumerate(phrases)]
    return {"id": id, "regions": regions} if key == "id" else {"regions": regions, key: id}


def describe(folder, content) -> str:
    """Writes region_descriptions.json; the name of the source."""
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "region_descriptions.json").write_text(text)
    return f"visual_genome:{folder}"


@pytest.fixture
def genome(tmp_path):
    for row, id in enumerate(IDS):
        save(tmp_path / id, size=(8, row + 1))
    describe(tmp_path, [entry(*row) for row in PHRASES.items()])
    return tmp_path


def test_pictures_have_the_phrases_of_their_regions_as_references(genome):
    images = load_images(f"visual_genome: {genome}")
    assert images.ids == IDS and images.split == "all" and images.source == f"visual_genome: {genome}"
    red, rest = (
        ("A Red clock on the wall", "shade of the tree"),
        ("a man smiling", "the infrared lamp", "Red, red roses"),
    )
    assert images.references == (red, rest, (), ("the beach at dusk",))
    assert [images.picture(row).size for row in range(4)] == [(8, 1), (8, 2), (8, 3), (8, 4)]
    assert load_images(images.source, limit=2).ids == IDS[:2] and images.version(IDS[0])


def test_the_older_name_of_the_id_is_read_too(genome):
    source = describe(genome, [entry(2, ["a dog"], key="image_id")])
    assert load_images(source).ids == ("VG_100K/2.jpg",)


def test_splits_are_those_of_the_same_folder_without_phrases(tmp_path):
    (tmp_path / "VG_100K").mkdir()
    for id in range(200):
        (tmp_path / "VG_100K" / f"{id}.jpg").touch()
    source = describe(tmp_path, [entry(id, [f"phrase of {id}"]) for id in range(200)])
    with pytest.warns(UserWarning, match="has no splits of its own: its 200 pictures") as caught:
        train, test = (load_images(source, split) for split in ("train", "test"))
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="no splits of its own"):
        assert sorted(test.ids) == list(load_images(f"folder:{tmp_path}", "test").ids)
    assert set(train.ids).isdisjoint(test.ids) and len(train) + len(test) == 200
    assert test.references[0] == (f"phrase of {test.ids[0].removeprefix('VG_100K/').removesuffix('.jpg')}",)
    with pytest.raises(ValueError, match="no split 'validation'; choose train or test, or all"):
        load_images(source, "validation")


def test_what_is_missing_is_said_with_where_to_put_it(tmp_path):
    source = f"visual_genome:{tmp_path}"
    with pytest.raises(FileNotFoundError, match="no region_descriptions.json in .*VG_100K and .*VG_100K_2"):
        load_images(source)
    with pytest.raises(FileNotFoundError, match="no region_descriptions.json in .*absent"):
        load_images(f"{source}/absent")
    describe(tmp_path, [entry(*row) for row in PHRASES.items()])
    with pytest.raises(FileNotFoundError, match="no folder VG_100K or VG_100K_2 in .*; unpack the pictures there"):
        load_images(source)
    (tmp_path / "VG_100K").mkdir()
    with pytest.raises(FileNotFoundError, match="of 4 pictures in .*, 4 are neither in VG_100K nor in VG_100K_2 of"):
        load_images(source)


def test_pictures_in_neither_folder_are_left_out_and_said(genome):
    (genome / IDS[0]).unlink()
    with pytest.warns(UserWarning, match=r"of 4 pictures .*, 1 are .* \(one of them: 1.jpg\); they are left") as caught:
        images = load_images(f"visual_genome:{genome}")
    assert images.ids == IDS[1:] and caught[0].filename == __file__


def test_a_picture_in_both_folders_is_one_picture(genome):
    save(genome / "VG_100K" / "10.jpg")
    assert load_images(f"visual_genome:{genome}").ids == (*IDS[:3], "VG_100K/10.jpg")


@pytest.mark.parametrize(
    "content, says",
    [
        ("[{", "damaged or not JSON"),
        ("[" * 100_000, "damaged or not JSON"),
        ("[]", "lists no pictures"),
        ("7", "not Visual Genome's file"),
        ({"images": []}, "not Visual Genome's file"),
        ({"phrase": "a dog"}, "not Visual Genome's file"),
        ([["a dog"]], "not Visual Genome's file"),
        ([{"id": 2}], "missing or of another kind: 'regions'"),
        ([{"regions": []}], "missing or of another kind: 'image_id'"),
        ([{"id": 2, "regions": None}], "the regions of picture 2 are not a list of objects"),
        ([{"id": 2, "regions": "a dog"}], "the regions of picture 2 are not"),
        ([{"id": 2, "regions": [{"text": "a dog"}]}], 'picture 2 are not .* a text as "phrase"'),
        ([entry(2, ["a dog", None])], 'picture 2 are not .* a text as "phrase"'),
        ([entry(2, [["a dog"]])], 'picture 2 are not .* a text as "phrase"'),
        ([entry(2, ["a dog"]), entry(1, []), entry(2, ["a cat"])], "lists the picture 2.jpg more than once"),
    ],
)
def test_files_of_another_kind(genome, content, says):
    with pytest.raises(ValueError, match=says):
        load_images(describe(genome, content))


@pytest.mark.parametrize("id", ["../../etc/passwd", "/etc/passwd", "2", "C:2", 2.0, True, None, [2]])
def test_ids_that_are_no_numbers_are_refused(genome, id):
    with pytest.raises(ValueError, match="the id of a picture is a whole number, not "):
        load_images(describe(genome, [{"id": id, "regions": []}]))


# Subsets


def test_a_subset_has_the_pictures_and_the_references_with_a_word(genome):
    images = load_images(f"visual_genome:{genome}")
    subset = keyword_subset(images, KEYWORDS["colour"])
    assert subset.ids == IDS[:2]  # whole words: neither infrared nor shade
    assert subset.references == (("A Red clock on the wall",), ("Red, red roses",))
    assert subset.picture(1).size == (8, 2) and subset.source == images.source
    assert keyword_subset(images, KEYWORDS["place"]).references == (("the beach at dusk",),)
    assert keyword_subset(images, KEYWORDS["sentiment"]).references == (("a man smiling",),)
    assert keyword_subset(images, iter(["the  tree", "dusk"])).ids == (IDS[0], IDS[3])


def test_subsets_of_the_picture_book():
    images = load_images("picturebook", limit=20)
    subset = keyword_subset(images, ["dog", "dogs"])
    assert subset.ids == images.mentioning("dog", "dogs").ids and len(subset) > 0
    assert all("dog" in text.lower() for texts in subset.references for text in texts)


def test_an_empty_subset_says_which_words_were_looked_for():
    images = CaptionedImages("", "all", ("a", "b"), (("a dog, a dog",), ()), dict)
    with pytest.raises(ValueError, match="no reference of the 2 .* has 'cat' or 'dogs'; words that do occur: dog$"):
        keyword_subset(images, ["cat", "dogs"])
    with pytest.raises(ValueError, match="has 'black' or .* or 'green' or 21 others; words that do"):
        keyword_subset(images, KEYWORDS["colour"])


@pytest.mark.parametrize(
    "words, says",
    [
        ("dog", "list of words, .*not the text 'dog'"),
        ([], "at least one"),
        (["dog", " "], "no blank"),
        ([7], "one by one"),
    ],
)
def test_words_that_are_none(words, says):
    with pytest.raises(ValueError, match=says):
        keyword_subset(load_images(limit=1), words)


def test_keywords_are_plain_words_and_each_is_in_one_list():
    assert [len(words) for words in KEYWORDS.values()] == [29, 51, 132] and [*KEYWORDS] == [
        "colour",
        "place",
        "sentiment",
    ]
    words = [word for words in KEYWORDS.values() for word in words]
    assert len(set(words)) == len(words) and all(word.isalpha() and word.islower() for word in words)
