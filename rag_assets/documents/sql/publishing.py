"""Publish a document: replace its chunks and vectors in one transaction, after an audit.

A chunk whose text is unchanged keeps its row, its vectors and its place in the index, so that only
the changed parts of a document are rewritten.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from psycopg import sql
from psycopg.types.json import Jsonb

from rag_assets.documents.model import Chunk, ChunkedDocument
from rag_assets.documents.sql.documents import Digest
from rag_assets.embedding.batching import Text
from rag_assets.errors import AuditError
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, one
from rag_assets.vectors.sql.code_writing import encode_new
from rag_assets.vectors.sql.faults import NORM_TOLERANCE
from rag_assets.vectors.sql.spaces import Space
from rag_assets.vectors.sql.tables import (
    DOCUMENTS,
    VectorTable,
    announce,
    documents_table,
    record_change,
)

_ANALYZE_FROM = 500  # number of chunks from which correct planner statistics pay off


@dataclass(frozen=True)
class Publication:
    """A document to publish.

    :param content_hash: SHA-256 of the file that the chunks were made from.
    :param chunking: label of the chunking parameters.
    :param texts: the chunks' texts as embedded: each ends with the chunk's own text.
    :param cost_usd: what was paid for it.
    :param seconds: wall time by stage so far; the transaction adds ``store``.
    """

    document_id: int
    path: str
    run_id: str
    content_hash: Digest
    chunking: str
    document: ChunkedDocument
    texts: Sequence[Text]
    cost_usd: float | None
    seconds: Mapping[str, float]
    corpus: str = DOCUMENTS


@dataclass(frozen=True)
class Published:
    """Result of a publication.

    :param added: new chunks; ``removed``: deleted chunks.
    :param vectors: vectors written, over all spaces.
    :param seconds: wall time by stage.
    """

    added: int
    removed: int
    vectors: int
    seconds: Mapping[str, float]


def publish(
    connection: Connection, publication: Publication, spaces: Sequence[Space]
) -> Published | None:
    """Publish a document in one transaction; ``None`` if the run no longer holds the lease.

    Each chunk gets the answer to its text or, without one, the vector of the same text elsewhere in
    the space. Uses the text_hash indexes of both tables. Answers that were used are deleted.

    :raises AuditError: the audit failed, and nothing was published.
    """
    started = time.monotonic()
    document_id, language = publication.document_id, publication.document.language
    with connection.transaction():
        if not _lock_document(connection, publication):
            return None
        connection.execute("SET LOCAL jit = off")  # compiling takes longer than these joins
        copy_incoming(connection, publication.document.chunks, publication.texts)
        had_chunks = take_over_stored(connection, document_id, language)
        added = insert_chunks(connection, document_id, language)
        written = {space: _write_vectors(connection, publication, space) for space in spaces}
        locks.lock_transaction(connection, locks.WRITING_CHUNK_VECTORS)
        removed = delete_gone(connection, document_id) if had_chunks else 0
        for space, rows in written.items():
            if rows:
                record_change(connection, documents_table(space), publication.corpus, rows)
                encode_new(connection, documents_table(space), _chunk_ids(connection))
            _forget_answers(connection, space)
        seconds = {**publication.seconds, "store": time.monotonic() - started}
        _mark_ready(connection, publication, seconds)
    return Published(added, removed, sum(written.values()), seconds)


def _chunk_ids(connection: Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT chunk_id FROM incoming_chunks")]


def _lock_document(connection: Connection, publication: Publication) -> bool:
    """Return whether the run holds the lease, and keep it until the transaction ends."""
    return (
        connection.execute(
            """
            SELECT FROM documents WHERE document_id = %s AND run_id = %s AND state = 'running'
               FOR UPDATE
            """,
            (publication.document_id, publication.run_id),
        ).fetchone()
        is not None
    )


def _write_vectors(connection: Connection, publication: Publication, space: Space) -> int:
    """Write and audit the vectors that the document's chunks lack in a space."""
    table = documents_table(space)
    answers = sql.SQL("{answers} AS found USING (text_hash)").format(answers=space.answers_table)
    elsewhere = sql.SQL(
        "LATERAL (SELECT embedding FROM {table} e"
        " WHERE e.text_hash = i.text_hash AND NOT e.unverified"
        " ORDER BY created_at DESC LIMIT 1) AS found ON true"
    ).format(table=table.identifier)
    chunks = len(publication.document.chunks)
    announce(connection, table, publication.corpus)
    _delete_untrusted(connection, table)
    rows = _write(connection, publication, table, answers)
    if rows < chunks:
        rows += _write(connection, publication, table, elsewhere)
    if rows < chunks:
        _refuse_missing(connection, publication, table)
    return rows


def _delete_untrusted(connection: Connection, table: VectorTable) -> None:
    """Delete unverified and outdated vectors of chunks that keep their rows."""
    connection.execute(
        sql.SQL(
            "DELETE FROM {table} e USING incoming_chunks i WHERE e.chunk_id = i.chunk_id"
            " AND (e.unverified OR e.text_hash <> i.text_hash)"
        ).format(table=table.identifier)
    )


def _write(
    connection: Connection, publication: Publication, table: VectorTable, source: sql.Composable
) -> int:
    statement = sql.SQL(
        """
        WITH written AS (
            INSERT INTO {table} AS e (chunk_id, collection, document_id, language, embedding,
                                      text_hash, run_id)
            SELECT i.chunk_id, %(collection)s, %(id)s, %(language)s, found.embedding, i.text_hash,
                   %(run_id)s
              FROM incoming_chunks i
              JOIN {source}
             WHERE NOT EXISTS (SELECT FROM {table} w WHERE w.chunk_id = i.chunk_id)
            RETURNING vector_dims(e.embedding) AS dimensions, {norm}(e.embedding) AS norm
        )
        SELECT count(*), count(*) FILTER (WHERE dimensions <> %(dimensions)s),
               count(*) FILTER (WHERE norm NOT BETWEEN 1 - %(tolerance)s AND 1 + %(tolerance)s)
          FROM written
        """
    ).format(table=table.identifier, source=source, norm=table.space.norm_function)
    count, wrong_dimension, wrong_norm = one(
        connection.execute(
            statement,
            {
                "collection": publication.corpus,
                "id": publication.document_id,
                "language": publication.document.language,
                "run_id": publication.run_id,
                "dimensions": table.space.spec.dimensions,
                "tolerance": NORM_TOLERANCE,
            },
        )
    )
    if wrong_dimension or wrong_norm:
        raise AuditError(
            f"{publication.path}: of {count} vectors in {table.space.spec} {wrong_dimension} have "
            f"another dimension and {wrong_norm} are not normalised; nothing was published"
        )
    return int(count)


def _refuse_missing(connection: Connection, publication: Publication, table: VectorTable) -> None:
    (missing,) = one(
        connection.execute(
            sql.SQL(
                "SELECT count(*) FROM incoming_chunks i WHERE NOT EXISTS"
                " (SELECT FROM {table} e WHERE e.chunk_id = i.chunk_id)"
            ).format(table=table.identifier)
        )
    )
    if missing:
        raise AuditError(
            f"{publication.path}: {missing} of {len(publication.document.chunks)} chunks would "
            f"have no vector in {table.space.spec}; nothing was published. Finished embeddings "
            "are kept"
        )


def _forget_answers(connection: Connection, space: Space) -> None:
    """Delete the answers that were used; newer ones are for runs that have yet to publish."""
    locks.lock_transaction(connection, locks.using_answers(space.space_id))
    connection.execute(
        sql.SQL(
            "DELETE FROM {answers} a USING incoming_chunks i"
            " WHERE a.text_hash = i.text_hash AND a.bought_at <= now()"
        ).format(answers=space.answers_table)
    )


def _mark_ready(
    connection: Connection, publication: Publication, seconds: Mapping[str, float]
) -> None:
    document = publication.document
    connection.execute(
        """
        UPDATE documents
           SET state = 'ready', lease_until = NULL, ended_at = now(), error_class = NULL,
               error = NULL, stored_hash = %(hash)s, chunking = %(chunking)s, title = %(title)s,
               media_type = %(media_type)s, language = %(language)s, pages = %(pages)s,
               chunks = %(chunks)s, tokens = %(tokens)s, cost_usd = %(cost)s,
               seconds = %(seconds)s, characters = %(characters)s, remarks = %(remarks)s
         WHERE document_id = %(id)s
        """,
        {
            "id": publication.document_id,
            "hash": publication.content_hash,
            "chunking": publication.chunking,
            "title": document.title,
            "media_type": document.media_type,
            "language": document.language,
            "pages": document.pages,
            "chunks": len(document.chunks),
            "tokens": sum(chunk.tokens for chunk in document.chunks),
            "cost": publication.cost_usd,
            "characters": document.characters,
            "remarks": Jsonb([asdict(remark) for remark in document.remarks]),
            "seconds": Jsonb({stage: round(time_s, 4) for stage, time_s in seconds.items()}),
        },
    )


def copy_incoming(connection: Connection, chunks: Sequence[Chunk], texts: Sequence[Text]) -> None:
    """Copy a document's chunks into ``incoming_chunks``, which is emptied on commit."""
    # One table per session: recreating it for each document would leave 30 dead catalog rows.
    connection.execute("SET LOCAL client_min_messages = warning")
    connection.execute(
        """
        CREATE TEMPORARY TABLE IF NOT EXISTS incoming_chunks (
            position integer, page integer, heading text[], text text, text_hash bytea,
            tokens integer, context text, chunk_id bigint
        ) ON COMMIT DELETE ROWS
        """
    )
    command = (
        "COPY incoming_chunks (position, page, heading, text, text_hash, tokens, context)"
        " FROM STDIN (FORMAT BINARY)"
    )
    with connection.cursor().copy(command) as copy:
        copy.set_types(["int4", "int4", "text[]", "text", "bytea", "int4", "text"])
        for position, (chunk, text) in enumerate(zip(chunks, texts, strict=True), start=1):
            copy.write_row(
                (
                    position,
                    chunk.page,
                    list(chunk.heading),
                    chunk.text,
                    text.hash,
                    chunk.tokens,
                    text.text.removesuffix(chunk.text),
                )
            )
    if len(chunks) >= _ANALYZE_FROM:
        connection.execute("ANALYZE incoming_chunks")


def take_over_stored(connection: Connection, document_id: int, language: str) -> bool:
    """Match incoming chunks to stored rows with the same text; return whether there are any rows.

    Repeated texts are matched in order.
    """
    values = {"id": document_id, "language": language}
    (had_chunks,) = one(
        connection.execute(
            "SELECT EXISTS (SELECT FROM document_chunks WHERE document_id = %(id)s)", values
        )
    )
    if not had_chunks:
        return False
    connection.execute(
        """
        UPDATE incoming_chunks i SET chunk_id = old.chunk_id
          FROM (SELECT position, text_hash,
                       row_number() OVER (PARTITION BY text_hash ORDER BY position) AS nth
                  FROM incoming_chunks) AS new
          JOIN (SELECT chunk_id, text_hash,
                       row_number() OVER (PARTITION BY text_hash ORDER BY position) AS nth
                  FROM document_chunks
                 WHERE document_id = %(id)s AND language = %(language)s) AS old
            USING (text_hash, nth)
         WHERE i.position = new.position
        """,
        values,
    )
    connection.execute(
        """
        UPDATE document_chunks c
           SET (position, page, heading, tokens) = (i.position, i.page, i.heading, i.tokens)
          FROM incoming_chunks i
         WHERE c.chunk_id = i.chunk_id
           AND (c.position, c.page, c.heading, c.tokens)
               IS DISTINCT FROM (i.position, i.page, i.heading, i.tokens)
        """
    )
    return True


def insert_chunks(connection: Connection, document_id: int, language: str) -> int:
    """Insert rows with new ids for chunks that have none; return their number."""
    return connection.execute(
        """
        WITH numbered AS (
            UPDATE incoming_chunks
               SET chunk_id = nextval(pg_get_serial_sequence('document_chunks', 'chunk_id'))
             WHERE chunk_id IS NULL
            RETURNING *
        )
        INSERT INTO document_chunks (chunk_id, document_id, position, page, heading, text,
                                     text_hash, tokens, context, language)
        OVERRIDING SYSTEM VALUE
        SELECT chunk_id, %(id)s, position, page, heading, text, text_hash, tokens, context,
               %(language)s
          FROM numbered
        """,
        {"id": document_id, "language": language},
    ).rowcount


def delete_gone(connection: Connection, document_id: int) -> int:
    """Delete chunks that the document no longer has; a trigger deletes their vectors."""
    return connection.execute(
        """
        DELETE FROM document_chunks c
         WHERE document_id = %s
           AND NOT EXISTS (SELECT FROM incoming_chunks i WHERE i.chunk_id = c.chunk_id)
        """,
        (document_id,),
    ).rowcount
