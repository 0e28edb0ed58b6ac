"""How many samples each word would have: counted, extrapolated with an honest interval, and true in the end."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

suggest_tokens_module = import_module("coxlmm_utils.extraction.suggest_tokens")
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.extraction.suggest_tokens import content_words, n_pieces, suggest_tokens
from coxlmm_utils.images.captioned_images import CaptionedImages
from coxlmm_utils.images.pictures import open_picture
from coxlmm_utils.models.captioning import GeneratedCaption, generate_captions
from coxlmm_utils.statistics import wilson_interval
from coxlmm_utils.text import whole_word
from tests.conftest import in_memory
from tests.models.test_caption_tokens import byte_level, sentence_piece

COLUMNS = ["mentioned", "sampled", "said", "both", "expected", "low", "high", "enough", "pieces"]


@pytest.fixture
def captions(monkeypatch):
    """Lets the LMM write given captions: a function of the dict of captions by a picture's grey level."""

    def say(captions):
        def written(lmm, pictures, prompt=None):
            return [GeneratedCaption(captions[picture.getpixel((0, 0))[0]], [], {}) for picture in pictures]

        monkeypatch.setattr(suggest_tokens_module, "generate_captions", written)

    return say


def greys(references: list[tuple[str, ...]]) -> CaptionedImages:
    """Pictures of different greys, told apart by their first pixel."""
    pictures = [np.full((4, 4, 3), level, dtype=np.uint8) for level in range(len(references))]
    return in_memory(pictures, references)


# References alone


def test_references_alone_count_the_pictures_that_mention_a_word():
    images = greys([("A dog.", "the dog's dog"), ("a DOG, a cat",), ("a hot-dog",), ("dogs",), ()])
    table = suggest_tokens(images, min_samples=3)
    assert table["mentioned"].to_dict() == {"dog": 3, "cat": 1, "dogs": 1, "hot": 1}
    assert list(table.index) == ["dog", "cat", "dogs", "hot"] and table.index.name == "word"
    assert table["enough"].to_dict() == {"dog": "perhaps", "cat": "no", "dogs": "no", "hot": "no"}
    assert list(table) == ["mentioned", "enough"]


def test_counts_are_those_of_extract():
    references = [("a Dog's t-shirt", "dog_1 dog2 2dogs"), ("the dogs'", "ox. tv")]
    references += [("café dog-house",), ("snow—board",)]
    images = greys(references)
    table = suggest_tokens(images)
    assert {"dog", "shirt", "dogs", "ox", "tv", "café", "house", "snow", "board"} == set(table.index)
    for word, mentioned in table["mentioned"].items():
        assert mentioned == len(images.mentioning(word))


@pytest.mark.parametrize(
    "caption, words",
    [
        ("a dog on the beach", {"dog", "beach"}),
        ("Two DOGS and two dogs", {"dogs"}),
        ("b 12 x2 _dog dog_", set()),
        ("the and of", set()),
        ("एक कुत्ता, कला मला2", {"एक", "कुत्ता", "कला"}),
        ("", set()),
    ],
)
def test_content_words(caption, words):
    assert content_words([caption]) == words
    assert all(whole_word(word).search(caption) for word in words)


def test_pictures_without_references_suggest_nothing():
    assert suggest_tokens(greys([(), ()])).empty


# With captions


def test_all_counts_by_hand(llava, captions):
    dogs = [("a dog",)] * 4 + [("a cat",)] * 2
    captions(dict(enumerate(["dog street", "dog dog", "car", "Dog.", "dog", "cat dog street"])))
    table = suggest_tokens(greys(dogs), llava, n_pictures=6, min_samples=3)
    assert list(table) == COLUMNS
    assert table.loc["dog"].to_list() == [4, 4, 5, 3, 3.0, 3.0, 3.0, "yes", 1]
    assert table.loc["cat"].to_list() == [2, 2, 1, 1, 1.0, 1.0, 1.0, "no", 1]
    assert table.loc["street"].to_list() == [0, 0, 2, 0, 0.0, 0.0, 0.0, "no", 1]  # said, but in no reference
    assert list(table.index) == ["dog", "cat", "street", "car"]


def test_samples_are_extrapolated_from_the_share_of_those_captioned(llava, captions):
    images = greys([("a dog",)] * 100 + [("a cat",)] * 100)
    captions({level: "dog" if level % 2 else "cat" for level in range(200)})
    table = suggest_tokens(images, llava, n_pictures=50, min_samples=40, seed=3)
    dog = table.loc["dog"]
    assert dog["mentioned"] == 100 and 10 < dog["sampled"] < 40 and dog["both"] < dog["said"]
    assert table["sampled"].sum() == table["said"].sum() == 50
    assert dog["expected"] == round(100 * dog["both"] / dog["sampled"], 1)
    low, high = wilson_interval(dog["both"], dog["sampled"])
    rest = 100 - dog["sampled"]  # what was counted is certain, and only the rest is extrapolated
    assert (dog["low"], dog["high"]) == (round(dog["both"] + rest * low, 1), round(dog["both"] + rest * high, 1))
    assert dog["both"] < dog["low"] < dog["expected"] < dog["high"] < 100 - dog["sampled"] + dog["both"]


def test_enough_is_said_only_if_the_interval_allows(llava, captions):
    images = greys([("a dog",)] * 100 + [("a cat",)] * 100)
    captions({level: "dog" for level in range(200)})
    table = suggest_tokens(images, llava, n_pictures=60)
    low, high = table.loc["dog", ["low", "high"]]
    assert 80 < low < 95 and high == 100
    verdicts = [suggest_tokens(images, llava, 60, n).loc["dog", "enough"] for n in (80, 95, 100, 101)]
    assert verdicts == ["yes", "perhaps", "perhaps", "no"]
    assert table.loc["cat", ["both", "expected", "low"]].to_list() == [0, 0, 0] and 0 < table.loc["cat", "high"] < 20


def test_a_word_that_no_captioned_picture_mentions_is_unknown(llava, captions):
    captions({level: "cat" for level in range(41)})
    images = greys([("a cat",)] * 40 + [("a dog",)])
    seeds = (seed for seed in range(9) if 40 not in np.random.default_rng(seed).choice(41, 5, replace=False))
    table = suggest_tokens(images, llava, n_pictures=5, min_samples=1, seed=next(seeds))
    assert table.index[-1] == "dog" and np.isnan(table.loc["dog", "expected"])
    assert table.loc["dog", ["sampled", "low", "high", "enough"]].to_list() == [0, 0, 1, "perhaps"]


def test_without_references_the_caption_decides(llava, captions):
    images = greys([("a dog",), ("a cat",), ("the",), (), ()])
    captions(dict(enumerate(["dog", "dog", "dog", "dog", "cat"])))
    table = suggest_tokens(images, llava, n_pictures=5, min_samples=1)
    assert table.loc["dog", ["mentioned", "sampled", "said", "both"]].to_list() == [1, 3, 4, 2]
    assert table.loc["cat", ["mentioned", "sampled", "said", "both"]].to_list() == [1, 3, 1, 1]
    assert (table["low"] == table["both"]).all() and (table["high"] == table["both"]).all()
    assert suggest_tokens(images[[3, 4]], llava, n_pictures=1, min_samples=1).shape[0] == 1


def test_the_seed_and_the_number_choose_the_pictures(llava, monkeypatch):
    seen = []

    def written(lmm, pictures, prompt=None):
        seen.extend(picture.getpixel((0, 0))[0] for picture in pictures)
        return [GeneratedCaption("dog", [], {}) for _ in pictures]

    monkeypatch.setattr(suggest_tokens_module, "generate_captions", written)
    images, chosen = greys([("a dog",)] * 100), []
    for seed in (0, 0, 1):
        seen.clear()
        suggest_tokens(images, llava, n_pictures=40, seed=seed)
        chosen.append(list(seen))
    assert chosen[0] == chosen[1] != chosen[2]
    assert all(len(set(levels)) == 40 for levels in chosen) and max(chosen[0]) > 60
    seen.clear()
    suggest_tokens(images, llava, n_pictures=101)
    assert sorted(seen) == list(range(100))


@pytest.mark.filterwarnings("ignore:pictures that could not be read")
def test_with_every_picture_captioned_the_table_is_what_extract_finds(llava, pictures, tmp_path):
    """Also with a picture that cannot be read: then there is one less that may be a sample."""
    texts = ["grey and green street", "all Grey.", "dogs in the field", "a dog's day"]
    for row, picture in enumerate(pictures):
        picture.save(tmp_path / f"{row:02d}.png")
    (tmp_path / "05.png").write_bytes(b"no picture")
    ids = tuple(sorted(path.name for path in tmp_path.iterdir()))
    references = [(texts[row % 4], texts[(row + 1) % 4]) for row in range(24)]
    images = CaptionedImages("", "all", ids, references, lambda id: open_picture(tmp_path / id))
    with pytest.warns(UserWarning, match=r"could not be read and were skipped: 1 \(05.png\)$"):
        table = suggest_tokens(images, llava, n_pictures=24, min_samples=1)
    for word in ("grey", "green"):
        counts = extract(llava, images, word, 1, cache=False).provenance["counts"]
        row = table.loc[word].to_dict()
        assert (row["mentioned"], row["both"]) == (counts["mentioned"], counts["kept"])
        assert row["both"] <= row["expected"] <= row["high"] <= row["mentioned"]


def test_the_prompt_goes_to_the_model(llava, pictures):
    pictures = pictures[:6]
    images = in_memory(pictures, ("grey",))
    spoken = [suggest_tokens(images, llava, prompt=prompt)["said"] for prompt in (None, "dog")]
    assert not spoken[0].equals(spoken[1])
    for prompt, counts in zip((None, "dog"), spoken):
        captions = [written.caption for written in generate_captions(llava, pictures, prompt=prompt)]
        assert counts["grey"] == sum("grey" in caption.split() for caption in captions)


@pytest.mark.parametrize("numbers", [{"n_pictures": 0}, {"min_samples": 0}])
def test_numbers_below_one_are_an_error(llava, numbers):
    [(name, _)] = numbers.items()
    with pytest.raises(ValueError, match=f"{name}=0.*must be at least 1"):
        suggest_tokens(greys([("a dog",)]), llava, **numbers)


def test_the_model_looks_at_the_pictures_for_strange_ones(llava, captions, monkeypatch):
    looked = []
    monkeypatch.setattr(type(llava), "warn_if_out_of_domain", lambda self, pictures: looked.append(len(pictures)))
    captions({level: "dog" for level in range(40)})
    suggest_tokens(greys([("a dog",)] * 40), llava)
    assert looked == [32]


# The interval


def test_wilson_interval_by_hand():
    low, high = wilson_interval(np.array([0, 5, 10, 0]), np.array([10, 10, 10, 0]))
    np.testing.assert_allclose(low, [0, 0.2366, 0.7225, 0], atol=1e-4)
    np.testing.assert_allclose(high, [0.2775, 0.7634, 1, 1], atol=1e-4)


def test_wilson_interval_holds_the_truth_about_95_times_in_100():
    k = np.arange(31)
    low, high = wilson_interval(k, np.full(31, 30))
    for p in (0.2, 0.5, 0.8, 0.95):
        draws = np.random.default_rng(0).binomial(30, p, 20_000)
        assert 0.92 < np.mean((low[draws] <= p) & (p <= high[draws])) < 0.98


# Pieces


@pytest.mark.parametrize(
    "lmm, pieces",
    [
        (byte_level(), {"dog": 1, "snowboard": 2, "dogs": 1}),
        (sentence_piece(), {"dogs": 1, "dog": 2, "snowboard": 2}),
    ],
    ids=["byte-level", "sentencepiece"],
)
def test_pieces_are_counted_inside_a_caption(lmm, pieces):
    assert {word: n_pieces(lmm, word) for word in pieces} == pieces


def test_a_word_that_the_model_cannot_write_has_no_pieces(llava):
    assert n_pieces(llava, "dog") == 1 and n_pieces(llava, "zebra") == 0
