"""Delete a document or a version wholly, and mask what quotes it in any table of a database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from rag_assets.bible.sql.verses import remove_version
from rag_assets.operations.quotes import SHORTEST, Quotes
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, one
from rag_assets.vectors.sql.spaces import Space, all_spaces
from rag_assets.vectors.sql.tables import Corpus, VectorTable

TEXT_TABLES = frozenset({"verses", "document_chunks", "documents", "bible_versions"})
"""Tables of texts that stay: what they have in common with an erased one is theirs."""
_CELLS = ("text", "character varying", "json", "jsonb", "text[]", "character varying[]")
_SCANS = 3
"""Scans of a table whose rows change meanwhile."""


@dataclass(frozen=True)
class Erasable:
    """What a document or version has in the corpus.

    :param texts: verses or chunks, and the title; ``hashes``: those of the embedded texts.
    """

    corpus: Corpus
    key: str
    texts: tuple[str, ...]
    hashes: tuple[bytes, ...]


def erasable_document(connection: Connection, key: str) -> Erasable:
    """Read what a document has in the corpus."""
    rows = connection.execute(
        "SELECT c.context || c.text, c.text_hash FROM document_chunks c"
        " JOIN documents d USING (document_id) WHERE d.document_key = %s ORDER BY c.position",
        (key,),
    ).fetchall()
    titles = connection.execute(
        "SELECT title FROM documents WHERE document_key = %s AND title IS NOT NULL", (key,)
    ).fetchall()
    texts = tuple(row[0] for row in (*rows, *titles))
    return Erasable("documents", key, texts, tuple(row[1] for row in rows))


def erasable_version(connection: Connection, code: str) -> Erasable:
    """Read what a version has in the corpus. Uses verses' unique index."""
    rows = connection.execute(
        "SELECT text, text_hash FROM verses WHERE version_code = %s", (code,)
    ).fetchall()
    return Erasable("bible", code, tuple(r[0] for r in rows), tuple(r[1] for r in rows))


def also_elsewhere(connection: Connection, found: Erasable) -> int:
    """The number of erased texts that other documents or versions have, too. Uses hash indexes."""
    (count,) = one(
        connection.execute(
            "SELECT count(*) FROM unnest(%b::bytea[]) AS erased (text_hash)"
            " WHERE EXISTS (SELECT FROM verses v WHERE v.text_hash = erased.text_hash)"
            " OR EXISTS (SELECT FROM document_chunks c WHERE c.text_hash = erased.text_hash)",
            (list(set(found.hashes)),),
        )
    )
    return int(count)


def counted(connection: Connection, found: Erasable) -> Mapping[str, int]:
    """Count what :func:`erase_from_corpus` would delete of the texts and vectors."""
    vectors = 0
    for space in all_spaces(connection):
        statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(
            VectorTable(found.corpus, space).identifier, _of(found)
        )
        vectors += one(connection.execute(statement, (found.key,)))[0]
    return {"vectors": vectors, "texts": len(found.hashes)}


def erase_from_corpus(connection: Connection, found: Erasable) -> Mapping[str, int]:
    """Delete texts, vectors, codes, embedded texts and cached queries; rows by what they were.

    One transaction. Triggers delete vectors and codes. An embedded text that is also stored
    elsewhere belongs there and stays.
    """
    spaces = all_spaces(connection)
    deleted = Counter[str]()
    for space in spaces:
        deleted["vectors"] += _delete_vectors(connection, found, space)
    if found.corpus == "bible":
        deleted["texts"] = remove_version(connection, found.key)
    else:
        deleted["texts"] = connection.execute(
            "DELETE FROM document_chunks c USING documents d"
            " WHERE d.document_id = c.document_id AND d.document_key = %s",
            (found.key,),
        ).rowcount
        connection.execute("DELETE FROM documents WHERE document_key = %s", (found.key,))
    for space in spaces:
        locks.lock_transaction(connection, locks.using_answers(space.space_id))
        deleted["embedded texts"] += connection.execute(
            sql.SQL(
                "DELETE FROM {answers} a WHERE text_hash = ANY(%b::bytea[])"
                " AND NOT EXISTS (SELECT FROM document_chunks c WHERE c.text_hash = a.text_hash)"
                " AND NOT EXISTS (SELECT FROM verses v WHERE v.text_hash = a.text_hash)"
            ).format(answers=space.answers_table),
            (list(found.hashes),),
        ).rowcount
    # They are stored without their texts, so that those that quote this one are not known.
    deleted["cached queries"] = connection.execute("DELETE FROM query_embeddings").rowcount
    return deleted


def _delete_vectors(connection: Connection, found: Erasable, space: Space) -> int:
    """Delete the vectors, also of texts that are gone; a trigger deletes their codes."""
    if found.corpus == "documents":
        locks.lock_transaction(connection, locks.WRITING_CHUNK_VECTORS)
    statement = sql.SQL("DELETE FROM {} WHERE {}").format(
        VectorTable(found.corpus, space).identifier, _of(found)
    )
    return connection.execute(statement, (found.key,)).rowcount


def _of(found: Erasable) -> sql.SQL:
    """The condition for its vectors; its key is the one value."""
    if found.corpus == "bible":
        return sql.SQL("version_code = %s")
    return sql.SQL("document_id = (SELECT document_id FROM documents WHERE document_key = %s)")


def mask_quotes(
    connection: Connection, quotes: Quotes, *, leave: Collection[str] = ()
) -> Mapping[str, int]:
    """Mask quotes in all tables of the connection's database; changed rows by table.

    Reads every row with text. A row that changes meanwhile is read again.
    """
    masked = Counter[str]()
    for table, columns in _text_columns(connection).items():
        if table in leave:
            continue
        for _ in range(_SCANS):
            found, changed = _mask_table(connection, table, columns, quotes)
            masked[table] += changed
            if found == changed:
                break
    return +masked


def _text_columns(connection: Connection) -> Mapping[str, Sequence[tuple[str, str]]]:
    """Columns with text and their types, by table."""
    tables: dict[str, list[tuple[str, str]]] = {}
    for table, name, kind in connection.execute(
        """
        SELECT relname::text, attname::text, format_type(atttypid, NULL)
          FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid
         WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
           AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
           AND format_type(atttypid, NULL) = ANY(%s)
         ORDER BY relname, attnum
        """,
        (list(_CELLS),),
    ):
        tables.setdefault(table, []).append((name, kind))
    return tables


def _mask_table(
    connection: Connection, table: str, columns: Sequence[tuple[str, str]], quotes: Quotes
) -> tuple[int, int]:
    """Mask the rows of a table; how many quoted, and how many of them were changed."""
    found = changed = 0
    cells = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(n)) for n, _ in columns)
    with connection.transaction(), connection.cursor("quoting") as rows:
        rows.execute(sql.SQL("SELECT ctid::text, {} FROM {}").format(cells, sql.Identifier(table)))
        for place, *values in rows:
            masked = {
                column: (value, text)
                for column, value in zip(columns, values, strict=True)
                if value and len(value) >= SHORTEST and (text := quotes.masked(value)) is not None
            }
            if masked:
                found += 1
                changed += _write(connection, table, place, masked)
    return found, changed


def _write(
    connection: Connection,
    table: str,
    place: str,
    masked: Mapping[tuple[str, str], tuple[str, str]],
) -> int:
    """Replace these cells unless another transaction has changed the row."""
    names = [(sql.Identifier(name), sql.SQL(kind)) for name, kind in masked]
    return connection.execute(
        sql.SQL("UPDATE {} SET {} WHERE ctid = %s::tid AND {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(sql.SQL("{} = %s::{}").format(*each) for each in names),
            sql.SQL(" AND ").join(sql.SQL("{}::text = %s").format(name) for name, _ in names),
        ),
        [*(new for _, new in masked.values()), place, *(old for old, _ in masked.values())],
    ).rowcount


def vacuum(connection: Connection, tables: Iterable[str]) -> None:
    """Free the space of deleted rows. The connection autocommits."""
    for table in tables:
        connection.execute(sql.SQL("VACUUM {}").format(sql.Identifier(table)))


@dataclass(frozen=True)
class Copies:
    """Who has copies of the server's data.

    :param archives: whether the write-ahead log is archived; ``standbys``: servers that follow.
    """

    archives: bool
    standbys: int


def copies(connection: Connection) -> Copies:
    """Read who has copies of the server's data."""
    mode, standbys = one(
        connection.execute(
            "SELECT current_setting('archive_mode'),"
            " (SELECT count(*) FROM pg_stat_replication)"
            " + (SELECT count(*) FROM pg_replication_slots WHERE NOT active)"
        )
    )
    return Copies(mode != "off", standbys)
