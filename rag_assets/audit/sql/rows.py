"""Compare texts with their vectors, in ranges of ids: no statement reads a whole table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from psycopg import sql

from rag_assets.audit.model import SHOWN
from rag_assets.postgres.database import Connection, fetch_all, one
from rag_assets.vectors.sql.digests import row_digest
from rag_assets.vectors.sql.faults import NORM_TOLERANCE
from rag_assets.vectors.sql.spaces import dropped_spaces, space_by_id
from rag_assets.vectors.sql.tables import Corpus, VectorTable

RANGE_ROWS = 16_384
SAME_VECTOR = 0.0005
"""Cosine distance up to which two vectors are the same, stored in 16 bits."""

_TEXTS: Mapping[Corpus, sql.SQL] = {
    "bible": sql.SQL(
        "SELECT v.verse_id AS id, v.version_code AS scope, v.version_code || ' ' || v.book || ' '"
        " || v.chapter || ':' || v.verse AS reference, v.text_hash, true AS wanted,"
        " v.text_hash <> sha256(convert_to(v.text, 'UTF8')) AS wrong_hash,"
        " concat_ws('/', v.version_code, b.language, v.book, v.chapter) AS filed"
        " FROM verses v JOIN bible_versions b USING (version_code)"
        " WHERE v.verse_id > %(after)s AND v.verse_id <= %(last)s"
    ),
    # A withdrawn document has no vectors, and one that waits keeps those that it had.
    "documents": sql.SQL(
        "SELECT c.chunk_id AS id, d.corpus AS scope, d.document_key || ' ' || c.position"
        " AS reference, c.text_hash, d.state = 'ready' AS wanted,"
        " c.text_hash <> sha256(convert_to(c.context || c.text, 'UTF8')) AS wrong_hash,"
        " concat_ws('/', d.corpus, c.document_id, c.language) AS filed"
        " FROM document_chunks c JOIN documents d USING (document_id)"
        " WHERE d.state <> 'withdrawn' AND c.chunk_id > %(after)s AND c.chunk_id <= %(last)s"
    ),
}
_FILED: Mapping[Corpus, sql.SQL] = {
    "bible": sql.SQL("concat_ws('/', e.version_code, e.language, e.book, e.chapter)"),
    "documents": sql.SQL("concat_ws('/', e.collection, e.document_id, e.language)"),
}
TEXT_TABLES: Mapping[Corpus, str] = {"bible": "verses", "documents": "document_chunks"}


@dataclass(frozen=True)
class Group:
    """Rows of one range with one scope and one kind.

    :param kind: a difference; ``None`` for rows without any.
    :param rows: their number; ``embedded``: those with a vector.
    :param digest: the sum of the digests of their vectors; 0 for documents.
    """

    scope: str
    kind: str | None
    rows: int
    embedded: int
    ids: Sequence[int]
    examples: Sequence[str]
    digest: Decimal


def ranges(connection: Connection, table: VectorTable) -> Iterator[tuple[int, int]]:
    """Yield ranges of ids, excluding the first and including the last, that cover both tables."""
    texts = sql.Identifier(TEXT_TABLES[table.corpus])
    statement = sql.SQL(
        "SELECT max({id}) FROM (SELECT {id} FROM ("
        "(SELECT {id} FROM {texts} WHERE {id} > %(after)s ORDER BY {id} LIMIT %(rows)s) UNION"
        " (SELECT {id} FROM {table} WHERE {id} > %(after)s ORDER BY {id} LIMIT %(rows)s)"
        ") AS ids ORDER BY {id} LIMIT %(rows)s) AS part"
    ).format(id=table.id_column, texts=texts, table=table.identifier)
    (after,) = one(
        connection.execute(
            sql.SQL(
                "SELECT least((SELECT min({id}) FROM {texts}), (SELECT min({id}) FROM {table})) - 1"
            ).format(id=table.id_column, texts=texts, table=table.identifier)
        )
    )
    while after is not None:
        (last,) = one(connection.execute(statement, {"after": after, "rows": RANGE_ROWS}))
        if last is None:
            return
        yield after, last
        after = last


def compare_range(
    connection: Connection, table: VectorTable, others: Sequence[VectorTable], after: int, last: int
) -> tuple[Group, ...]:
    """Judge the rows of one range: each has at most one difference, the first that applies.

    Reads both tables by primary key. Kinds are those of :data:`rag_assets.audit.model.KINDS`.

    :param others: tables of other models whose vectors could be mistaken for this one's.
    """
    return fetch_all(
        connection,
        Group,
        _statement(table, others),
        {
            "after": after,
            "last": last,
            "dimensions": table.space.spec.dimensions,
            "norm": NORM_TOLERANCE,
            "same": SAME_VECTOR,
            "shown": SHOWN,
        },
    )


def _statement(table: VectorTable, others: Sequence[VectorTable]) -> sql.Composed:
    return sql.SQL(
        """
        WITH texts AS ({texts}), vectors AS (
            SELECT e.*, e.{id} AS id, {filed} AS filed_as, {digest} AS digest
              FROM {table} e WHERE e.{id} > %(after)s AND e.{id} <= %(last)s
        ), judged AS (
            SELECT coalesce(t.id, e.id) AS id, coalesce(t.scope, e.{scope}) AS scope,
                   coalesce(t.reference, e.{scope} || ' ' || coalesce(t.id, e.id)) AS reference,
                   e.id IS NOT NULL AS embedded, e.digest,
                   CASE WHEN t.id IS NULL THEN 'orphaned_vector'
                        WHEN e.id IS NULL THEN CASE WHEN t.wanted THEN 'missing_vector' END
                        WHEN vector_dims(e.embedding) <> %(dimensions)s THEN 'wrong_dimension'
                        WHEN NOT {norm}(e.embedding) > 0
                             OR {norm}(e.embedding) = 'Infinity' OR {norm}(e.embedding) = 'NaN'
                            THEN 'zero_vector'
                        WHEN {norm}(e.embedding) NOT BETWEEN 1 - %(norm)s AND 1 + %(norm)s
                            THEN 'wrong_norm'
                        WHEN NOT t.wrong_hash AND e.text_hash <> t.text_hash THEN 'stale_text_hash'
                        WHEN {other_model} THEN 'another_model'
                        WHEN e.filed_as <> t.filed THEN 'misfiled_vector'
                   END AS kind
              FROM texts t FULL JOIN vectors e ON e.id = t.id
        )
        SELECT scope, kind, count(*) AS rows, count(*) FILTER (WHERE embedded) AS embedded,
               coalesce(array_agg(id ORDER BY id) FILTER (WHERE kind IS NOT NULL), '{{}}') AS ids,
               coalesce((array_agg(reference ORDER BY id) FILTER (WHERE kind IS NOT NULL))
                        [1:%(shown)s], '{{}}') AS examples,
               coalesce(sum(digest), 0) AS digest
          FROM judged GROUP BY scope, kind
        """
    ).format(
        texts=_TEXTS[table.corpus],
        id=table.id_column,
        scope=table.scope_column,
        filed=_FILED[table.corpus],
        digest=row_digest(table) if table.corpus == "bible" else sql.SQL("0::bigint"),
        table=table.identifier,
        norm=table.space.norm_function,
        other_model=_of_another(table, others),
    )


def _of_another(table: VectorTable, others: Sequence[VectorTable]) -> sql.Composable:
    found = [
        sql.SQL(
            "EXISTS (SELECT FROM {other} o WHERE o.{id} = e.id AND o.text_hash = e.text_hash AND"
            " CASE WHEN vector_dims(o.embedding) = %(dimensions)s"
            " THEN o.embedding <=> e.embedding <= %(same)s END)"
        ).format(other=other.identifier, id=table.id_column)
        for other in others
    ]
    return sql.SQL(" OR ").join(found) if found else sql.SQL("false")


def tables_of_other_models(connection: Connection, table: VectorTable) -> tuple[VectorTable, ...]:
    """Tables whose vectors have the same type and dimension, and come from another model."""
    spec = table.space.spec
    rows = connection.execute(
        """
        SELECT space_id FROM embedding_spaces
         WHERE dimensions = %s AND precision = %s AND model <> %s AND space_id <> ALL(%s)
         ORDER BY space_id
        """,
        (spec.dimensions, spec.precision, spec.model, list(dropped_spaces(connection))),
    ).fetchall()
    return tuple(
        VectorTable(table.corpus, space_by_id(connection, row[0], table.space.role)) for row in rows
    )
