"""The documents' tables and view, in new and in migrated databases."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from rag_assets.postgres.database import Database
from rag_assets.postgres.migrations import migrate, migrations_folder
from rag_assets.vectors.sql.spaces import ROLES, space_spec
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.documents.queued import make_ready
from rag_assets_tests.vectors.vectors import count_rows, space_of


@pytest.fixture
def grown(template_database: Database, tmp_path: Path) -> Iterator[Database]:
    """A database of the migrations before documents, with both roles registered."""
    fresh = template_database.named("before_documents")
    before = tmp_path / "migrations"
    before.mkdir()
    for file in migrations_folder().glob("000[1-4]_*.sql"):
        shutil.copy(file, before)
    migrate(fresh, folder=before)
    yield fresh
    with template_database.named("postgres").connect(autocommit=True) as connection:
        connection.execute("DROP DATABASE before_documents WITH (FORCE)")


def test_the_view_shows_documents_when_only_the_small_role_is_registered(
    database: Database, make_settings: MakeSettings
) -> None:
    space = space_of(database, make_settings())
    make_ready(database, space, "a", ["one", "two"])
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT document_key, position, page, heading, model_name_small, dim_small,"
            " vector_dims(embedding_small), model_name_large, dim_large, embedding_large"
            " FROM chunk_embeddings ORDER BY position"
        ).fetchall()
    model = "lexical-char-ngrams-v1"
    assert rows == [
        ("a", 1, 1, ["Top"], model, 1536, 1536, None, None, None),
        ("a", 2, 1, ["Top"], model, 1536, 1536, None, None, None),
    ]


def test_the_view_has_both_roles_once_they_exist(
    database: Database, make_settings: MakeSettings
) -> None:
    space = space_of(database, make_settings())
    make_ready(database, space, "a", ["one"])
    space_of(database, make_settings(), "large")
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT dim_small, dim_large, embedding_large FROM chunk_embeddings"
        ).fetchall()
    assert rows == [(1536, None, None)]


def test_the_view_exists_after_concurrent_registrations(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = make_settings()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: space_of(database, settings, ROLES[n % 2]), range(8)))
    assert count_rows(database, "chunk_embeddings") == 0
    assert count_rows(database, "verse_embeddings") == 0


def test_older_spaces_get_tables_for_documents(
    grown: Database, make_settings: MakeSettings
) -> None:
    settings = make_settings()
    with grown.connect() as connection:
        for role in ROLES:
            spec = space_spec(settings, role)
            connection.execute(
                "SELECT create_embedding_space(%s, %s, %s, %s)",
                (spec.provider, spec.model, spec.dimensions, spec.precision),
            )
    assert "0005_documents.sql" in migrate(grown)
    space = space_of(grown, settings)
    make_ready(grown, space, "a", ["one"])
    assert count_rows(grown, "chunk_embeddings") == 1
    assert count_rows(grown, "chunk_embeddings_s2") == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE documents SET state = 'running'", "documents_check"),
        ("UPDATE documents SET state = 'dead'", "documents_check"),
        ("UPDATE documents SET state = 'withdrawn'", "documents_check"),
        ("UPDATE documents SET state = 'processing'", "documents_state_check"),
        ("UPDATE documents SET priority = 4", "documents_priority_check"),
    ],
)
def test_a_contradictory_row_is_refused(
    database: Database, make_settings: MakeSettings, change: str, named: str
) -> None:
    make_ready(database, space_of(database, make_settings()), "a", ["one"])
    with (
        database.connect() as connection,
        pytest.raises(psycopg.errors.CheckViolation, match=named),
    ):
        connection.execute(change.encode())


def test_vectors_of_documents_have_their_spaces_dimension(
    database: Database, make_settings: MakeSettings
) -> None:
    space = space_of(database, make_settings())
    make_ready(database, space, "a", ["one"])
    with (
        database.connect() as connection,
        pytest.raises(psycopg.DataError, match="expected 1536 dimensions, not 2"),
    ):
        connection.execute("UPDATE chunk_embeddings_s1 SET embedding = '[1,0]'")


def test_chunks_are_searched_in_their_own_language(
    database: Database, make_settings: MakeSettings
) -> None:
    space = space_of(database, make_settings())
    make_ready(database, space, "pt", ["as casas brancas"], language="pt")
    make_ready(database, space, "en", ["the white houses"], language="en-GB")
    make_ready(database, space, "xx", ["the white houses here"], language="und")
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT document_key, text_search::text FROM document_chunks"
            " JOIN documents USING (document_id) ORDER BY chunk_id"
        ).fetchall()
    assert rows == [
        ("pt", "'branc':3 'cas':2"),
        ("en", "'hous':3 'white':2"),
        ("xx", "'here':4 'houses':3 'the':1 'white':2"),
    ]
