"""Count the faults in one table of vectors, with a statement that all slices share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from rag_assets.postgres.database import Connection, one
from rag_assets.vectors.sql.spaces import Space

NORM_TOLERANCE = 0.01
"""A 16-bit component carries 11 significant bits, which changes a unit vector's norm by far less.
Embedding the same text again also changes its direction, as a cosine distance, by far less."""


@dataclass(frozen=True)
class FaultCounts:
    """The number of rows of one scope in one space, and of those with each fault.

    :param rows: rows that should have a vector; ``embedded``: those that have one.
    :param stale: vectors that belong to an earlier text.
    :param wrong_norm: norm not finite, zero, or more than 0.01 away from 1.
    :param examples: by name of the count, the first ten faulty rows with what was found.
    """

    rows: int
    embedded: int
    missing: int
    stale: int
    wrong_dimension: int
    wrong_norm: int
    examples: Mapping[str, tuple[str, ...]]


def count_faults(
    connection: Connection, space: Space, judged: sql.Composable, values: Mapping[str, object]
) -> FaultCounts:
    """Count the faults among rows that should have a vector in a space, with some examples.

    :param judged: a query for ``id``, ``reference``, ``missing``, ``stale``, ``dimensions`` and
        ``norm``; the last three are null if the vector is missing.
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
    return FaultCounts(*counts, {fault: tuple(rows) for fault, rows in shown})
