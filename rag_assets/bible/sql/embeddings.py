"""Published verse vectors: find stale ones, and publish paid answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from rag_assets.errors import AuditError
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, fetch_all, one
from rag_assets.vectors.sql.code_writing import encode_new
from rag_assets.vectors.sql.faults import NORM_TOLERANCE
from rag_assets.vectors.sql.spaces import Space
from rag_assets.vectors.sql.tables import announce, bible_table


@dataclass(frozen=True, slots=True)
class StaleVerse:
    """A verse whose vector is missing or unverified, or belongs to another text."""

    verse_id: int
    reference: str
    text: str
    text_hash: bytes


@dataclass(frozen=True)
class Published:
    """Rows written by one publication, from new answers and from vectors already stored."""

    from_answers: int
    reused: int


def stale_verses(
    connection: Connection,
    space: Space | None,
    version_code: str,
    *,
    every: bool = False,
    run_id: str | None = None,
    limit: int | None = None,
) -> tuple[StaleVerse, ...]:
    """Verses to embed, in canonical order. Joins on both primary keys.

    A row in another language than the version's is stale too: rewriting it costs no request.

    :param space: ``None`` if the space does not exist yet; all verses are then stale.
    :param every: include verses with a valid vector (overwrite), unless ``run_id`` wrote it: a run
        that is restarted after it died does not pay twice for what it had published.
    """
    fresh: sql.Composable = sql.SQL("FALSE")
    if space is not None and not every:
        fresh = sql.SQL(
            "EXISTS (SELECT FROM {table} e"
            " WHERE e.verse_id = v.verse_id AND e.text_hash = v.text_hash"
            " AND e.language = b.language AND NOT e.unverified)"
        ).format(table=space.verses_table)
    elif space is not None and run_id is not None:
        fresh = sql.SQL(
            "EXISTS (SELECT FROM {table} e"
            " WHERE e.verse_id = v.verse_id AND e.text_hash = v.text_hash AND e.run_id = {run_id}"
            " AND NOT e.unverified)"
        ).format(table=space.verses_table, run_id=run_id)
    return fetch_all(
        connection,
        StaleVerse,
        sql.SQL(
            """
            SELECT verse_id, book || ' ' || chapter || ':' || verse AS reference, text, text_hash
              FROM verses v JOIN bible_versions b USING (version_code)
             WHERE version_code = %s AND NOT {fresh}
             ORDER BY book_order, chapter, verse
             LIMIT %s
            """
        ).format(fresh=fresh),
        (version_code, limit),
    )


def publish(
    connection: Connection,
    space: Space,
    version_code: str,
    verse_ids: Sequence[int],
    *,
    run_id: str,
    refused: Sequence[bytes] = (),
) -> Published:
    """Publish the vectors of these verses in the connection's transaction, after an audit.

    A verse gets the paid answer for its text or, without one, the vector that the same text has
    elsewhere in the space. Uses the text_hash indexes of both tables. The used answers are removed
    in the same transaction.

    :param refused: hashes of texts that the provider refused to embed for this run.
    :raises AuditError: the vectors to be published are wrong; roll back.
    """
    connection.execute("SET LOCAL jit = off")  # compiling costs more than these joins
    locks.lock_transaction(connection, locks.changing_verses(version_code))
    if verse_ids:
        announce(connection, bible_table(space), version_code, rows=len(verse_ids))
    table, answers = space.verses_table, space.answers_table
    paid = sql.SQL("{answers} AS found USING (text_hash)").format(answers=answers)
    # Whether a verse still lacks a vector is read from what this run has just written, not from the
    # answers: between the two statements other runs may add answers or use them up.
    known = sql.SQL(
        "LATERAL (SELECT embedding FROM {table} e"
        " WHERE e.text_hash = v.text_hash AND NOT e.unverified"
        " ORDER BY created_at DESC LIMIT 1) AS found"
        " ON NOT EXISTS (SELECT FROM {table} w WHERE w.verse_id = v.verse_id"
        " AND w.text_hash = v.text_hash AND w.run_id = %(run_id)s)"
    ).format(table=table)
    values: dict[str, object] = {
        "run_id": run_id,
        "verse_ids": list(verse_ids),
        "version_code": version_code,
        "refused": list(refused),
    }
    _set_moved_aside(connection, space, values)
    from_answers = _write(connection, space, paid, values)
    all_written = from_answers == len(verse_ids)
    reused = 0 if all_written else _write(connection, space, known, values)
    if from_answers or reused:
        encode_new(connection, bible_table(space), verse_ids)
    _forget_answers(connection, space, values)
    connection.execute(
        sql.SQL(
            """
            DELETE FROM embedding_failures f USING {table} e
             WHERE f.space_id = %(space_id)s AND f.verse_id = e.verse_id
               AND e.verse_id = ANY(%(verse_ids)s)
            """
        ).format(table=table),
        values | {"space_id": space.space_id},
    )
    return Published(from_answers, reused)


def unverified_sample(
    connection: Connection, space: Space, version_code: str, count: int
) -> tuple[StaleVerse, ...]:
    """Sample the verses whose vectors are unverified and claim to be of the current text.

    It is the same sample each time, so that a run that is restarted after it died does not pay
    twice. Uses the partial index on the mark.
    """
    return fetch_all(
        connection,
        StaleVerse,
        sql.SQL(
            """
            SELECT verse_id, book || ' ' || v.chapter || ':' || verse AS reference, text,
                   v.text_hash
              FROM {table} e JOIN verses v USING (verse_id, version_code, book)
             WHERE e.unverified AND e.version_code = %s AND e.text_hash = v.text_hash
             ORDER BY hashint8extended(verse_id, 1)
             LIMIT %s
            """
        ).format(table=space.verses_table),
        (version_code, count),
    )


def count_agreeing(connection: Connection, space: Space, verse_ids: Sequence[int]) -> int:
    """Count those of these verses whose vector has norm 1 and the direction of the new answer."""
    (agreeing,) = one(
        connection.execute(
            sql.SQL(
                """
                SELECT count(*) FROM {table} e JOIN {answers} a USING (text_hash)
                 WHERE e.verse_id = ANY(%(verse_ids)s) AND NOT a.set_aside
                   AND CASE WHEN vector_dims(e.embedding) = vector_dims(a.embedding)
                            THEN e.embedding <=> a.embedding <= %(tolerance)s END
                   AND {norm}(e.embedding) BETWEEN 1 - %(tolerance)s AND 1 + %(tolerance)s
                """
            ).format(
                table=space.verses_table, answers=space.answers_table, norm=space.norm_function
            ),
            {"verse_ids": list(verse_ids), "tolerance": NORM_TOLERANCE},
        )
    )
    return int(agreeing)


def accept_unverified(connection: Connection, space: Space, version_code: str) -> int:
    """Mark a version's unverified vectors as verified, in the transaction; return how many."""
    announce(connection, bible_table(space), version_code)
    return connection.execute(
        sql.SQL(
            "UPDATE {table} SET unverified = false WHERE unverified AND version_code = %s"
        ).format(table=space.verses_table),
        (version_code,),
    ).rowcount


def _set_moved_aside(connection: Connection, space: Space, values: dict[str, object]) -> None:
    """Keep the vectors of texts that move between verses, as answers for these texts.

    After a verse was inserted, each later verse has the text of the one before it. The row with the
    vector of a text may be overwritten before the verse that needs it is written.
    """
    connection.execute(
        sql.SQL(
            """
            INSERT INTO {answers} (text_hash, embedding, set_aside)
            SELECT DISTINCT ON (e.text_hash) e.text_hash, e.embedding, true
              FROM {table} e JOIN verses v USING (verse_id)
             WHERE e.verse_id = ANY(%(verse_ids)s) AND e.text_hash <> v.text_hash
               AND NOT e.unverified
               AND e.text_hash IN (SELECT text_hash FROM verses WHERE verse_id = ANY(%(verse_ids)s))
            ON CONFLICT DO NOTHING
            """
        ).format(answers=space.answers_table, table=space.verses_table),
        values,
    )


def _forget_answers(connection: Connection, space: Space, values: dict[str, object]) -> None:
    """Remove the published answers, by truncating the table if there are no others.

    Truncating takes 1 ms and leaves nothing to vacuum; deleting 31,000 vectors takes 200 ms and
    leaves 95 MB. It needs an exclusive lock on the table for a moment, and never waits for that.
    """
    locks.lock_transaction(connection, locks.using_answers(space.space_id))
    names = {"answers": space.answers_table}
    # A later answer, or one for a text refused here, belongs to a run that has yet to publish it.
    published = sql.SQL(
        "a.bought_at <= now() AND a.text_hash IN"
        " (SELECT text_hash FROM verses WHERE verse_id = ANY(%(verse_ids)s))"
        " AND a.text_hash <> ALL(%(refused)b::bytea[])"
    )
    others = sql.SQL(
        "SELECT EXISTS (SELECT FROM {answers} a WHERE ({published}) IS NOT TRUE)"
    ).format(published=published, **names)
    try:
        with connection.transaction():  # a savepoint: rolling back releases the lock
            connection.execute(
                sql.SQL("LOCK TABLE {answers} IN ACCESS EXCLUSIVE MODE NOWAIT").format(**names)
            )
            if one(connection.execute(others, values))[0]:
                raise psycopg.Rollback
            connection.execute(sql.SQL("TRUNCATE {answers}").format(**names))
            return
    except psycopg.errors.LockNotAvailable:
        pass
    connection.execute(
        sql.SQL("DELETE FROM {answers} a WHERE {published}").format(published=published, **names),
        values,
    )


def _write(
    connection: Connection, space: Space, source: sql.Composable, values: dict[str, object]
) -> int:
    """Write the vectors that ``source`` joins as ``found``, and audit each as it is written."""
    statement = sql.SQL(
        """
        WITH written AS (
            INSERT INTO {table} AS e (verse_id, version_code, language, book, chapter, embedding,
                                      text_hash, run_id)
            SELECT v.verse_id, v.version_code, b.language, v.book, v.chapter, found.embedding,
                   v.text_hash, %(run_id)s
              FROM verses v
              JOIN bible_versions b USING (version_code)
              JOIN {source}
             WHERE v.verse_id = ANY(%(verse_ids)s) AND v.version_code = %(version_code)s
            ON CONFLICT (verse_id) DO UPDATE
               SET (language, embedding, text_hash, run_id, created_at, unverified)
                 = (EXCLUDED.language, EXCLUDED.embedding, EXCLUDED.text_hash, EXCLUDED.run_id,
                    now(), false)
            RETURNING vector_dims(e.embedding) AS dimensions, {norm}(e.embedding) AS norm
        )
        SELECT count(*), count(*) FILTER (WHERE dimensions <> %(dimensions)s),
               count(*) FILTER (WHERE norm NOT BETWEEN 1 - %(tolerance)s AND 1 + %(tolerance)s)
          FROM written
        """
    ).format(table=space.verses_table, source=source, norm=space.norm_function)
    judged = {"dimensions": space.spec.dimensions, "tolerance": NORM_TOLERANCE}
    count, wrong_dimension, wrong_norm = one(connection.execute(statement, values | judged))
    if wrong_dimension or wrong_norm:
        raise AuditError(
            f"space {space.spec}: of {count} vectors {wrong_dimension} have another dimension and "
            f"{wrong_norm} are not normalised; nothing was published"
        )
    return int(count)


def count(connection: Connection, space: Space, version_code: str) -> int:
    """Count the vectors of one version. Uses the version_code index."""
    (rows,) = one(
        connection.execute(
            sql.SQL("SELECT count(*) FROM {table} WHERE version_code = %s").format(
                table=space.verses_table
            ),
            (version_code,),
        )
    )
    return int(rows)


def failures(connection: Connection, space: Space, version_code: str) -> tuple[str, ...]:
    """Refused texts of a version as ``reference: reason``. Uses the failures' primary key."""
    rows = connection.execute(
        """
        SELECT book || ' ' || chapter || ':' || verse || ': ' || message
          FROM embedding_failures f JOIN verses v USING (verse_id)
         WHERE f.space_id = %s AND v.version_code = %s AND f.text_hash = v.text_hash
         ORDER BY book_order, chapter, verse
        """,
        (space.space_id, version_code),
    ).fetchall()
    return tuple(row[0] for row in rows)


def record_failures(
    connection: Connection,
    space: Space,
    verses: Sequence[StaleVerse],
    reasons: dict[bytes, tuple[str, str]],
    *,
    run_id: str,
) -> None:
    """Record refused texts for every verse that has them.

    :param reasons: (class of the error, message) by text hash.
    """
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO embedding_failures AS f
                   (space_id, verse_id, text_hash, error_class, message, run_id)
            VALUES (%s, %s, %s, %s, %s, %s)
            ON CONFLICT (space_id, verse_id) DO UPDATE
               SET (text_hash, error_class, message, run_id, failed_at)
                 = (EXCLUDED.text_hash, EXCLUDED.error_class, EXCLUDED.message, EXCLUDED.run_id,
                    now())
            """,
            [
                (space.space_id, verse.verse_id, verse.text_hash, *reasons[verse.text_hash], run_id)
                for verse in verses
                if verse.text_hash in reasons
            ],
        )
