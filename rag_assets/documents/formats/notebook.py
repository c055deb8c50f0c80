"""Jupyter notebooks into blocks: the text of their cells and what these have printed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rag_assets.documents.formats.blocks import Block, Reading, heading
from rag_assets.documents.formats.html import read_html
from rag_assets.documents.formats.lines import read_markdown, read_plain
from rag_assets.documents.formats.remarks import Remarks
from rag_assets.documents.formats.text import clean

_DEEPEST_HEADING = 6


def read_notebook(text: str, remarks: Remarks) -> Reading:
    """Cells in order; code is kept as code. One that is no JSON is read as text, and reported."""
    try:
        book = json.loads(text)
        sheets = book.get("worksheets") or [book]  # a list up to version 3 of the format
        cells = [cell for sheet in sheets for cell in sheet["cells"]]
        title = str((book.get("metadata") or {}).get("title") or "")
        blocks = [block for cell in cells for block in _cell(cell, remarks)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        remarks.repaired("notebook that is no valid JSON, read as text")
        return read_plain(text)
    return Reading(blocks, clean(title))


def _cell(cell: Mapping[str, Any], remarks: Remarks) -> Iterator[Block]:
    kind = cell["cell_type"]
    source = _text(cell.get("source", cell.get("input")))
    if kind == "heading":
        yield heading(source, min(int(cell.get("level") or 1), _DEEPEST_HEADING))
    elif kind == "code":
        if source.strip():
            yield Block(source.strip("\n"), prose=False)
        for output in cell.get("outputs") or ():
            yield from _output(output, remarks)
    else:
        yield from (read_markdown if kind == "markdown" else read_plain)(source).blocks


def _output(output: Mapping[str, Any], remarks: Remarks) -> Iterator[Block]:
    """As text, if it has one; what is a picture or a widget is left out."""
    kind = output.get("output_type")
    if kind == "stream":
        text = _text(output.get("text"))
    elif kind in ("error", "pyerr"):
        text = f"{output.get('ename', '')}: {output.get('evalue', '')}"
    else:
        data = output.get("data", output)
        text = _text(data.get("text/markdown") or data.get("text/plain") or data.get("text"))
        if not text.strip() and (html := _text(data.get("text/html"))):
            yield from read_html(html, remarks).blocks
        for media_type in data:
            if str(media_type).startswith(("image/", "application/", "png", "jpeg", "svg")):
                remarks.left_out("output that is no text", str(media_type))
    if clean(text).strip():
        yield Block(clean(text).strip("\n"), prose=False)


def _text(value: object) -> str:
    """A text, or a list of its lines."""
    return clean("".join(map(str, value)) if isinstance(value, list) else str(value or ""))
