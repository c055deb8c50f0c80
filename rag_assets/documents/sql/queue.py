"""The document queue, which is the ``documents`` table: claims, and the ends of attempts.

A claim is a lease, which the run extends while it is alive. Statements that end an attempt require
the lease, so that a run that was wrongly considered dead does no harm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from rag_assets.documents.sql.documents import Digest
from rag_assets.documents.sql.leases import LOST, collect_lost, end_stuck
from rag_assets.lanes import Lane
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, fetch_all, one
from rag_assets.vectors.sql.spaces import Space
from rag_assets.vectors.sql.tables import documents_table

SUSPECT_ATTEMPTS = 2
"""Number of lost attempts from which a document is claimed alone."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A document that a run has claimed.

    :param content_hash: SHA-256 of the file as last seen.
    :param attempts: including this one.
    :param stored_hash: hash of the file that its chunks were made from, ``chunking``: the label of
        the chunking parameters; ``None`` if it has no chunks.
    :param suspect: whether at least two runs died while processing it, perhaps because of it.
    """

    document_id: int
    key: str
    corpus: str
    path: str
    bytes: int
    content_hash: Digest
    attempts: int
    stored_hash: Digest | None
    chunking: str | None
    suspect: bool


_CLAIM = """
    WITH corpora AS (
        SELECT corpus, (SELECT max(claimed_at) FROM corpus_turns t
                         WHERE t.corpus = c.corpus
                           AND (%(lane)s::text IS NULL OR t.lane = %(lane)s)) AS served_at
          FROM document_corpora c
    ), next AS (
        SELECT found.*, corpora.served_at
          FROM corpora CROSS JOIN LATERAL (
               SELECT document_id, corpus, bytes, priority, queued_at FROM documents d
                WHERE state = 'waiting' AND not_before <= now() AND d.corpus = corpora.corpus
                  AND (%(lane)s::text IS NULL OR lane = %(lane)s)
                  AND (%(keys)s::text[] IS NULL OR document_key = ANY(%(keys)s))
                  AND coalesce(error_class = %(lost)s AND attempts >= %(suspicious)s, false)
                      = %(suspects)s
                ORDER BY priority, queued_at, document_id LIMIT %(limit)s
                  FOR UPDATE SKIP LOCKED) AS found
    ), turns AS (
        SELECT document_id, bytes, row_number() OVER (
                   ORDER BY priority > 0, turn, served_at NULLS FIRST, queued_at, document_id
               ) AS place
          FROM (SELECT *, row_number() OVER (PARTITION BY corpus
                                             ORDER BY priority, queued_at, document_id) AS turn
                  FROM next) AS of_corpus
    ), summed AS (
        SELECT document_id, bytes, place, sum(bytes) OVER (ORDER BY place) AS total
          FROM turns WHERE place <= %(limit)s
    ), claimed AS (
        UPDATE documents d
           SET state = 'running', run_id = %(run_id)s, attempts = attempts + 1,
               lease_until = now() + make_interval(secs => %(lease_s)s),
               started_at = now(), ended_at = NULL
          FROM summed s
         WHERE d.document_id = s.document_id AND s.total - s.bytes < %(max_bytes)s
        RETURNING d.*, s.place
    ), served AS (
        INSERT INTO corpus_turns (corpus, lane, claimed_at)
        SELECT corpus, lane, clock_timestamp() FROM claimed GROUP BY corpus, lane
         ORDER BY max(place)
        ON CONFLICT (corpus, lane) DO UPDATE SET claimed_at = EXCLUDED.claimed_at
    )
    SELECT document_id, document_key AS key, corpus, path, bytes, content_hash, attempts,
           stored_hash, chunking, %(suspects)s AS suspect
      FROM claimed ORDER BY place
"""


def claim(
    connection: Connection,
    *,
    run_id: str,
    lane: Lane | None,
    limit: int,
    max_bytes: int,
    lease_s: float,
    max_running: int,
    max_attempts: int,
    keys: Sequence[str] | None = None,
    suspects: bool = False,
) -> tuple[Claimed, ...]:
    """Claim documents for a run, in a transaction of its own.

    The corpora take turns, first the one that was served longest ago in the lane; within a corpus,
    documents go by priority and age. Documents that an operator asked for come before all others.

    First requeues documents whose run has died, or makes them dead letters after their last
    attempt. Uses the indexes on waiting and on running documents.

    :param lane: ``None`` for any.
    :param max_bytes: stop after the document that reaches it; at least one is claimed.
    :param max_running: maximum number of running documents, over all runs.
    :param keys: only these.
    :param suspects: claim one suspect document instead of others.
    """
    with connection.transaction():
        locks.lock_transaction(connection, locks.CLAIMING_DOCUMENTS)
        collect_lost(connection, max_attempts)
        end_stuck(connection, lease_s)
        running = count_running(connection)
        return fetch_all(
            connection,
            Claimed,
            _CLAIM,
            {
                "lane": lane,
                "keys": None if keys is None else list(keys),
                "lost": LOST,
                "suspicious": SUSPECT_ATTEMPTS,
                "suspects": suspects,
                "limit": max(0, min(1 if suspects else limit, max_running - running)),
                "run_id": run_id,
                "lease_s": lease_s,
                "max_bytes": max_bytes,
            },
        )


def count_running(connection: Connection) -> int:
    """Count running documents, over all runs. Uses the index on them."""
    (running,) = one(connection.execute("SELECT count(*) FROM documents WHERE state = 'running'"))
    return int(running)


def requeue(connection: Connection, keys: Sequence[str], *, dead: bool = False) -> tuple[str, ...]:
    """Make waiting and ready documents claimable now; return their keys.

    :param dead: also requeue dead letters, with their attempts reset.
    """
    rows = connection.execute(
        """
        UPDATE documents
           SET attempts = CASE state WHEN 'waiting' THEN attempts ELSE 0 END,
               queued_at = CASE state WHEN 'waiting' THEN queued_at ELSE now() END,
               state = 'waiting', not_before = '-infinity'
         WHERE document_key = ANY(%s)
           AND (state IN ('waiting', 'ready') OR (state = 'dead' AND %s))
        RETURNING document_key
        """,
        (list(keys), dead),
    ).fetchall()
    return tuple(row[0] for row in rows)


def give_back(
    connection: Connection,
    run_id: str,
    *,
    error_class: str | None = None,
    error: str | None = None,
    after_s: float = 0,
) -> tuple[str, ...]:
    """Return a run's documents to their places in the queue, without counting the attempt.

    :param error: why, if an error was the reason; ``after_s``: seconds before they are claimable.
    :return: the keys.
    """
    rows = connection.execute(
        """
        UPDATE documents
           SET state = 'waiting', attempts = attempts - 1, lease_until = NULL, started_at = NULL,
               run_id = NULL, not_before = now() + make_interval(secs => %(after_s)s),
               error_class = coalesce(%(class)s, error_class), error = coalesce(%(error)s, error)
         WHERE state = 'running' AND run_id = %(run_id)s
        RETURNING document_key
        """,
        {"run_id": run_id, "class": error_class, "error": error, "after_s": after_s},
    ).fetchall()
    return tuple(row[0] for row in rows)


def mark_dead(
    connection: Connection, document_id: int, run_id: str, error_class: str, error: str
) -> bool:
    """Make a document a dead letter. Returns false if the run no longer holds the lease."""
    return bool(
        connection.execute(
            """
            UPDATE documents
               SET state = 'dead', lease_until = NULL, ended_at = now(), error_class = %s,
                   error = %s
             WHERE document_id = %s AND run_id = %s AND state = 'running'
            """,
            (error_class, error, document_id, run_id),
        ).rowcount
    )


def mark_for_retry(
    connection: Connection,
    document_id: int,
    run_id: str,
    error_class: str,
    error: str,
    after_s: float,
    *,
    counted: bool = True,
) -> bool:
    """Requeue a document behind the others, claimable after ``after_s`` seconds.

    Returns false if the run no longer holds the lease.

    :param counted: whether the attempt counts against the document.
    """
    return bool(
        connection.execute(
            """
            UPDATE documents
               SET state = 'waiting', lease_until = NULL, queued_at = now(), ended_at = now(),
                   attempts = attempts - %s, not_before = now() + make_interval(secs => %s),
                   error_class = %s, error = %s
             WHERE document_id = %s AND run_id = %s AND state = 'running'
            """,
            (0 if counted else 1, after_s, error_class, error, document_id, run_id),
        ).rowcount
    )


def mark_unchanged(connection: Connection, document_id: int, run_id: str) -> bool:
    """End an attempt without changes. Returns false if the run no longer holds the lease."""
    return bool(
        connection.execute(
            """
            UPDATE documents
               SET state = 'ready', lease_until = NULL, ended_at = now(), error_class = NULL,
                   error = NULL
             WHERE document_id = %s AND run_id = %s AND state = 'running'
            """,
            (document_id, run_id),
        ).rowcount
    )


@dataclass(frozen=True)
class Unembedded:
    """A ready document without vectors in a space."""

    key: str
    tokens: int


def unembedded_documents(connection: Connection, space: Space | None) -> tuple[Unembedded, ...]:
    """Those of before another model was set; all ready ones where the space was never used."""
    missing: sql.Composable = sql.SQL("")
    if space is not None:
        missing = sql.SQL(
            "AND NOT EXISTS (SELECT FROM {table} e WHERE e.document_id = d.document_id)"
        ).format(table=documents_table(space).identifier)
    return fetch_all(
        connection,
        Unembedded,
        sql.SQL(
            """
            SELECT document_key AS key, coalesce(tokens, 0) AS tokens FROM documents d
             WHERE state = 'ready' {missing} ORDER BY document_id
            """
        ).format(missing=missing),
    )


@dataclass(frozen=True)
class Requeued:
    """Number of requeued documents, their tokens, and the number ``left`` over."""

    documents: int
    tokens: int
    left: int


def requeue_unembedded(
    connection: Connection,
    space: Space,
    *,
    limit: int,
    tokens: float = math.inf,
    before: datetime | None = None,
) -> Requeued:
    """Requeue ready documents without vectors in a space, oldest first, behind all others.

    After a change of the model, their stored chunks are embedded without re-reading the files. Uses
    the document_id index of the space's table.

    :param limit: maximum number of documents considered; ``tokens``: maximum total of tokens.
    :param before: only documents not processed since then.
    """
    (requeued,) = fetch_all(
        connection,
        Requeued,
        sql.SQL(
            """
            WITH unembedded AS (
                SELECT document_id, coalesce(tokens, 0) AS tokens FROM documents d
                 WHERE state = 'ready' AND NOT EXISTS
                       (SELECT FROM {table} e WHERE e.document_id = d.document_id)
                   AND coalesce(coalesce(ended_at, dropped_at) < %(before)s, true)
                 ORDER BY document_id LIMIT %(limit)s
                   FOR UPDATE SKIP LOCKED
            ), summed AS (
                SELECT document_id, tokens, sum(tokens) OVER (ORDER BY document_id) AS total
                  FROM unembedded
            ), requeued AS (
                UPDATE documents d
                   SET state = 'waiting', attempts = 0, not_before = '-infinity',
                       queued_at = now()
                  FROM summed s
                 WHERE d.document_id = s.document_id AND s.total <= %(tokens)s::float8
                RETURNING s.tokens
            )
            SELECT count(*) AS documents, coalesce(sum(tokens), 0)::bigint AS tokens,
                   (SELECT count(*) FROM unembedded) - count(*) AS left
              FROM requeued
            """
        ).format(table=documents_table(space).identifier),
        {"limit": limit, "tokens": tokens, "before": before},
    )
    return requeued


def requeue_outdated(connection: Connection, reader: str, *, limit: int) -> int:
    """Requeue ready documents that another version of the extraction has read; return their number.

    They keep their stored chunks until then, and wait behind all others. Uses the indexes on the
    readers of ready documents and on waiting documents.

    :param reader: the current version, which is the part of ``chunking`` before the colon.
    :param limit: maximum number of waiting documents, including others.
    """
    return connection.execute(
        """
        UPDATE documents
           SET state = 'waiting', priority = 3, attempts = 0, not_before = '-infinity',
               queued_at = now()
         WHERE document_id IN (
               SELECT document_id FROM documents
                WHERE state = 'ready'
                  AND (split_part(chunking, ':', 1) < %(reader)s
                       OR split_part(chunking, ':', 1) > %(reader)s)
                LIMIT greatest(0, %(limit)s
                               - (SELECT count(*) FROM documents WHERE state = 'waiting'))
                  FOR UPDATE SKIP LOCKED)
        """,
        {"reader": reader, "limit": limit},
    ).rowcount


def living_runs(connection: Connection) -> frozenset[str]:
    """Return the runs that hold a valid lease. Uses the index on running documents."""
    rows = connection.execute(
        "SELECT DISTINCT run_id FROM documents WHERE state = 'running' AND lease_until > now()"
    ).fetchall()
    return frozenset(row[0] for row in rows)
