"""Sample the texts of passages that have vectors, to make queries from, and name passages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal, LiteralString

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.tables import Corpus, VectorTable

Half = Literal[0, 1]
"""Half of the passages, by a hash of their ids: what one is judged by, the other is tuned with."""

_TEXTS: dict[Corpus, LiteralString] = {"bible": "verses", "documents": "document_chunks"}
_LETTERS_PER_WORD = 12
"""A text with more letters to a word is in a script that does not separate words by blanks."""


def sample_texts(
    connection: Connection,
    table: VectorTable,
    scopes: Sequence[str],
    count: int,
    *,
    min_words: int,
    min_letters: int,
    seed: int,
    half: Half,
) -> list[tuple[int, str, str]]:
    """At most ``count`` passages as (id, scope, text), the same for the same seed and texts.

    :param scopes: versions, or languages of documents.
    :param min_words: passages with fewer words are left out, unless their script does not separate
        words: those have at least ``min_letters``.
    """
    return connection.execute(
        sql.SQL(
            """
            SELECT {id}, e.{part}, t.text FROM {table} e JOIN {texts} t USING ({id}),
                   LATERAL (SELECT cardinality(string_to_array(t.text, ' ')) AS words) w
             WHERE e.{part} = ANY(%(scopes)s) AND e.text_hash = t.text_hash
               AND hashint8extended({id}, 0) & 1 = %(half)s
               AND (words >= %(min_words)s OR length(t.text)
                    >= greatest(%(min_letters)s, %(letters_per_word)s * words))
             ORDER BY hashint8extended({id}, %(seed)s), {id}
             LIMIT %(count)s
            """
        ).format(
            id=table.id_column,
            part=table.part_column,
            table=table.identifier,
            texts=sql.Identifier(_TEXTS[table.corpus]),
        ),
        {
            "scopes": list(scopes),
            "half": half,
            "min_words": min_words,
            "min_letters": min_letters,
            "letters_per_word": _LETTERS_PER_WORD,
            "seed": seed,
            "count": count,
        },
    ).fetchall()


def counterparts(
    connection: Connection, ids: Sequence[int], versions: Collection[str]
) -> dict[int, frozenset[int]]:
    """For each of these verses, the ids of the same verse in these versions, or of its bridge.

    Uses verses' unique index.
    """
    rows = connection.execute(
        """
        SELECT s.verse_id, array_agg(v.verse_id)
          FROM verses s
          JOIN verses v ON v.book = s.book AND v.chapter = s.chapter
                       AND s.verse BETWEEN v.verse AND v.verse_end
         WHERE s.verse_id = ANY(%s) AND v.version_code = ANY(%s) AND v.verse_id <> s.verse_id
         GROUP BY s.verse_id
        """,
        (list(ids), list(versions)),
    ).fetchall()
    return {verse_id: frozenset(found) for verse_id, found in rows}


def vectors_of(
    connection: Connection, table: VectorTable, ids: Sequence[int]
) -> dict[int, NDArray[np.float32]]:
    """The vectors of these passages: float32, shape (dimensions,). Uses the primary key.

    :param connection: is prepared for vectors.
    """
    rows = connection.execute(
        sql.SQL("SELECT {id}, embedding FROM {table} WHERE {id} = ANY(%s)").format(
            id=table.id_column, table=table.identifier
        ),
        (list(ids),),
    ).fetchall()
    return {row_id: vector.to_numpy().astype(np.float32) for row_id, vector in rows}


def places_of(
    connection: Connection, table: VectorTable, ids: Iterable[int]
) -> dict[int, tuple[str, str]]:
    """Where these passages are, as hits name it: version and verse, or document and position."""
    if table.corpus == "bible":
        query: LiteralString = (
            "SELECT verse_id, version_code, book || ' ' || chapter || ':' || verse"
            " FROM verses WHERE verse_id = ANY(%s)"
        )
    else:
        query = (
            "SELECT c.chunk_id, d.document_key, c.position::text FROM document_chunks c"
            " JOIN documents d USING (document_id) WHERE c.chunk_id = ANY(%s)"
        )
    rows = connection.execute(query, (list(ids),)).fetchall()
    return {row_id: (scope, place) for row_id, scope, place in rows}
