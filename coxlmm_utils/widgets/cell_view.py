"""A view whose widgets end when its cell runs again: ipywidgets keeps each widget alive until it is closed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import ipywidgets as widgets
from IPython import get_ipython

# The register of live widgets that ipywidgets keeps anyway, without a public name since 8.0: no state of our own.
from ipywidgets.widgets.widget import _instances as live_widgets


@dataclass(frozen=True)
class Run:
    """One execution of a notebook's cell."""

    cell: str
    message: str  # the request to execute it


def current_run() -> Run | None:
    """The execution that goes on; None outside of a notebook, or in one that does not tell its cells' names."""
    shell = get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell = parent.get("metadata", {}).get("cellId")  # as JupyterLab says it
    return Run(cell, parent["header"]["msg_id"]) if cell else None


class CellView(widgets.VBox):
    """Widgets one above the other that close those which an earlier run of the same cell made (ours)."""

    def __init__(self, children: Iterable[widgets.Widget]) -> None:
        super().__init__(children)
        self.run = current_run()
        for view in [view for view in live_widgets.values() if isinstance(view, CellView) and view is not self]:
            if self.run and view.run and view.run.cell == self.run.cell and view.run != self.run:
                view.close()

    def hidden(self) -> list[widgets.Widget]:
        """Its widgets that are in none of those shown."""
        return []

    def close(self) -> None:
        """End all its widgets, here and in the browser."""
        left = [self, *self.hidden()]
        while left:
            widget = left.pop()
            if widget.comm is not None:
                for value in widget.trait_values(sync=True).values():
                    left += [part for part in (value if isinstance(value, tuple) else (value,)) if _is_widget(part)]
                widgets.Widget.close(widget)


def _is_widget(value: object) -> bool:
    return isinstance(value, widgets.Widget)
