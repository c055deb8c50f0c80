"""Revisions: every change of a scope gives a new one, and nothing else does."""

from __future__ import annotations

import pytest

from rag_assets.bible.sql.embeddings import publish, stale_verses
from rag_assets.bible.sql.verses import remove_version
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.spaces import Space, SpaceSpec, register_space
from rag_assets.vectors.sql.tables import (
    Revision,
    VectorTable,
    bible_table,
    revision,
    rows_by_scope,
    scope_revisions,
)
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import load_version
from rag_assets_tests.index.corpus import clustered, fill, index_settings, republish, texts_of
from rag_assets_tests.vectors.vectors import answer_texts, space_of


@pytest.fixture
def table(database: Database, make_settings: MakeSettings) -> VectorTable:
    """Thirty vectors of one version, twenty of another."""
    space = space_of(database, index_settings(make_settings))
    fill(database, space, "EN_A", clustered(30))
    fill(database, space, "EN_B", clustered(20, seed=2))
    return bible_table(space)


def seen(database: Database, table: VectorTable) -> tuple[Revision, dict[str, int]]:
    with database.connect() as connection:
        return revision(connection, table), scope_revisions(connection, table)


def test_a_table_that_was_never_written_has_revision_zero(
    database: Database, make_settings: MakeSettings
) -> None:
    table = bible_table(space_of(database, index_settings(make_settings)))
    assert seen(database, table) == (Revision(0, 0), {})
    with database.connect() as connection:
        assert rows_by_scope(connection, table) == {}


def test_rows_are_counted_by_scope_and_a_publication_counts_its_rows(
    database: Database, table: VectorTable
) -> None:
    with database.connect() as connection:
        assert rows_by_scope(connection, table) == {"EN_A": 30, "EN_B": 20}
    whole, scopes = seen(database, table)
    assert whole.rows_changed == 50
    assert whole.number == sum(scopes.values())
    assert set(scopes) == {"EN_A", "EN_B"}


def test_publishing_again_changes_only_that_scope(database: Database, table: VectorTable) -> None:
    before, before_scopes = seen(database, table)
    republish(database, table.space, "EN_A", texts_of("EN_A", 30)[:4], clustered(4, seed=3))
    after, after_scopes = seen(database, table)
    assert after.number > before.number
    assert after.rows_changed == before.rows_changed + 4
    assert after_scopes["EN_A"] > before_scopes["EN_A"]
    assert after_scopes["EN_B"] == before_scopes["EN_B"]


def test_a_reused_vector_is_a_change_too(database: Database, table: VectorTable) -> None:
    before, _ = seen(database, table)
    load_version(database, "EN_C", texts_of("EN_A", 7))
    with database.connect() as connection:
        ids = [verse.verse_id for verse in stale_verses(connection, table.space, "EN_C")]
        assert publish(connection, table.space, "EN_C", ids, run_id="r").reused == 7
    after, scopes = seen(database, table)
    assert after.rows_changed == before.rows_changed + 7
    assert "EN_C" in scopes


def test_without_a_change_there_is_no_new_revision(database: Database, table: VectorTable) -> None:
    before = seen(database, table)
    load_version(database, "EN_A", texts_of("EN_A", 30))
    with database.connect() as connection:
        assert stale_verses(connection, table.space, "EN_A") == ()
        publish(connection, table.space, "EN_A", [], run_id="again")
    assert seen(database, table) == before


def test_a_publication_that_is_rolled_back_leaves_no_revision(
    database: Database, table: VectorTable
) -> None:
    before = seen(database, table)
    with database.connect() as connection:
        answer_texts(connection, table.space, texts_of("EN_A", 5), clustered(5, seed=9))
        ids = [v.verse_id for v in stale_verses(connection, table.space, "EN_A", every=True)]
        publish(connection, table.space, "EN_A", ids, run_id="r")
        connection.rollback()
    assert seen(database, table) == before


def test_a_changed_text_gives_its_scope_a_new_revision_in_every_space(
    database: Database, table: VectorTable, make_settings: MakeSettings
) -> None:
    other = index_settings(make_settings, rag_embedding_large_dimensions=32)
    with database.connect() as connection:
        large = register_space(connection, other, "large")
    large_table = bible_table(large)
    republish(database, large, "EN_A", texts_of("EN_A", 30), clustered(30, dimensions=32))
    before = [seen(database, one) for one in (table, large_table)]
    load_version(database, "EN_A", ["A new beginning", *texts_of("EN_A", 30)[1:]])
    after = [seen(database, one) for one in (table, large_table)]
    for (was, was_scopes), (now, now_scopes) in zip(before, after, strict=True):
        assert now.number > was.number
        assert now.rows_changed == was.rows_changed, "no vector was written"
        assert now_scopes["EN_A"] > was_scopes["EN_A"]
    assert after[0][1]["EN_B"] == before[0][1]["EN_B"]


def test_deleted_verses_count_as_changed_rows(database: Database, table: VectorTable) -> None:
    before, before_scopes = seen(database, table)
    load_version(database, "EN_A", texts_of("EN_A", 30)[:22])
    after, after_scopes = seen(database, table)
    assert after.rows_changed == before.rows_changed + 8
    assert after_scopes["EN_A"] > before_scopes["EN_A"]
    assert after_scopes["EN_B"] == before_scopes["EN_B"]


def test_a_removed_version_counts_its_rows_and_the_revision_goes_on_growing(
    database: Database, table: VectorTable
) -> None:
    before, _ = seen(database, table)
    with database.connect() as connection:
        remove_version(connection, "EN_A")
    gone, _ = seen(database, table)
    assert gone.rows_changed == before.rows_changed + 30
    assert gone.number > before.number
    fill(database, table.space, "EN_A", clustered(30))
    back, _ = seen(database, table)
    assert back.number > gone.number
    with database.connect() as connection:
        assert rows_by_scope(connection, table) == {"EN_A": 30, "EN_B": 20}


def test_deleting_verses_without_vectors_changes_no_table(
    database: Database, table: VectorTable
) -> None:
    before = seen(database, table)
    load_version(database, "EN_C", ["One", "Two"])
    load_version(database, "EN_C", ["One"])
    assert seen(database, table) == before


def test_the_space_of_one_role_does_not_move_with_the_other(
    database: Database, table: VectorTable, make_settings: MakeSettings
) -> None:
    settings = index_settings(make_settings, rag_embedding_large_dimensions=32)
    with database.connect() as connection:
        large = bible_table(register_space(connection, settings, "large"))
    republish(database, table.space, "EN_A", texts_of("EN_A", 3), clustered(3, seed=8))
    assert seen(database, large) == (Revision(0, 0), {})


@pytest.mark.parametrize(
    ("stored", "indexed", "expression"),
    [
        ("halfvec", "halfvec", "embedding"),
        ("vector", "vector", "embedding"),
        ("vector", "halfvec", "(embedding::halfvec(3072))"),
    ],
)
def test_an_index_of_another_precision_is_over_an_expression(
    stored: Precision, indexed: Precision, expression: str
) -> None:
    space = Space(7, "large", SpaceSpec("offline", "m", 3072, stored), 0.0)
    assert bible_table(space).indexed(indexed).as_string(None) == expression


def test_a_table_is_named_by_its_space_for_the_database_and_for_people() -> None:
    table = bible_table(Space(7, "large", SpaceSpec("offline", "m", 3072, "halfvec"), 0.0))
    assert table.name == "verse_embeddings_s7"
    assert str(table) == "verse_embeddings_s7 (offline/m halfvec(3072))"
