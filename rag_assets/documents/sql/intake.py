"""Record the changes that a scan found: documents new, changed, renamed, gone or restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rag_assets.documents.sql.documents import Digest, State
from rag_assets.lanes import Lane
from rag_assets.postgres.database import Connection, one
from rag_assets.vectors.sql.tables import DOCUMENTS


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A document's file as last seen.

    :param withdrawn_by: ``inbox``, ``command``, or ``None`` for a document that is not withdrawn.
    """

    document_id: int
    key: str
    bytes: int
    modified: str
    content_hash: Digest
    state: State
    withdrawn_by: str | None = None


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A file that becomes a document."""

    key: str
    path: str
    bytes: int
    modified: str
    content_hash: Digest
    lane: Lane
    priority: int
    corpus: str = DOCUMENTS


@dataclass(frozen=True, slots=True)
class FileNow:
    """The current state of a known document's file."""

    document_id: int
    path: str
    bytes: int
    modified: str
    content_hash: Digest
    lane: Lane
    priority: int


def known_documents(
    connection: Connection, paths: Sequence[str] | None = None, *, corpus: str = DOCUMENTS
) -> dict[str, KnownFile]:
    """Return the documents of a corpus that are not withdrawn, by path.

    :param paths: only documents with one of these paths.
    """
    return _files(connection, paths, corpus, withdrawn=False)


def withdrawn_documents(
    connection: Connection, paths: Sequence[str] | None = None, *, corpus: str = DOCUMENTS
) -> dict[str, KnownFile]:
    """Return withdrawn documents of a corpus that are still stored, by path.

    Of several with one path, the one withdrawn by command takes precedence, then the latest.
    """
    return _files(connection, paths, corpus, withdrawn=True)


def _files(
    connection: Connection, paths: Sequence[str] | None, corpus: str, *, withdrawn: bool
) -> dict[str, KnownFile]:
    rows = connection.execute(
        """
        SELECT path, document_id, document_key, bytes, modified, content_hash, state, withdrawn_by
          FROM documents
         WHERE (state = 'withdrawn') = %(withdrawn)s AND corpus = %(corpus)s
           AND (%(paths)s::text[] IS NULL OR path = ANY(%(paths)s))
         ORDER BY withdrawn_by = 'command', withdrawn_at, document_id
        """,
        {
            "withdrawn": withdrawn,
            "corpus": corpus,
            "paths": None if paths is None else list(paths),
        },
    )
    # Positional rows: there may be 100,000, and names take twice as long.
    return {path: KnownFile(*file) for path, *file in rows}


def newest_document(connection: Connection) -> int:
    """Return the highest ``document_id``, or 0. Uses the primary key."""
    (newest,) = one(connection.execute("SELECT coalesce(max(document_id), 0) FROM documents"))
    return int(newest)


def key_taken(connection: Connection, key: str) -> bool:
    """Return whether a document has this key. Uses its unique index."""
    return (
        connection.execute("SELECT FROM documents WHERE document_key = %s", (key,)).fetchone()
        is not None
    )


def add_documents(connection: Connection, files: Sequence[NewDocument]) -> tuple[str, ...]:
    """Queue new documents in order; return the keys of those that were added.

    Documents whose key or path a concurrent intake has taken are skipped.
    """
    rows = connection.execute(
        """
        INSERT INTO documents (document_key, path, bytes, modified, content_hash, lane, priority,
                               corpus)
        SELECT key, path, bytes, modified, content_hash, lane, priority, corpus
          FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::bytea[], %s::text[],
                      %s::smallint[], %s::text[]) WITH ORDINALITY
               AS file (key, path, bytes, modified, content_hash, lane, priority, corpus, place)
         ORDER BY place
        ON CONFLICT DO NOTHING
        RETURNING document_key
        """,
        (
            [file.key for file in files],
            [file.path for file in files],
            [file.bytes for file in files],
            [file.modified for file in files],
            [file.content_hash for file in files],
            [file.lane for file in files],
            [file.priority for file in files],
            [file.corpus for file in files],
        ),
    ).fetchall()
    return tuple(row[0] for row in rows)


def record_changed(connection: Connection, files: Sequence[FileNow]) -> None:
    """Queue documents whose content changed, with their attempts reset.

    A run that is processing the old content loses its lease. A waiting document keeps its place.
    """
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            UPDATE documents
               SET bytes = %s, modified = %s, content_hash = %s, lane = %s, priority = %s,
                   queued_at = CASE state WHEN 'waiting' THEN queued_at ELSE now() END,
                   state = 'waiting', not_before = '-infinity', attempts = 0, run_id = NULL,
                   lease_until = NULL, started_at = NULL, ended_at = NULL, error_class = NULL,
                   error = NULL
             WHERE document_id = %s AND state <> 'withdrawn'
            """,
            [
                (f.bytes, f.modified, f.content_hash, f.lane, f.priority, f.document_id)
                for f in sorted(files, key=lambda file: file.document_id)  # avoids deadlocks
            ],
        )


def record_touched(connection: Connection, files: Sequence[FileNow]) -> None:
    """Store the new modification time of files with unchanged content."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE documents SET modified = %s WHERE document_id = %s",
            [(file.modified, file.document_id) for file in files],
        )


def record_renamed(connection: Connection, files: Sequence[FileNow]) -> None:
    """Store the new paths of documents, in the connection's transaction.

    Two files may have swapped names, so the old paths are released first.
    """
    connection.execute(
        "UPDATE documents SET path = chr(1) || document_id WHERE document_id = ANY(%s)",
        ([file.document_id for file in files],),
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE documents SET path = %s, modified = %s WHERE document_id = %s",
            [(file.path, file.modified, file.document_id) for file in files],
        )


def restore(connection: Connection, files: Sequence[FileNow]) -> tuple[str, ...]:
    """Queue withdrawn documents whose files are back; return their keys.

    With the same content, their stored chunks and vectors are reused at no cost.
    """
    keys = []
    for file in files:
        row = connection.execute(
            """
            UPDATE documents
               SET path = %s, bytes = %s, modified = %s, content_hash = %s, lane = %s,
                   priority = %s, state = 'waiting', withdrawn_at = NULL, withdrawn_by = NULL,
                   queued_at = now(), not_before = '-infinity', attempts = 0, run_id = NULL,
                   started_at = NULL, ended_at = NULL, error_class = NULL, error = NULL
             WHERE document_id = %s AND state = 'withdrawn'
            RETURNING document_key
            """,
            (
                file.path,
                file.bytes,
                file.modified,
                file.content_hash,
                file.lane,
                file.priority,
                file.document_id,
            ),
        ).fetchone()
        if row:
            keys.append(row[0])
    return tuple(keys)


def record_files_gone(connection: Connection, document_ids: Sequence[int]) -> None:
    """Record that files of documents withdrawn by command are gone: if they return, restore."""
    connection.execute(
        "UPDATE documents SET withdrawn_by = 'inbox'"
        " WHERE document_id = ANY(%s) AND state = 'withdrawn'",
        (list(document_ids),),
    )


def refuse(connection: Connection, key: str, error_class: str, error: str) -> None:
    """Make a waiting document a dead letter without an attempt."""
    connection.execute(
        """
        UPDATE documents SET state = 'dead', ended_at = now(), error_class = %s, error = %s
         WHERE document_key = %s AND state = 'waiting'
        """,
        (error_class, error, key),
    )
