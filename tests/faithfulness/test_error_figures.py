"""The figure of errors: every AUROC is a dot, every note is below its picture, and nothing lies outside."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from coxlmm_utils.faithfulness.error_figures import REFERENCES, error_gallery
from coxlmm_utils.faithfulness.errors import ErrorDetection
from coxlmm_utils.plots import ACCENT, INK
from coxlmm_utils.statistics import Mean
from tests.evaluation.test_sweep_figures import inside

AUROCS = (0.7, 0.97, 0.3)


@pytest.fixture
def detection():
    table = pd.DataFrame({"side": [1, -1, 1], "auroc_train": [0.8, 0.9, 0.6], "auroc": AUROCS}).rename_axis("concept")
    table = table.assign(low=table["auroc"] - 0.02, high=table["auroc"] + 0.02)
    means = [Mean(value, value, value, 9) for value in (0.97, 0.5, 0.55, 0.6, 0.65)]
    return ErrorDetection(table, 1, *means, n_train=(4, 6), n_test=(3, 6))


def dots(figure) -> list[float]:
    """The values from above."""
    lines = [line for line in figure.axes[-1].lines if line.get_marker() == "o"]
    return [float(line.get_xdata()[0]) for line in sorted(lines, key=lambda line: -line.get_ydata()[0])]


def test_every_auroc_is_a_dot_and_nothing_lies_outside(bank, detection):
    figure = error_gallery(bank, detection)
    expected = [AUROCS[1], AUROCS[0], AUROCS[2], *(detection.means[name].value for name in REFERENCES)]
    assert dots(figure) == pytest.approx(expected) and inside(figure)
    texts = [text.get_text() for text in (*figure.texts, *figure.axes[-1].texts)]
    assert texts.count("active in errors") == 2 and texts.count("active in right answers") == 1
    assert "best random direction (of 3)" in texts and any(
        "3 of 9 held-out answers are wrong" in text for text in texts
    )


def test_notes_are_below_the_pictures_and_wrong_ones_in_the_accent_colour(bank, detection):
    notes, wrong = [f"note {row}" for row in range(len(bank.ids))], np.arange(len(bank.ids)) % 2 == 0
    figure = error_gallery(bank, detection, [0], notes, wrong)
    colours = {text.get_text(): to_hex(text.get_color()) for text in figure.texts if text.get_text().startswith("note")}
    assert colours == {notes[row]: ACCENT if wrong[row] else INK for row in bank.top_of(0)} and inside(figure)


def test_what_does_not_fit_is_refused(bank, detection):
    with pytest.raises(ValueError, match="notes are 1, and the bank has"):
        error_gallery(bank, detection, notes=["a"])
    with pytest.raises(ValueError, match=r"concepts \[3\] cannot be shown"):
        error_gallery(bank, detection, [3])
    with pytest.raises(ValueError, match="told by 2 concepts"):
        error_gallery(bank, replace(detection, table=detection.table[:2]))
