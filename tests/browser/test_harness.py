"""The harness itself, on small notebooks: what it does to widgets, what it says of failures, what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from notebooks.run import NOTEBOOKS
from tests.browser import jupyter, page
from tests.browser.accessibility import faults
from tests.browser.chromium import HOW, executable
from tests.browser.jupyter import ROOT, serve

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
WIDGETS = """
import html
import ipywidgets as widgets

kind = widgets.Dropdown(options=["cat", "dog"], description="Kind")
count = widgets.IntSlider(1, 1, 30, description="Count", continuous_update=False)
other = widgets.IntSlider(5, 1, 30, description="Count too", continuous_update=False)
name = widgets.Text(description="Name", continuous_update=False)
picture = widgets.FileUpload(description="Own picture")
draw, fail = widgets.Button(description="Draw"), widgets.Button(description="Fail")
page = widgets.HTML()

def write(_):
    values = [kind.value, count.value, other.value, name.value, [upload.name for upload in picture.value]]
    page.value = f'<p class="drawn" style="height: 1500px; background: #dce6f2">{html.escape(str(values))}</p>'

for control in (kind, count, other, name, picture):
    control.observe(write, "value")
draw.on_click(lambda _: page.set_trait("value", '<p class="drawn">Drawn.</p>'))
fail.on_click(lambda _: 1 / 0)
widgets.VBox([kind, count, other, name, picture, draw, fail, page])
"""


def write(lab, name, *sources):
    """A notebook of code cells that seem to have been run before."""
    ran = [new_output("stream", text="old\n")]
    cells = [new_code_cell(source, execution_count=9, outputs=ran) for source in sources]
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), lab.folder / name)


# Working a notebook


def test_widgets_are_worked_and_seen(lab, notebook, tmp_path):
    write(lab, "widgets.ipynb", "for line in range(80): print(line)", WIDGETS)  # the widgets lie below the window
    notebook.open("widgets.ipynb")
    notebook.run_all()
    notebook.select("Kind", "dog")
    notebook.wait_for_text("['dog', 1, 5, '', []]")
    notebook.slider("Count", 12)
    notebook.wait_for_text("['dog', 12, 5, '', []]")
    notebook.type_into("Name", "<b>Ann</b>")
    notebook.wait_for_text("['dog', 12, 5, '<b>Ann</b>', []]")
    assert notebook.html_of(".drawn") == "['dog', 12, 5, '&lt;b&gt;Ann&lt;/b&gt;', []]"
    Image.new("RGB", (8, 8)).save(tmp_path / "own.png")
    notebook.upload(tmp_path / "own.png")
    notebook.wait_for_text("['own.png']")
    look(notebook)
    notebook.press("Draw")
    notebook.wait_for_text("Drawn.")
    assert notebook.console_errors == notebook.kernel_errors == []


def look(notebook):
    """Screenshots lie where they should, of the window and of an element that is higher; the dark theme is dark."""
    shutil.rmtree(ROOT / "build" / "screenshots" / "harness", ignore_errors=True)
    light, high = notebook.screenshot("harness/light"), notebook.screenshot("harness/high", css=".drawn")
    notebook.dark_theme()
    dark = notebook.screenshot("harness/dark")
    assert light == ROOT / "build" / "screenshots" / "harness" / "light.png"
    assert Image.open(light).size == Image.open(dark).size == (1440, 900)
    assert 1500 <= Image.open(high).height <= 1502  # in whole pixels
    assert Image.open(high).convert("RGB").crop((5, 200, 300, 1495)).getcolors() == [(295 * 1295, (220, 230, 242))]
    assert 50 < brightness(dark) < 100 < 200 < brightness(light)  # it is darker yet while the theme is loaded


def brightness(path):
    """The mean grey value of a picture, from 0 to 255."""
    return Image.open(path).convert("L").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))


def test_each_test_starts_afresh_and_an_empty_notebook_shows_no_error(lab, notebook):
    assert kernels(lab) == []
    write(lab, "empty.ipynb")
    notebook.open("empty.ipynb")
    notebook.run_all()
    assert len(kernels(lab)) == 1
    assert notebook.tab.locator(".Toastify__toast").count() == 0  # no offer of news
    assert notebook.tab.locator("body[data-jp-theme-light='true']").count() == 1  # the test before left it dark
    assert notebook.console_errors == []
    notebook.tab.evaluate("console.warn('mild'); console.error('loud')")
    notebook.tab.evaluate("() => { setTimeout(() => { throw new Error('thrown'); }); }")
    notebook.run_all()
    loud, thrown = notebook.console_errors
    assert loud.startswith("loud") and thrown.endswith("thrown")


def kernels(lab):
    return json.loads(lab.ask("GET", "api/kernels"))


def test_kernels_have_this_project_and_the_tests_cache_and_what_did_not_run_is_said(lab, notebook, monkeypatch):
    where = "os.environ['COXLMM_CACHE'], os.environ['PYTHONPATH'].split(os.pathsep)[0], os.getcwd()"
    die = "if os.path.exists('die'): os._exit(1)"
    write(lab, "where.ipynb", "'os' in dir()", f"import os; print({where})", die)
    notebook.open("where.ipynb")
    notebook.run_all()
    assert notebook.html_of("pre") == "False"
    notebook.wait_for_text(f"{os.environ['COXLMM_CACHE']} {ROOT} {lab.folder}")
    with monkeypatch.context() as patch:  # a command that does nothing, as JupyterLab's when it has no kernel yet
        patch.setattr(page, "RUN_ALL", page.RUN_ALL.replace("notebook:run-all-cells", "notebook:move-cursor-up"))
        with pytest.raises(RuntimeError, match=r"3 code cell\(s\) of where.ipynb did not run"):
            notebook.run_all()
    (lab.folder / "die").touch()
    with pytest.raises(RuntimeError, match=r"\d code cell\(s\) of where.ipynb did not run: did the kernel die"):
        notebook.run_all()


# Failures


def test_errors_of_cells_and_of_callbacks_are_said(lab, notebook):
    write(lab, "fails.ipynb", WIDGETS, "weight = 0\n4 / weight", "'not reached'")
    notebook.open("fails.ipynb")
    with pytest.raises(RuntimeError, match=r"A cell of fails.ipynb failed.\n(?s:.)* 4 / weight\n(?s:.)*ZeroDivision"):
        notebook.run_all()
    assert "old" not in "".join(notebook.outputs.all_inner_texts())
    notebook.press("Fail")
    notebook.press("Draw")
    notebook.wait_for_text("Drawn.")  # after the failure
    of_cell, of_callback = notebook.kernel_errors
    assert "fail.on_click(lambda _: 1 / 0)" in of_callback and "\x1b" not in of_cell + of_callback
    with pytest.raises(RuntimeError, match="fails.ipynb did not run to its end: .*over 0.001 seconds"):
        notebook.run_all(timeout=0.001)


def test_a_notebook_that_is_not_there_is_said(notebook):
    with pytest.raises(FileNotFoundError, match="There is no 99.ipynb among the server's notebooks"):
        notebook.open("99.ipynb")


def test_grave_faults_of_a_page_are_found(chromium):
    tab = chromium.new_page()
    tab.set_content(
        '<html lang="en"><title>t</title><main><h1>t</h1><img src="data:,"><p style="color: #999">grey</p></main>'
    )
    assert {fault.split(":")[0] for fault in faults(tab)} == {"serious color-contrast", "critical image-alt"}
    assert faults(tab, "h1") == []
    with pytest.raises(AssertionError, match="there is no h2"):
        faults(tab, "h2")
    tab.close()


# The server and the browser


def test_the_server_has_copies_of_the_committed_notebooks(lab):
    assert lab.folder != NOTEBOOKS
    assert {path.name for path in NOTEBOOKS.glob("*.ipynb")} <= {path.name for path in lab.folder.iterdir()}


def test_a_server_that_does_not_start_is_said_with_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(jupyter, "_command", lambda home, port: [sys.executable, "-c", "print('no port')"])
    with pytest.raises(RuntimeError, match="did not start(?s:.)*no port"), serve([], tmp_path / "home"):
        pass


def test_a_server_that_does_not_end_when_told_to_is_killed(tmp_path, monkeypatch):
    pid = tmp_path / "home" / "pid"
    stubborn = (
        "import os, pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "pathlib.Path('../pid').write_text(str(os.getpid())); time.sleep(600)"
    )
    monkeypatch.setattr(jupyter, "_command", lambda home, port: [sys.executable, "-c", stubborn])
    monkeypatch.setattr(jupyter, "_wait", lambda *_: until(lambda: pid.exists() and pid.read_text()))
    monkeypatch.setattr(jupyter, "GRACE", 0.1)
    with serve([], tmp_path / "home"):
        os.kill(int(pid.read_text()), 0)  # it lives
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def until(happened):
    while not happened():
        time.sleep(0.02)


@pytest.mark.parametrize("missing", ["chromium", "playwright"])
def test_tests_skip_or_fail_without_a_browser(missing, monkeypatch):
    if missing == "chromium":
        monkeypatch.setattr("shutil.which", lambda name: None)
    else:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delenv("COXLMM_BROWSER", raising=False)
    either = (pytest.skip.Exception, pytest.fail.Exception)  # one that is not expected would skip this very test
    with pytest.raises(either, match=f"^{re.escape(HOW)}$") as skipped:
        executable()
    monkeypatch.setenv("COXLMM_BROWSER", "required")
    with pytest.raises(either, match=re.escape(HOW)) as failed:
        executable()
    assert (skipped.type, failed.type) == either
