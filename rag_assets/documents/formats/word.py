"""Word files (``docx``) as the extraction library can read them.

The library leaves out what stands in CDATA sections, joins the words before and after some breaks,
and reads moved text in its old place, too. Here the parts are written in the way it understands.
"""

from __future__ import annotations

import io
import re
import zipfile

_ATTRIBUTES = rb"(?:\s+[\w:.-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*\s*"
_MISREAD = re.compile(
    rb"<!\[CDATA\[(?P<literal>.*?)\]\]>"
    rb"|<(?P<line>\w+:)(?:cr|br)(?=[\s/>])" + _ATTRIBUTES + rb"/>"
    rb"|<(?P<tab>\w+:)ptab(?=[\s/>])" + _ATTRIBUTES + rb"/>"
    rb"|<(?P<moved>\w+:)moveFrom(?=[\s>])" + _ATTRIBUTES + rb">.*?</(?P=moved)moveFrom\s*>",
    re.DOTALL,
)
_SIGNS = (b"<![CDATA[", b":cr", b":br", b":ptab", b":moveFrom")
"""None of the above is without one of these; most parts have none of them."""


def readable_word(content: bytes) -> bytes:
    """The file, or one with the same text where the library would misread it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        rewritten: dict[str, bytes] = {}
        for name in archive.namelist():
            if not (name.startswith("word/") and name.endswith(".xml")):
                continue
            part = archive.read(name)
            if any(sign in part for sign in _SIGNS):
                new = _MISREAD.sub(_as_read, part)
                if new != part:
                    rewritten[name] = new
        return _with_parts(archive, rewritten) if rewritten else content


def _as_read(found: re.Match[bytes]) -> bytes:
    if (literal := found["literal"]) is not None:
        return literal.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
    if prefix := found["line"]:
        return b"<" + prefix + b"br/>"
    if prefix := found["tab"]:
        return b"<" + prefix + b"tab/>"
    return b""


def _with_parts(archive: zipfile.ZipFile, rewritten: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as copy:
        for name in dict.fromkeys(archive.namelist()):
            copy.writestr(name, rewritten[name] if name in rewritten else archive.read(name))
    return written.getvalue()
