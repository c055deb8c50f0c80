"""The search statement: its results, and that it uses the index it names."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_assets.index.questions import recall, similarity_floors
from rag_assets.index.sql import generations
from rag_assets.index.sql.builds import analyze, create_index, prepare_session
from rag_assets.index.sql.explained import indexes_used
from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.model import Precision
from rag_assets.vectors.search_plan import EXACT, Kind, SearchPlan
from rag_assets.vectors.sql.nearest import nearest, prepare_connection
from rag_assets.vectors.sql.tables import Revision, VectorTable
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.index.corpus import clustered, filled_table, index_settings

SCOPES = ["EN_A", "EN_B"]
LISTS = 20
QUERIES = clustered(20, seed=77)


def add_generation(
    database: Database, table: VectorTable, precision: Precision, lists: int = LISTS
) -> int:
    with database.connect(autocommit=True) as connection:
        prepare_session(connection, memory_kb=256 * 1024, workers=0)
        number = generations.start_generation(
            connection,
            table,
            precision=precision,
            lists=lists,
            lists_from="asked",
            rows=1200,
            revision=Revision(1, 1200),
            run_id="run",
        )
        create_index(connection, table, number, precision=precision, lists=lists)
        generations.finish_generation(connection, number, seconds=1, size=1)
        analyze(connection, table)
    return number


def name_of(generation: int) -> str:
    return f"verse_embeddings_s1_ivf_g{generation}"


@pytest.fixture(params=["halfvec", "vector"])
def table(
    request: pytest.FixtureRequest, database: Database, make_settings: MakeSettings
) -> VectorTable:
    """Two versions; generation 1 indexes the column itself, generation 2 a halfvec cast."""
    settings = index_settings(make_settings, rag_embedding_precision=request.param)
    table = filled_table(database, settings, {"EN_A": 900, "EN_B": 300})
    add_generation(database, table, table.space.spec.precision)
    add_generation(database, table, "halfvec", lists=LISTS // 2)
    return table


def plan_of(table: VectorTable, generation: int, kind: Kind, probes: int = LISTS) -> SearchPlan:
    precision: Precision = table.space.spec.precision if generation == 1 else "halfvec"
    return SearchPlan(kind, generation, precision, probes, LISTS)


def hits(
    connection: Connection,
    table: VectorTable,
    plan: SearchPlan,
    query: NDArray[np.float32],
    scopes: list[str],
    top_k: int = 10,
) -> list[tuple[int, float]]:
    return nearest(connection, table, plan, query, top_k=top_k, scopes=scopes)


def test_each_generation_is_read_through_its_own_index(
    database: Database, table: VectorTable
) -> None:
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        for generation in (1, 2):
            for kind, scopes in (("ivfflat", SCOPES), ("iterative", ["EN_B"])):
                plan = plan_of(table, generation, kind)  # type: ignore[arg-type]
                found = indexes_used(connection, table, plan, QUERIES[0], top_k=10, scopes=scopes)
                assert found == {
                    "custom": (name_of(generation),),
                    "generic": (name_of(generation),),
                }


@pytest.mark.parametrize("scopes", [SCOPES, ["EN_B"]])
def test_an_exact_search_reads_no_vector_index(
    database: Database, table: VectorTable, scopes: list[str]
) -> None:
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        used = indexes_used(connection, table, EXACT, QUERIES[0], top_k=10, scopes=scopes)
    assert set(used) == {"custom", "generic"}
    assert not any("_ivf_" in name for names in used.values() for name in names)


def test_a_plan_for_a_missing_index_uses_no_index(database: Database, table: VectorTable) -> None:
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        connection.execute("DROP INDEX verse_embeddings_s1_ivf_g2")
        found = indexes_used(
            connection, table, plan_of(table, 2, "ivfflat"), QUERIES[0], top_k=10, scopes=SCOPES
        )
        assert not any("_ivf_" in name for names in found.values() for name in names)
        answer = hits(connection, table, plan_of(table, 2, "ivfflat"), QUERIES[0], SCOPES)
    assert len(answer) == 10, "a search goes on, by another way"


def scans(database: Database) -> list[int]:
    """How often the index of each generation was read, by sessions that have ended."""
    with database.connect() as connection:
        return [
            row[0]
            for row in connection.execute(
                "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname LIKE '%_ivf_%'"
                " ORDER BY indexrelname"
            )
        ]


@pytest.mark.parametrize("autocommit", [True, False], ids=["autocommit", "in a transaction"])
def test_a_statement_sent_many_times_keeps_using_its_index(
    database: Database, table: VectorTable, autocommit: bool
) -> None:
    """psycopg prepares it after five uses; after five more the server may use a generic plan."""
    with database.connect(autocommit=autocommit) as connection:
        prepare_connection(connection)
        assert connection.prepare_threshold == 5, "as every connection has it"
        for query in QUERIES:
            for generation, kind, scopes in (
                (1, "ivfflat", SCOPES),
                (2, "iterative", ["EN_B"]),
            ):
                plan = plan_of(table, generation, kind)  # type: ignore[arg-type]
                assert len(hits(connection, table, plan, query, scopes)) == 10
        (prepared,) = connection.execute(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%ORDER BY distance%'"
        ).fetchone() or (0,)
        connection.execute("SELECT pg_stat_force_next_flush()")
    assert prepared == 2
    assert scans(database) == [20, 20]


def test_reading_every_list_is_exact_search(database: Database, table: VectorTable) -> None:
    cases = {"all": SCOPES, "b": ["EN_B"]}
    with (
        database.connect(autocommit=True) as connection,
        database.connect(autocommit=True) as other,
    ):
        prepare_connection(connection)
        prepare_connection(other)
        truth = similarity_floors(other, table, QUERIES, cases, top_k=10)
        for generation in (1, 2):
            for name, kind in (("all", "ivfflat"), ("b", "iterative")):
                plan = plan_of(table, generation, kind)  # type: ignore[arg-type]
                for query, true in zip(QUERIES, truth[name], strict=True):
                    found = hits(connection, table, plan, query, cases[name])
                    assert recall([1 - distance for _, distance in found], true) == 1


def test_hits_are_in_order_of_their_distance_and_belong_to_the_scopes(
    database: Database, table: VectorTable
) -> None:
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        ids = {
            row[0]
            for row in connection.execute(
                "SELECT verse_id FROM verse_embeddings_s1 WHERE version_code = 'EN_B'"
            )
        }
        for plan in (EXACT, plan_of(table, 1, "iterative", 1), plan_of(table, 2, "iterative", 1)):
            for query in QUERIES:
                found = hits(connection, table, plan, query, ["EN_B"], 300)
                assert found == sorted(found, key=lambda hit: (hit[1], hit[0]))
                assert {row for row, _ in found} == ids, "all of them, however few lists at first"
                assert all(0 <= distance <= 2 for _, distance in found)


def test_reading_stops_at_the_maximum_probes(database: Database, table: VectorTable) -> None:
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        bounded = SearchPlan("iterative", 1, table.space.spec.precision, 1, 1)
        found = [len(hits(connection, table, bounded, query, ["EN_B"], 300)) for query in QUERIES]
    assert max(found) < 300


@pytest.mark.parametrize("plan_kind", ["exact", "ivfflat", "iterative"])
@pytest.mark.parametrize(
    ("scopes", "top_k", "count"),
    [(["EN_X"], 10, 0), ([], 10, 0), (SCOPES, 1, 1), (SCOPES, 5000, 1200), (["EN_B"], 0, 0)],
)
def test_a_search_answers_as_many_hits_as_there_are(
    database: Database,
    table: VectorTable,
    plan_kind: Kind,
    scopes: list[str],
    top_k: int,
    count: int,
) -> None:
    plan = EXACT if plan_kind == "exact" else plan_of(table, 1, plan_kind)
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        assert len(hits(connection, table, plan, QUERIES[0], scopes, top_k)) == count


def test_the_settings_of_a_search_end_with_it(database: Database, table: VectorTable) -> None:
    names = ("ivfflat.probes", "ivfflat.max_probes", "ivfflat.iterative_scan", "enable_sort")
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        hits(connection, table, EXACT, QUERIES[0], SCOPES)  # loads pgvector's library
        connection.execute("SELECT '[1]'::vector <=> '[1]'::vector")
        before = [connection.execute("SELECT current_setting(%s)", (n,)).fetchone() for n in names]
        hits(connection, table, plan_of(table, 1, "iterative", 3), QUERIES[0], ["EN_B"])
        after = [connection.execute("SELECT current_setting(%s)", (n,)).fetchone() for n in names]
    assert before == after
    assert before[-1] == ("on",)


def test_explaining_a_plan_leaves_nothing_on_the_connection(
    database: Database, table: VectorTable
) -> None:
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        for _ in range(8):
            indexes_used(
                connection, table, plan_of(table, 1, "ivfflat"), QUERIES[0], top_k=10, scopes=SCOPES
            )
        left = connection.execute(
            "SELECT count(*) FROM pg_prepared_statements WHERE name = 'rag_explained'"
        ).fetchone()
        mode = connection.execute("SHOW plan_cache_mode").fetchone()
    assert (left, mode) == ((0,), ("auto",))
