"""The ground truth for recall, compared with exact search in SQL."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rag_assets.index.questions import TOLERANCE, held_out_queries, recall, similarity_floors
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Precision
from rag_assets.vectors.search_plan import EXACT
from rag_assets.vectors.sql.nearest import nearest, prepare_connection
from rag_assets.vectors.sql.stream import stream_vectors
from rag_assets.vectors.sql.tables import VectorTable, bible_table
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.index.corpus import clustered, fill, filled_table, index_settings
from rag_assets_tests.vectors.vectors import space_of

CASES = {
    "everything": ("EN_A", "EN_B", "PT_C"),
    "one": ("EN_A",),
    "two": ("EN_A", "PT_C"),
    "seven rows": ("PT_C",),
    "one row": ("EN_B",),
    "nothing": (),
}
ROWS = {"everything": 308, "one": 300, "two": 307, "seven rows": 7, "one row": 1, "nothing": 0}


def by_sql(
    database: Database, table: VectorTable, query: NDArray[np.float32], scopes: tuple[str, ...]
) -> list[float]:
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        found = nearest(connection, table, EXACT, query, top_k=10, scopes=scopes)
    return [1 - distance for _, distance in found]


@pytest.mark.parametrize("precision", ["halfvec", "vector"])
def test_the_ground_truth_is_what_exact_search_finds(
    database: Database, make_settings: MakeSettings, precision: Precision
) -> None:
    settings = index_settings(make_settings, rag_embedding_precision=precision)
    table = filled_table(database, settings, {"EN_A": 300, "EN_B": 1, "PT_C": 7})
    queries = clustered(12, seed=99)
    with database.connect() as connection:
        truth = similarity_floors(connection, table, queries, CASES, top_k=10)
    assert set(truth) == set(CASES)
    for name, scopes in CASES.items():
        assert truth[name].shape == (12, 10)
        for query, true in zip(queries, truth[name], strict=True):
            found = by_sql(database, table, query, scopes)
            finite = true[np.isfinite(true)]
            assert len(found) == len(finite) == min(10, ROWS[name])
            assert np.allclose(finite, found, atol=TOLERANCE)
            assert list(true) == sorted(true, reverse=True), "nearest first, -inf last"
            assert recall(found, true) == 1


def test_a_table_of_several_batches_has_the_same_ground_truth(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = index_settings(make_settings, rag_embedding_small_dimensions=8)
    table = filled_table(database, settings, {"EN_A": 9000, "EN_B": 9000})
    queries = clustered(5, dimensions=8, seed=99)
    with database.connect() as connection:
        pieces = len(list(stream_vectors(connection, table, ["EN_A", "EN_B"])))
        truth = similarity_floors(connection, table, queries, {"b": ("EN_B",)}, top_k=10)
    assert pieces > 1
    for query, true in zip(queries, truth["b"], strict=True):
        assert np.allclose(true, by_sql(database, table, query, ("EN_B",)), atol=2e-4)


def test_equally_near_rows_do_not_reduce_recall(
    database: Database, make_settings: MakeSettings
) -> None:
    """Thirty verses with the same vector: any ten of them are the ten nearest."""
    settings = index_settings(make_settings)
    space = space_of(database, settings)
    vectors = clustered(100)
    vectors[20:50] = vectors[20]
    fill(database, space, "EN_A", vectors)
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        truth = similarity_floors(
            connection, bible_table(space), vectors[20:21], {"all": ("EN_A",)}, top_k=10
        )["all"][0]
        found = nearest(
            connection, bible_table(space), EXACT, vectors[20], top_k=30, scopes=["EN_A"]
        )
    assert len(found) == 30
    for start in (0, 10, 20):
        ten = [1 - distance for _, distance in found[start : start + 10]]
        assert recall(ten, truth) == 1


NONE = -np.inf


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [
        ([], [], 1.0),
        ([], [NONE, NONE], 1.0),
        ([0.5], [NONE, NONE], 1.0),
        ([], [0.9, 0.8], 0.0),
        ([0.9, 0.8], [0.9, 0.8], 1.0),
        ([0.8, 0.9], [0.9, 0.8], 1.0),
        ([0.9], [0.9, 0.8], 0.5),
        ([0.9, 0.7], [0.9, 0.8], 0.5),
        ([0.7, 0.6], [0.9, 0.8], 0.0),
        ([0.9], [0.9, NONE], 1.0),
        ([0.8 - 0.00009], [0.8], 1.0),
        ([0.8 - 0.00011], [0.8], 0.0),
        ([0.8, 0.8, 0.8], [0.8, 0.8], 1.0),
    ],
)
def test_recall_is_the_share_of_true_neighbours_found(
    found: list[float], truth: list[float], expected: float
) -> None:
    assert recall(found, np.array(truth, dtype=np.float32)) == expected


similarities = st.lists(st.floats(-1, 1, width=32), max_size=12)


@given(similarities, similarities)
def test_recall_is_between_0_and_1_and_another_hit_never_lowers_it(
    found: list[float], true: list[float]
) -> None:
    truth = np.array(sorted(true, reverse=True), dtype=np.float32)
    shares = [recall(found[:count], truth) for count in range(len(found) + 1)]
    assert all(0 <= share <= 1 for share in shares)
    assert shares == sorted(shares)
    assert recall(true, truth) == 1


def equal_rows(queries: NDArray[np.float32], rows: NDArray[np.float32]) -> int:
    """Queries that are equal to a row, within 16-bit precision."""
    return int((queries @ rows.T > 1 - 1e-5).any(axis=1).sum())


@pytest.mark.parametrize("count", [2, 5, 40, 1000])
def test_a_held_out_query_has_length_one_and_is_no_row(
    database: Database, make_settings: MakeSettings, count: int
) -> None:
    table = filled_table(database, index_settings(make_settings), {"EN_A": count})
    with database.connect() as connection:
        rows = np.vstack([piece.vectors for piece in stream_vectors(connection, table, ["EN_A"])])
        queries = held_out_queries(connection, table, 200, seed=1)
    assert queries.shape == (200, 64)
    assert queries.dtype == np.float32
    assert np.allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)
    equal = equal_rows(queries, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    assert equal == 0


def test_held_out_queries_are_the_same_for_one_seed_and_others_for_another(
    database: Database, make_settings: MakeSettings
) -> None:
    table = filled_table(database, index_settings(make_settings), {"EN_A": 1000})
    with database.connect() as connection:
        first, again, other = (
            held_out_queries(connection, table, 50, seed=seed) for seed in (1, 1, 2)
        )
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_an_empty_table_gives_no_queries(database: Database, make_settings: MakeSettings) -> None:
    table = bible_table(space_of(database, index_settings(make_settings)))
    with database.connect() as connection:
        assert held_out_queries(connection, table, 50, seed=1).shape == (0, 64)


def test_held_out_queries_lie_among_the_rows(
    database: Database, make_settings: MakeSettings
) -> None:
    """As near to their nearest row as a paraphrase; a random direction has no neighbour."""
    table = filled_table(database, index_settings(make_settings), {"EN_A": 2000})
    with database.connect() as connection:
        queries = held_out_queries(connection, table, 100, seed=1)
        truth = similarity_floors(connection, table, queries, {"all": ("EN_A",)}, top_k=1)
    assert 0.9 < float(np.median(truth["all"])) < 0.999
