"""Sample the texts of passages that have vectors, to make queries from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from psycopg import sql

from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.tables import Corpus, VectorTable

_TEXTS: dict[Corpus, LiteralString] = {"bible": "verses", "documents": "document_chunks"}


def sample_texts(
    connection: Connection,
    table: VectorTable,
    scopes: Sequence[str],
    count: int,
    *,
    min_words: int,
    seed: int,
) -> list[tuple[int, str, str]]:
    """At most ``count`` passages as (id, scope, text), the same for the same seed and texts.

    :param scopes: versions, or languages of documents.
    :param min_words: passages with fewer words are left out.
    """
    return connection.execute(
        sql.SQL(
            """
            SELECT {id}, e.{part}, t.text FROM {table} e JOIN {texts} t USING ({id})
             WHERE e.{part} = ANY(%(scopes)s) AND e.text_hash = t.text_hash
               AND cardinality(string_to_array(t.text, ' ')) >= %(min_words)s
             ORDER BY hashint8extended({id}, %(seed)s), {id}
             LIMIT %(count)s
            """
        ).format(
            id=table.id_column,
            part=table.part_column,
            table=table.identifier,
            texts=sql.Identifier(_TEXTS[table.corpus]),
        ),
        {"scopes": list(scopes), "min_words": min_words, "seed": seed, "count": count},
    ).fetchall()
