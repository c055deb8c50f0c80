"""Texts to embed, and the comparison of stored vectors with the answers to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from rag_assets.audit.model import SHOWN
from rag_assets.audit.sql.texts import FoundRows
from rag_assets.postgres.database import Connection, fetch_all
from rag_assets.vectors.sql.tables import Corpus, VectorTable

AGREEING = 0.001
"""Cosine distance up to which two answers to one text are the same: providers vary, and a stored
component has 11 significant bits."""


@dataclass(frozen=True)
class SampledText:
    """The text of one row, as it is embedded."""

    row_id: int
    scope: str
    text: str
    text_hash: bytes


_TEXTS: Mapping[Corpus, sql.SQL] = {
    "bible": sql.SQL(
        "SELECT verse_id AS row_id, version_code AS scope, text, text_hash"
        " FROM verses JOIN bible_versions USING (version_code) WHERE ai_allowed"
    ),
    "documents": sql.SQL(
        "SELECT chunk_id AS row_id, corpus AS scope, context || text AS text, text_hash"
        " FROM document_chunks JOIN documents USING (document_id)"
    ),
}

_REFERENCES: Mapping[Corpus, sql.SQL] = {
    "bible": sql.SQL(
        "SELECT verse_id AS row_id, version_code || ' ' || book || ' ' || chapter || ':' || verse"
        " AS reference FROM verses"
    ),
    "documents": sql.SQL(
        "SELECT chunk_id AS row_id, document_key || ' ' || position AS reference"
        " FROM document_chunks JOIN documents USING (document_id)"
    ),
}


def sample_texts(
    connection: Connection, table: VectorTable, scope: str, count: int, *, seed: int
) -> tuple[SampledText, ...]:
    """Choose rows of a scope whose vector claims to be of the present text, others for each seed.

    Vectors that no embedding run wrote come first. Reads the scope's rows.
    """
    return fetch_all(
        connection,
        SampledText,
        sql.SQL(
            """
            SELECT t.row_id, t.scope, t.text, t.text_hash
              FROM ({texts}) AS t JOIN {table} e ON e.{id} = t.row_id
             WHERE e.{scope} = %(scope)s AND e.text_hash = t.text_hash
             ORDER BY e.unverified DESC, hashint8extended(t.row_id, %(seed)s) LIMIT %(count)s
            """
        ).format(
            texts=_TEXTS[table.corpus],
            table=table.identifier,
            id=table.id_column,
            scope=table.scope_column,
        ),
        {"scope": scope, "seed": seed, "count": count},
    )


def texts_of(
    connection: Connection, table: VectorTable, ids: Sequence[int]
) -> tuple[SampledText, ...]:
    """The texts of these rows that may be sent to a provider. Uses the primary key."""
    return fetch_all(
        connection,
        SampledText,
        sql.SQL("SELECT * FROM ({}) AS t WHERE row_id = ANY(%s) ORDER BY row_id").format(
            _TEXTS[table.corpus]
        ),
        (list(ids),),
    )


def disagreeing(
    connection: Connection, table: VectorTable, hashes: Sequence[bytes]
) -> tuple[FoundRows, ...]:
    """Rows with one of these texts whose vector is not the answer to it. Uses the hash's index."""
    return fetch_all(
        connection,
        FoundRows,
        sql.SQL(
            """
            SELECT {scope} AS scope, array_agg({id} ORDER BY {id}) AS ids,
                   (array_agg(reference ORDER BY {id}))[1:%(shown)s] AS examples
              FROM {table} e JOIN {answers} a USING (text_hash)
              JOIN ({references}) AS r ON r.row_id = e.{id}
             WHERE e.text_hash = ANY(%(hashes)b::bytea[]) AND NOT a.set_aside
               AND CASE WHEN vector_dims(e.embedding) = vector_dims(a.embedding)
                        THEN NOT e.embedding <=> a.embedding <= %(agreeing)s END
             GROUP BY {scope} ORDER BY {scope}
            """
        ).format(
            scope=table.scope_column,
            id=table.id_column,
            table=table.identifier,
            answers=table.space.answers_table,
            references=_REFERENCES[table.corpus],
        ),
        {"hashes": list(hashes), "agreeing": AGREEING, "shown": SHOWN},
    )


def forget_answers(
    connection: Connection, table: VectorTable, hashes: Sequence[bytes], *, since: datetime
) -> None:
    """Delete the answers to these texts that were stored since then: they have served."""
    connection.execute(
        sql.SQL(
            "DELETE FROM {} WHERE text_hash = ANY(%b::bytea[]) AND bought_at >= %s"
            " AND NOT set_aside"
        ).format(table.space.answers_table),
        (list(hashes), since),
    )
