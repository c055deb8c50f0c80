"""The sizing page says what the model computes, and the model what PostgreSQL does."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg import sql

from benchmarks.sizing import model
from rag_assets.index.build_size import build_size, item_bytes
from rag_assets.index.sql import builds as index_builds
from rag_assets.postgres.database import Database, one
from rag_assets.progress import Silent
from rag_assets.settings.model import Precision, Settings
from rag_assets.vectors.codes import Recipe
from rag_assets.vectors.sql import code_sets, code_writing
from rag_assets.vectors.sql.spaces import register_space
from rag_assets.vectors.sql.tables import bible_table
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.index.corpus import filled_table, index_settings

PAGE = Path(__file__).parents[1] / "docs" / "sizing.md"
ROWS, LISTS = 1_000, 8


def test_the_page_has_the_tables_that_are_computed() -> None:
    page = PAGE.read_text("utf-8")
    for table in model.tables():
        assert table in page, f"python -m benchmarks.sizing prints another table:\n{table}"


def test_codes_and_their_index_take_as_many_bytes_as_the_model_says(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = index_settings(make_settings)
    table = filled_table(database, settings, {"EN_A": ROWS})
    recipe = Recipe(table.space.spec.dimensions, model.CODE_BITS)
    with database.connect(autocommit=True) as connection:
        made = code_sets.create(connection, table, recipe, measured={}, run_id="run")
        code_writing.fill(connection, table, made, progress=Silent())
        name = index_builds.create_index(
            connection, table, 1, precision="halfvec", lists=LISTS,
            codes=made,
        )  # fmt: skip
        size, index = one(
            connection.execute(
                "SELECT pg_relation_size(%s::regclass), pg_relation_size(%s::regclass)",
                (made.name, name),
            )
        )
    assert size / ROWS == pytest.approx(model.PAGE / model.codes_a_page(), rel=0.03)
    building = build_size(rows=ROWS, lists=LISTS, dimensions=model.CODE_BITS, precision="bit")
    most = building.disk - ROWS * (item_bytes(model.CODE_BITS, "bit") + 16)
    assert most - 2 * LISTS * model.PAGE <= index <= most


@pytest.mark.parametrize(
    ("dimensions", "precision"), [(768, "halfvec"), (1536, "halfvec"), (1536, "vector")]
)
def test_a_table_and_its_index_take_as_many_bytes_as_the_model_says(
    database: Database, dimensions: int, precision: Precision
) -> None:
    settings = Settings(
        rag_embedding_small_dimensions=dimensions, rag_embedding_precision=precision
    )
    with database.connect(autocommit=True) as connection:
        table = bible_table(register_space(connection, settings, "small"))
        connection.execute(
            sql.SQL(
                """
                INSERT INTO {} (verse_id, version_code, language, book, chapter, embedding,
                                text_hash, run_id)
                SELECT n, 'EN_SAMPLE', 'en', 'GEN', 1,
                       (SELECT array_agg(random()) FROM generate_series(1, %s) WHERE n > 0)
                           ::vector::{},
                       sha256(n::text::bytea), gen_random_uuid()::text
                  FROM generate_series(1, %s) AS n
                """
            ).format(table.identifier, sql.SQL(precision)),
            (dimensions, ROWS),
        )
        index_builds.prepare_session(connection, memory_kb=2**19, workers=0)
        index_builds.create_index(connection, table, 1, precision=precision, lists=LISTS)
        size, index = one(
            connection.execute(
                "SELECT pg_relation_size(%s::regclass), max(pg_relation_size(indexrelid))"
                "  FROM pg_index WHERE indrelid = %s::regclass",
                (table.name, table.name),
            )
        )
    assert size / ROWS == pytest.approx(
        model.PAGE / model.rows_a_page(dimensions, precision), rel=0.01
    )
    building = build_size(rows=ROWS, lists=LISTS, dimensions=dimensions, precision=precision)
    most = building.disk - ROWS * (item_bytes(dimensions, precision) + 16)
    assert most - 2 * LISTS * model.PAGE <= index <= most
