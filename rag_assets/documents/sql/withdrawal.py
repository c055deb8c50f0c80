"""Withdraw documents from search, and delete their data after the retention period."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from psycopg import sql

from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.spaces import Space, all_spaces
from rag_assets.vectors.sql.tables import documents_table

By = Literal["inbox", "command"]


def withdraw(connection: Connection, keys: Sequence[str], *, by: By) -> tuple[str, ...]:
    """Withdraw documents in the connection's transaction; return the keys of those it found.

    Their vectors are set aside in the answers table and their chunks are kept, so that a document
    that returns in time costs nothing. A run that is processing one loses its lease.

    :param by: ``inbox``: the file is gone. ``command``: an operator withdrew it.
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
    for space in all_spaces(connection):
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
    """Move vectors to the answers table. Uses the document_id index."""
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


def purge_withdrawn(connection: Connection, keep_days: float) -> tuple[str, ...]:
    """Delete documents withdrawn for longer, in the connection's transaction; return their keys.

    If an operator withdrew a document whose file still exists, only its text is deleted: without
    its row, the next scan would treat the file as a new document.
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
    for space in all_spaces(connection):
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
    """Delete answers that have not been used in that time; return their number.

    They belong to documents that never became ready, or were embedded by two runs. Answers to
    stored texts, and those set aside, are kept. Scans the answers.
    """
    count = 0
    for space in all_spaces(connection):
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
