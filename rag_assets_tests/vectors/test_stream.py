"""Streaming a whole table as arrays, and samples of it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_assets.index.sql.builds import analyze
from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.stream import sample_vectors, stream_vectors
from rag_assets.vectors.sql.tables import VectorTable, bible_table
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.index.corpus import clustered, copy_rows, filled_table, index_settings
from rag_assets_tests.vectors.vectors import space_of

Stored = dict[int, tuple[str, NDArray[np.float32]]]


def stored(connection: Connection, table: VectorTable) -> Stored:
    """Scope and vector by id, as plain SQL returns them."""
    rows = connection.execute(
        "SELECT verse_id, version_code, embedding::real[] FROM verse_embeddings_s1"
    ).fetchall()
    return {row[0]: (row[1], np.array(row[2], dtype=np.float32)) for row in rows}


def streamed(connection: Connection, table: VectorTable, scopes: list[str]) -> Stored:
    found: Stored = {}
    for chunk in stream_vectors(connection, table, scopes):
        assert len(chunk.ids) == len(chunk.scopes) == len(chunk.vectors) > 0
        for row, scope, vector in zip(chunk.ids, chunk.scopes, chunk.vectors, strict=True):
            assert int(row) not in found
            found[int(row)] = (scopes[scope], vector)
    return found


@pytest.mark.parametrize("precision", ["halfvec", "vector"])
@pytest.mark.parametrize("dimensions", [1, 3, 64])
def test_every_row_is_streamed_once_with_its_scope_and_exact_components(
    database: Database, make_settings: MakeSettings, precision: Precision, dimensions: int
) -> None:
    settings = index_settings(
        make_settings,
        rag_embedding_small_dimensions=dimensions,
        rag_embedding_precision=precision,
    )
    table = filled_table(database, settings, {"EN_A": 120, "EN_B": 7, "PT_C": 1})
    with database.connect() as connection:
        expected = stored(connection, table)
        for scopes in (["EN_A", "EN_B", "PT_C"], ["PT_C", "EN_A"], ["EN_B"], ["EN_X"], []):
            found = streamed(connection, table, scopes)
            wanted = {row: kept for row, kept in expected.items() if kept[0] in scopes}
            assert found.keys() == wanted.keys()
            for row, (scope, vector) in found.items():
                assert scope == wanted[row][0]
                assert np.array_equal(vector, wanted[row][1])


@pytest.mark.parametrize("rows", [8191, 8192, 8193, 20_000])
def test_a_table_of_several_batches_is_streamed_completely(
    database: Database, make_settings: MakeSettings, rows: int
) -> None:
    settings = index_settings(make_settings, rag_embedding_small_dimensions=4)
    vectors = clustered(rows, dimensions=4)
    table = copy_rows(database, space_of(database, settings), "EN_A", vectors)
    with database.connect() as connection:
        pieces = list(stream_vectors(connection, table, ["EN_A"]))
    assert np.array_equal(np.concatenate([piece.ids for piece in pieces]), np.arange(1, rows + 1))
    assert np.allclose(np.vstack([piece.vectors for piece in pieces]), vectors, atol=1e-3)
    assert not np.concatenate([piece.scopes for piece in pieces]).any()


def test_the_connection_is_usable_after_a_complete_stream(
    database: Database, make_settings: MakeSettings
) -> None:
    table = filled_table(database, index_settings(make_settings), {"EN_A": 50})
    with database.connect() as connection:
        assert len(streamed(connection, table, ["EN_A"])) == 50
        assert len(streamed(connection, table, ["EN_A"])) == 50
        assert connection.execute("SELECT 1").fetchone() == (1,)


def place_of(vectors: NDArray[np.float32], sample: NDArray[np.float32]) -> NDArray[np.int64]:
    """The row of each sampled vector; all differ."""
    nearest = np.argmax(sample @ vectors.T, axis=1)
    assert np.allclose(sample, vectors[nearest], atol=1e-3)
    return nearest


@pytest.fixture
def long_table(
    database: Database, make_settings: MakeSettings
) -> tuple[VectorTable, NDArray[np.float32]]:
    """20,000 rows over some hundreds of pages, and their vectors."""
    vectors = clustered(20_000, dimensions=16)
    settings = index_settings(make_settings, rag_embedding_small_dimensions=16)
    return copy_rows(database, space_of(database, settings), "EN_A", vectors), vectors


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "never analyzed"])
def test_a_sample_is_drawn_from_the_whole_table(
    database: Database, long_table: tuple[VectorTable, NDArray[np.float32]], analyzed: bool
) -> None:
    """Even before the server has statistics on it, as before a first build."""
    table, vectors = long_table
    with database.connect(autocommit=True) as connection:
        connection.execute("ALTER TABLE verse_embeddings_s1 SET (autovacuum_enabled = off)")
        if analyzed:
            analyze(connection, table)
        sample = sample_vectors(connection, table, 800, seed=1)
    assert 400 <= len(sample) <= 1600, "about as many as were asked for"
    places = place_of(vectors, sample)
    quarters = np.bincount(places * 4 // len(vectors), minlength=4) / len(places)
    assert quarters.min() > 0.1, f"share of each quarter of the table: {quarters}"


def test_a_sample_covers_a_table_that_grew_since_it_was_analyzed(
    database: Database, make_settings: MakeSettings
) -> None:
    vectors = clustered(20_000, dimensions=16)
    settings = index_settings(make_settings, rag_embedding_small_dimensions=16)
    space = space_of(database, settings)
    table = copy_rows(database, space, "EN_A", vectors[:2000])
    with database.connect(autocommit=True) as connection:
        connection.execute("ALTER TABLE verse_embeddings_s1 SET (autovacuum_enabled = off)")
        analyze(connection, table)
    copy_rows(database, space, "EN_B", vectors[2000:], first_id=2001)
    with database.connect(autocommit=True) as connection:
        places = place_of(vectors, sample_vectors(connection, table, 800, seed=1))
    quarters = np.bincount(places * 4 // len(vectors), minlength=4) / len(places)
    assert quarters.min() > 0.1, f"share of each quarter of the table: {quarters}"


def test_a_sample_is_the_same_for_one_seed_and_another_for_another(
    database: Database, long_table: tuple[VectorTable, NDArray[np.float32]]
) -> None:
    table, _ = long_table
    with database.connect(autocommit=True) as connection:
        analyze(connection, table)
        first, again, other = (
            sample_vectors(connection, table, 300, seed=seed) for seed in (5, 5, 6)
        )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("rows", [0, 1, 30])
def test_a_short_table_is_its_own_sample(
    database: Database, make_settings: MakeSettings, rows: int
) -> None:
    settings = index_settings(make_settings)
    table = bible_table(space_of(database, settings))
    if rows:
        table = filled_table(database, settings, {"EN_A": rows})
    with database.connect(autocommit=True) as connection:
        for _ in range(2):
            assert sample_vectors(connection, table, 100, seed=1).shape == (rows, 64)
            analyze(connection, table)
