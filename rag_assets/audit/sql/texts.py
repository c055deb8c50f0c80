"""The texts by themselves: hashes, references, and what the schema guarantees of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from rag_assets.audit.model import SHOWN
from rag_assets.postgres.database import Connection, fetch_all
from rag_assets.vectors.sql.tables import Corpus, VectorTable


@dataclass(frozen=True)
class FoundRows:
    """Rows with a difference, in one scope."""

    scope: str
    ids: Sequence[int]
    examples: Sequence[str]


_WRONG_HASHES: Mapping[Corpus, sql.SQL] = {
    "bible": sql.SQL(
        "SELECT verse_id AS id, version_code AS scope, version_code || ' ' || book || ' '"
        " || chapter || ':' || verse AS reference FROM verses"
        " WHERE text_hash <> sha256(convert_to(text, 'UTF8'))"
        " AND verse_id > %(after)s AND verse_id <= %(last)s"
    ),
    "documents": sql.SQL(
        "SELECT chunk_id AS id, corpus AS scope, document_key || ' ' || position AS reference"
        " FROM document_chunks JOIN documents USING (document_id)"
        " WHERE text_hash <> sha256(convert_to(context || text, 'UTF8'))"
        " AND chunk_id > %(after)s AND chunk_id <= %(last)s"
    ),
}
_DUPLICATES: Mapping[Corpus, sql.SQL] = {
    "bible": sql.SQL(
        "SELECT verse_id AS id, version_code AS scope, version_code || ' ' || book || ' '"
        " || chapter || ':' || verse AS reference,"
        " row_number() OVER (PARTITION BY version_code, book, chapter, verse ORDER BY verse_id)"
        " AS nth FROM verses WHERE version_code = %(scope)s"
    ),
    "documents": sql.SQL(
        "SELECT chunk_id AS id, corpus AS scope, document_key || ' ' || position AS reference,"
        " row_number() OVER (PARTITION BY document_id, position ORDER BY chunk_id) AS nth"
        " FROM document_chunks JOIN documents USING (document_id) WHERE corpus = %(scope)s"
    ),
}


def wrong_hashes(
    connection: Connection, corpus: Corpus, after: int, last: int
) -> tuple[FoundRows, ...]:
    """Texts whose stored hash is not theirs, in a range of ids. Reads by primary key."""
    return _grouped(connection, _WRONG_HASHES[corpus], {"after": after, "last": last})


def duplicates(connection: Connection, corpus: Corpus, scope: str) -> tuple[FoundRows, ...]:
    """All but the oldest row of each reference that is stored more than once, in one scope."""
    later = sql.SQL("SELECT * FROM ({rows}) AS numbered WHERE nth > 1").format(
        rows=_DUPLICATES[corpus]
    )
    return _grouped(connection, later, {"scope": scope})


def _grouped(
    connection: Connection, rows: sql.Composable, values: Mapping[str, object]
) -> tuple[FoundRows, ...]:
    return fetch_all(
        connection,
        FoundRows,
        sql.SQL(
            "SELECT scope, array_agg(id ORDER BY id) AS ids,"
            " (array_agg(reference ORDER BY id))[1:%(shown)s] AS examples"
            " FROM ({rows}) AS found GROUP BY scope ORDER BY scope"
        ).format(rows=rows),
        {**values, "shown": SHOWN},
    )


@dataclass(frozen=True)
class Verse:
    """A stored verse, for the comparison with its source."""

    verse_id: int
    place: tuple[str, int, int]
    text_hash: bytes


def verses_of(connection: Connection, code: str) -> Iterator[Verse]:
    """The verses of a version, oldest first."""
    for verse_id, book, chapter, verse, text_hash in connection.execute(
        "SELECT verse_id, book, chapter, verse, sha256(convert_to(text, 'UTF8')) FROM verses"
        " WHERE version_code = %s ORDER BY verse_id",
        (code,),
    ):
        yield Verse(verse_id, (book, chapter, verse), bytes(text_hash))


@dataclass(frozen=True)
class Guarantee:
    """Something that the schema guarantees, and the audit depends on.

    :param kind: the difference that it is if it is lost.
    :param name: as shown; ``restores``: the statement that restores it.
    """

    kind: str
    name: str
    restores: sql.Composed


_UNIQUE: Mapping[str, tuple[str, sql.SQL]] = {
    "verses": (
        "verses_version_code_book_chapter_verse_key",
        sql.SQL("UNIQUE (version_code, book, chapter, verse)"),
    ),
    "document_chunks": (
        "document_chunks_document_id_position_key",
        sql.SQL("UNIQUE (document_id, position) DEFERRABLE INITIALLY DEFERRED"),
    ),
}


def lost_guarantees(connection: Connection, tables: Sequence[VectorTable]) -> tuple[Guarantee, ...]:
    """Unique references and column types that are gone, and disabled triggers."""
    lost = []
    for name, (constraint, definition) in _UNIQUE.items():
        found = connection.execute(
            "SELECT 1 FROM pg_constraint WHERE conrelid = to_regclass(%s) AND contype = 'u'",
            (name,),
        ).fetchone()
        if found is None:
            lost.append(
                Guarantee(
                    "lost_constraint",
                    f"{name}: {constraint}",
                    sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
                        sql.Identifier(name), sql.Identifier(constraint), definition
                    ),
                )
            )
    lost += [guarantee for table in tables for guarantee in _lost_type(connection, table)]
    names = ["verses", "document_chunks", "documents", *(table.name for table in tables)]
    disabled = connection.execute(
        "SELECT tgrelid::regclass::text, tgname FROM pg_trigger"
        " WHERE tgenabled = 'D' AND NOT tgisinternal"
        " AND tgrelid IN (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)"
        " ORDER BY 1, 2",
        (names,),
    ).fetchall()
    lost += [
        Guarantee(
            "disabled_trigger",
            f"{table}: {trigger}",
            sql.SQL("ALTER TABLE {} ENABLE TRIGGER {}").format(
                sql.Identifier(table), sql.Identifier(trigger)
            ),
        )
        for table, trigger in disabled
    ]
    return tuple(lost)


def _lost_type(connection: Connection, table: VectorTable) -> Iterator[Guarantee]:
    spec = table.space.spec
    wanted = f"{spec.precision}({spec.dimensions})"
    row = connection.execute(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attname = 'embedding'",
        (table.name,),
    ).fetchone()
    if row is not None and row[0] != wanted:
        yield Guarantee(
            "lost_type",
            f"{table.name}: embedding {wanted}",
            sql.SQL("ALTER TABLE {} ALTER COLUMN embedding TYPE {}").format(
                table.identifier, sql.SQL(wanted)
            ),
        )
