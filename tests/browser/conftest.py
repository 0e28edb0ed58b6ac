"""Fixtures for tests in a real JupyterLab with a real browser.

    .venv/bin/python -m pytest -q tests/browser                              only these tests
    .venv/bin/python -m pytest -q --ignore tests/browser                     all others
    COXLMM_BROWSER=required .venv/bin/python -m pytest -q tests/browser      fail, not skip, without a browser

They need Playwright (in requirements.txt) and a Chromium of the system (`apt-get install chromium`; never
`playwright install`), and skip where one is missing. Screenshots are in build/screenshots: look at them.

A test takes the fixture `notebook`: `open` a notebook, `run_all`, then work it. The committed notebooks lie in
`lab.folder`; a test may write others there. Kernels have the test's own COXLMM_CACHE, so the marker `notebooks` works
here too. Each test starts with no kernel and in the light theme. Callbacks are tested in plain Python, far faster:
here belongs what only a browser shows.

The browser and the server go when the folder's last test is done, and with them Playwright's event loop, which would
run under all later tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from notebooks.run import NOTEBOOKS
from tests.browser.chromium import launch
from tests.browser.jupyter import Lab, serve
from tests.browser.page import Page

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="package", autouse=True)
def chromium() -> Iterator[Browser]:
    with launch() as browser:
        yield browser


@pytest.fixture(scope="package")
def lab(chromium, tmp_path_factory) -> Iterator[Lab]:
    with serve(sorted(NOTEBOOKS.glob("*.ipynb")), tmp_path_factory.mktemp("jupyter")) as lab:
        yield lab


@pytest.fixture
def notebook(chromium, lab, _cache) -> Iterator[Page]:
    lab.start_afresh()
    page = Page(chromium, lab)
    yield page
    page.tab.close()
