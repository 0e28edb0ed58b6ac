"""Separation of two kinds of states: exact on made ones, chance on noise, and a figure of all layers."""

from __future__ import annotations

import pytest
import torch

from coxlmm_utils.steering import separation, separation_figure


class Made:
    """States with these vectors, as far as separation looks at them."""

    def __init__(self, Z: torch.Tensor) -> None:
        self.Z = Z

    def at(self, layer: int) -> Made:
        return self

    def __len__(self) -> int:
        return len(self.Z)


@pytest.fixture
def noise():
    return torch.randn(400, 32, generator=torch.Generator().manual_seed(0))


def test_far_means_are_a_clean_cut_and_equal_ones_chance(noise):
    a, b = Made(noise[:200]), Made(noise[200:])
    assert separation(a, b, 2) == pytest.approx(0.5, abs=0.1)
    assert separation(a, Made(noise[200:] + 5), 2) == 1


def test_a_panel_for_each_layer_says_the_number(noise):
    figure = separation_figure({"yes": Made(noise[:50]), "no": Made(noise[50:90] + 5)}, [2, 3])
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes] == [
        "layer 2: 1.00",
        "layer 3: 1.00",
    ]
    assert all(sum(len(dots.get_offsets()) for dots in axes.collections) == 90 for axes in figure.axes)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["yes", "no"]


def test_too_few_states_are_refused(noise):
    with pytest.raises(ValueError, match="at least two states of either kind"):
        separation(Made(noise[:1]), Made(noise), 2)
