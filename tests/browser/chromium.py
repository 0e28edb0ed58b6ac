"""Chromium as the system installs it, driven by Playwright; tests skip where one of the two is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOW = "browser tests need Playwright and Chromium: pip install playwright; apt-get install chromium"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # Chromium refuses to run as root with it, as in containers
    "--disable-dev-shm-usage",  # shared memory is small there
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def executable() -> str:
    """Where Chromium is.

    Returns
    -------
    str

    Raises
    ------
    pytest.skip.Exception
        If Chromium or Playwright is missing.
    pytest.fail.Exception
        If one is missing and the environment variable COXLMM_BROWSER is `required`.
    """
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable and importlib.util.find_spec("playwright"):
        return executable
    if os.environ.get("COXLMM_BROWSER") == "required":
        pytest.fail(f"COXLMM_BROWSER=required, but {HOW}", pytrace=False)
    pytest.skip(HOW)


@contextmanager
def launch() -> Iterator[Browser]:
    """A running Chromium, without a window; skips or fails as `executable` does.

    Yields
    ------
    playwright.sync_api.Browser
    """
    path = executable()
    from playwright.sync_api import sync_playwright  # it may be missing

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
