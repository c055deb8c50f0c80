"""Reads one document, whatever its format, into chunks, in this process.

The way in: recognise, read, cut up. What bounds time and memory is
:mod:`rag_assets.documents.sandbox`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import PurePosixPath

from rag_assets.documents.chunking import chunked
from rag_assets.documents.formats import recognise as kinds
from rag_assets.documents.formats.blocks import Block, Reading, one_line
from rag_assets.documents.formats.book import read_book
from rag_assets.documents.formats.guard import corrupt_if_unexpected
from rag_assets.documents.formats.html import declared_encoding, read_html
from rag_assets.documents.formats.language import language_of
from rag_assets.documents.formats.lines import read_asciidoc, read_markdown, read_plain
from rag_assets.documents.formats.mail import read_mail, read_mailbox
from rag_assets.documents.formats.notebook import read_notebook
from rag_assets.documents.formats.packaged import HOW_TO_OCR, read_packaged, read_picture
from rag_assets.documents.formats.pdf import read_pdf
from rag_assets.documents.formats.remarks import Remarks
from rag_assets.documents.formats.sheets import read_workbook
from rag_assets.documents.formats.slides import read_presentation
from rag_assets.documents.formats.text import clean, decode
from rag_assets.documents.formats.xml import read_xml
from rag_assets.documents.model import (
    UNREADABLE_CHARACTER,
    Chunk,
    ChunkedDocument,
    ExtractionLimits,
)
from rag_assets.errors import DocumentTooLargeError, EmptyDocumentError, NoTextError
from rag_assets.visible import count

_LONGEST_TITLE = 300  # characters
_USELESS_TITLE = re.compile(
    r"\(?(?:untitled|unbenannt|sem t[ií]tulo|sin t[ií]tulo|sans titre|anonymous|unknown|unspecified"
    r"|none|null|title|document|presentation|powerpoint presentation|slide|layout|scan|image|page"
    r"|blank|temp|doc|book|workbook|new document|word document|full page photo)"
    r"[ _-]?(?:document|page|presentation)?[ _-]?\d*\)?"
    r"|microsoft (?:word|powerpoint|excel) - .*"
    r"|\S+\.(?:dvi|docx?|pptx?|xlsx?|odt|odp|ods|rtf|tex|pdf|ps|eps|indd|qxd|pub|pages|p65|wpd|txt"
    r"|html?|fm|cdr|ai|tiff?|jpe?g|png|md)"
    r"|(?![1-9]\d{2,3}\Z)[\W\d_]+",  # 1984 is a title
    re.IGNORECASE,
)
_LINES = {kinds.MARKDOWN: read_markdown, kinds.ASCIIDOC: read_asciidoc}

_MARKED_UP = {kinds.NOTEBOOK: read_notebook, kinds.XML: read_xml, kinds.SVG: read_xml}


def recognise(content: bytes, name: str) -> str:
    """The media type, by content; the name only decides between kinds of text.

    :raises DocumentError: empty, encrypted, corrupt or of a format that is not read.
    """
    return kinds.recognise(content, name)


def read_document(content: bytes, name: str, limits: ExtractionLimits) -> ChunkedDocument:
    """Read a document and cut it up. Of the limits, time and memory are the sandbox's.

    :param name: its path below the inbox; for messages, its title and the kind of text.
    :raises DocumentError: which of its subclasses says what is wrong.
    """
    began = time.perf_counter()
    media_type = recognise(content, name)
    remarks = Remarks()
    reading = read_blocks(content, media_type, name, limits, remarks)
    if not reading.blocks:
        raise _nothing(media_type, name, reading)
    language = language_of(reading.blocks, reading.language)
    replaced = sum(block.text.count("\ufffd") for block in reading.blocks)
    if replaced:
        remarks.lost(UNREADABLE_CHARACTER, count=replaced)
    read = time.perf_counter()
    chunks = _within(limits, reading.blocks, name)
    return ChunkedDocument(
        title=_title(reading, name),
        media_type=media_type,
        language=language,
        pages=reading.pages,
        characters=sum(len(block.text) for block in reading.blocks),
        chunks=tuple(chunks),
        seconds={"extract": read - began, "chunk": time.perf_counter() - read},
        remarks=remarks.all(),
    )


def read_blocks(
    content: bytes,
    media_type: str,
    name: str,
    limits: ExtractionLimits,
    remarks: Remarks,
    depth: int = 0,
) -> Reading:
    """Its headings and passages, before they are cut up.

    :param depth: of an attachment, the messages and parts around it.
    :raises DocumentError: which of its subclasses says what is wrong.
    """
    with corrupt_if_unexpected(name):
        return _read(content, media_type, name, limits, remarks, depth)


def _read(
    content: bytes,
    media_type: str,
    name: str,
    limits: ExtractionLimits,
    remarks: Remarks,
    depth: int,
) -> Reading:
    if media_type in (kinds.HTML, kinds.XHTML):
        return read_html(decode(content, declared_encoding(content), remarks), remarks)
    if media_type in (kinds.MAIL, kinds.MAILBOX):

        def read_attached(attached: bytes, file_name: str, depth: int) -> Reading:
            kind = recognise(attached, file_name)
            return read_blocks(attached, kind, file_name, limits, remarks, depth)

        if media_type == kinds.MAIL:
            return read_mail(content, remarks, read_attached, depth)
        return read_mailbox(content, PurePosixPath(name).stem, remarks, read_attached, depth)
    if media_type.startswith("text/") or media_type in kinds.TEXTS:
        text = decode(content, declared_encoding(content), remarks)
        if media_type in _MARKED_UP:
            return _MARKED_UP[media_type](text, remarks)
        return _LINES.get(media_type, read_plain)(text, remarks)
    if media_type == kinds.PDF:
        return read_pdf(content, name, remarks, ocr=limits.ocr)
    if media_type.startswith("image/"):
        return read_picture(content, media_type, name, ocr=limits.ocr)
    if media_type == kinds.EPUB:
        return read_book(content, name, remarks, most=limits.memory_bytes // 2)
    if media_type == kinds.PPTX:
        return read_presentation(content, name, remarks, most=limits.memory_bytes // 2)
    if media_type == kinds.XLSX:
        return read_workbook(content, name, remarks, most=limits.memory_bytes // 2)
    return read_packaged(content, media_type, name, remarks, most=limits.memory_bytes // 2)


def _within(limits: ExtractionLimits, blocks: Sequence[Block], name: str) -> list[Chunk]:
    chunks: list[Chunk] = []
    for chunk in chunked(blocks, most=limits.chunk_tokens, overlap=limits.overlap_tokens):
        if len(chunks) == limits.max_chunks:
            raise DocumentTooLargeError(
                name,
                f"it makes more than {limits.max_chunks:,} chunks: split the document, or raise "
                "RAG_DOCUMENT_MAX_CHUNKS",
            )
        chunks.append(chunk)
    return chunks


def _nothing(media_type: str, name: str, reading: Reading) -> EmptyDocumentError | NoTextError:
    if reading.pages or (media_type.startswith("image/") and media_type != kinds.SVG):
        pages = f" on its {count(reading.pages, 'page')}" if reading.pages else ""
        return NoTextError(name, f"there is no text{pages} (scanned?): {HOW_TO_OCR}")
    return EmptyDocumentError(
        name, "there is no text in it: put its content there, or remove the file"
    )


def _title(reading: Reading, name: str) -> str:
    """As declared, else the highest of the first page's headings, else the file's name.

    A title that a program has put there (``untitled``, ``report.dvi``) gives way to the name.
    """
    if _USELESS_TITLE.fullmatch(reading.title.strip()):
        return clean(one_line(PurePosixPath(name).stem))[:_LONGEST_TITLE] or "untitled"
    headings = [block for block in reading.blocks if block.level]
    first = [block for block in headings if block.page == headings[0].page]
    found = min(first, key=lambda block: block.level).title if first else ""
    title = reading.title or found or PurePosixPath(name).stem
    return clean(one_line(title))[:_LONGEST_TITLE] or "untitled"
