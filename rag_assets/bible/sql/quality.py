"""The quality of published verse vectors, counted from the tables themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from rag_assets.bible.sql.embeddings import NORM_TOLERANCE
from rag_assets.postgres.database import Connection, one
from rag_assets.vectors.sql.spaces import Space


@dataclass(frozen=True)
class Quality:
    """One version in one space, counted in rows from the tables themselves.

    :param verses: rows that should have a vector; ``embedded`` of them have one.
    :param stale: vectors that belong to an earlier text.
    :param wrong_norm: not finite, zero, or more than 0.01 away from 1.
    :param examples: by the name of the count, the first ten rows at fault with what was found.
    """

    verses: int
    embedded: int
    missing: int
    stale: int
    wrong_dimension: int
    wrong_norm: int
    examples: Mapping[str, tuple[str, ...]]


def quality(connection: Connection, space: Space, version_code: str) -> Quality:
    """Count what the asset checks judge. One pass over the version's rows, by version_code."""
    judged = sql.SQL(
        """
        SELECT v.verse_id AS id, v.book || ' ' || v.chapter || ':' || v.verse AS reference,
               e.verse_id IS NULL AS missing, e.text_hash <> v.text_hash AS stale,
               vector_dims(e.embedding) AS dimensions, {norm}(e.embedding) AS norm
          FROM verses v LEFT JOIN {table} e USING (verse_id)
         WHERE v.version_code = %(version_code)s
        """
    ).format(table=space.verses_table, norm=space.norm_function)
    return count_faults(connection, space, judged, {"version_code": version_code})


def count_faults(
    connection: Connection, space: Space, judged: sql.Composable, values: Mapping[str, object]
) -> Quality:
    """Count, and show some of, the faults among rows that should have a vector in a space.

    :param judged: a query for ``id``, ``reference``, ``missing``, ``stale``, ``dimensions`` and
        ``norm``; the last three are null where the vector is missing.
    """
    values = {**values, "dimensions": space.spec.dimensions, "tolerance": NORM_TOLERANCE}
    flagged = sql.SQL(
        """
        WITH judged AS MATERIALIZED ({judged}), flagged AS (
            SELECT *, dimensions <> %(dimensions)s AS wrong_dimension,
                   norm NOT BETWEEN 1 - %(tolerance)s AND 1 + %(tolerance)s AS wrong_norm
              FROM judged
        )
        """
    ).format(judged=judged)
    counting = sql.SQL(
        """
        SELECT count(*), count(*) FILTER (WHERE NOT missing), count(*) FILTER (WHERE missing),
               count(*) FILTER (WHERE stale), count(*) FILTER (WHERE wrong_dimension),
               count(*) FILTER (WHERE wrong_norm)
          FROM flagged
        """
    )
    showing = sql.SQL(
        """
        SELECT fault, array_agg(reference || ': ' || found ORDER BY id)
          FROM (SELECT id, reference, fault, found,
                       row_number() OVER (PARTITION BY fault ORDER BY id) AS place
                  FROM flagged
                 CROSS JOIN LATERAL (VALUES
                       ('missing', missing, 'no vector'),
                       ('stale', stale, 'vector of an earlier text'),
                       ('wrong_dimension', wrong_dimension, 'dimension ' || dimensions),
                       ('wrong_norm', wrong_norm, 'norm ' || round(norm::numeric, 4))
                       ) AS faults (fault, present, found)
                 WHERE present) AS shown
         WHERE place <= 10
         GROUP BY fault
        """
    )
    counts: tuple[int, int, int, int, int, int] = one(
        connection.execute(flagged + counting, values)
    )
    shown = connection.execute(flagged + showing, values).fetchall() if any(counts[2:]) else []
    return Quality(*counts, {fault: tuple(rows) for fault, rows in shown})
