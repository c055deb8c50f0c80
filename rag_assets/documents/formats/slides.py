"""PowerPoint presentations (``pptx``) into blocks: slide by slide, with the speaker's notes."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from rag_assets.documents.formats.archive import refuse_damaged, report_comments
from rag_assets.documents.formats.blocks import Block, Reading, heading, one_line
from rag_assets.documents.formats.remarks import Remarks
from rag_assets.documents.formats.text import clean
from rag_assets.errors import CorruptDocumentError

_PRESENTATION = "ppt/presentation.xml"
_TITLES = frozenset({"title", "ctrTitle"})
_FURNITURE = frozenset({"sldNum", "dt", "ftr", "hdr", "sldImg"})
"""Placeholders that repeat on each slide: its number, date, footer and header."""
_TITLE_LEVEL = 2
_COMMENTS = re.compile(r"ppt/comments/[^/]+\.xml")


def read_presentation(content: bytes, name: str, remarks: Remarks, *, most: int) -> Reading:
    """The text of each slide's shapes in their order, with the slide's number as page.

    :param most: bytes that the archive may expand to.
    :raises DocumentTooLargeError: it would expand to more.
    :raises CorruptDocumentError: it cannot be opened.
    """
    refuse_damaged(content, name, most)
    blocks: list[Block] = []
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            slides = _slides(archive)
            for number, path in enumerate(slides, start=1):
                blocks += _slide(archive, path, number, remarks)
            report_comments(archive, _COMMENTS, "cm", remarks)
            title = _title(archive)
    except (ParseError, DefusedXmlException, KeyError, ValueError) as error:
        reason = one_line(clean(str(error)))[:200]
        raise CorruptDocumentError(
            name, f"it cannot be opened, it is cut off or damaged ({reason}): fetch the file again"
        ) from error
    return Reading(blocks, title, pages=len(slides) or None)


def _slides(archive: zipfile.ZipFile) -> list[str]:
    """Paths of the slides in the order in which they are shown."""
    targets = _targets(archive, _PRESENTATION)
    order = [
        next((value for key, value in one.items() if key.endswith("}id")), "")
        for one in fromstring(archive.read(_PRESENTATION)).iter()
        if _local(one) == "sldId"
    ]
    return [targets[key][1] for key in order]


def _targets(archive: zipfile.ZipFile, path: str) -> dict[str, tuple[str, str]]:
    """Kind and path of what a part refers to, by its reference."""
    folder, file = posixpath.split(path)
    relations = f"{folder}/_rels/{file}.rels"
    if relations not in archive.namelist():
        return {}
    return {
        one.get("Id", ""): (
            one.get("Type", "").rsplit("/", 1)[-1],
            posixpath.normpath(posixpath.join(f"/{folder}", one.get("Target", ""))).lstrip("/"),
        )
        for one in fromstring(archive.read(relations))
    }


def _slide(archive: zipfile.ZipFile, path: str, number: int, remarks: Remarks) -> Iterator[Block]:
    slide = fromstring(archive.read(path))
    if slide.get("show") in ("0", "false"):
        remarks.left_out("hidden slide", f"slide {number}")
        return
    for shape in _shapes(slide):
        yield from _shape(shape, number, remarks)
    for kind, target in _targets(archive, path).values():
        if kind != "notesSlide":
            continue
        for shape in _shapes(fromstring(archive.read(target))):
            if _placeholder(shape) == "body" and (text := _text(shape)):
                yield Block(text, page=number)


def _shapes(element: Element) -> Iterator[Element]:
    """Shapes and frames in order, also those in groups; of alternatives the first."""
    for child in element:
        name = _local(child)
        if name in ("sp", "graphicFrame", "pic"):
            yield child
        elif name == "AlternateContent":
            yield from _shapes(child[0] if len(child) else child)
        else:
            yield from _shapes(child)


def _shape(shape: Element, number: int, remarks: Remarks) -> Iterator[Block]:
    kind = _placeholder(shape)
    if kind in _FURNITURE:
        if text := _text(shape):
            remarks.left_out("slide number, date, header or footer", text)
        return
    if _local(shape) != "sp" and (said := _alternative(shape)):
        yield Block(said, page=number)
    if _local(shape) == "graphicFrame":
        yield from _frame(shape, number, remarks)
    elif text := _text(shape):
        yield (
            heading(one_line(text), _TITLE_LEVEL, page=number)
            if kind in _TITLES
            else Block(text, page=number)
        )


def _frame(frame: Element, number: int, remarks: Remarks) -> Iterator[Block]:
    """A table, a row a line; of a chart or diagram only that there is one."""
    tables = [one for one in frame.iter() if _local(one) == "tbl"]
    for table in tables:
        rows = [
            " | ".join(one_line(_text(cell)) for cell in row if _local(cell) == "tc")
            for row in table
            if _local(row) == "tr"
        ]
        if text := "\n".join(row for row in rows if row.strip(" |")):
            yield Block(text, page=number)
    if not tables:
        data = next((one for one in frame.iter() if _local(one) == "graphicData"), frame)
        kind = data.get("uri", "").rsplit("/", 1)[-1] or "object"
        remarks.left_out("chart, diagram or object", f"{kind} on slide {number}")


def _placeholder(shape: Element) -> str:
    """What a shape is for; empty for one that was drawn."""
    found = next((one for one in shape.iter() if _local(one) == "ph"), None)
    return "" if found is None else found.get("type", "body")


def _alternative(shape: Element) -> str:
    """The alternative text of a picture or frame."""
    found = next((one for one in shape.iter() if _local(one) == "cNvPr"), None)
    return "" if found is None else clean(found.get("descr", "")).strip()


def _text(shape: Element) -> str:
    """Its paragraphs, a line each."""
    lines = [
        "".join(
            "\n" if _local(part) == "br" else part.text or ""
            for part in paragraph.iter()
            if _local(part) in ("t", "br")
        ).strip()
        for paragraph in shape.iter()
        if _local(paragraph) == "p"
    ]
    return clean("\n".join(line for line in lines if line)).strip()


def _title(archive: zipfile.ZipFile) -> str:
    if "docProps/core.xml" not in archive.namelist():
        return ""
    core = fromstring(archive.read("docProps/core.xml"))
    return one_line(clean(next((one.text or "" for one in core if _local(one) == "title"), "")))


def _local(element: Element) -> str:
    return element.tag.rsplit("}", 1)[-1] if isinstance(element.tag, str) else ""
