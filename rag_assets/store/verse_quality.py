"""The quality of published verse vectors, counted from the tables themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from rag_assets.store.database import Connection, one
from rag_assets.store.spaces import Space
from rag_assets.store.verse_embeddings import NORM_TOLERANCE


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
    values = {
        "version_code": version_code,
        "dimensions": space.spec.dimensions,
        "tolerance": NORM_TOLERANCE,
    }
    judged = sql.SQL(
        """
        WITH judged AS MATERIALIZED (
            SELECT v.verse_id, v.book || ' ' || v.chapter || ':' || v.verse AS reference,
                   e.verse_id IS NULL AS missing, e.text_hash <> v.text_hash AS stale,
                   vector_dims(e.embedding) AS dimensions, {norm}(e.embedding) AS norm
              FROM verses v LEFT JOIN {table} e USING (verse_id)
             WHERE v.version_code = %(version_code)s
        ), flagged AS (
            SELECT *, dimensions <> %(dimensions)s AS wrong_dimension,
                   norm NOT BETWEEN 1 - %(tolerance)s AND 1 + %(tolerance)s AS wrong_norm
              FROM judged
        )
        """
    ).format(table=space.verses_table, norm=space.norm_function)
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
        SELECT fault, array_agg(reference || ': ' || found ORDER BY verse_id)
          FROM (SELECT verse_id, reference, fault, found,
                       row_number() OVER (PARTITION BY fault ORDER BY verse_id) AS place
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
    counts: tuple[int, int, int, int, int, int] = one(connection.execute(judged + counting, values))
    shown = connection.execute(judged + showing, values).fetchall() if any(counts[2:]) else []
    return Quality(*counts, {fault: tuple(rows) for fault, rows in shown})
