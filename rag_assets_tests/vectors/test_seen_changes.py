"""Every change of texts and vectors is detected, whichever client makes it; no writer waits."""

from __future__ import annotations

from contextlib import ExitStack

import psycopg
import pytest
from psycopg import sql

from rag_assets.postgres.database import Database, one
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import (
    CORPORA,
    announce,
    bible_table,
    documents_table,
    fold_changes,
    revision,
    scope_revisions,
    unverified_by_scope,
)
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import sentences
from rag_assets_tests.documents.corpus import publish_document
from rag_assets_tests.release.corpus import embed, release_settings
from rag_assets_tests.vectors.other_clients import run, small, unverified
from rag_assets_tests.vectors.vectors import space_of


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return release_settings(make_settings)


CHANGES = {
    "insert": "INSERT INTO {vectors} SELECT * FROM copied WHERE NOT EXISTS"
    " (SELECT FROM {vectors} e WHERE e.{id} = copied.{id})",
    "update": "UPDATE {vectors} SET embedding = embedding",
    "upsert": "INSERT INTO {vectors} SELECT * FROM copied ON CONFLICT ({id}) DO UPDATE"
    " SET embedding = EXCLUDED.embedding",
    "delete": "DELETE FROM {vectors} WHERE {id} = (SELECT min({id}) FROM {vectors})",
    "truncate": "TRUNCATE {vectors}",
    "a text": "UPDATE {texts} SET text = text || '!'",
    "texts deleted": "DELETE FROM {texts}",
    "texts truncated": "TRUNCATE {texts} CASCADE",
}


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("change", CHANGES)
def test_every_change_raises_the_revision_whatever_client_makes_it(
    database: Database, settings: Settings, corpus: str, change: str
) -> None:
    embed(database, settings, "EN_A", sentences(10))
    publish_document(database, settings, "manual", sentences(10, word="pump"))
    space = space_of(database, settings)
    table = bible_table(space) if corpus == "bible" else documents_table(space)
    names = {
        "vectors": table.name,
        "texts": "verses" if corpus == "bible" else "document_chunks",
        "id": "verse_id" if corpus == "bible" else "chunk_id",
    }
    run(database, "CREATE TABLE copied AS SELECT * FROM {vectors}", **names)
    if change == "insert":
        run(database, CHANGES["delete"], **names)
    with database.connect() as connection:
        before = revision(connection, table).number
    run(database, CHANGES[change], **names)
    with database.connect() as connection:
        assert revision(connection, table).number > before
        if "texts" in change:
            assert one(
                connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table.identifier))
            ) == (0,)


def test_a_copy_by_psql_is_seen_and_marked(database: Database, settings: Settings) -> None:
    embed(database, settings, "EN_A", sentences(10))
    table = small(database, settings)
    with database.connect() as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY {table.name} TO STDOUT") as out:
            lines = [bytes(line) for line in out]
        cursor.execute(f"TRUNCATE {table.name}")
        before = scope_revisions(connection, table)["EN_A"]
        with cursor.copy(f"COPY {table.name} FROM STDIN") as copy:
            for line in lines:
                copy.write(line)
        assert scope_revisions(connection, table)["EN_A"] > before
        assert unverified_by_scope(connection, table) == {"EN_A": 10}


def test_a_space_created_later_is_covered_too(
    database: Database, make_settings: MakeSettings
) -> None:
    first = release_settings(make_settings)
    embed(database, first, "EN_A", sentences(10))
    other = release_settings(make_settings, rag_embedding_small_dimensions=32)
    embed(database, other, "EN_A")
    table = bible_table(space_of(database, other))
    assert unverified(database, table) == {}
    run(
        database,
        "UPDATE {table} SET embedding = embedding WHERE verse_id % 2 = 0",
        table=table.name,
    )
    assert unverified(database, table) == {"EN_A": 5}
    assert unverified(database, bible_table(space_of(database, first))) == {}


def test_an_announcement_for_one_version_does_not_cover_another(
    database: Database, settings: Settings
) -> None:
    embed(database, settings, "EN_A", sentences(10))
    embed(database, settings, "EN_B", sentences(10, word="brook"))
    table = small(database, settings)
    with database.connect() as connection:
        announce(connection, table, "EN_A")
        connection.execute("UPDATE verse_embeddings_s1 SET embedding = embedding")
    run(database, "UPDATE verse_embeddings_s1 SET book = book WHERE verse_id = 1")
    assert unverified(database, table) == {"EN_A": 1, "EN_B": 10}


def test_writers_of_one_scope_do_not_wait_for_each_other(
    database: Database, settings: Settings
) -> None:
    """They write different rows; changing the same revision must not make one wait."""
    embed(database, settings, "EN_A", sentences(10))
    table = small(database, settings)
    with database.connect() as connection:
        before = scope_revisions(connection, table)["EN_A"]
    with ExitStack() as stack:
        sessions = [stack.enter_context(database.connect()) for _ in range(2)]
        for verse, session in enumerate(sessions, start=1):
            session.execute("SET lock_timeout = '10s'")
            session.execute(
                "UPDATE verse_embeddings_s1 SET embedding = embedding WHERE verse_id ="
                " (SELECT verse_id FROM verses WHERE verse = %s)",
                (verse,),
            )
        fold = stack.enter_context(database.connect())
        fold.execute("SET lock_timeout = '10s'")
        fold_changes(fold)
        for session in (*sessions, fold):
            session.commit()
    with database.connect() as connection:
        assert scope_revisions(connection, table)["EN_A"] == before + 2


def test_folding_changes_no_revision_and_keeps_concurrent_changes(
    database: Database, settings: Settings
) -> None:
    embed(database, settings, "EN_A", sentences(10))
    run(database, "UPDATE verse_embeddings_s1 SET embedding = embedding")
    table = small(database, settings)
    with database.connect() as connection:
        before = revision(connection, table)
        fold_changes(connection)
        assert one(connection.execute("SELECT count(*) FROM vector_changes")) == (0,)
        assert revision(connection, table) == before
    run(database, "UPDATE verse_embeddings_s1 SET embedding = embedding WHERE verse_id = 1")
    with database.connect() as connection:
        after = revision(connection, table)
    assert (after.number - before.number, after.rows_changed - before.rows_changed) == (1, 1)


def test_the_role_that_only_reads_cannot_announce(database: Database, settings: Settings) -> None:
    embed(database, settings, "EN_A", sentences(3))
    with database.connect() as connection:
        connection.execute("CREATE ROLE reader_of_vectors")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader_of_vectors")
        connection.execute("SET LOCAL ROLE reader_of_vectors")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            announce(connection, small(database, settings), "EN_A")
        connection.rollback()
