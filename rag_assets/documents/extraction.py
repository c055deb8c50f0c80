"""A claimed document's chunks: as they are stored, or read from its file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from rag_assets.documents.model import READER, ChunkedDocument
from rag_assets.documents.sandbox import Extractor
from rag_assets.documents.sql.chunks import lacks_vectors, stored_document
from rag_assets.documents.sql.queue import Claimed
from rag_assets.embedding.batching import Text
from rag_assets.embedding.text_hash import text_hash
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import Space


class Files(Protocol):
    """What is needed of an inbox."""

    def fetch(self, path: str) -> AbstractContextManager[BinaryIO]:
        """One of its files, or a copy of it on this machine, open at its beginning.

        :raises InboxUnavailableError: it cannot be had now.
        """


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that is ready to be embedded.

    :param texts: of its chunks, with their hashes.
    :param seconds: wall time by stage.
    """

    claimed: Claimed
    document: ChunkedDocument
    texts: tuple[Text, ...]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A document that is searchable as it is."""

    claimed: Claimed


@dataclass(frozen=True, slots=True)
class Failed:
    """A document on which the work has ended without success."""

    claimed: Claimed
    error: Exception


def chunking_of(settings: Settings) -> str:
    """The reader and how the settings cut documents up; stored with each, to know when to re-read.

    The reader stands before the colon: the store looks for documents of another one by it.
    """
    ocr = ", ocr" if settings.rag_documents_ocr else ""
    size, overlap = settings.rag_max_chunk_size, settings.rag_chunk_overlap
    return f"{READER}: {size} tokens, overlap {overlap}{ocr}"


def take_stored(
    connection: Connection, claimed: Claimed, spaces: Sequence[Space], chunking: str
) -> Prepared | Unchanged | None:
    """A document whose stored chunks are those of its file; ``None`` for any other.

    Prepared where only vectors are missing: it was withdrawn meanwhile, or another model was set.
    """
    if claimed.stored_hash != claimed.content_hash or claimed.chunking != chunking:
        return None
    if not lacks_vectors(connection, claimed.document_id, spaces):
        return Unchanged(claimed)
    document = stored_document(connection, claimed.document_id)
    return prepared(claimed, document, {}) if document else None


def read_file(files: Files, extractor: Extractor, claimed: Claimed) -> Prepared:
    """Read a document's file and cut it up. It is opened once: what is hashed is what is read.

    :raises DocumentError: it cannot be made searchable.
    :raises InboxUnavailableError: the file cannot be had, or is not the one that was scanned.
    :raises ExtractionInterruptedError: the child that read it ended.
    """
    started = time.monotonic()
    with files.fetch(claimed.path) as file:
        fetched_s = time.monotonic() - started
        document = extractor.extract(file, claimed.path, claimed.content_hash)
    return prepared(claimed, document, {"fetch": fetched_s, **document.seconds})


def prepared(claimed: Claimed, document: ChunkedDocument, seconds: Mapping[str, float]) -> Prepared:
    """With the hashes of its texts."""
    texts = tuple(Text(text_hash(chunk.text), chunk.text) for chunk in document.chunks)
    return Prepared(claimed, document, texts, seconds)
