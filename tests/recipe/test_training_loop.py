"""What the trainings share: changed pictures, the rate's course, and checkpoints."""

import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from data.picturebook.recipe import training_loop as training
from data.picturebook.recipe.architecture import make_processor, make_tokenizer
from data.picturebook.recipe.training_loop import (
    as_pixels,
    augmented,
    optimiser_step,
    resume,
    rise_and_fall,
    save_checkpoint,
)


@dataclass(frozen=True)
class Recipe:
    """Stands in for a training's own."""

    steps: int = 2
    rate: float = 0.1


# Pictures


def noisy_picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (144, 144, 3), dtype=np.uint8)


def as_the_processor_gives_it(picture: np.ndarray) -> torch.Tensor:
    processor = make_processor(make_tokenizer()).image_processor
    return processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]


class Unmoved:
    """Stands in for the random numbers: no shift, no mirror."""

    def randint(self, low, high):
        return training.SHIFT

    def random(self):
        return 1.0


def test_pictures_that_are_not_moved_are_as_the_processor_gives_them():
    picture = noisy_picture()
    pixels = augmented(picture[None], Unmoved())
    torch.testing.assert_close(pixels, as_the_processor_gives_it(picture), rtol=0, atol=1e-5)


def test_pixels_are_as_the_processor_gives_them_and_the_pictures_stay():
    picture = noisy_picture()
    before = picture.copy()
    picture.flags.writeable = False  # as a page that is mapped from the cache
    pixels = as_pixels(picture[None])
    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels, as_the_processor_gives_it(before), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(picture, before)


def test_pictures_are_moved_and_mirrored_a_little():
    columns = np.arange(144, dtype=np.uint8)[None, :, None]
    picture = columns.repeat(144, 0).repeat(3, 2)  # (144, 144, 3)
    rng = random.Random(0)
    moved = [augmented(picture[None], rng)[0, 0, 0] for _ in range(40)]
    rows = [((row + 1) * 127.5).round() for row in moved]
    assert {(row[1:] >= row[:-1]).all().item() for row in rows} == {True, False}
    assert {int(row.min()) for row in rows} <= set(range(training.SHIFT + 1))
    assert len({int(row[72]) for row in rows}) > 5


def test_each_picture_of_a_batch_is_moved_by_itself_and_stays_upright():
    rows = np.arange(144, dtype=np.uint8)[:, None, None]
    picture = rows.repeat(144, 1).repeat(3, 2)  # (144, 144, 3)
    columns = augmented(np.stack([picture] * 20), random.Random(0))[:, 0, :, 0]  # (pictures, side)
    assert (columns.diff(dim=1) >= 0).all()
    assert len(columns[:, 72].unique()) > 5


# The rate


def test_the_rate_rises_in_a_line_and_falls_to_three_hundredths():
    rates = np.array([rise_and_fall(step, 2000) for step in range(2001)])
    peak = rates.argmax()
    assert peak == training.RISE_STEPS - 1 and 0.98 < rates[peak] < 1
    assert rates[0] == pytest.approx(1 / training.RISE_STEPS)
    assert rates[1000] == pytest.approx(0.03 + 0.97 / 2)
    assert rates[2000] == pytest.approx(0.03)
    assert (np.diff(rates[: peak + 1]) > 0).all() and (np.diff(rates[peak:]) < 0).all()


def test_a_step_goes_down_at_its_rate_and_not_too_far():
    learner = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(learner.weight)
    optimiser = torch.optim.SGD(learner.parameters(), lr=0.0)
    for _ in range(2):  # a slope of 50 is cut to 1, and the last step's is forgotten
        optimiser_step(learner, optimiser, 50 * learner(torch.ones(1)).sum(), 0.25)
    assert learner.weight.item() == pytest.approx(-0.5, abs=1e-5)


# Checkpoints


def started() -> tuple[nn.Linear, torch.optim.Optimizer]:
    """A learner of two weights at 1, and its optimiser."""
    learner = nn.Linear(2, 1, bias=False)
    nn.init.ones_(learner.weight)
    return learner, torch.optim.AdamW(learner.parameters(), lr=0.1)


def step_down(learner: nn.Linear, optimiser: torch.optim.Optimizer, numbers: tuple[float, float]) -> None:
    optimiser.zero_grad()
    learner(torch.tensor([numbers])).sum().backward()
    optimiser.step()


def test_without_a_checkpoint_all_begins_at_the_first_step(tmp_path):
    learner, optimiser = started()
    assert resume(tmp_path / "nowhere", Recipe(), learner, optimiser) == 0
    assert learner.weight.tolist() == [[1, 1]] and not optimiser.state


def test_a_checkpoint_brings_back_weights_and_optimiser(tmp_path):
    learner, optimiser = started()
    step_down(learner, optimiser, (1.0, -3.0))
    save_checkpoint(tmp_path / "states", Recipe(), learner, optimiser, 7)
    step_down(learner, optimiser, (0.5, 0.2))
    again, its_optimiser = started()
    assert resume(tmp_path / "states", Recipe(), again, its_optimiser) == 7
    step_down(again, its_optimiser, (0.5, 0.2))  # which depends on the first step through the optimiser's moments
    assert torch.equal(again.weight, learner.weight)


def test_the_last_checkpoint_counts(tmp_path):
    learner, optimiser = started()
    for step in (1, 2):
        save_checkpoint(tmp_path, Recipe(), learner, optimiser, step)
    assert resume(tmp_path, Recipe(), learner, optimiser) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_checkpoint_by_another_recipe_is_refused_and_nothing_is_loaded(tmp_path):
    learner, optimiser = started()
    step_down(learner, optimiser, (1.0, -3.0))
    save_checkpoint(tmp_path, Recipe(), learner, optimiser, 1)
    other, its_optimiser = started()
    with pytest.raises(
        ValueError, match="checkpoint.pt is of a training with another recipe; delete it or give another"
    ):
        resume(tmp_path, Recipe(rate=0.2), other, its_optimiser)
    assert other.weight.tolist() == [[1, 1]] and not its_optimiser.state
