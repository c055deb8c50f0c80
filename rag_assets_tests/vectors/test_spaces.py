"""Spaces: registered once, each with its own tables, and the view for users."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest

from rag_assets.bible.sql.embeddings import publish, stale_verses
from rag_assets.postgres.database import Database, one
from rag_assets.settings.instructions import E5
from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.spaces import (
    OFFLINE_MODEL,
    ROLES,
    Role,
    find_space,
    space_by_id,
    space_spec,
)
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import load_version, sentences
from rag_assets_tests.vectors.vectors import answer_texts, count_rows, space_of, unit_vectors


def test_concurrent_registrations_create_a_space_once(
    database: Database, make_settings: MakeSettings
) -> None:
    """Two runs register both roles concurrently; the view must exist at the end."""
    settings = make_settings()
    with ThreadPoolExecutor(8) as pool:
        spaces = list(pool.map(lambda n: space_of(database, settings, ROLES[n % 2]), range(8)))
    assert {space.space_id for space in spaces} == {1, 2}
    assert count_rows(database, "embedding_spaces") == 2
    assert count_rows(database, "verse_embeddings") == 0


def test_specs_that_differ_in_any_part_have_different_tables(
    database: Database, make_settings: MakeSettings
) -> None:
    openai = {"rag_embedding_provider": "openai"}
    variants: list[dict[str, object]] = [
        openai,
        {},
        openai | {"rag_embedding_small_model": "another-model"},
        openai | {"rag_embedding_small_dimensions": 512},
        openai | {"rag_embedding_precision": "vector"},
        openai | {"rag_embedding_instructions": "e5"},
        openai | {"rag_embedding_instructions": '{"query": "find: "}'},
        openai,
    ]
    spaces = [space_of(database, make_settings(**variant)) for variant in variants]
    assert [space.space_id for space in spaces] == [1, 2, 3, 4, 5, 6, 7, 1]
    assert count_rows(database, "embedding_spaces") == 7
    assert len({space.verses_table.as_string() for space in spaces}) == 7
    assert len({str(space.spec) for space in spaces}) == 7


def test_the_providers_address_and_price_do_not_make_another_space(
    database: Database, make_settings: MakeSettings
) -> None:
    openai = {"rag_embedding_provider": "openai"}
    first = space_of(database, make_settings(**openai))
    second = space_of(
        database,
        make_settings(
            **openai,
            openai_base_url="http://proxy/v1",
            rag_embedding_small_usd_per_million_tokens=9,
        ),
    )
    assert (first.space_id, first.usd_per_million_tokens) == (second.space_id, 0.02)
    assert second.usd_per_million_tokens == 9


def test_a_family_of_models_has_its_instructions_unless_it_has_a_space_without(
    database: Database, make_settings: MakeSettings
) -> None:
    """A version of the program that brings a preset must not embed a corpus again."""
    e5 = {"rag_embedding_provider": "openai", "rag_embedding_small_model": "multilingual-e5-base"}
    fresh = space_of(database, make_settings(**e5))
    assert fresh.spec.kinds == E5
    older = e5 | {"rag_embedding_small_model": "intfloat/e5-large"}
    with database.connect() as connection:
        (kept,) = one(
            connection.execute(
                "SELECT create_embedding_space('openai', 'intfloat/e5-large', 1536, 'halfvec')"
            )
        )
    space = space_of(database, make_settings(**older))
    assert (space.space_id, space.spec.instructions) == (kept, "")
    asked = space_of(database, make_settings(**older, rag_embedding_instructions="e5"))
    assert asked.space_id not in (fresh.space_id, kept)
    assert asked.spec.kinds == E5
    with database.connect() as connection:
        assert space_by_id(connection, asked.space_id, "small").spec == asked.spec
        found = find_space(connection, make_settings(**older), "small")
    assert found is not None
    assert found.space_id == asked.space_id, "once there is one with, it is the family's"


def test_finding_a_space_writes_nothing(database: Database, make_settings: MakeSettings) -> None:
    settings = make_settings()
    with database.connect() as connection:
        assert find_space(connection, settings, "small") is None
    assert count_rows(database, "embedding_spaces") == 0
    space = space_of(database, settings)
    with database.connect() as connection:
        found = find_space(connection, settings, "small")
    assert found is not None
    assert (found.space_id, found.spec) == (space.space_id, space.spec)


def test_the_offline_embedder_has_a_space_of_its_own_that_costs_nothing(
    database: Database, make_settings: MakeSettings
) -> None:
    space = space_of(database, make_settings(), "large")
    assert (space.spec.model, space.spec.dimensions) == (OFFLINE_MODEL, 3072)
    assert space.usd_per_million_tokens == 0
    assert str(space.spec) == f"offline/{OFFLINE_MODEL} halfvec(3072)"


@pytest.mark.parametrize("precision", ["vector", "halfvec"])
def test_the_database_refuses_a_vector_of_another_size(
    database: Database, make_settings: MakeSettings, precision: Precision
) -> None:
    space = space_of(database, make_settings(rag_embedding_precision=precision))
    with (
        database.connect() as connection,
        pytest.raises(psycopg.DataError, match="expected 1536 dimensions, not 3"),
    ):
        answer_texts(connection, space, ["a"], np.ones((1, 3), dtype=np.float32))


@pytest.mark.parametrize(
    ("precision", "role", "storage"),
    [("halfvec", "small", "p"), ("halfvec", "large", "p"), ("vector", "large", "e")],
)
def test_vectors_are_stored_in_the_row_if_they_fit(
    database: Database,
    make_settings: MakeSettings,
    precision: Precision,
    role: Role,
    storage: str,
) -> None:
    space = space_of(database, make_settings(rag_embedding_precision=precision), role)
    table = space.verses_table.as_string().strip('"')
    with database.connect() as connection:
        found = connection.execute(
            "SELECT attstorage FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attname = 'embedding'",
            (table,),
        ).fetchone()
    assert found == (storage,)


def embed_by_hand(database: Database, settings: object, role: Role, count: int) -> None:
    """Publish unit vectors for the first verses of EN_TEST."""
    space = space_of(database, settings, role)  # type: ignore[arg-type]
    with database.connect() as connection:
        stale = stale_verses(connection, space, "EN_TEST", limit=count)
        texts = [verse.text for verse in stale]
        answer_texts(connection, space, texts, unit_vectors(len(texts), space))
        publish(connection, space, "EN_TEST", [verse.verse_id for verse in stale], run_id="r")


def test_the_view_shows_both_models_in_the_users_terms(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = make_settings(rag_embedding_provider="openai")
    load_version(database, "EN_TEST", sentences(5))
    embed_by_hand(database, settings, "small", 4)
    embed_by_hand(database, settings, "large", 2)
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT version_code, book, chapter, verse, verse_end, model_name_small, dim_small,"
            " vector_dims(embedding_small), model_name_large, dim_large,"
            " vector_dims(embedding_large) FROM verse_embeddings ORDER BY verse_id"
        ).fetchall()
    small = ("text-embedding-3-small", 1536, 1536)
    large = ("text-embedding-3-large", 3072, 3072)
    nothing = (None, None, None)
    assert rows == [
        ("EN_TEST", "GEN", 1, place, place, *small, *(large if place <= 2 else nothing))
        for place in range(1, 5)
    ]


def test_the_view_follows_the_settings_to_another_model(
    database: Database, make_settings: MakeSettings
) -> None:
    load_version(database, "EN_TEST", sentences(3))
    before = make_settings(rag_embedding_provider="openai")
    embed_by_hand(database, before, "small", 3)
    embed_by_hand(database, before, "large", 3)
    after = make_settings(rag_embedding_provider="openai", rag_embedding_small_dimensions=256)
    embed_by_hand(database, after, "small", 1)
    with database.connect() as connection:
        dims = connection.execute(
            "SELECT dim_small, dim_large FROM verse_embeddings ORDER BY verse_id"
        ).fetchall()
    assert dims == [(256, 3072), (None, 3072), (None, 3072)]
    space_of(database, before)
    with database.connect() as connection:
        (dim,) = connection.execute("SELECT DISTINCT dim_small FROM verse_embeddings").fetchall()
    assert dim == (1536,)


def test_the_settings_name_the_space(make_settings: MakeSettings) -> None:
    settings = make_settings(
        rag_embedding_provider="openai",
        rag_embedding_large_model="big",
        rag_embedding_large_dimensions=1024,
    )
    assert str(space_spec(settings, "large")) == "openai/big halfvec(1024)"
