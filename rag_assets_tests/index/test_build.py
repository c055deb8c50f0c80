"""Building a generation: beside the others, with progress and its own session settings."""

from __future__ import annotations

import re

import pytest

from rag_assets.errors import ConfigurationError, IndexBuildError
from rag_assets.index.build import BuildOptions, build
from rag_assets.index.maintain import IndexOutcome
from rag_assets.index.measuring import target_of
from rag_assets.index.sql import builds as index_builds
from rag_assets.index.sql import generations
from rag_assets.index.sql.explained import indexes_used
from rag_assets.postgres.database import Connection, Database
from rag_assets.retrieval.plan import choose_plan
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.nearest import nearest, prepare_connection
from rag_assets.vectors.sql.tables import VectorTable
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.index.corpus import (
    Heard,
    clustered,
    copy_rows,
    filled_table,
    generation_states,
    index_names,
    index_settings,
    maintained,
)
from rag_assets_tests.vectors.vectors import space_of

SCOPES = {"EN_A": 1200, "EN_B": 500}


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return index_settings(make_settings)


@pytest.fixture
def table(database: Database, settings: Settings) -> VectorTable:
    return filled_table(database, settings, SCOPES)


def indexes_of(
    connection: Connection, table: VectorTable, outcome: IndexOutcome, scopes: list[str]
) -> dict[str, tuple[str, ...]]:
    """What a search with this outcome's generation reads."""
    target = target_of(table, SCOPES, outcome.generation, None)
    plan = choose_plan(target, scopes, exact_rows=400)
    (query,) = clustered(1, dimensions=table.space.spec.dimensions, seed=5)
    return indexes_used(connection, table, plan, query, top_k=10, scopes=scopes)


def hits_of(
    connection: Connection, table: VectorTable, outcome: IndexOutcome, scopes: list[str]
) -> int:
    target = target_of(table, SCOPES, outcome.generation, None)
    plan = choose_plan(target, scopes, exact_rows=400)
    (query,) = clustered(1, dimensions=table.space.spec.dimensions, seed=5)
    return len(nearest(connection, table, plan, query, top_k=10, scopes=scopes))


def built_by_hand(
    database: Database, table: VectorTable, lists: int, *, rows: int = 1700, workers: int = 0
) -> tuple[int, Heard]:
    """A generation built without maintenance, which would drop the previous one."""
    heard = Heard()
    options = BuildOptions(lists, "asked", "halfvec", "256MB", workers)
    with database.connect(autocommit=True) as session:
        number = build(session, database, table, options, rows=rows, run_id="run", progress=heard)
    return number, heard


def test_a_new_generation_exists_beside_the_old_and_each_serves_its_own_queries(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    old = maintained(database, settings, table, lists=16)
    number, _ = built_by_hand(database, table, 32)
    assert old.generation is not None
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        made = {one.number: one for one in generations.ready_generations(connection, table)}
        assert set(made) == {old.generation.number, number}
        assert {one: made[one].lists for one in made} == {old.generation.number: 16, number: 32}
        for one in made.values():
            probed = IndexOutcome(
                table, 1700, old.decision, one if one.probes else old.generation, None, (), ()
            )
            for scopes in (["EN_A", "EN_B"], ["EN_B"]):
                serving = probed.generation
                assert serving is not None
                name = f"verse_embeddings_s1_ivf_g{serving.number}"
                assert indexes_of(connection, table, probed, scopes) == {
                    "custom": (name,),
                    "generic": (name,),
                }
                assert hits_of(connection, table, probed, scopes) == 10


def test_a_build_is_recorded_as_the_index_has_it(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    outcome = maintained(database, settings, table, lists=24)
    with database.connect() as connection:
        (index,) = live_indexes(connection, table)
        row = connection.execute(
            "SELECT state, lists, lists_from, precision, rows_at_build, changed_at_build,"
            " index_bytes, error, run_id, build_seconds > 0, ended_at >= started_at"
            " FROM index_generations"
        ).fetchone()
    assert (index.lists, index.valid, index.generation) == (24, True, 1)
    assert row == (
        "ready", 24, "asked", "halfvec", 1700, 1700, index.bytes, None, "run", True, True
    )  # fmt: skip
    assert outcome.generation is not None
    assert outcome.generation.index_bytes == index.bytes


def test_the_planner_has_fresh_statistics_after_a_build(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("ALTER TABLE verse_embeddings_s1 SET (autovacuum_enabled = off)")
    maintained(database, settings, table)
    with database.connect() as connection:
        row = connection.execute(
            "SELECT c.reltuples, s.last_analyze IS NOT NULL FROM pg_class c"
            " JOIN pg_stat_user_tables s ON s.relid = c.oid"
            " WHERE c.relname = 'verse_embeddings_s1'"
        ).fetchone()
    assert row == (1700, True)


def test_the_settings_of_a_build_apply_only_to_its_session(
    database: Database, table: VectorTable
) -> None:
    names = ("maintenance_work_mem", "max_parallel_maintenance_workers",
             "client_connection_check_interval")  # fmt: skip

    def shown(connection: Connection) -> list[str]:
        return [
            connection.execute("SELECT current_setting(%s)", (name,)).fetchone()[0]  # type: ignore[index]
            for name in names
        ]

    with (
        database.connect(autocommit=True) as session,
        database.connect(autocommit=True) as other,
    ):
        before = shown(other)
        options = BuildOptions(8, "asked", "halfvec", "123MB", 1)
        build(session, database, table, options, rows=1700, run_id="r", progress=Heard())
        assert shown(session) == ["123MB", "1", "2s"]
        assert shown(other) == before
    with database.connect() as later:
        assert shown(later) == before


@pytest.mark.parametrize("workers", [0, 2])
def test_a_build_reports_its_progress(
    database: Database, make_settings: MakeSettings, workers: int
) -> None:
    """The build takes long enough that its progress is seen at least once."""
    settings = index_settings(make_settings)
    vectors = clustered(20_000, clusters=1, spread=5)
    table = copy_rows(database, space_of(database, settings), "EN_A", vectors)
    number, heard = built_by_hand(database, table, 1000, rows=20_000, workers=workers)
    assert heard.lines[0] == (
        f"building generation {number} of {table} over halfvec: 1000 lists, 20,000 rows"
    )
    assert re.fullmatch(rf"generation {number} built in \d+\.\d s, \d+ MB", heard.lines[-1])
    phases = ("initializing", "building index", "waiting for", "index validation")
    between = heard.lines[1:-1]
    assert between, "progress is reported regularly"
    assert all(line.startswith(phases) for line in between)
    assert len(between) == len(set(between))


def test_too_few_rows_for_the_lists_is_an_error_and_leaves_no_index(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    serving = maintained(database, settings, table)
    with pytest.raises(IndexBuildError) as caught:
        maintained(database, settings, table, lists=2000)
    said = str(caught.value)
    assert "1,700 rows are too little data for 2000 lists" in said
    assert "RAG_INDEX_MIN_ROWS" in said
    with database.connect() as connection:
        assert generation_states(connection) == [(1, "ready")]
        assert index_names(connection) == ["verse_embeddings_s1_ivf_g1"]
        decision = generations.last_decision(connection, table)
    assert decision is not None
    assert serving.generation is not None
    assert decision.generation == serving.generation.number, "the last decision stands"


def test_a_halfvec_index_serves_a_space_of_vectors(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = index_settings(make_settings, rag_embedding_precision="vector")
    table = filled_table(database, settings, SCOPES)
    whole = maintained(database, settings, table, lists=16)
    half = maintained(database, settings, table, lists=16, precision="halfvec")
    assert whole.generation is not None
    assert half.generation is not None
    assert (whole.generation.precision, half.generation.precision) == ("vector", "halfvec")
    assert half.generation.index_bytes < whole.generation.index_bytes
    assert half.dropped == (whole.generation.number,)
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        for scopes in (["EN_A", "EN_B"], ["EN_A"]):
            used = indexes_of(connection, table, half, scopes)
            assert set(used.values()) == {("verse_embeddings_s1_ivf_g2",)}
            assert hits_of(connection, table, half, scopes) == 10


def test_a_vector_index_of_a_halfvec_space_is_refused(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    with pytest.raises(ConfigurationError, match="no more exact"):
        maintained(database, settings, table, precision="vector")
    with database.connect() as connection:
        assert generation_states(connection) == []


def test_more_than_2000_dimensions_are_automatically_indexed_as_halfvec(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = index_settings(
        make_settings,
        rag_embedding_precision="vector",
        rag_embedding_small_dimensions=2001,
    )
    table = filled_table(database, settings, {"EN_A": 150, "EN_B": 30})
    outcome = maintained(database, settings, table, lists=8)
    assert outcome.generation is not None
    assert outcome.generation.precision == "halfvec"
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        used = indexes_of(connection, table, outcome, ["EN_A", "EN_B"])
        assert set(used.values()) == {("verse_embeddings_s1_ivf_g1",)}
        assert hits_of(connection, table, outcome, ["EN_A", "EN_B"]) == 10
    with pytest.raises(ConfigurationError, match="ask for halfvec"):
        maintained(database, settings, table, precision="vector")
    with database.connect() as connection:
        assert generation_states(connection) == [(1, "ready")]


def test_free_disk_space_is_read_only_if_the_server_is_on_this_machine(
    database: Database, table: VectorTable
) -> None:
    with database.connect() as connection:
        free = index_builds.free_disk_bytes(connection)
        assert free is not None
        assert free > 0
        assert index_builds.relation_bytes(connection, table.name) > 0
        assert index_builds.build_progress(connection, table) is None
