"""The chunks and vectors that are stored of documents.

Writing them is :mod:`.publishing`'s, taking them away :mod:`.intake`'s.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from rag_assets.documents.model import Chunk, ChunkedDocument
from rag_assets.postgres.database import Connection, one
from rag_assets.vectors.sql.spaces import Space
from rag_assets.vectors.sql.tables import documents_table


def stored_document(connection: Connection, document_id: int) -> ChunkedDocument | None:
    """A document as its chunks are stored; ``None`` when it has none. By the chunks' unique index.

    Its ``seconds`` are empty, its ``characters`` those of the chunks together.
    """
    row = connection.execute(
        "SELECT title, media_type, language, pages FROM documents"
        " WHERE document_id = %s AND stored_hash IS NOT NULL",
        (document_id,),
    ).fetchone()
    if row is None:
        return None
    chunks = tuple(
        Chunk(text, tuple(heading), page, tokens)
        for text, heading, page, tokens in connection.execute(
            "SELECT text, heading, page, tokens FROM document_chunks WHERE document_id = %s"
            " ORDER BY position",
            (document_id,),
        )
    )
    title, media_type, language, pages = row
    characters = sum(len(chunk.text) for chunk in chunks)
    return ChunkedDocument(title, media_type, language, pages, characters, chunks, {})


def lacks_vectors(connection: Connection, document_id: int, spaces: Sequence[Space]) -> bool:
    """Whether any chunk of a document has no verified vector of its text in one of the spaces."""
    for space in spaces:
        (lacking,) = one(
            connection.execute(
                sql.SQL(
                    "SELECT EXISTS (SELECT FROM document_chunks c WHERE document_id = %s"
                    " AND NOT EXISTS (SELECT FROM {table} e WHERE e.chunk_id = c.chunk_id"
                    " AND e.text_hash = c.text_hash AND NOT e.unverified))"
                ).format(table=documents_table(space).identifier),
                (document_id,),
            )
        )
        if lacking:
            return True
    return False
