"""Figures of learned steering: a panel for each method, a line for each group, a colour for each wanted answer."""

import pandas as pd
import pytest
import torch

from coxlmm_utils.ground_truth.learned_steering_figures import right_answer_curves, vector_map
from coxlmm_utils.steering import InputVectors


def test_a_panel_for_each_method_and_a_line_for_each_group():
    table = pd.DataFrame(
        {"wrong": [0.0, 0.5, 1.0], "right": [1.0, 1.0, 0.5]}, index=pd.Index([0.0, 1.0, 2.0], name="alpha")
    )
    figure = right_answer_curves({"Mean-S": table, "L2S": table / 2}, ["wrong"])
    assert [axes.get_title("left") for axes in figure.axes] == ["Mean-S", "L2S"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"alpha"}
    wrong, right = figure.axes[1].lines
    assert wrong.get_linestyle() == "-" and right.get_linestyle() == "--"
    assert list(wrong.get_xdata()) == [0, 1, 2] and list(wrong.get_ydata()) == [0, 0.25, 0.5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["wrong", "right"]


def test_vectors_are_drawn_on_their_principal_components():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q[:2]
    points = torch.tensor([[3.0, 1.0], [3.0, -1.0], [-3.0, 1.0], [-3.0, -1.0]])
    vectors = InputVectors(points[:, :1] * first + points[:, 1:] * second, tuple("abcd"), 1, "made", "model", "f")
    figure = vector_map(vectors, ["no", "no", "yes", "yes"])
    drawn = {part.get_label(): torch.tensor(part.get_offsets().data) for part in figure.axes[0].collections}
    assert sorted(drawn) == list(drawn) == ["no", "yes"]
    torch.testing.assert_close(drawn["no"].abs().float(), points[:2].abs())
    assert torch.equal(drawn["no"][:, 0].sign(), -drawn["yes"][:, 0].sign())
    assert figure.axes[0].get_xlabel() == "first component, 90% of the variance"


@pytest.mark.parametrize("n", [1, 11])
def test_any_number_of_answers_has_a_colour(n):
    vectors = InputVectors(torch.randn(2 * n, 5), tuple(map(str, range(2 * n))), 1, "made", "model", "f")
    figure = vector_map(vectors, [f"answer {row % n}" for row in range(2 * n)])
    looks = {
        (tuple(part.get_facecolor()[0]), part.get_paths()[0].vertices.tobytes()) for part in figure.axes[0].collections
    }
    assert len(looks) == n
