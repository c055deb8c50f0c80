"""The roles of ``sql/roles.sql``: each can do its work, and nothing more."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rag_assets.api.sql.keys import create_key
from rag_assets.errors import DatabaseUnusableError
from rag_assets.postgres import embedded
from rag_assets.postgres.database import Database
from rag_assets.postgres.migrations import migrate
from rag_assets.postgres.roles import grant_api, grant_reading
from rag_assets_tests.api.conftest import corpus_settings
from rag_assets_tests.api.server import DOCUMENTS, environment_of, serving
from rag_assets_tests.conftest import _memory_folder
from rag_assets_tests.release.corpus import prepare, release_corpus

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def owner() -> Iterator[Database]:
    """A separate server with the script's roles, because roles belong to the whole server."""
    home = Path(tempfile.mkdtemp(prefix="rag-roles-", dir=_memory_folder()))
    uri = embedded.ensure_running(home / "postgres")
    try:
        for _ in range(2):  # it may be run again
            subprocess.run(
                [embedded.binary("psql"), "--quiet", f"--file={ROOT / 'sql/roles.sql'}", uri],
                env={
                    **os.environ,
                    "RAG_OWNER_PASSWORD": "owner's",
                    "RAG_API_PASSWORD": 'the "api"',
                    "RAG_MONITOR_PASSWORD": "monitor",
                },
                check=True,
                capture_output=True,
                text=True,
            )
        database = as_role(Database(uri), "bible_user")
        migrate(database)
        with database.connect() as connection:
            grant_api(connection, "rag_api")
            grant_reading(connection, "rag_monitor")
        yield database
    finally:
        embedded.release(home / "postgres")
        shutil.rmtree(home)


def as_role(database: Database, role: str) -> Database:
    """The corpus database for one of the roles."""
    named = database.named("bible_api")
    return Database(psycopg.conninfo.make_conninfo(named.conninfo, user=role))


def test_the_owner_fills_the_corpus_and_the_api_role_serves_it(
    owner: Database, tmp_path: Path
) -> None:
    settings = corpus_settings(owner)
    prepare(owner, settings, "EN_A", [f"The river number {n} runs to the sea." for n in range(40)])
    release_corpus(owner, settings)
    with owner.connect() as connection:
        key = create_key(connection, "uploads", ("read", "admin"), requests_per_minute=1000)
    environment = environment_of(
        as_role(owner, "rag_api"), RAG_DOCUMENTS_URL=tmp_path / "inbox", RAG_HOME=tmp_path
    )
    with serving(tmp_path, environment) as server:
        headers = {"X-API-Key": key}
        found = server.retrieve(headers=headers, query="a river", top_k=3)
        assert found.status_code == 200, found.text
        assert len(found.json()["hits"]) == 3
        for content, status in (("# One\n", 201), ("# Two\n", 201)):
            answer = server.http.post(
                DOCUMENTS,
                params={"name": "note.md", "replace": "true"},
                content=content.encode(),
                headers=headers | {"Content-Type": "application/octet-stream"},
            )
            assert answer.status_code == status, answer.text
            with owner.connect() as connection:  # like a run that the next upload interrupts
                connection.execute(
                    "UPDATE documents SET state = 'running', lease_until = now() + interval '1 h',"
                    " run_id = 'x', started_at = now()"
                )
        metrics = server.http.get("/metrics/prometheus/")
        assert metrics.status_code == 200
    with owner.connect() as connection:
        rows = connection.execute("SELECT outcome FROM document_attempts").fetchall()
    assert rows == [("superseded",)]


@pytest.mark.parametrize("role", ["rag_api", "rag_monitor"])
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM verses",
        "UPDATE releases SET state = 'active'",
        "DELETE FROM documents",
        "INSERT INTO check_results (corpus) VALUES ('bible')",
        "UPDATE api_keys SET scopes = '{admin}'",
        "CREATE TABLE mine (n int)",
    ],
)
def test_other_roles_may_not_write_what_is_served(
    owner: Database, role: str, statement: str
) -> None:
    with (
        as_role(owner, role).connect() as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)  # type: ignore[arg-type]


def test_the_catalogue_has_no_further_privileges_for_other_roles(owner: Database) -> None:
    """All their privileges on tables, sequences, schema and server, and none by membership."""
    with owner.connect() as connection:
        written = connection.execute(
            """
            SELECT r.rolname, c.relname, string_agg(right_name, ', ' ORDER BY right_name)
              FROM pg_roles r, pg_class c, unnest(ARRAY['DELETE', 'INSERT', 'TRUNCATE', 'UPDATE',
                   'TRIGGER', 'REFERENCES']) AS right_name
             WHERE r.rolname IN ('rag_api', 'rag_monitor')
               AND c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')
               AND has_table_privilege(r.oid, c.oid, right_name)
             GROUP BY 1, 2 ORDER BY 2
            """
        ).fetchall()
        sequences = connection.execute(
            """
            SELECT r.rolname, c.relname FROM pg_roles r, pg_class c
             WHERE r.rolname IN ('rag_api', 'rag_monitor') AND c.relkind = 'S'
               AND has_sequence_privilege(r.oid, c.oid, 'USAGE, UPDATE')
            """
        ).fetchall()
        roles = connection.execute(
            """
            SELECT rolname, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication
                            OR rolbypassrls,
                   has_schema_privilege(oid, 'public', 'CREATE'),
                   ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = r.oid)
              FROM pg_roles r WHERE rolname IN ('bible_user', 'rag_api', 'rag_monitor') ORDER BY 1
            """
        ).fetchall()
        definers = connection.execute(
            """
            SELECT proname, proconfig IS NOT NULL, prorettype::regtype::text FROM pg_proc
             WHERE prosecdef AND pronamespace = 'public'::regnamespace
            """
        ).fetchall()
    assert written == [
        ("rag_api", "api_limits", "DELETE, INSERT, UPDATE"),
        ("rag_api", "documents", "INSERT, UPDATE"),
        ("rag_api", "live_recall", "INSERT, UPDATE"),
        ("rag_api", "paused_lanes", "DELETE, INSERT, UPDATE"),
        ("rag_api", "query_embeddings", "DELETE, INSERT, UPDATE"),
    ]
    assert sequences == []
    assert roles == [
        ("bible_user", False, True, ["pg_read_all_stats"]),
        ("rag_api", False, False, []),
        ("rag_monitor", False, False, ["pg_read_all_stats"]),
    ]
    # A role that changes a document writes its history only through that.
    assert definers == [("record_document_attempt", True, "trigger")]


def test_tables_that_the_owner_creates_later_can_be_read(owner: Database) -> None:
    with owner.connect() as connection:
        connection.execute("CREATE TABLE later AS SELECT 1 AS n")
    with as_role(owner, "rag_monitor").connect() as connection:
        assert connection.execute("SELECT n FROM later").fetchone() == (1,)


def test_a_missing_role_and_a_user_who_is_not_the_owner_are_reported(owner: Database) -> None:
    with (
        owner.connect() as connection,
        pytest.raises(DatabaseUnusableError, match=r"no role nobody.*roles\.sql"),
    ):
        grant_reading(connection, "nobody")
    with (
        as_role(owner, "rag_api").connect() as connection,
        pytest.raises(DatabaseUnusableError, match="only the owner"),
    ):
        grant_api(connection, "rag_monitor")
