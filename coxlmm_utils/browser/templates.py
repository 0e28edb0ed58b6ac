"""Pages and parts of pages from templates, in which all text is escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent / "templates"
STYLES = ("style.css", "ask.css")


def render(name: str, /, **data) -> Markup:
    """A template filled with data.

    Parameters
    ----------
    name : str
        Of a file in `templates`, such as "cards.html".
    **data
        Whatever the template shows. Text of any origin: it is escaped.

    Returns
    -------
    Markup
        HTML; a template that shows it does not escape it again.
    """
    return Markup(_environment().get_template(name).render(data))


@cache
def style() -> Markup:
    """The style of all views, as one <style> element."""
    files = [FOLDER / name for name in STYLES if (FOLDER / name).exists()]
    return Markup("<style>\n" + "\n".join(path.read_text() for path in files) + "</style>")


@cache
def _environment() -> Environment:
    """Where templates are; a name that a template lacks is an error."""
    loader = FileSystemLoader(FOLDER)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
