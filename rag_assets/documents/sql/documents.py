"""Stored documents: reading, listing and counting them, and the commands of operators.

Claims are in :mod:`.queue`, files in :mod:`.intake`, writing chunks and vectors in
:mod:`.publishing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import sql

from rag_assets.documents.model import Chunk, ChunkedDocument, Remark
from rag_assets.lanes import Lane
from rag_assets.postgres.database import Connection, fetch_all, one
from rag_assets.vectors.sql.spaces import Space
from rag_assets.vectors.sql.tables import documents_table

Digest = bytes
"""SHA-256 of a file, 32 bytes."""
State = Literal["waiting", "running", "ready", "dead", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Document:
    """One row of ``documents``.

    :param key: the partition key.
    :param path: below the inbox, with slashes.
    :param content_hash: SHA-256 of the file as last seen; ``stored_hash``: of the file that the
        chunks were made from.
    :param priority: 0 requested, 1 high, 2 normal, 3 low.
    :param lease_until: a running document with an expired lease is claimed by the next run.
    :param error: error of the last failed attempt, including the fix.
    :param withdrawn_by: ``inbox`` (its file is gone) or ``command``.
    :param chunking: label of the chunking parameters.
    :param tokens: tokens of all its chunks; ``cost_usd``: what was paid for them last.
    :param seconds: wall time by stage.
    :param characters: of its text; ``remarks``: what is not in it.
    """

    document_id: int
    key: str
    corpus: str
    path: str
    bytes: int
    modified: str
    content_hash: Digest
    state: State
    lane: Lane
    priority: int
    dropped_at: datetime
    queued_at: datetime
    not_before: datetime | None
    attempts: int
    run_id: str | None
    lease_until: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    error_class: str | None
    error: str | None
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    stored_hash: Digest | None
    chunking: str | None
    title: str | None
    media_type: str | None
    language: str | None
    pages: int | None
    chunks: int | None
    tokens: int | None
    cost_usd: float | None
    seconds: Mapping[str, float] | None
    characters: int | None
    remarks: Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True, slots=True)
class LaneCounts:
    """Numbers of documents in one lane.

    :param waiting: including those with an expired lease; ``claimable``: those that are due.
    :param running: with a valid lease.
    :param oldest_waiting_s: waiting time of the oldest document; 0 if none waits.
    """

    lane: Lane
    waiting: int = 0
    claimable: int = 0
    running: int = 0
    ready: int = 0
    dead: int = 0
    oldest_waiting_s: float = 0.0


def find_document(connection: Connection, key: str) -> Document | None:
    """Return a document. Uses the unique index on the key."""
    found = find_documents(connection, [key])
    return found[0] if found else None


def key_of_file(connection: Connection, path: str, *, corpora: Sequence[str] | None) -> str | None:
    """Return the key of the first document that a path below an inbox belongs to. Uses its index.

    :param corpora: to look in; ``None`` for all.
    """
    row = connection.execute(
        "SELECT document_key FROM documents WHERE path = %(path)s AND state <> 'withdrawn'"
        " AND (%(corpora)s::text[] IS NULL OR corpus = ANY(%(corpora)s))"
        " ORDER BY document_id LIMIT 1",
        {"path": path, "corpora": None if corpora is None else list(corpora)},
    ).fetchone()
    return row[0] if row else None


def find_documents(connection: Connection, keys: Sequence[str]) -> tuple[Document, ...]:
    """Return the documents with these keys, in the order of arrival. Uses the unique index."""
    return fetch_all(
        connection,
        Document,
        """
        SELECT document_id, document_key AS key, corpus, path, bytes, modified, content_hash, state,
               lane,
               priority, dropped_at, queued_at, nullif(not_before, '-infinity') AS not_before,
               attempts, run_id, lease_until, started_at, ended_at, error_class, error,
               withdrawn_at, withdrawn_by, stored_hash, chunking, title, media_type, language,
               pages, chunks, tokens, cost_usd::float8 AS cost_usd, seconds,
               characters, remarks
          FROM documents WHERE document_key = ANY(%s) ORDER BY document_id
        """,
        (list(keys),),
    )


def stored_document(connection: Connection, document_id: int) -> ChunkedDocument | None:
    """Rebuild a document from its stored chunks; ``None`` if it has none.

    ``seconds`` are empty. Uses the chunks' unique index.
    """
    row = connection.execute(
        "SELECT title, media_type, language, pages, characters, remarks FROM documents"
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
    title, media_type, language, pages, characters, remarks = row
    return ChunkedDocument(
        title,
        media_type,
        language,
        pages,
        characters or sum(len(chunk.text) for chunk in chunks),
        chunks,
        {},
        tuple(Remark(**{**one, "examples": tuple(one["examples"])}) for one in remarks or ()),
    )


def lacks_vectors(connection: Connection, document_id: int, spaces: Sequence[Space]) -> bool:
    """Return whether a chunk of the document lacks a verified, current vector in a space."""
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


def list_documents(
    connection: Connection,
    *,
    state: State | None = None,
    lane: Lane | None = None,
    limit: int,
    after: int | None = None,
    languages: Sequence[str] | None = None,
    corpora: Sequence[str] | None = None,
) -> tuple[Document, ...]:
    """List documents in the order of arrival.

    :param languages: only those known to be in these languages, as primary subtags.
    :param after: the last ``document_id`` of the previous page.
    """
    rows = connection.execute(
        """
        SELECT document_key FROM documents
         WHERE (%(state)s::text IS NULL OR state = %(state)s)
           AND (%(lane)s::text IS NULL OR lane = %(lane)s)
           AND document_id > coalesce(%(after)s, 0)
           AND (%(languages)s::text[] IS NULL
                OR lower(split_part(language, '-', 1)) = ANY(%(languages)s))
           AND (%(corpora)s::text[] IS NULL OR corpus = ANY(%(corpora)s))
         ORDER BY document_id LIMIT %(limit)s
        """,
        {
            "state": state,
            "lane": lane,
            "after": after,
            "limit": limit,
            "languages": languages and list(languages),
            "corpora": None if corpora is None else list(corpora),
        },
    ).fetchall()
    return find_documents(connection, [row[0] for row in rows])


def nearest_keys(
    connection: Connection,
    word: str,
    *,
    limit: int = 5,
    languages: Sequence[str] | None = None,
    corpora: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """Return keys that contain a word, shortest first, to suggest for a mistyped key.

    :param languages: as for :func:`list_documents`.
    """
    rows = connection.execute(
        """
        SELECT document_key FROM documents
         WHERE strpos(lower(document_key), lower(%(word)s)) > 0
           AND (%(languages)s::text[] IS NULL
                OR lower(split_part(language, '-', 1)) = ANY(%(languages)s))
           AND (%(corpora)s::text[] IS NULL OR corpus = ANY(%(corpora)s))
         ORDER BY length(document_key), document_key LIMIT %(limit)s
        """,
        {
            "word": word,
            "limit": limit,
            "languages": languages and list(languages),
            "corpora": None if corpora is None else list(corpora),
        },
    ).fetchall()
    return tuple(row[0] for row in rows)


def queue_counts(connection: Connection) -> dict[Lane, LaneCounts]:
    """Count the documents of each lane that has any. Scans the table: 45 ms for 100,000."""
    lanes = fetch_all(
        connection,
        LaneCounts,
        """
        WITH judged AS (
            SELECT lane, state, queued_at, not_before <= now() AS due,
                   state = 'waiting' OR (state = 'running' AND lease_until < now()) AS waits
              FROM documents
        )
        SELECT lane, count(*) FILTER (WHERE waits) AS waiting,
               count(*) FILTER (WHERE waits AND due) AS claimable,
               count(*) FILTER (WHERE state = 'running' AND NOT waits) AS running,
               count(*) FILTER (WHERE state = 'ready') AS ready,
               count(*) FILTER (WHERE state = 'dead') AS dead,
               coalesce(extract(epoch FROM now() - min(queued_at) FILTER (WHERE waits)), 0)::float8
                   AS oldest_waiting_s
          FROM judged GROUP BY lane ORDER BY lane
        """,
    )
    return {counts.lane: counts for counts in lanes}


def dead_by_class(connection: Connection) -> dict[str, int]:
    """Count dead letters by error class. Uses the index on dead documents."""
    rows = connection.execute(
        "SELECT error_class, count(*) FROM documents WHERE state = 'dead'"
        " GROUP BY error_class ORDER BY error_class"
    ).fetchall()
    return dict(rows)


def retry(
    connection: Connection,
    *,
    keys: Sequence[str] | None = None,
    error_class: str | None = None,
) -> int:
    """Requeue dead letters with their attempts reset; return their number.

    :param keys: only these; ``error_class``: only those of this class. Default: all.
    """
    return connection.execute(
        """
        UPDATE documents
           SET state = 'waiting', attempts = 0, not_before = '-infinity', queued_at = now(),
               retried_at = now(), run_id = NULL, started_at = NULL, ended_at = NULL
         WHERE state = 'dead'
           AND (%(keys)s::text[] IS NULL OR document_key = ANY(%(keys)s))
           AND (%(class)s::text IS NULL OR error_class = %(class)s)
        """,
        {"keys": None if keys is None else list(keys), "class": error_class},
    ).rowcount
