"""Pictures that a model cannot take, and errors that are not about pictures."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.extraction.suggest_tokens import suggest_tokens
from coxlmm_utils.models.captioning import generate_captions
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.models.passes import refused_pictures, without_refused
from tests.conftest import MAX_NEW_TOKENS, in_memory, noise
from tests.tiny_lmms import FAMILIES, WORDS

THIN = Image.new("RGB", (2, 900), "red")
ALL_WORDS = [word for word in WORDS if word.isalpha() and word.islower()]


@pytest.mark.parametrize(
    "samples, captions", [("said and there", None), ("said and there", "a dog"), ("there but unsaid", None)]
)
def test_a_picture_that_the_processor_refuses_is_skipped_named_and_counted(qwen, samples, captions):
    mixed = [noise(1), noise(2), THIN, noise(3), THIN.rotate(90, expand=True)]
    given = captions and dict.fromkeys((f"p{row}" for row in range(5)), captions)
    words = ["red"] if samples == "there but unsaid" else ALL_WORDS
    options = dict(max_new_tokens=MAX_NEW_TOKENS, cache=False, samples=samples, captions=given)
    with pytest.warns(UserWarning, match=r"skipped: 2 \(p2, p4\)"):
        states = extract(qwen, in_memory(mixed, ("red",)), words, 2, **options)
    alone = extract(qwen, in_memory(mixed[:2] + mixed[3:4], ("red",)), words, 2, **options)
    assert states.provenance["unreadable"] == ["p2", "p4"] and states.provenance["counts"]["unreadable"] == 2
    assert states.images.ids == tuple({"p2": "p3"}.get(id, id) for id in alone.images.ids)
    torch.testing.assert_close(states.vectors[2], alone.vectors[2])


def test_all_pictures_refused_is_no_sample(qwen):
    with pytest.raises(ValueError, match="2 pictures could not be read"):
        extract(qwen, in_memory([THIN, THIN], ()), ALL_WORDS, 2, max_new_tokens=2, cache=False)


def test_so_is_one_that_only_the_model_refuses(tmp_path):
    lmm = load_lmm(FAMILIES["Mistral 3"](tmp_path), device="cpu")
    tiny = Image.new("RGB", (2, 2))  # its vision tower makes nothing of less than a patch
    assert list(refused_pictures(lmm, [noise(1), tiny, THIN])) == [1, 2]


def test_words_are_suggested_by_the_others(qwen):
    images = in_memory([noise(1), THIN, noise(2)], ("a red dog",))
    with pytest.warns(UserWarning, match=r"skipped: 1 \(p1\)"):
        table = suggest_tokens(images, qwen)
    assert table["sampled"].max() == 2


def test_captioning_says_which_picture_it_cannot_take(qwen):
    with pytest.raises(ValueError, match="cannot take picture 1, of 2 x 900 pixels: absolute aspect ratio"):
        generate_captions(qwen, [noise(1), THIN], max_new_tokens=2)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError, ValueError])
def test_errors_that_are_not_about_single_pictures_are_raised(qwen, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error("it is not the picture")

    monkeypatch.setattr(qwen.model, "forward", fail)
    with pytest.raises(error, match="it is not the picture"):
        extract(qwen, in_memory([noise(1), THIN], ()), ALL_WORDS, 2, max_new_tokens=2, cache=False)


def test_an_error_of_what_is_run_is_raised_even_beside_good_pictures(qwen):
    def run(rows):
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        without_refused(qwen, [noise(1), noise(2)], None, run)
