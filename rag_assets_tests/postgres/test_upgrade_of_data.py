"""A database with data of an older version, migrated to the newest migration."""

from __future__ import annotations

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from psycopg import sql

from rag_assets.documents.sql.reports import lock_unreported
from rag_assets.postgres.database import Database, one
from rag_assets.postgres.migrations import migrate, read_migrations
from rag_assets.release.sql.releases import activate_release
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import revision, unverified_by_scope
from rag_assets_tests.api.conftest import Copy, copied, corpus_settings  # noqa: F401
from rag_assets_tests.api.server import command, environment_of
from rag_assets_tests.corpora import sentences
from rag_assets_tests.documents.corpus import judge_all, publish_document
from rag_assets_tests.release.corpus import (
    active_number,
    check,
    embed,
    index,
    indexed_generations,
    prepare,
    release_corpus,
)
from rag_assets_tests.searches import ask
from rag_assets_tests.vectors.other_clients import small, unverified

pytestmark = pytest.mark.long

NAMES = [migration.name for migration in read_migrations()]
RELEASES, DOCUMENTS = 3, 5
"""Numbers of the migrations that introduced them."""
WITHOUT_CODES = 9
"""The last migration before codes."""


@pytest.fixture(scope="module")
def newest(template_database: Database, copied: Copy) -> Database:  # noqa: F811
    """A released Bible version and document, as the newest version stores them."""
    database = copied(template_database)
    settings = corpus_settings(database)
    prepare(database, settings, "EN_A", sentences(60))
    publish_document(database, settings, "manual.pdf", sentences(60, word="pump"))
    judge_all(database, settings)
    release_corpus(database, settings)
    return database


@pytest.fixture
def old(empty: Database) -> Database:
    """The address of an older version's database."""
    return empty


def columns(database: Database) -> dict[str, set[str]]:
    """The columns of each table that can be written."""
    found: dict[str, set[str]] = {}
    with database.connect() as connection:
        for table, column in connection.execute(
            """
            SELECT table_name, column_name FROM information_schema.columns
              JOIN information_schema.tables USING (table_schema, table_name)
             WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
               AND is_generated = 'NEVER' AND table_name <> 'schema_migrations'
            """
        ):
            found.setdefault(table, set()).add(column)
    return found


def rows(database: Database, names: dict[str, set[str]]) -> dict[str, list[str]]:
    """The rows of these columns, as PostgreSQL copies them."""
    found = {}
    with database.connect() as connection, connection.cursor() as cursor:
        for table, wanted in names.items():
            chosen = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(
                sql.SQL(", ").join(map(sql.Identifier, sorted(wanted))), sql.Identifier(table)
            )
            with cursor.copy(chosen) as copy:
                found[table] = sorted(bytes(line).decode() for line in copy)
    return found


def left_by_an_older_program(old: Database, newest: Database, folder: Path) -> dict[str, list[str]]:
    """Fill a database with the rows that fit its schema, without foreign keys and triggers."""
    migrate(old, folder=folder)
    with newest.connect() as connection:
        spaces = connection.execute(
            "SELECT provider, model, dimensions, precision FROM embedding_spaces ORDER BY space_id"
        ).fetchall()
    with old.connect() as connection:
        if "embedding_spaces" in columns(old):
            for space in spaces:
                connection.execute("SELECT create_embedding_space(%s, %s, %s, %s)", space)
            connection.execute("DELETE FROM embedding_spaces")
    here, there = columns(old), columns(newest)
    common = {table: here[table] & there[table] for table in here}
    found = rows(newest, common)
    with old.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for table, wanted in common.items():
            filled = sql.SQL("COPY {} ({}) FROM STDIN").format(
                sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, sorted(wanted)))
            )
            with cursor.copy(filled) as copy:
                for line in found[table]:
                    copy.write(line)
        for table, column, sequence in cursor.execute(
            """
            SELECT table_name, column_name, pg_get_serial_sequence(table_name, column_name)
              FROM information_schema.columns
             WHERE table_schema = 'public' AND is_identity = 'YES'
            """
        ).fetchall():
            cursor.execute(
                sql.SQL("SELECT setval(%s, (SELECT coalesce(max({}), 0) + 1 FROM {}))").format(
                    sql.Identifier(column), sql.Identifier(table)
                ),
                (sequence,),
            )
        if "releases" in here:
            cursor.execute("SELECT setval('corpus_revisions', 1000)")
            with newest.connect() as connection_there:
                definitions = connection_there.execute(
                    "SELECT indexdef FROM pg_indexes"
                    " WHERE indexdef LIKE '%%ivfflat%%' AND tablename = ANY(%s)",
                    (list(here),),
                ).fetchall()
            for (definition,) in definitions:
                cursor.execute(definition)
        if "documents" not in here:  # that version had none
            for table in (name for name, wanted in here.items() if "corpus" in wanted):
                cursor.execute(
                    sql.SQL("DELETE FROM {} WHERE corpus = 'documents'").format(
                        sql.Identifier(table)
                    )
                )
    return rows(old, common)


def older_folder(tmp_path: Path, number: int) -> Path:
    """The migrations as they were then."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for migration in read_migrations()[:number]:
        (folder / migration.name).write_text(migration.text)
    return folder


@pytest.mark.parametrize("number", range(1, len(NAMES)), ids=NAMES[:-1])
def test_data_of_an_older_program_are_kept_and_the_newest_works_with_them(
    old: Database, newest: Database, tmp_path: Path, number: int
) -> None:
    before = left_by_an_older_program(old, newest, older_folder(tmp_path, number))
    assert len(before["verses"]) == 60
    kept = {table: names & columns(newest)[table] for table, names in columns(old).items()}

    assert migrate(old) == tuple(NAMES[number:])

    changed = {"vector_revisions"} if number < RELEASES else set()
    after = rows(old, {table: names for table, names in kept.items() if table not in changed})
    assert after == {table: lines for table, lines in before.items() if table not in changed}

    settings = corpus_settings(old)
    changes_are_seen_from_now_on(old, settings)
    if number < RELEASES:
        release_it(old, settings)
    served = ask(old, settings, "The river number 7 runs down to the sea before 14 days", top_k=1)
    assert (served.hits[0].usfm, served.plan.kind) == ("GEN 1:8", "ivfflat")
    if number >= DOCUMENTS:
        with old.connect() as connection:
            assert one(connection.execute("SELECT count(*) FROM chunk_embeddings_s1")) == (60,)
            unreported = lock_unreported(connection)  # until Dagster's record has been compared
            assert [document.key for document in unreported] == ["manual.pdf"]

    prepare(old, settings, "EN_B", sentences(60, word="brook"), force=True)
    if number >= DOCUMENTS:
        judge_all(old, settings)
    served_before = active_number(old)
    release_corpus(old, settings)
    assert active_number(old) != served_before
    assert ask(old, settings, "The brook number 7", versions=["EN_B"]).hits
    assert len(indexed_generations(old)) >= 2


def test_searches_continue_while_a_served_corpus_gets_its_codes(
    old: Database, newest: Database, tmp_path: Path
) -> None:
    """From the last version without codes: migrate, fill, index, release, roll back."""
    left_by_an_older_program(old, newest, older_folder(tmp_path, WITHOUT_CODES))
    migrate(old)
    settings = corpus_settings(old, rag_code_bits=None)
    served = active_number(old)
    query = "The river number 7 runs down to the sea before 14 days"
    plans: list[str] = []
    ended = threading.Event()

    def ask_all_the_time() -> None:
        while not ended.is_set():
            found = ask(old, settings, query, top_k=1)
            assert found.hits[0].usfm == "GEN 1:8"
            plans.append(str(found.plan))

    with ThreadPoolExecutor(1) as threads:
        searching = threads.submit(ask_all_the_time)
        try:
            made = index(old, settings, force=True).generation
            prepare(old, settings, "EN_B", sentences(60, word="brook"), force=True)
            judge_all(old, settings)
            release_corpus(old, settings)
            ask(old, settings, query)
        finally:
            ended.set()
        searching.result()
    assert made is not None
    assert made.codes is not None
    assert active_number(old) != served
    assert "candidates" not in plans[0], "the release from before has no codes"
    now = ask(old, settings, query, top_k=1)
    assert (now.hits[0].usfm, now.plan.candidates > 0) == ("GEN 1:8", True)
    with old.connect() as connection:
        activate_release(connection, served, rolling_back=True)
    back = ask(old, settings, query, top_k=1)
    assert (back.hits[0].usfm, back.plan.kind, back.plan.codes) == ("GEN 1:8", "ivfflat", None)


def changes_are_seen_from_now_on(database: Database, settings: Settings) -> None:
    """Existing vectors count as an embedding run's; those of another client do not."""
    table = small(database, settings)
    assert unverified(database, table) == {}
    with database.connect() as connection:
        before = revision(connection, table).number
        connection.execute("UPDATE verse_embeddings_s1 SET embedding = embedding")
        changed = revision(connection, table).number > before
        assert changed == bool(unverified_by_scope(connection, table))
        assert changed == bool(
            one(connection.execute("SELECT count(*) FROM verse_embeddings_s1"))[0]
        )
        connection.rollback()


def release_it(database: Database, settings: Settings) -> None:
    """What the older version lacked: from verses, with or without vectors, to a release."""
    embed(database, settings, "EN_A")
    check(database, settings, "EN_A")
    index(database, settings)
    release_corpus(database, settings)


def test_texts_paid_for_before_the_upgrade_are_not_paid_for_again(
    old: Database, newest: Database, tmp_path: Path
) -> None:
    left_by_an_older_program(old, newest, older_folder(tmp_path, 2))
    migrate(old)
    settings = corpus_settings(old)
    with old.connect() as connection:
        paid = one(connection.execute("SELECT sum(inputs) FROM embedding_ledger"))
    embed(old, settings, "EN_A")
    with old.connect() as connection:
        assert one(connection.execute("SELECT sum(inputs) FROM embedding_ledger")) == paid


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("db", "status"),
        ("db", "migrate"),
        ("bible", "list"),
        ("serve", "--port", "0"),
    ],
    ids=" ".join,
)
def test_a_program_older_than_its_database_refuses_to_work_and_says_what_to_do(
    database: Database, tmp_path: Path, words: tuple[str, ...]
) -> None:
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO schema_migrations (name, checksum) VALUES ('0999_newer.sql', 'x')"
        )
    done = subprocess.run(
        command(*words),
        cwd=tmp_path,
        env=environment_of(database, RAG_HOME=tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout
    assert "0999_newer.sql, which this version does not know" in done.stderr
    assert "migrated by a newer rag-assets; upgrade this one" in done.stderr
    assert "Traceback" not in done.stderr
