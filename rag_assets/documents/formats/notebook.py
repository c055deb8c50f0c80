"""Jupyter notebooks into blocks: the text of their cells and what these have printed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from rag_assets.documents.formats.blocks import Block, Reading, heading
from rag_assets.documents.formats.html import read_html
from rag_assets.documents.formats.lines import read_markdown, read_plain
from rag_assets.documents.formats.remarks import Remarks
from rag_assets.documents.formats.text import clean

_DEEPEST_HEADING = 6
_TEXTS = ("text/markdown", "text/plain", "text")


def read_notebook(text: str, remarks: Remarks) -> Reading:
    """Cells in order; code is kept as code. What is no notebook is read as text, and reported."""
    try:
        book = json.loads(text)
        sheets = book.get("worksheets") or [book]  # a list up to version 3 of the format
        cells = [cell for sheet in sheets for cell in sheet["cells"]]
        title = str((book.get("metadata") or {}).get("title") or "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        remarks.repaired("notebook that is no valid JSON, read as text")
        return read_plain(text)
    return Reading([block for cell in cells for block in _cell(cell, remarks)], clean(title))


def _cell(cell: object, remarks: Remarks) -> Iterator[Block]:
    if not isinstance(cell, Mapping):
        remarks.lost("cell that is no cell", str(cell))
        return
    kind = cell.get("cell_type")
    source = _text(cell.get("source", cell.get("input")))
    if kind == "heading":
        level = str(cell.get("level") or 1)
        yield heading(source, min(int(level) if level.isdecimal() else 1, _DEEPEST_HEADING))
    elif kind == "code":
        if source.strip():
            yield Block(source.strip("\n"), prose=False)
        outputs = cell.get("outputs") or ()
        for output in outputs if isinstance(outputs, list) else [outputs]:
            yield from _output(output, remarks)
    else:
        if kind not in ("markdown", "raw"):
            remarks.repaired("cell of an unknown kind, read as text", str(kind or "none"))
        yield from (read_markdown if kind == "markdown" else read_plain)(source, remarks).blocks


def _output(output: object, remarks: Remarks) -> Iterator[Block]:
    """Its text, if it has any, else its HTML; pictures and widgets are left out."""
    data = output.get("data", output) if isinstance(output, Mapping) else None
    if not isinstance(output, Mapping) or not isinstance(data, Mapping):
        remarks.lost("output without data", str(output))
        return
    kind = output.get("output_type")
    if kind == "stream":
        text = _text(output.get("text"))
    elif kind in ("error", "pyerr"):
        text = f"{output.get('ename', '')}: {output.get('evalue', '')}"
    else:
        text = next((found for name in _TEXTS if (found := _text(data.get(name))).strip()), "")
        html = "" if text else _text(data.get("text/html"))
        yield from read_html(html, remarks).blocks
        if not text and not html.strip():
            text = _text(data.get("text/latex") or data.get("latex"))
        for media_type in data:
            if str(media_type).startswith(("image/", "application/", "png", "jpeg", "svg")):
                remarks.left_out("output that is no text", str(media_type))
    if clean(text).strip():
        yield Block(clean(text).strip("\n"), prose=False)


def _text(value: object) -> str:
    """A text, or a list of its lines."""
    return clean("".join(map(str, value)) if isinstance(value, list) else str(value or ""))
