"""Reads one document, whatever its format, into chunks, in this process.

The way in: recognise, read, cut up. What bounds time and memory is :mod:`.sandbox`.
"""

from __future__ import annotations

from rag_assets.corpus.documents.model import ChunkedDocument, ExtractionLimits


def recognise(content: bytes, name: str) -> str:
    """The media type, by content; the name only decides between kinds of text."""
    raise NotImplementedError(name)


def read_document(content: bytes, name: str, limits: ExtractionLimits) -> ChunkedDocument:
    """Read a document and cut it up.

    :param name: its path below the inbox; for messages, its title and the kind of text.
    :raises DocumentError: which of its subclasses says what is wrong.
    """
    raise NotImplementedError(name)
