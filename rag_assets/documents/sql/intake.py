"""What the intake records: documents that are new, changed, renamed, gone or back,
and those that are withdrawn.

What to record is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from rag_assets.documents.sql.documents import Digest, State
from rag_assets.lanes import Lane
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, one
from rag_assets.vectors.sql.spaces import Space, space_by_id
from rag_assets.vectors.sql.tables import documents_table

By = Literal["inbox", "command"]


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A document's file as it was last seen.

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


@dataclass(frozen=True, slots=True)
class FileNow:
    """A known document's file as it is now."""

    document_id: int
    path: str
    bytes: int
    modified: str
    content_hash: Digest
    lane: Lane
    priority: int


def known_documents(
    connection: Connection, paths: Sequence[str] | None = None
) -> dict[str, KnownFile]:
    """Every document that is not withdrawn, by path.

    :param paths: only those that have one of these.
    """
    return _files(connection, paths, withdrawn=False)


def withdrawn_documents(
    connection: Connection, paths: Sequence[str] | None = None
) -> dict[str, KnownFile]:
    """The withdrawn documents that are still kept, by path: of several, the last withdrawn."""
    return _files(connection, paths, withdrawn=True)


def _files(
    connection: Connection, paths: Sequence[str] | None, *, withdrawn: bool
) -> dict[str, KnownFile]:
    rows = connection.execute(
        """
        SELECT path, document_id, document_key, bytes, modified, content_hash, state, withdrawn_by
          FROM documents
         WHERE (state = 'withdrawn') = %(withdrawn)s
           AND (%(paths)s::text[] IS NULL OR path = ANY(%(paths)s))
         ORDER BY withdrawn_at, document_id
        """,
        {"withdrawn": withdrawn, "paths": None if paths is None else list(paths)},
    )
    # By position: there may be 100,000, and names take twice as long.
    return {path: KnownFile(*file) for path, *file in rows}


def newest_document(connection: Connection) -> int:
    """The greatest ``document_id``; 0 without any. By the primary key."""
    (newest,) = one(connection.execute("SELECT coalesce(max(document_id), 0) FROM documents"))
    return int(newest)


def key_taken(connection: Connection, key: str) -> bool:
    """Whether a document has this key. By its unique index."""
    return (
        connection.execute("SELECT FROM documents WHERE document_key = %s", (key,)).fetchone()
        is not None
    )


def add_documents(connection: Connection, files: Sequence[NewDocument]) -> tuple[str, ...]:
    """Put new documents into the queue, the first first; the keys of those that were added.

    One whose key or path another intake has taken meanwhile is left to that one.
    """
    rows = connection.execute(
        """
        INSERT INTO documents (document_key, path, bytes, modified, content_hash, lane, priority)
        SELECT key, path, bytes, modified, content_hash, lane, priority
          FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::bytea[], %s::text[],
                      %s::smallint[]) WITH ORDINALITY
               AS file (key, path, bytes, modified, content_hash, lane, priority, place)
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
        ),
    ).fetchall()
    return tuple(row[0] for row in rows)


def changed(connection: Connection, files: Sequence[FileNow]) -> None:
    """Put documents whose content changed into the queue, with all their attempts.

    A run that works on the content before loses its lease. One that waits already keeps its place.
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
                for f in sorted(files, key=lambda file: file.document_id)  # one order of locks
            ],
        )


def touched(connection: Connection, files: Sequence[FileNow]) -> None:
    """Remember the new time of files whose content is the same."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE documents SET modified = %s WHERE document_id = %s",
            [(file.modified, file.document_id) for file in files],
        )


def renamed(connection: Connection, files: Sequence[FileNow]) -> None:
    """Give documents their new paths, in the connection's transaction; nothing else changes.

    Two files may have changed names with each other: the old paths are given up first.
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
    """Withdrawn documents whose files are back go into the queue; their keys.

    What was kept of them costs nothing again when the content is the same.
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


def files_gone(connection: Connection, document_ids: Sequence[int]) -> None:
    """The files of documents withdrawn by command are gone, too: their return restores them."""
    connection.execute(
        "UPDATE documents SET withdrawn_by = 'inbox'"
        " WHERE document_id = ANY(%s) AND state = 'withdrawn'",
        (list(document_ids),),
    )


def refuse(connection: Connection, key: str, error_class: str, error: str) -> None:
    """Make a waiting document a dead letter before any run has tried it."""
    connection.execute(
        """
        UPDATE documents SET state = 'dead', ended_at = now(), error_class = %s, error = %s
         WHERE document_key = %s AND state = 'waiting'
        """,
        (error_class, error, key),
    )


def withdraw(connection: Connection, keys: Sequence[str], *, by: By) -> tuple[str, ...]:
    """Take documents out of search, in the connection's transaction; the keys of those it found.

    Their vectors are set aside among the answers, and their chunks stay: when a document is back in
    time, nothing is read or bought again. A run that works on one loses its lease.

    :param by: ``inbox``: the file is gone. ``command``: a person wants it so, whatever the inbox
        holds.
    """
    ids = [
        row[0]
        for row in connection.execute(
            """
            SELECT document_id FROM documents
             WHERE document_key = ANY(%s) AND state <> 'withdrawn'
             ORDER BY document_id FOR UPDATE
            """,
            (list(keys),),
        )
    ]
    if not ids:
        return ()
    locks.lock_transaction(connection, locks.WRITING_CHUNK_VECTORS)
    for space in _spaces(connection):
        _set_aside(connection, space, ids)
    rows = connection.execute(
        """
        UPDATE documents
           SET state = 'withdrawn', withdrawn_at = now(), withdrawn_by = %s, lease_until = NULL,
               run_id = NULL, error_class = NULL, error = NULL
         WHERE document_id = ANY(%s)
        RETURNING document_key
        """,
        (by, ids),
    ).fetchall()
    return tuple(row[0] for row in rows)


def _set_aside(connection: Connection, space: Space, ids: Sequence[int]) -> None:
    """Move vectors to the answers. By the document_id index."""
    locks.lock_transaction(connection, locks.using_answers(space.space_id))
    table = documents_table(space)
    connection.execute(
        sql.SQL(
            """
            WITH removed AS (
                DELETE FROM {table} WHERE document_id = ANY(%s)
                RETURNING text_hash, embedding, unverified
            )
            INSERT INTO {answers} (text_hash, embedding, set_aside)
            SELECT DISTINCT ON (text_hash) text_hash, embedding, true FROM removed
             WHERE NOT unverified
            ON CONFLICT DO NOTHING
            """
        ).format(table=table.identifier, answers=space.answers_table),
        (list(ids),),
    )


def _spaces(connection: Connection) -> tuple[Space, ...]:
    """Every space, whatever its role."""
    rows = connection.execute("SELECT space_id FROM embedding_spaces ORDER BY space_id").fetchall()
    return tuple(space_by_id(connection, row[0], "small") for row in rows)


def purge_withdrawn(connection: Connection, keep_days: float) -> tuple[str, ...]:
    """Forget what was withdrawn for longer; in the connection's transaction; the keys.

    Of a document that a person withdrew while its file is there, only the text goes: its row stays,
    or the next look at the inbox would take the file for a new document.
    """
    found = connection.execute(
        """
        SELECT document_id, document_key FROM documents
         WHERE state = 'withdrawn' AND withdrawn_at < now() - make_interval(secs => %s * 86400)
           AND (withdrawn_by = 'inbox' OR stored_hash IS NOT NULL)
         ORDER BY document_id FOR UPDATE SKIP LOCKED
        """,
        (keep_days,),
    ).fetchall()
    ids = [row[0] for row in found]
    if not ids:
        return ()
    locks.lock_transaction(connection, locks.WRITING_CHUNK_VECTORS)
    hashes = [
        row[0]
        for row in connection.execute(
            "DELETE FROM document_chunks WHERE document_id = ANY(%s) RETURNING text_hash", (ids,)
        )
    ]
    for space in _spaces(connection):
        locks.lock_transaction(connection, locks.using_answers(space.space_id))
        connection.execute(
            sql.SQL(
                "DELETE FROM {answers} a WHERE set_aside AND text_hash = ANY(%b::bytea[])"
                " AND NOT EXISTS (SELECT FROM document_chunks c WHERE c.text_hash = a.text_hash)"
            ).format(answers=space.answers_table),
            (hashes,),
        )
    connection.execute(
        "DELETE FROM documents WHERE document_id = ANY(%s) AND withdrawn_by = 'inbox'", (ids,)
    )
    connection.execute(
        """
        UPDATE documents
           SET (stored_hash, chunking, title, media_type, language, pages, chunks, tokens, cost_usd,
                seconds)
             = (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
         WHERE document_id = ANY(%s)
        """,
        (ids,),
    )
    return tuple(row[1] for row in found)


def purge_answers(connection: Connection, keep_days: float) -> int:
    """Forget answers that nobody has come for in that time; how many.

    They were bought for documents that never became ready, or came when another run had bought the
    same text already. Those to texts that are stored, and those set aside, stay. Reads the answers.
    """
    count = 0
    for space in _spaces(connection):
        count += connection.execute(
            sql.SQL(
                """
                DELETE FROM {answers} a
                 WHERE NOT set_aside AND bought_at < now() - make_interval(secs => %s * 86400)
                   AND NOT EXISTS (SELECT FROM verses v WHERE v.text_hash = a.text_hash)
                   AND NOT EXISTS (SELECT FROM document_chunks c WHERE c.text_hash = a.text_hash)
                """
            ).format(answers=space.answers_table),
            (keep_days,),
        ).rowcount
    return count
