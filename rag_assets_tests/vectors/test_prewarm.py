"""Loading codes and indexes into memory, with and without the extension."""

from __future__ import annotations

from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.vectors.codes import Recipe
from rag_assets.vectors.sql import code_sets, code_writing
from rag_assets.vectors.sql.prewarm import prewarm
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.index.corpus import DIMENSIONS, filled_table, index_settings, maintained


def test_codes_are_read_and_missing_relations_are_skipped(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = index_settings(make_settings)
    table = filled_table(database, settings, {"EN_A": 1200})
    maintained(database, settings, table, lists=8)
    with database.connect(autocommit=True) as connection:
        made = code_sets.create(
            connection, table, Recipe(DIMENSIONS, 256), measured={}, run_id="run"
        )
        code_writing.fill(connection, table, made, progress=Silent())
        (size,) = connection.execute("SELECT pg_relation_size(%s)", (made.name,)).fetchone() or (0,)
        assert size > 0
        names = [made.name, f"{table.name}_ivf_g1", "no_such_table"]
        read = prewarm(connection, names)
    # The embedded server has no pg_prewarm: the index is left to the first searches.
    assert read == size
