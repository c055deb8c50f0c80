"""The statements of a repair that embeds nothing. Each changes the rows that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import sql

from rag_assets.audit.sql.rows import TEXT_TABLES
from rag_assets.audit.sql.texts import lost_guarantees
from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.code_sets import code_sets
from rag_assets.vectors.sql.code_writing import encode_new
from rag_assets.vectors.sql.tables import Corpus, VectorTable, announce

_TEXT_IDS: Mapping[Corpus, str] = {"bible": "verse_id", "documents": "chunk_id"}


def restore_guarantees(
    connection: Connection, tables: Sequence[VectorTable], names: Sequence[str]
) -> int:
    """Restore constraints, column types and triggers, in the transaction; return how many."""
    lost = [one for one in lost_guarantees(connection, tables) if one.name in names]
    typed = any(one.kind == "lost_type" for one in lost)
    if typed:  # a column's type cannot change below a view
        connection.execute("DROP VIEW IF EXISTS verse_embeddings, chunk_embeddings")
    for guarantee in lost:
        connection.execute(guarantee.restores)
    if typed:
        connection.execute("SELECT refresh_embedding_views()")
    return len(lost)


def delete_texts(connection: Connection, corpus: Corpus, ids: Sequence[int]) -> int:
    """Delete texts; triggers delete their vectors and codes."""
    return connection.execute(
        sql.SQL("DELETE FROM {} WHERE {} = ANY(%s)").format(
            sql.Identifier(TEXT_TABLES[corpus]), sql.Identifier(_TEXT_IDS[corpus])
        ),
        (list(ids),),
    ).rowcount


def correct_hashes(connection: Connection, corpus: Corpus, ids: Sequence[int]) -> int:
    """Compute the hashes of texts again."""
    text = sql.SQL("text" if corpus == "bible" else "context || text")
    return connection.execute(
        sql.SQL(
            "UPDATE {} SET text_hash = sha256(convert_to({}, 'UTF8')) WHERE {} = ANY(%s)"
        ).format(sql.Identifier(TEXT_TABLES[corpus]), text, sql.Identifier(_TEXT_IDS[corpus])),
        (list(ids),),
    ).rowcount


def delete_vectors(connection: Connection, table: VectorTable, ids: Sequence[int]) -> int:
    """Delete vectors; a trigger deletes their codes."""
    return connection.execute(
        sql.SQL("DELETE FROM {} WHERE {} = ANY(%s)").format(table.identifier, table.id_column),
        (list(ids),),
    ).rowcount


def file_vectors(connection: Connection, table: VectorTable, scope: str, ids: Sequence[int]) -> int:
    """Copy what filters read from the texts to their vectors, and write the codes again."""
    announce(connection, table, scope, rows=len(ids))
    columns, source = (
        (
            sql.SQL("(version_code, language, book, chapter)"),
            sql.SQL(
                "(t.version_code, t.language, t.book, t.chapter) FROM (SELECT * FROM verses"
                " JOIN bible_versions USING (version_code)) AS t"
            ),
        )
        if table.corpus == "bible"
        else (
            sql.SQL("(collection, document_id, language)"),
            sql.SQL(
                "(t.corpus, t.document_id, t.language) FROM (SELECT d.corpus, c.* FROM"
                " document_chunks c JOIN documents d USING (document_id)) AS t"
            ),
        )
    )
    filed = connection.execute(
        sql.SQL(
            "UPDATE {table} e SET {columns} = {source} WHERE t.{id} = e.{id} AND e.{id} = ANY(%s)"
        ).format(table=table.identifier, columns=columns, source=source, id=table.id_column),
        (list(ids),),
    ).rowcount
    encode_new(connection, table, ids)
    return filed


def rewrite_codes(connection: Connection, table: VectorTable, name: str, ids: Sequence[int]) -> int:
    """Write the codes of these rows again, in the set with this name."""
    for code_set in code_sets(connection, table):
        if code_set.name == name:
            connection.execute(
                sql.SQL("DELETE FROM {} WHERE {} = ANY(%s)").format(
                    code_set.identifier, table.id_column
                ),
                (list(ids),),
            )
    encode_new(connection, table, ids)
    return len(ids)
