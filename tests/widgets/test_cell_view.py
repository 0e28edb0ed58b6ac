"""Cells that run again: their old widgets end, those of other cells and of the same run stay."""

from __future__ import annotations

from types import SimpleNamespace

import ipywidgets as widgets
import pytest

from coxlmm_utils.widgets import cell_view
from coxlmm_utils.widgets.browser import browse
from coxlmm_utils.widgets.cell_view import CellView, live_widgets
from coxlmm_utils.widgets.explainer import ask
from tests.conftest import in_memory, noise
from tests.widgets.browsed import browsed_bank


@pytest.fixture
def run_cell(monkeypatch):
    """Tell which cell is run, as JupyterLab's kernel does; each call is a new run."""
    parent = {}
    monkeypatch.setattr(cell_view, "get_ipython", lambda: SimpleNamespace(get_parent=lambda: parent))

    def run(cell: str | None) -> None:
        number = int(parent.get("header", {}).get("msg_id", 0)) + 1
        parent.update(header={"msg_id": str(number)}, metadata={"cellId": cell} if cell else {})

    return run


def test_a_cell_that_runs_six_times_leaves_one_browser_and_one_explainer(run_cell, bank, llava, tmp_path):
    browsed, images = browsed_bank(bank, tmp_path), in_memory([noise(0)], ())
    counts = []
    for _ in range(6):
        run_cell("a")
        shown = browse([browsed, browsed])
        shown.view.buttons[0].click()  # the panel
        shown.other.value = 1  # the other bank's boxes, and the comparison
        run_cell("b")
        ask(llava, bank, images)
        counts.append(len(live_widgets))
    assert counts[1:] == counts[:1] * 5
    shown.close()
    assert counts[0] - len(live_widgets) > 100 and shown.comm is None


def test_two_views_of_one_run_and_those_of_other_cells_stay(run_cell):
    run_cell("a")
    first, second = CellView([widgets.HTML()]), CellView([])
    run_cell("b")
    other = CellView([])
    assert None not in (first.comm, second.comm, other.comm)
    run_cell("a")
    again = CellView([])
    assert first.comm is second.comm is first.children[0].comm is first.layout.comm is None
    assert other.comm is not None and again.comm is not None


def test_where_cells_have_no_names_all_stay(run_cell, monkeypatch):
    views = []
    for _ in range(2):
        run_cell(None)
        views.append(CellView([]))
    monkeypatch.setattr(cell_view, "get_ipython", lambda: None)
    views.append(CellView([]))
    assert all(view.comm is not None and view.run is None for view in views)
