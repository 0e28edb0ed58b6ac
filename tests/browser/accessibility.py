"""What axe-core finds wrong for those who cannot see, see little, or use no mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

GRAVE = ("serious", "critical")
# ipywidgets gives the handles of its sliders no name, and none can be given from Python; their numbers can be typed.
OF_IPYWIDGETS = ("aria-input-field-name", "noUi-handle")


def faults(tab: Tab, css: str = "body") -> list[str]:
    """The faults of serious or critical impact in the elements that a CSS selector finds, but for one of ipywidgets.

    Returns
    -------
    list of str
        One for each element: impact, rule, the element's HTML, and what is wrong with it.
    """
    from axe_playwright_python.sync_playwright import Axe  # it needs Playwright, which may be missing

    assert tab.locator(css).count(), f"there is no {css} to look at"
    violations = Axe().run(tab, context=css).response["violations"]
    return [
        f"{fault['impact']} {fault['id']}: {node['html'][:200]} {node['failureSummary']}"
        for fault in violations
        if fault["impact"] in GRAVE
        for node in fault["nodes"]
        if not (fault["id"] == OF_IPYWIDGETS[0] and OF_IPYWIDGETS[1] in node["html"])
    ]
