"""Compare the codes of a set with those of its vectors."""

from __future__ import annotations

from psycopg import sql

from rag_assets.audit.model import SHOWN
from rag_assets.audit.sql.texts import FoundRows
from rag_assets.postgres.database import Connection, fetch_all
from rag_assets.vectors.sql.code_sets import CodeSet
from rag_assets.vectors.sql.code_writing import CODE_COLUMNS, copy_codes
from rag_assets.vectors.sql.stream import stream_where
from rag_assets.vectors.sql.tables import VectorTable

SAME_CODE = 0.01
"""Share of bits that may differ: another processor rounds values near 0 otherwise. The codes of two
texts differ in several times as many."""


def wrong_codes(
    connection: Connection, table: VectorTable, code_set: CodeSet, after: int, last: int
) -> tuple[FoundRows, ...]:
    """Codes of a range of ids that are missing, orphaned, or not their vector's, by scope.

    Streams the vectors, and compares in the database through a temporary table.
    """
    condition = sql.SQL(
        "e.{id} > {after} AND e.{id} <= {last} AND vector_dims(e.embedding) = {dimensions}"
    ).format(
        id=table.id_column,
        after=sql.Literal(after),
        last=sql.Literal(last),
        dimensions=sql.Literal(table.space.spec.dimensions),
    )
    with connection.transaction():
        batches = [
            (batch.ids, code_set.recipe.encode(batch.vectors))
            for batch in stream_where(connection, table, condition)
        ]
        copy_codes(connection, code_set, batches)
        columns = CODE_COLUMNS[table.corpus]
        return fetch_all(
            connection,
            FoundRows,
            sql.SQL(
                """
                SELECT coalesce(e.{scope}, 'no vector') AS scope, array_agg(id ORDER BY id) AS ids,
                       (array_agg('row ' || id ORDER BY id))[1:%(shown)s] AS examples
                  FROM (SELECT coalesce(i.id, c.{id}) AS id, i.code AS wanted, c.code, c.part,
                               ROW({code_columns}) AS beside
                          FROM incoming_codes i
                          FULL JOIN (SELECT * FROM {codes}
                                      WHERE {id} > %(after)s AND {id} <= %(last)s) AS c
                            ON c.{id} = i.id) AS compared
                  LEFT JOIN {table} e ON e.{id} = compared.id
                  LEFT JOIN code_parts p ON p.part = compared.part AND p.corpus = %(corpus)s
                 WHERE wanted IS NULL OR compared.code IS NULL OR p.name IS DISTINCT FROM e.{part}
                    OR bit_count(wanted::bit({bits}) # compared.code) > %(bits)s
                    OR beside IS DISTINCT FROM ROW({vector_columns})
                 GROUP BY 1 ORDER BY 1
                """
            ).format(
                scope=table.scope_column,
                id=table.id_column,
                part=table.part_column,
                codes=code_set.identifier,
                table=table.identifier,
                bits=sql.Literal(code_set.recipe.bits),
                code_columns=sql.SQL(", ").join(sql.Identifier("c", name) for name in columns),
                vector_columns=sql.SQL(", ").join(sql.Identifier("e", name) for name in columns),
            ),
            {
                "after": after,
                "last": last,
                "shown": SHOWN,
                "corpus": table.corpus,
                "bits": code_set.recipe.bits * SAME_CODE,
            },
        )
