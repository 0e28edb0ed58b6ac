"""An inspection as a page for notebooks: readable on light and dark, and as plain tables where styles are removed."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO

from PIL import Image

from ..models import POSITIONS

SIDE = 160  # pixels of the picture's longer side
IN_A_ROW = 12  # positions of the strip, before it goes on below
MARKS = {"predicts": "▲ predicts", "own": "▲ own"}

STYLE = """<style>
.cox-inspect{font-size:13px;line-height:1.4;color:inherit;max-width:70em}
.cox-inspect p{margin:.5em 0}
.cox-inspect .head{display:flex;gap:16px;align-items:flex-start}
.cox-inspect .head img{border-radius:4px}
.cox-inspect .caption{font-size:16px}
.cox-inspect .quiet{opacity:.7}
.cox-inspect .part{border:1px solid rgba(128,128,128,.45);border-radius:3px;padding:0 4px;font-family:monospace;
 -webkit-box-decoration-break:clone;box-decoration-break:clone}
.cox-inspect .problem{border-left:5px solid #d62828;background:rgba(214,40,40,.16);padding:.5em .8em;font-weight:600}
.cox-inspect table{border-collapse:collapse;margin:.7em 0;font-size:13px;color:inherit}
.cox-inspect table th,.cox-inspect table td{padding:3px 9px;text-align:center;border:1px solid rgba(128,128,128,.35)}
.cox-inspect table th{font-weight:400;opacity:.75;text-align:right;white-space:nowrap}
.cox-inspect td.predicts{background:rgba(224,122,95,.3)}
.cox-inspect td.own{background:rgba(61,120,190,.28)}
.cox-inspect table.words td{text-align:left}
.cox-inspect .words tr:not(:first-child) td{background:transparent}
.cox-inspect .mark{white-space:nowrap}
</style>"""


def page(inspection) -> str:
    """The whole page of an `Inspection`, as one piece of HTML that needs nothing else; all text in it is escaped."""
    parts = [STYLE, *_problems(inspection.problems), _head(inspection), *_strip(inspection), _words(inspection)]
    return f'<div class="cox-inspect">{"".join(parts)}</div>'


def _problems(problems: Sequence[str]) -> Iterable[str]:
    return (f'<p class="problem">{escape(problem)}</p>' for problem in problems)


def _head(inspection) -> str:
    """The picture, the caption with its target, and the prompt as the model saw it."""
    prompt = " ".join(f'<span class="part">{escape(part)}</span>' for part in inspection.prompt)
    n = inspection.prompt_length
    return (
        f'<div class="head"><img alt="the picture" src="{_thumbnail(inspection.picture)}"><div>'
        f'<p class="caption">“{escape(inspection.caption)}”</p>'
        f"<p>{_target(inspection)}</p>"
        f'<p><span class="quiet">Before the caption, positions 0 to {n - 1}:</span><br>{prompt}</p></div></div>'
    )


def _target(inspection) -> str:
    """What the target is, and between which two positions it passes."""
    token, piece = inspection.token, inspection.pieces[inspection.step]
    part = "" if piece.lower() == token.lower() else f", begun by its first piece <b>{escape(piece)}</b>,"
    predicts, own = (inspection.positions[name] for name in POSITIONS)
    return f"<b>{escape(token)}</b>{part} is predicted at position {predicts} and fed back at position {own}."


def _strip(inspection) -> Iterable[str]:
    """The positions from the end of the prompt on: what is fed in and predicted at each; the target is bold."""
    table, target = inspection.table(), inspection.pieces[inspection.step]
    for start in range(0, len(table), IN_A_ROW):
        part = table.iloc[start : start + IN_A_ROW]
        rows = {"position": [str(number) for number in part.index]}
        for name in ("fed here", "predicts next"):
            rows[name] = [_bold(text, bool(read) and text == target) for text, read in zip(part[name], part["read"])]
        if any(part["read"]):
            rows["read"] = [f'<span class="mark">{MARKS[name]}</span>' if name else "" for name in part["read"]]
        yield _table("strip", rows, list(part["read"]))


def _bold(text: str, bold: bool) -> str:
    return f"<b>{escape(text)}</b>" if bold else escape(text)


def _table(kind: str, rows: dict[str, list[str]], columns: Sequence[str]) -> str:
    """Rows of cells that are HTML already; the table has a class, and each of its columns."""
    lines = []
    for name, cells in rows.items():
        inside = "".join(f'<td class="{column}">{cell}</td>' for column, cell in zip(columns, cells))
        lines.append(f"<tr><th>{name}</th>{inside}</tr>")
    return f'<table class="{kind}">{"".join(lines)}</table>'


def _words(inspection) -> str:
    """The top words of each layer at both positions; what the model then says there is bold."""
    said = {name: inspection.predicted[inspection.at(name)] for name in POSITIONS}
    rows = {"layer": [f"words at <b>{name}</b> (position {inspection.positions[name]})" for name in POSITIONS]}
    for layer, words in inspection.top_words.items():
        rows[escape(str(layer))] = [
            ", ".join(_bold(word, word == said[name]) for word in words[name]) for name in POSITIONS
        ]
    note = '<p class="quiet">Words that the unembedding reads at each layer. Bold: what the model predicts there.</p>'
    return _table("words", rows, POSITIONS) + note


def _thumbnail(picture: Image.Image) -> str:
    """A small copy of the picture, as an address that holds it."""
    small = picture.copy()
    small.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    small.save(buffer, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
