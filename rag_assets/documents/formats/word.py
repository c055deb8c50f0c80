"""Word files (``docx``) as the extraction library can read them.

The library leaves out what stands in CDATA sections, joins the words before and after some breaks,
reads moved and hidden text, puts the marks of notes and comments into the sentence, and writes the
cells of tables as Markdown. Here the parts are written in the way it understands.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from xml.sax.saxutils import escape

from rag_assets.documents.formats.formulas import formula_text
from rag_assets.documents.formats.remarks import Remarks

_ATTRIBUTES = rb"(?:\s+[\w:.-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*\s*"
_MISREAD = re.compile(
    rb"<!\[CDATA\[(?P<literal>.*?)\]\]>"
    rb"|<(?P<line>\w+:)(?:cr|br)(?=[\s/>])" + _ATTRIBUTES + rb"/>"
    rb"|<(?P<tab>\w+:)ptab(?=[\s/>])" + _ATTRIBUTES + rb"/>"
    rb"|<(?P<moved>\w+:)moveFrom(?=[\s>])" + _ATTRIBUTES + rb">.*?</(?P=moved)moveFrom\s*>"
    rb"|<(?P<mark>\w+:)(?:footnote|endnote|comment)Reference(?=[\s/>])" + _ATTRIBUTES + rb"/>"
    rb"|<(?P<math>\w+:)oMath(?=[\s>])" + _ATTRIBUTES + rb">(?P<formula>.*?)</(?P=math)oMath\s*>"
    rb"|</?\w+:oMathPara(?=[\s>])" + _ATTRIBUTES + rb">"
    rb"|<(?P<drawing>\w+:)drawing(?=[\s>])" + _ATTRIBUTES + rb">(?=(?:(?!</(?P=drawing)drawing|"
    rb"<\w+:docPr\s).)*<\w+:docPr\s[^<]*?\sdescr\s*=\s*\"(?P<alt>[^\"<]+)\")"
    rb"|<(?P<run>\w+:)r(?=[\s>])" + _ATTRIBUTES + rb">(?P<properties>\s*<(?P=run)rPr>"
    rb"(?:(?!</(?P=run)rPr>).)*?<(?P=run)vanish(?:\s*|\s+\w+:val\s*=\s*[\"'](?:1|true|on)[\"']\s*)/>"
    rb".*?)</(?P=run)r\s*>",
    re.DOTALL,
)
_SIGNS = (
    b"<![CDATA[",
    b":cr",
    b":br",
    b":ptab",
    b":moveFrom",
    b"Reference",
    b":oMath",
    b":vanish",
    b":drawing",
)
"""None of the above is without one of these; most parts have none of them."""

_IN_TABLE = re.compile(
    rb"<\w+:(?:b|bCs|i|iCs|strike|dstrike|vertAlign|rStyle)(?=[\s/>])" + _ATTRIBUTES + rb"/>"
    rb"|</?\w+:hyperlink(?=[\s>])" + _ATTRIBUTES + rb">"
    rb"|(?P<row><(?P<prefix>\w+:)trPr>(?:(?!</(?P=prefix)trPr>).)*?"
    rb"<(?P=prefix)gridBefore\s+\w+:val=[\"'](?P<before>\d{1,2})[\"']\s*/>.*?</(?P=prefix)trPr>)",
    re.DOTALL,
)
"""Formatting and links, which become signs in a cell's text, and rows that begin further right."""
_TRACKED = re.compile(rb"<\w+:delText(?=[\s>])")


def readable_word(content: bytes, remarks: Remarks) -> bytes:
    """The file, or one with the same text where the library would misread it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        rewritten: dict[str, bytes] = {}
        for name in archive.namelist():
            if not (name.startswith("word/") and name.endswith(".xml")):
                continue
            part = new = archive.read(name)
            if any(sign in part for sign in _SIGNS):
                new = _MISREAD.sub(_as_read(remarks), new)
            if b":tbl" in part and name == "word/document.xml":
                new = _IN_TABLE.sub(_as_cells, new)
            if new != part:
                rewritten[name] = new
            if deleted := len(_TRACKED.findall(part)):
                remarks.left_out("deleted text (tracked change)", count=deleted)
        return _with_parts(archive, rewritten) if rewritten else content


def _as_read(remarks: Remarks) -> Callable[[re.Match[bytes]], bytes]:
    def replaced(found: re.Match[bytes]) -> bytes:
        if (literal := found["literal"]) is not None:
            return literal.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
        if prefix := found["line"]:
            return b"<" + prefix + b"br/>"
        if prefix := found["tab"]:
            return b"<" + prefix + b"tab/>"
        if found["math"]:
            formula = escape(formula_text(found["formula"])).encode()
            return b'<w:r><w:t xml:space="preserve">' + formula + b"</w:t></w:r>"
        if prefix := found["drawing"]:
            said = b'<%bt xml:space="preserve"> %b </%bt>' % (prefix, found["alt"], prefix)
            return said + found.group()
        if found["run"]:
            if b":txbxContent" in found.group():
                return found.group()  # a box, of which some text is hidden: its runs come next
            remarks.left_out("hidden text")
        return b""

    return replaced


def _as_cells(found: re.Match[bytes]) -> bytes:
    row = found["row"]
    if row is None:
        return b""
    prefix: bytes = found["prefix"]
    empty = b"<%btc><%btcPr/><%bp/></%btc>" % (prefix, prefix, prefix, prefix)
    return row + int(found["before"]) * empty


def _with_parts(archive: zipfile.ZipFile, rewritten: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as copy:
        for name in dict.fromkeys(archive.namelist()):
            copy.writestr(name, rewritten[name] if name in rewritten else archive.read(name))
    return written.getvalue()
