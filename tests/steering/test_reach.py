"""An edit that moves states by what they lack."""

from dataclasses import replace

import pytest
import torch

from coxlmm_utils.models import capture
from coxlmm_utils.steering import Direction, mean_difference, random_direction, reach, steer


@pytest.fixture
def halves(states):
    ids = states.images.ids
    return states.subset(ids[: len(ids) // 2]), states.subset(ids[len(ids) // 2 :])


@pytest.fixture
def direction(halves) -> Direction:
    return mean_difference(*halves)


def coordinates(direction: Direction, Z: torch.Tensor) -> torch.Tensor:
    """Along the direction, 0 at the mean that it leaves and 1 at the one that it reaches."""
    return (Z @ direction.vector / direction.norm - direction.start) / direction.norm


def test_a_direction_knows_where_it_starts(halves, direction):
    for part, expected in zip(halves, (0, 1)):
        assert coordinates(direction, part.Z.mean(0, keepdim=True)).item() == pytest.approx(expected, abs=1e-3)


def test_states_are_moved_as_far_as_they_lack_and_no_other_way(states, direction):
    Z = states.Z
    moved = Z + reach(direction).change(Z)
    before, after = coordinates(direction, Z), coordinates(direction, moved)
    torch.testing.assert_close(after, before.clamp(min=1), rtol=1e-3, atol=1e-3)
    across = (moved - Z) - ((moved - Z) @ direction.vector / direction.norm**2)[:, None] * direction.vector
    torch.testing.assert_close(across, torch.zeros_like(Z), rtol=0, atol=1e-4)
    torch.testing.assert_close(moved + reach(direction).change(moved), moved, rtol=1e-4, atol=1e-4)


def test_while_the_model_runs_each_row_gets_its_own_change(direction, llava, pictures):
    inputs, edit = llava.inputs(pictures[:4]), reach(direction)
    with capture(llava, [direction.layer]) as plain, torch.inference_mode():
        llava.model(**inputs)
    with steer(llava, edit), capture(llava, [direction.layer]) as moved, torch.inference_mode():
        llava.model(**inputs)
    before = plain[direction.layer][0]
    torch.testing.assert_close(moved[direction.layer][0], before + edit.change(before))


def test_the_start_is_saved_and_lost_by_arithmetic(direction, tmp_path):
    assert Direction.load(direction.save(tmp_path / "a")).start == direction.start
    for other in (2 * direction, direction + direction, direction - direction, random_direction(direction)):
        assert other.start is None
        with pytest.raises(ValueError, match="has no mean to reach"):
            reach(other)
    with pytest.raises(ValueError, match="has no mean to reach"):
        reach(replace(direction, vector=torch.zeros_like(direction.vector)))


def test_another_model_is_refused(direction, qwen):
    with pytest.raises(ValueError, match="make it anew"), steer(qwen, reach(direction)):
        pass
