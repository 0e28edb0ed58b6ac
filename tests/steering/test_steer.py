"""Steering while the model writes: exact positions, strength, batches, and a model that is left as it was."""

from dataclasses import replace

import pytest
import torch

from coxlmm_utils.models import capture, generate_captions, load_lmm, teacher_forced_states
from coxlmm_utils.steering import Direction, PerPicture, steer, steered
from tests.conftest import in_memory, in_plain_words, noise
from tests.tiny_lmms import WIDTH, tiny_gemma3, tiny_llava, tiny_qwen

LAYER, TOKENS = 2, 5
KINDS = {"llava": tiny_llava, "qwen": tiny_qwen, "gemma3": tiny_gemma3}


@pytest.fixture(scope="module", params=KINDS)
def lmm(request, tmp_path_factory):
    return in_plain_words(load_lmm(KINDS[request.param](tmp_path_factory.mktemp("lmm")), device="cpu"))


@pytest.fixture(scope="module")
def pictures():
    return [noise(seed) for seed in range(5)]


@pytest.fixture(scope="module")
def direction(lmm) -> Direction:
    vector = torch.randn(WIDTH, generator=torch.Generator().manual_seed(1)) * 5
    return Direction(vector, LAYER, "for a test", lmm.name, lmm.fingerprint)


def captions(lmm, pictures, **options) -> list[str]:
    return [each.caption for each in generate_captions(lmm, pictures, max_new_tokens=TOKENS, **options)]


def n_hooks(lmm) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in lmm.model.modules())


def states(lmm, pictures, ids) -> list[torch.Tensor]:
    return [each[LAYER] for each in teacher_forced_states(lmm, pictures, ids, [LAYER])]


def test_alpha_0_is_the_model_as_it_is_to_the_last_bit(lmm, pictures, direction):
    plain = generate_captions(lmm, pictures, [LAYER, "norm"], max_new_tokens=TOKENS)
    with steer(lmm, direction, 0):
        steered_by_0 = generate_captions(lmm, pictures, [LAYER, "norm"], max_new_tokens=TOKENS)
    for a, b in zip(plain, steered_by_0):
        assert a.ids == b.ids and all(torch.equal(a.states[layer], b.states[layer]) for layer in a.states)


def test_a_strong_direction_changes_captions_and_nothing_is_left_behind(lmm, pictures, direction):
    before, hooks = captions(lmm, pictures), n_hooks(lmm)
    with steer(lmm, direction, 20):
        changed = captions(lmm, pictures)
    with pytest.raises(RuntimeError, match="in the middle"), steer(lmm, direction, 20):
        raise RuntimeError("in the middle")
    assert changed != before and captions(lmm, pictures) == before and n_hooks(lmm) == hooks


@pytest.mark.parametrize("alpha", [1.0, -0.5])
def test_each_generated_state_is_moved_by_alpha_times_the_vector(lmm, pictures, direction, alpha):
    with capture(lmm, [LAYER]) as plain, torch.inference_mode():
        lmm.model(**lmm.inputs(pictures))
    with steer(lmm, direction, alpha), capture(lmm, [LAYER]) as moved, torch.inference_mode():
        lmm.model(**lmm.inputs(pictures))
    expected = plain[LAYER][0] + alpha * direction.vector
    torch.testing.assert_close(moved[LAYER][0], expected)


def test_positions_are_those_asked_for(lmm, pictures, direction):
    inputs = lmm.inputs(pictures)
    with capture(lmm, [LAYER], "all") as plain, torch.inference_mode():
        lmm.model(**inputs)
    for positions, n_moved in (("generated", 1), ("last_prompt", 1), ("all", inputs["input_ids"].shape[1])):
        with steer(lmm, direction, 1, positions), capture(lmm, [LAYER], "all") as moved, torch.inference_mode():
            lmm.model(**inputs)
        apart = (moved[LAYER][0] - plain[LAYER][0]).abs().amax(dim=2) > 1e-3  # (batch, positions)
        assert apart.sum(dim=1).tolist() == [n_moved] * len(pictures) and apart[:, -1].all()


def test_a_batch_is_steered_as_each_picture_alone(lmm, pictures, direction):
    with steer(lmm, direction, 3):
        together = captions(lmm, pictures)
        alone = [captions(lmm, [picture])[0] for picture in pictures]
    assert together == alone


def test_forced_captions_are_steered_as_generated_ones(lmm, pictures, direction):
    with steer(lmm, direction, 2):
        written = generate_captions(lmm, pictures, [LAYER], max_new_tokens=TOKENS)
    ids = [each.ids for each in written]
    with steer(lmm, direction, 2, n_forced=max(map(len, ids))):
        forced = states(lmm, pictures, ids)
    for a, b in zip(written, forced):
        torch.testing.assert_close(a.states[LAYER][: len(b)], b, rtol=1e-3, atol=1e-3)


def test_the_table_has_unsteered_and_steered_captions(lmm, pictures, direction):
    images = in_memory(pictures, ("a dog",))
    table = steered(lmm, images, direction, (0.0, 20), max_new_tokens=TOKENS, batch_size=2)
    assert list(table) == ["unsteered", 0.0, 20] and table.index.tolist() == list(images.ids)
    assert table["unsteered"].tolist() == table[0.0].tolist() == captions(lmm, pictures)
    with steer(lmm, direction, 20):
        assert table[20].tolist() == captions(lmm, pictures)


def test_every_picture_may_have_its_own_prompt(lmm, pictures, direction):
    prompts = ["Describe this picture.", "dog", "a small red bird", "", "cat"]
    table = steered(lmm, in_memory(pictures, ()), direction, 20, prompt=prompts, max_new_tokens=TOKENS, batch_size=2)
    assert table["unsteered"].tolist() == captions(lmm, pictures, prompt=prompts)
    with pytest.raises(ValueError, match="2 prompts are given for 5 pictures"):
        steered(lmm, in_memory(pictures, ()), direction, prompt=prompts[:2])


@pytest.mark.parametrize("alpha", [float("nan"), float("inf")])
def test_an_alpha_that_is_no_number_is_refused(lmm, direction, alpha):
    with pytest.raises(ValueError, match="give a finite number"), steer(lmm, direction, alpha):
        pass


def test_a_direction_of_another_model_is_refused(lmm, direction):

    with pytest.raises(ValueError, match="make it anew"), steer(lmm, replace(direction, fingerprint="other")):
        pass


def test_each_picture_of_a_batch_may_have_its_own_edit(lmm, pictures, direction):
    edits = [direction, -direction, direction, direction * 20, direction]
    with steer(lmm, PerPicture(edits)):
        together = captions(lmm, pictures)
    for picture, edit, caption in zip(pictures, edits, together):
        with steer(lmm, edit):
            assert captions(lmm, [picture]) == [caption]
    with pytest.raises(ValueError, match="5 edits do not fit a batch of"), steer(lmm, PerPicture(edits)):
        captions(lmm, pictures[:2])
    with pytest.raises(ValueError, match="all of one layer"):
        PerPicture([direction, replace(direction, layer=1)])
    with pytest.raises(ValueError, match="make it anew"), steer(lmm, PerPicture([replace(direction, fingerprint="a")])):
        pass
