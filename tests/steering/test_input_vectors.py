"""A vector for each input: what a contrast is, what stands in its place, and that each picture gets its own."""

import pytest
import torch

from coxlmm_utils.extraction import prompt_states
from coxlmm_utils.models import load_lmm
from coxlmm_utils.steering import InputVectors, answer_contrasts, prompt_to_steer, steer, steered
from tests.conftest import in_memory, in_plain_words, noise
from tests.tiny_lmms import tiny_llava, tiny_qwen

LAYER = 2
KINDS = {"llava": tiny_llava, "qwen": tiny_qwen}


@pytest.fixture(scope="module", params=KINDS)
def lmm(request, tmp_path_factory):
    return in_plain_words(load_lmm(KINDS[request.param](tmp_path_factory.mktemp("lmm")), device="cpu"))


@pytest.fixture(scope="module")
def images():
    return in_memory([noise(seed) for seed in range(5)], ())


@pytest.fixture(scope="module")
def pairs():
    return ["grey dog", "cat", "grey", "dog sits", "cat"], ["dog", "grey cat", "sits", "cat", "grey"]


@pytest.mark.parametrize("source", ["last", "mean"])
def test_a_vector_is_the_difference_of_the_states_after_two_completions(lmm, images, pairs, source):
    vectors = prompt_to_steer(lmm, images, "What is it?", *pairs, LAYER, source)
    states = [prompt_states(lmm, images, "What is it?", [LAYER], texts, source == "mean").Z for texts in pairs]
    torch.testing.assert_close(vectors.vectors, states[0] - states[1])
    assert vectors.ids == images.ids and vectors.layer == LAYER and len(vectors) == 5
    assert "mean over" in vectors.made if source == "mean" else "last tokens" in vectors.made


def test_what_is_no_contrast_is_refused(lmm, images, pairs):
    with pytest.raises(ValueError, match="no source 'first'"):
        prompt_to_steer(lmm, images, "What is it?", *pairs, LAYER, "first")
    with pytest.raises(ValueError, match="4 completions for 5 pictures"):
        prompt_to_steer(lmm, images, "What is it?", pairs[0][:4], pairs[1], LAYER)


def test_answers_are_contrasted_within_their_group(lmm, images):
    states = prompt_states(lmm, images, "What is it?", [LAYER])
    vectors = answer_contrasts(states, ["a", "a", "a", "b", "b"], ["yes", "no", "no", "yes", "yes"])
    Z = states.Z
    torch.testing.assert_close(vectors.vectors[0], Z[0] - Z[1:3].mean(0))
    torch.testing.assert_close(vectors.vectors[2], Z[1:3].mean(0) - Z[0])
    assert not vectors.vectors[3:].any()  # all of this group have one answer
    with pytest.raises(ValueError, match="2 groups and 5 answers are given for 5 states"):
        answer_contrasts(states, ["a", "b"], ["yes"] * 5)


def test_its_mean_is_a_direction_and_random_ones_are_as_long(lmm, images, pairs):
    vectors = prompt_to_steer(lmm, images, "What is it?", *pairs, LAYER)
    direction, random = vectors.mean(), vectors.random(3)
    torch.testing.assert_close(direction.vector, vectors.vectors.mean(0))
    torch.testing.assert_close(random.vectors.norm(dim=1), vectors.vectors.norm(dim=1))
    assert direction.samples == (5,) and not torch.equal(random.vectors, vectors.random(4).vectors)


def test_each_input_is_steered_by_its_own_vector_in_any_batch(lmm, images):
    Z = torch.randn(5, lmm.width, generator=torch.Generator().manual_seed(0)) * 20
    vectors = InputVectors(Z, images.ids, LAYER, "for a test", lmm.name, lmm.fingerprint)
    together = steered(lmm, images, vectors, 1.0, batch_size=5)
    torch.testing.assert_close(vectors.subset([3, 1]).vectors, Z[[3, 1]])
    assert steered(lmm, images, vectors, 1.0, batch_size=2).equals(together)
    for row, id in enumerate(images.ids):
        alone = steered(lmm, images[[row]], vectors.subset([row]), 1.0)
        assert alone.loc[id].tolist() == together.loc[id].tolist()
    with pytest.raises(ValueError, match="5 vectors do not fit a batch of 2"):
        vectors.change(torch.zeros(2, 1, lmm.width))
    with pytest.raises(ValueError, match="4 of them are given for 5 pictures"):
        steered(lmm, images, vectors.subset(range(4)), 1.0)


def test_vectors_of_another_model_are_refused(lmm, images):
    vectors = InputVectors(torch.ones(5, lmm.width), images.ids, LAYER, "for a test", "other", "no such")
    with pytest.raises(ValueError, match="the vectors are of other"), steer(lmm, vectors):
        pass
