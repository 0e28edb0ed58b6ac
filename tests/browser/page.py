"""A notebook in JupyterLab as a person meets it: open it, run it, work its widgets, look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from nbconvert.filters import strip_ansi

from tests.browser.jupyter import ROOT, Lab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator

SCREENSHOTS = ROOT / "build" / "screenshots"
PATIENCE = 120  # seconds for any one step; the machine may be busy
WINDOW = {"width": 1440, "height": 900}  # pixels, as on a small laptop

# What the kernel says of errors is kept from the start: an error in a widget's callback is shown in no cell.
OPEN = """async ([path, seconds]) => {
    const app = window.jupyterapp;
    const late = new Promise((_, fail) => setTimeout(() => fail(new Error(`${path} did not open.`)), seconds * 1000));
    const ready = async () => {
        await app.restored;
        const panel = await app.commands.execute('docmanager:open', {path});
        await panel.context.ready;
        await panel.sessionContext.ready;
        window.kernelErrors = [];
        panel.sessionContext.iopubMessage.connect((_, {header, content}) => {
            if (header.msg_type === 'error') window.kernelErrors.push(content.traceback.join('\\n'));
        });
    };
    await Promise.race([ready(), late]);
}"""
# Old outputs go first: a cell that did not run must not look as if it had.
RUN_ALL = """async (seconds) => {
    const {commands, shell} = window.jupyterapp;
    await commands.execute('notebook:clear-all-cell-outputs');
    const late = new Promise((_, fail) => setTimeout(() => fail(new Error(`over ${seconds} seconds`)), seconds * 1000));
    await Promise.race([commands.execute('notebook:run-all-cells'), late]);
    const cells = [...shell.currentWidget.content.model.cells];
    const code = cells.filter(({type, sharedModel}) => type === 'code' && sharedModel.getSource().trim());
    return code.filter(({executionCount}) => executionCount === null).length;
}"""
# A variable that is `initial` is as if it were never set.
BARE = """() => {
    const named = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules].map((rule) => rule.cssText)).join();
    const names = [...new Set(named.match(/--jp-[\\w-]+/g))].map((name) => `${name}: initial;`).join(' ');
    const style = document.createElement('style');
    style.textContent = `.jp-OutputArea { ${names} background: #1e1e1e !important; color: #d4d4d4 !important; }`;
    document.head.append(style);
}"""
RESTART = """async () => {
    await window.jupyterapp.shell.currentWidget.sessionContext.restartKernel();
}"""
DARK = """async () => {
    await window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'});
}"""


class Page:
    """A browser's tab with one notebook in it.

    Parameters
    ----------
    browser : playwright.sync_api.Browser
    lab : Lab

    Attributes
    ----------
    tab : playwright.sync_api.Page
        For what has no method here.
    console_errors : list of str
        The errors in the browser's console so far, exceptions among them. None is left out: an empty notebook
        in JupyterLab 4.6 shows none.
    """

    def __init__(self, browser: Browser, lab: Lab) -> None:
        self.tab = browser.new_page(viewport=WINDOW)
        self.tab.set_default_timeout(PATIENCE * 1000)
        self.console_errors: list[str] = []
        self._lab = lab
        self._name = ""
        self.tab.on("console", self._keep_error)
        self.tab.on("pageerror", lambda error: self.console_errors.append(str(error)))

    def _keep_error(self, message: ConsoleMessage) -> None:
        """Keep an error of the console, with the address that it is about."""
        if message.type == "error":
            self.console_errors.append(f"{message.text} ({message.location.get('url', '')})")

    @property
    def outputs(self) -> Locator:
        """The output areas of the notebook's cells, where its widgets are."""
        return self.tab.locator(".jp-NotebookPanel:visible .jp-Cell-outputWrapper")

    @property
    def kernel_errors(self) -> list[str]:
        """The tracebacks of all errors since the notebook was opened, those of widgets' callbacks among them."""
        return [strip_ansi(trace) for trace in self.tab.evaluate("window.kernelErrors")]

    def open(self, name: str, timeout: float = PATIENCE) -> None:
        """Open a notebook of the server's folder and wait until its kernel can be asked.

        Parameters
        ----------
        name : str
            The file's name.
        timeout : float, default 120
            Seconds.

        Raises
        ------
        FileNotFoundError
            If there is no such notebook.
        """
        if not (self._lab.folder / name).is_file():
            raise FileNotFoundError(f"There is no {name} among the server's notebooks, in {self._lab.folder}.")
        self._name = name
        path = f"{self._lab.folder.name}/{name}"
        self.tab.goto(f"{self._lab.url}/lab/tree/{quote(path)}?reset")
        self.tab.wait_for_function("window.jupyterapp")
        self.tab.evaluate(OPEN, [path, timeout])

    def run_all(self, timeout: float = 600) -> None:
        """Run all cells and wait for the last one.

        Parameters
        ----------
        timeout : float, default 600
            Seconds that the notebook may take.

        Raises
        ------
        RuntimeError
            If a cell failed, with its traceback; or if cells did not run, or took too long.
        """
        from playwright.sync_api import Error  # it may be missing

        try:
            not_run = self.tab.evaluate(RUN_ALL, timeout)
        except Error as error:
            raise RuntimeError(f"{self._name} did not run to its end: {error.message}") from None
        if errors := self.kernel_errors:
            raise RuntimeError(f"A cell of {self._name} failed.\n\n" + "\n\n".join(errors))
        if not_run:
            raise RuntimeError(f"{not_run} code cell(s) of {self._name} did not run: did the kernel die?")

    def restart(self) -> None:
        """Restart the kernel: what it knew is gone, what was written stays."""
        self.tab.evaluate(RESTART)

    def select(self, label: str, option: str) -> None:
        """Choose an option, by its text, in the dropdown or list with this label."""
        self.outputs.get_by_label(label, exact=True).select_option(label=option)

    def press(self, text: str) -> None:
        """Press the button with this text."""
        self.outputs.get_by_role("button", name=text, exact=True).click()

    def type_into(self, label: str, text: str) -> None:
        """Replace what the text box with this label holds, and press Enter."""
        box = self.outputs.get_by_label(label, exact=True)
        box.fill(text)
        box.press("Enter")

    def slider(self, label: str, value: float) -> None:
        """Set the slider of numbers with this label, by typing the number beside it, and press Enter."""
        named = self.tab.locator(".widget-label").get_by_text(label, exact=True)
        number = self.outputs.locator(".widget-slider").filter(has=named).locator(".widget-readout")
        number.fill(str(value))
        number.press("Enter")

    def upload(self, path: str | Path) -> None:
        """Give a file to the upload button."""
        with self.tab.expect_file_chooser() as chooser:
            self.outputs.locator(".widget-upload").click()
        chooser.value.set_files(path)

    def wait_for_text(self, text: str, timeout: float = PATIENCE) -> None:
        """Wait up to `timeout` seconds until an output shows a text, whatever its case."""
        self.outputs.get_by_text(text).filter(visible=True).first.wait_for(timeout=timeout * 1000)

    def html_of(self, css: str) -> str:
        """The HTML inside the first element of the outputs that a CSS selector finds; waits until there is one."""
        return self.outputs.locator(css).first.inner_html()

    def without_colours(self) -> None:
        """Take JupyterLab's colours from the outputs, and make them dark, as in a host that is not JupyterLab."""
        self.tab.evaluate(BARE)

    def dark_theme(self) -> None:
        """Switch JupyterLab to its dark theme."""
        self.tab.evaluate(DARK)
        self.tab.locator("body[data-jp-theme-light='false']").wait_for(state="attached")
        self.tab.locator("#jupyterlab-splash").wait_for(state="detached")  # it covers the window while colours change

    def box_of(self, seen: Locator) -> dict[str, float]:
        """Where an element is once it stays there: cells that come into view are drawn one by one, and move it."""
        box = None
        while not box or box != seen.bounding_box():
            box = seen.bounding_box()
            self.tab.wait_for_timeout(300)
        return box

    def screenshot(self, name: str, css: str | None = None) -> Path:
        """Save a picture of the window, or of one element of the outputs.

        Parameters
        ----------
        name : str
            The file's name in build/screenshots, without its ending.
        css : str, optional
            A selector; the first element that it finds is taken whole, also where the window is too small for it.

        Returns
        -------
        Path
        """
        path = SCREENSHOTS / f"{name}.png"
        if not css:
            self.tab.screenshot(path=path)
            return path
        seen = self.outputs.locator(css).first
        height = round(seen.bounding_box()["height"])
        self.tab.set_viewport_size({**WINDOW, "height": WINDOW["height"] + height})  # the notebook's panel would cut it
        seen.scroll_into_view_if_needed()
        self.box_of(seen)
        seen.screenshot(path=path)
        self.tab.set_viewport_size(WINDOW)
        return path
