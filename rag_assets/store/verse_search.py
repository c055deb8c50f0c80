"""Nearest verses to a vector, among those that policy lets be served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from rag_assets.store.database import Connection
from rag_assets.store.spaces import Space


@dataclass(frozen=True)
class VerseHit:
    """One verse found. ``score`` is the cosine similarity, from -1 to 1."""

    version_code: str
    language: str
    book: str
    chapter: int
    verse: int
    verse_end: int
    text: str
    score: float


def nearest_verses(
    connection: Connection,
    space: Space,
    vector: NDArray[np.float32],
    *,
    top_k: int,
    versions: Sequence[str] | None,
) -> tuple[VerseHit, ...]:
    """Exact nearest neighbours by cosine distance: a scan of the space's verses.

    :param vector: float32, shape (dimensions,).
    :param versions: only these; ``None`` for all that policy allows.
    """
    rows = connection.execute(
        sql.SQL(
            """
            SELECT v.version_code, b.language, v.book, v.chapter, v.verse, v.verse_end, v.text,
                   1 - nearest.distance
              FROM (SELECT e.verse_id, e.embedding <=> %(vector)s::{type} AS distance
                      FROM {table} e
                      JOIN bible_versions b USING (version_code)
                     WHERE b.enabled_for_rag AND b.ai_allowed
                       AND (%(versions)s::text[] IS NULL OR e.version_code = ANY(%(versions)s))
                     ORDER BY distance LIMIT %(top_k)s) AS nearest
              JOIN verses v USING (verse_id)
              JOIN bible_versions b USING (version_code)
             ORDER BY nearest.distance, v.verse_id
            """
        ).format(table=space.verses_table, type=sql.SQL(space.spec.precision)),
        {
            "vector": "[" + ",".join(map(str, vector.tolist())) + "]",
            "versions": None if versions is None else list(versions),
            "top_k": top_k,
        },
    ).fetchall()
    return tuple(VerseHit(*row) for row in rows)


def servable_versions(connection: Connection) -> frozenset[str]:
    """Codes of the versions that policy lets be served."""
    rows = connection.execute(
        "SELECT version_code FROM bible_versions WHERE enabled_for_rag AND ai_allowed"
    ).fetchall()
    return frozenset(row[0] for row in rows)
