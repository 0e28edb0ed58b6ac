"""Pictures that a model cannot take, and errors that are not about pictures."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from transformers.image_utils import make_flat_list_of_images

from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.extraction.suggest_tokens import suggest_tokens
from coxlmm_utils.models import loading
from coxlmm_utils.models.captioning import generate_captions, teacher_forced_states
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.models.passes import refused_pictures, without_refused
from coxlmm_utils.models.processors import load_processor
from tests.conftest import MAX_NEW_TOKENS, in_memory, noise
from tests.tiny_lmms import FAMILIES, WORDS, tiny_llava

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


class Padding:
    """Pads the pictures of a batch to one size, as Emu3's processor does."""

    def __call__(self, images, **options):
        images = make_flat_list_of_images(images)
        size = tuple(max(picture.size[axis] for picture in images) for axis in (0, 1))
        canvases = [Image.new("RGB", size) for _ in images]
        for canvas, picture in zip(canvases, images):
            canvas.paste(picture)
        return super().__call__(canvases, **options)


def test_where_states_depend_on_the_batch_pictures_go_one_by_one(tmp_path, monkeypatch, pictures):
    def load_padding(*args):
        processor = load_processor(*args)
        kind = type(processor.image_processor)
        processor.image_processor.__class__ = type("PaddingImageProcessor", (Padding, kind), {})
        return processor

    monkeypatch.setattr(loading, "load_processor", load_padding)
    lmm = load_lmm(tiny_llava(tmp_path), device="cpu")
    assert lmm.one_by_one
    together, alone = (
        [one for batch in batches for one in generate_captions(lmm, batch, [2], max_new_tokens=3)]
        for batches in ([pictures[:3]], [[picture] for picture in pictures[:3]])
    )
    for one, other in zip(together, alone, strict=True):
        assert one.ids == other.ids and torch.equal(one.states[2], other.states[2])
    forced = teacher_forced_states(lmm, pictures[:3], [one.ids for one in alone], [2])
    for states, other in zip(forced, alone):
        torch.testing.assert_close(states[2], other.states[2])
    options = dict(max_new_tokens=3, cache=False, captions={f"p{row}": "a red dog" for row in range(3)})
    images = in_memory(pictures[:3], ("red",))
    each = [extract(lmm, images[[row]], "red", 2, **options).vectors[2] for row in range(3)]
    torch.testing.assert_close(extract(lmm, images, "red", 2, **options).vectors[2], torch.cat(each))
