"""USX 2 and 3: the XML form of USFM, as the Digital Bible Library publishes it."""

from __future__ import annotations

from pathlib import Path

from rag_assets.bible.formats.passages import Collector, Source
from rag_assets.bible.formats.usx_tree import UsxVisitor
from rag_assets.bible.formats.xml_source import line_of, parse_xml, walk
from rag_assets.errors import CorpusError


def read_usx(path: Path, data: bytes) -> Source:
    """Passages of one USX file.

    In USX 2 a verse lasts until the next one; in USX 3 until its end marker (``eid``).

    :raises CorpusError: for malformed XML, an unknown book or a bad number.
    """
    root = parse_xml(path, data)
    if root.find("book") is None:
        raise CorpusError(path, "no <book code=…> element: add one naming the USFM code", line=1)
    collector = Collector(path)
    visitor = UsxVisitor(path, collector, line_of)
    walk(root, visitor)
    visitor.finish_book()
    return collector.finish()
