"""Office formats and pictures into blocks, by the extraction library."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from operator import itemgetter
from typing import Any

from xberg import ExtractedDocument, ExtractionConfig, OcrConfig, PageConfig, SecurityLimits

from rag_assets.documents.formats.archive import refuse_damaged
from rag_assets.documents.formats.blocks import Block, Reading, heading, one_line
from rag_assets.documents.formats.library import extracted
from rag_assets.documents.formats.lines import plain_markdown, read_markdown
from rag_assets.documents.formats.ocr import languages
from rag_assets.documents.formats.recognise import DOCX, ODS
from rag_assets.documents.formats.remarks import Remarks
from rag_assets.documents.formats.text import clean
from rag_assets.documents.formats.word import readable_word
from rag_assets.errors import CorruptDocumentError, NoTextError

_SHEETS = frozenset({ODS, "application/vnd.ms-excel"})
"""Read as lines: a table's structure takes 600 bytes a cell."""

_HIDDEN = " (hidden)"
_MOST_CELLS = 10_000_000  # of a table; the limit of memory is met before

_ESCAPED = re.compile(r"\\([^\w\s|])")  # a bar in a cell stays marked as no border
_WORDS = ("text", "description", "title", "term", "definition", "content")
"""What a node's words are called in one kind or another."""

HOW_TO_OCR = (
    "install Tesseract with the document's language and set RAG_DOCUMENTS_OCR=true, or give it a "
    "text layer"
)


def read_packaged(
    content: bytes, media_type: str, name: str, remarks: Remarks | None = None, *, most: int
) -> Reading:
    """Headings and passages; of a presentation with the speaker's notes, slide by slide.

    :param most: bytes that a compressed document may expand to.
    :raises DocumentTooLargeError: it would expand to more than ``most``.
    :raises CorruptDocumentError: it cannot be opened.
    """
    remarks = remarks or Remarks()
    refuse_damaged(content, name, most)
    if media_type == DOCX:
        content = readable_word(content, remarks)
    is_sheet, has_slides = media_type in _SHEETS, media_type.endswith("presentation")
    config = _config(
        include_document_structure=not is_sheet,
        disable_ocr=True,
        pages=PageConfig(extract_pages=has_slides),
    )
    found = _extracted(content, media_type, name, config)
    blocks = _sheets(found, remarks) if is_sheet else _of_nodes(found, has_slides=has_slides)
    return _reading(found, blocks, len(found.pages or ()) if has_slides else _laid_out(found))


def read_picture(content: bytes, media_type: str, name: str, *, ocr: bool) -> Reading:
    """What is written in a picture.

    :raises NoTextError: there is no OCR, or it has no language.
    :raises CorruptDocumentError: it cannot be opened.
    """
    if not ocr:
        raise NoTextError(name, f"it is a picture: {HOW_TO_OCR}")
    found = _extracted(
        content,
        media_type,
        name,
        _config(ocr=OcrConfig(backend="tesseract", language=languages(name))),
    )
    return _reading(found, _of_lines(found.content))


def _config(**options: Any) -> ExtractionConfig:
    return ExtractionConfig(
        use_cache=False,
        enable_quality_processing=False,  # it drops what it takes for noise
        output_format="markdown",
        security_limits=SecurityLimits(max_table_cells=_MOST_CELLS),
        **options,
    )


def _extracted(
    content: bytes, media_type: str, name: str, config: ExtractionConfig
) -> ExtractedDocument:
    try:
        return extracted(content, media_type, config)
    except (RuntimeError, OSError) as error:
        reason = one_line(clean(str(error)))[:200]
        raise CorruptDocumentError(
            name, f"it cannot be opened, it is cut off or damaged ({reason}): fetch the file again"
        ) from error


def _reading(found: ExtractedDocument, blocks: list[Block], pages: int = 0) -> Reading:
    title = one_line(clean(found.metadata.title or ""))
    return Reading(blocks, title, found.metadata.language or "", pages or None)


def _laid_out(found: ExtractedDocument) -> int:
    """How many pages a text had when its program last laid it out; 0 where it does not say."""
    pages = found.metadata.additional.get("page_count", "").strip('"')
    return int(pages) if pages.isdecimal() else 0


def _sheets(found: ExtractedDocument, remarks: Remarks) -> list[Block]:
    """The rows of each sheet below its name, without the hidden sheets, which the library marks."""
    blocks: list[Block] = []
    hidden = False
    for block in _of_lines(found.content):
        if block.level:
            hidden = block.title.endswith(_HIDDEN)
            if hidden:
                remarks.left_out("hidden sheet", block.title.removesuffix(_HIDDEN))
        if not hidden:
            blocks.append(block)
    return blocks


def _of_lines(markdown: str) -> list[Block]:
    blocks = read_markdown(clean(markdown)).blocks
    return [
        Block(plain_markdown(block.title), block.level, block.title)
        if block.level
        else replace(block, text=_ESCAPED.sub(r"\1", block.text))
        for block in blocks
    ]


def _of_nodes(found: ExtractedDocument, *, has_slides: bool) -> list[Block]:
    """The nodes in order, each slide's followed by its notes, with its number."""
    nodes = found.document.nodes if found.document else ()
    placed = [
        (node.page or 0, block)
        for node in nodes
        if (block := _of_node(json.loads(str(node.content)))) is not None
    ]
    notes = [
        (page.page_number, Block(text))
        for page in found.pages or ()
        if (text := clean(page.speaker_notes or "").strip())
    ]
    if notes:
        placed = sorted(placed + notes, key=itemgetter(0))
    return [replace(block, page=(page or None) if has_slides else None) for page, block in placed]


def _of_node(content: Mapping[str, Any]) -> Block | None:
    kind = content["node_type"]
    if kind == "group":
        return None  # its heading follows as a node of its own
    text = _table(content["grid"]) if kind == "table" else "\n".join(_texts(content))
    text = "\n".join(line.rstrip() for line in clean(text).split("\n")).strip("\n")
    if not text.strip():
        return None
    if kind in ("heading", "title"):
        return heading(one_line(text), int(content.get("level") or 1))
    if kind == "list_item":
        return Block(f"- {text.strip()}")
    return Block(text, prose=kind != "code")


def _texts(content: Mapping[str, Any]) -> list[str]:
    """Whatever words a node has, under whichever name its kind keeps them."""
    entries = [f"{entry['key']}: {entry['value']}" for entry in content.get("entries") or ()]
    return [*(content[key] for key in _WORDS if content.get(key)), *entries]


def _table(grid: Mapping[str, Any]) -> str:
    rows: dict[int, list[str]] = {}
    for cell in grid.get("cells") or ():
        rows.setdefault(cell["row"], []).append(one_line(cell.get("content") or ""))
    return "\n".join(" | ".join(row) for _, row in sorted(rows.items()))
