"""Where passages come from: their source, and how their vectors were made.

Each function takes a time limit for its statement, ``timeout_ms`` (0 for none), and raises
SearchTimeoutError when the limit is reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import kwargs_row

from rag_assets.postgres.database import Connection
from rag_assets.postgres.time_limit import limited
from rag_assets.vectors.sql.tables import VectorTable


@dataclass(frozen=True)
class Provenance:
    """One embedded passage.

    :param source: a version's code, or a document's path below the inbox.
    :param text_hash: SHA-256 of the embedded text, in hexadecimal digits.
    :param run_id: the run that wrote the vector.
    :param cost_usd: mean cost of a text that this run requested for the version or lane; ``None``
        if it requested none, or the price is unknown.
    """

    id: int
    source: str
    page: int | None
    text_hash: str
    run_id: str
    cost_usd: float | None


_VERSES = sql.SQL(
    """
    SELECT e.verse_id AS id, e.version_code AS source, NULL::integer AS page,
           e.version_code AS partition, e.text_hash, e.run_id
      FROM {table} e WHERE e.verse_id = ANY(%(ids)s)
    """
)
_CHUNKS = sql.SQL(
    """
    SELECT e.chunk_id AS id, d.path AS source, c.page, NULL::text AS partition, e.text_hash,
           e.run_id
      FROM {table} e JOIN document_chunks c USING (chunk_id)
      JOIN documents d ON d.document_id = c.document_id
     WHERE e.chunk_id = ANY(%(ids)s)
    """
)


def provenance(
    connection: Connection, table: VectorTable, ids: Sequence[int], *, timeout_ms: int = 0
) -> dict[int, Provenance]:
    """Those of these rows that have a vector. Uses the primary keys of all tables.

    A run of documents pays for a whole lane, so the cost is the mean of its requests.
    """
    rows = (_VERSES if table.corpus == "bible" else _CHUNKS).format(table=table.identifier)
    statement = sql.SQL(
        """
        SELECT id, source, page, encode(text_hash, 'hex') AS text_hash, run_id,
               (SELECT (sum(cost_usd) / nullif(sum(inputs), 0))::float8 FROM embedding_ledger l
                 WHERE l.run_id = found.run_id AND l.corpus = %(corpus)s
                   AND l.partition_key = coalesce(found.partition, l.partition_key)
                   AND l.space_id = %(space)s) AS cost_usd
          FROM ({rows}) AS found
        """
    ).format(rows=rows)
    values = {"ids": list(ids), "corpus": table.corpus, "space": table.space.space_id}
    with limited(connection, timeout_ms):
        cursor = connection.cursor(row_factory=kwargs_row(Provenance)).execute(statement, values)
    return {one.id: one for one in cursor.fetchall()}
