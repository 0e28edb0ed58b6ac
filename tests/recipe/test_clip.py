"""The CLIP judge while it learns, and as it is saved."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from coxlmm_utils.evaluation.clipscore import PREFIX, load_clip_judge
from coxlmm_utils.picturebook.captions import references
from coxlmm_utils.picturebook.drawing import draw
from coxlmm_utils.picturebook.factors import factors_of
from data.picturebook.recipe.clip import ClipLearner
from data.picturebook.recipe.judge_texts import make_judge_tokenizer, true_text
from data.picturebook.recipe.training_loop import as_pixels, augmented
from tests.recipe.taught import teach

PAGES = [factors_of(number) for number in range(8)]
TEXTS = [references(number)[0] for number in range(8)]


@pytest.fixture(scope="module")
def pictures():
    """Eight pages: (pages, side, side, 3), uint8."""
    return np.stack([np.asarray(draw(page, number)) for number, page in enumerate(PAGES)])


@pytest.fixture(scope="module")
def learner(pictures):
    """A learner that has seen one batch over and over, with its `losses`."""
    torch.manual_seed(0)
    return teach(ClipLearner(make_judge_tokenizer()), pictures, PAGES, steps=12)


@pytest.fixture(scope="module")
def folder(learner, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "clip"
    learner.save(folder)
    return folder


@torch.no_grad()
def text_vectors(learner, tokens):
    return learner.clip.encode_text(tokens, True)


# Learning


def test_the_loss_falls(learner):
    assert np.mean(learner.losses[-2:]) < 0.7 * learner.losses[0]


@torch.no_grad()
def test_the_loss_is_clips_by_hand(learner, pictures):
    rng = random.Random(4)
    texts = [true_text(page, rng, PREFIX) for page in PAGES]
    images = learner.clip.encode_image(augmented(pictures, rng), True)
    logits = learner.clip.logit_scale.exp() * images @ text_vectors(learner, learner._tokens(texts)).T
    own = torch.arange(len(PAGES))
    expected = sum(torch.nn.functional.cross_entropy(table, own) for table in (logits, logits.T)) / 2
    assert learner.loss(pictures, PAGES, random.Random(4)).item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_random_numbers_alone_decide_the_loss(learner, pictures):
    first, again, other = [learner.loss(pictures, PAGES, random.Random(seed)).item() for seed in (1, 1, 2)]
    assert first == again != other


# Texts


def test_a_text_is_read_up_to_its_end(learner):
    tokens = learner._tokens(["a dog", "a dog"])
    after = (tokens[0] == learner.tokenizer.eos_token_id).nonzero().item() + 1
    tokens[1, after:] = len(learner.tokenizer) - 1  # the last word of the vocabulary, in place of the filling
    vectors = text_vectors(learner, tokens)
    torch.testing.assert_close(vectors[0], vectors[1], rtol=0, atol=1e-6)


def test_the_last_word_counts(learner):
    vectors = text_vectors(learner, learner._tokens(["a brown dog", "a brown bus"]))
    assert (vectors[0] - vectors[1]).abs().max() > 0.02


def test_tokens_fill_the_whole_context(learner):
    short, long = learner._tokens(["a dog", "dog " * 60])
    assert len(short) == len(long) == learner.clip.context_length
    assert long[-1] == learner.tokenizer.eos_token_id  # cut, but still ended


# Quality


def numbered_pictures():
    """200 pictures of one colour each, of which each shows its number."""
    return np.arange(200, dtype=np.uint8)[:, None, None, None].repeat(3, 3)  # (200, 1, 1, 3)


def with_vectors(learner, monkeypatch, seen, mentioned):
    """Let the learner see and read these vectors, (200, width) each, in place of its own."""

    def encode_image(pixels, normalise):
        return seen[((pixels[:, 0, 0, 0] + 1) * 127.5).round().long()]

    monkeypatch.setattr(learner.clip, "encode_image", encode_image)
    monkeypatch.setattr(learner.clip, "encode_text", lambda tokens, normalise: mentioned)
    return tuple(learner.quality(numbered_pictures(), ["a dog"] * 200).values())


def test_all_right_is_one_and_all_alike_is_chance(learner, monkeypatch):
    own = torch.eye(100).repeat(2, 1)  # in each block of a hundred, for each number its own direction
    assert with_vectors(learner, monkeypatch, own, own) == (1, 1)
    assert with_vectors(learner, monkeypatch, own.roll(1, 0), own) == (0, 0)
    same = own[:1].repeat(200, 1)
    assert with_vectors(learner, monkeypatch, same, own) == pytest.approx((0.01, 0.01))


def test_each_direction_has_its_share(learner, monkeypatch):
    own = torch.eye(100).repeat(2, 1)
    seen = own.clone()
    seen[1] = 0.6 * own[1] + 0.8 * own[2]  # nearest to the text of number 2, which has a nearer picture
    assert with_vectors(learner, monkeypatch, seen, own) == pytest.approx((0.995, 1))


def test_a_few_pictures_are_enough_to_measure_quality(learner, pictures):
    with torch.no_grad():
        near = learner.clip.encode_image(as_pixels(pictures), True) @ text_vectors(learner, learner._tokens(TEXTS)).T
    right = [(near.argmax(dim) == torch.arange(8)).float().mean().item() for dim in (1, 0)]
    shares = learner.quality(pictures, TEXTS)
    assert shares == pytest.approx(dict(zip(("picture_to_text_1_of_100", "text_to_picture_1_of_100"), right)))


# Saving


def test_what_is_saved_gives_the_same_vectors(learner, folder, pictures):
    judge = load_clip_judge(folder, device="cpu")
    with torch.no_grad():
        seen = learner.clip.encode_image(as_pixels(pictures), True)
    mentioned = text_vectors(learner, learner._tokens(TEXTS))
    judged = judge.encode_pictures([Image.fromarray(picture) for picture in pictures]), judge.encode_texts(TEXTS)
    for vectors, expected in zip(judged, (seen, mentioned)):
        torch.testing.assert_close(vectors, expected, rtol=0, atol=3e-3)  # weights are rounded to half precision
        assert (expected - expected.mean(0)).abs().max() > 0.05


def test_a_picture_of_another_size_is_brought_to_a_pages(folder, pictures):
    judge = load_clip_judge(folder, device="cpu")
    page = Image.fromarray(pictures[0])
    large, other = page.resize((288, 288)), Image.fromarray(pictures[1])
    first, second, third = judge.encode_pictures([page, large, other])
    assert first @ second > 0.99 > first @ third


def test_the_judge_is_saved_small_whole_and_for_all_to_read(folder):
    assert {path.name for path in folder.iterdir()} >= {"open_clip_config.json", "open_clip_model.safetensors"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4e6
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    assert [path.name for path in folder.parent.iterdir()] == ["clip"]


def test_the_learner_stays_as_it_was(learner, folder):
    assert {weight.dtype for weight in learner.parameters()} == {torch.float32}
