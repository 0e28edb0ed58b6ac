"""Trainings that are stopped in the middle."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from data.picturebook.recipe import training_loop


def stop_after(n_steps: int, train: Callable[[], object], module: ModuleType = training_loop) -> None:
    """Begin a training that fails after so many steps; `module` is where its `optimiser_step` is looked up."""
    steps = iter([module.optimiser_step] * n_steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "optimiser_step", lambda *args: next(steps)(*args))
        with pytest.raises(StopIteration):
            train()
