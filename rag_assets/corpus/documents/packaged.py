"""PDF, office formats and EPUB into blocks, by kreuzberg: the only module that reads with it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from kreuzberg import (
    ExtractionConfig,
    ExtractionResult,
    OcrConfig,
    PageConfig,
    extract_bytes_sync,
)
from kreuzberg.exceptions import KreuzbergError

from rag_assets.corpus.documents.blocks import Block, Reading, heading, one_line
from rag_assets.corpus.documents.lines import plain_markdown, read_markdown
from rag_assets.corpus.documents.ocr import languages
from rag_assets.corpus.documents.recognise import ODS, PDF, XLSX
from rag_assets.corpus.documents.text import clean
from rag_assets.errors import (
    CorruptDocumentError,
    DocumentTooLargeError,
    EncryptedDocumentError,
    NoTextError,
)

_SHEETS = frozenset({XLSX, ODS, "application/vnd.ms-excel"})
"""Read as lines: a table's structure takes 600 bytes a cell."""

_PAGE = "\ue000"
"""Stands on both sides of a page's number: a character that no text has."""


def read_packaged(content: bytes, media_type: str, name: str, *, most: int, ocr: bool) -> Reading:
    """Headings and passages, with their pages where the format has any.

    :param most: bytes that a compressed document may expand to.
    :param ocr: read pages that are pictures, too.
    :raises DocumentTooLargeError: it would expand to more than ``most``.
    :raises EncryptedDocumentError: it opens with a password only.
    :raises CorruptDocumentError: it cannot be opened.
    :raises NoTextError: there is a picture in the place of text, and no OCR.
    """
    _refuse_bomb(content, name, most)
    if media_type.startswith("image/") and not ocr:
        raise NoTextError(name, f"it is a picture: {HOW_TO_OCR}")
    try:
        result = extract_bytes_sync(content, media_type, _config(media_type, name, ocr=ocr))
    except (KreuzbergError, OSError) as error:
        raise _refusal(content, media_type, name, error) from error
    if media_type in _SHEETS:
        blocks = _of_lines(result.content)
    else:
        blocks = list(_of_nodes(result)) or _of_lines(result.content)
    told: Mapping[str, Any] = result.metadata
    pages = told.get("page_count") or (told.get("pages") or {}).get("total_count")
    return Reading(blocks, _title(told), str(told.get("language") or ""), pages)


HOW_TO_OCR = (
    "install Tesseract with the document's language and set RAG_DOCUMENTS_OCR=true, or give it a "
    "text layer"
)


def _config(media_type: str, name: str, *, ocr: bool) -> ExtractionConfig:
    reads_pictures = ocr and (media_type == PDF or media_type.startswith("image/"))
    return ExtractionConfig(
        use_cache=False,
        enable_quality_processing=False,  # it drops what it takes for noise
        output_format="markdown",
        include_document_structure=media_type not in _SHEETS,
        pages=PageConfig(
            extract_pages=media_type.endswith("presentation"),
            insert_page_markers=reads_pictures,  # nothing else tells the pages that OCR has read
            marker_format=f"\n\n{_PAGE}{{page_num}}{_PAGE}\n\n",
        ),
        ocr=OcrConfig(backend="tesseract", language=languages(name)) if reads_pictures else None,
    )


def _refuse_bomb(content: bytes, name: str, most: int) -> None:
    """A ZIP archive tells how large its members are; one that lies meets the limit of memory."""
    if not content.startswith(b"PK\x03\x04"):
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > most:
        raise DocumentTooLargeError(
            name,
            f"it expands to {size / 1e6:,.0f} MB, more than RAG_DOCUMENT_MEMORY_MB allows "
            f"({most / 1e6:,.0f} MB): split the document, or raise the setting",
        )


def _refusal(content: bytes, media_type: str, name: str, error: Exception) -> Exception:
    """Why it cannot be opened: kreuzberg has one class for all, so the document itself is asked."""
    if media_type == PDF and b"/Encrypt" in content:
        return EncryptedDocumentError(name, "it opens with a password only: remove the password")
    told = one_line(clean(getattr(error, "message", str(error))))[:200]
    return CorruptDocumentError(
        name, f"it cannot be opened, it is cut off or damaged ({told}): fetch the file again"
    )


def _of_lines(markdown: str) -> list[Block]:
    blocks = read_markdown(clean(markdown)).blocks
    return [
        Block(plain_markdown(block.title), block.level, block.title) if block.level else block
        for block in blocks
    ]


def _of_nodes(result: ExtractionResult) -> Iterator[Block]:
    document: Mapping[str, Any] = result.document or {}
    read_page = None
    for node in document.get("nodes") or ():
        content: Mapping[str, Any] = node.get("content") or {}
        kind = content.get("node_type")
        page = node.get("page") or read_page
        if kind == "table":
            text = _table(content.get("grid") or {})
        elif kind == "metadata_block":
            text = "\n".join(": ".join(entry) for entry in content.get("entries") or ())
        elif kind == "group":
            continue  # its heading follows as a node of its own
        else:
            text = content.get("text") or content.get("description") or ""
        if text.startswith(_PAGE):
            read_page = int(text.strip(_PAGE))
            continue
        text = "\n".join(line.rstrip() for line in clean(text).split("\n")).strip("\n")
        if not text.strip():
            continue
        if kind in ("heading", "title"):
            title = one_line(text)
            yield heading(title, int(content.get("level") or 1), page=page)
        elif kind == "list_item":
            yield Block(f"- {text.strip()}", page=page)
        else:
            yield Block(text, page=page, prose=kind != "code")


def _table(grid: Mapping[str, Any]) -> str:
    rows: dict[int, list[str]] = {}
    for cell in grid.get("cells") or ():
        rows.setdefault(cell["row"], []).append(one_line(cell.get("content") or ""))
    return "\n".join(" | ".join(row) for _, row in sorted(rows.items()))


def _title(told: Mapping[str, Any]) -> str:
    title = told.get("title")
    return one_line(clean(title)) if isinstance(title, str) else ""
