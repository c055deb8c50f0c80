"""The record of index builds, compared with the existing indexes."""

from __future__ import annotations

import pytest
from psycopg import sql

from rag_assets.index.sql import generations
from rag_assets.index.sql.builds import create_index, prepare_session
from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.indexes import LIVE_NAMES, Probes, live_indexes
from rag_assets.vectors.sql.served import pinned_generations
from rag_assets.vectors.sql.tables import Revision, VectorTable
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.index.corpus import (
    filled_table,
    generation_states,
    index_names,
    index_settings,
)


@pytest.fixture
def table(database: Database, make_settings: MakeSettings) -> VectorTable:
    """Two hundred vectors, so that building an index is fast."""
    return filled_table(database, index_settings(make_settings), {"EN_A": 200})


def built(
    connection: Connection,
    table: VectorTable,
    *,
    lists: int = 8,
    precision: Precision = "halfvec",
    probes: Probes | None = None,
    changed: int = 0,
) -> int:
    """A finished generation with its index."""
    prepare_session(connection, memory_kb=256 * 1024, workers=0)
    number = generations.start_generation(
        connection,
        table,
        precision=precision,
        lists=lists,
        lists_from="asked",
        rows=200,
        revision=Revision(1, changed),
        run_id="run",
    )
    create_index(connection, table, number, precision=precision, lists=lists)
    generations.finish_generation(connection, number, seconds=1.5, size=4096)
    if probes is not None:
        generations.tuned(connection, number, probes, {"queries": 3})
    return number


def test_a_recorded_build_is_read_back(database: Database, table: VectorTable) -> None:
    with database.connect(autocommit=True) as connection:
        number = built(connection, table, probes=Probes(2, 5, 8), changed=200)
        (made,) = generations.ready_generations(connection, table)
        (index,) = live_indexes(connection, table)
    assert (made.number, made.precision, made.lists, made.lists_from) == (
        number,
        "halfvec",
        8,
        "asked",
    )
    assert (made.rows_at_build, made.changed_at_build) == (200, 200)
    assert made.probes == Probes(2, 5, 8)
    assert (made.build_seconds, made.index_bytes, made.run_id) == (1.5, 4096, "run")
    assert (index.name, index.generation, index.lists, index.valid) == (
        f"verse_embeddings_s1_ivf_g{number}",
        number,
        8,
        True,
    )
    assert index.bytes > 0


def test_a_generation_that_was_not_tuned_has_no_probes(
    database: Database, table: VectorTable
) -> None:
    with database.connect(autocommit=True) as connection:
        built(connection, table)
        (made,) = generations.ready_generations(connection, table)
    assert made.probes is None


def test_the_lists_of_an_index_are_read_from_the_index(
    database: Database, table: VectorTable
) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "CREATE INDEX by_hand ON verse_embeddings_s1 USING ivfflat"
            " (embedding halfvec_cosine_ops)"
        )
        built(connection, table, lists=12)
        connection.execute("UPDATE index_generations SET lists = 99")
        found = live_indexes(connection, table)
    assert [(index.generation, index.lists) for index in found] == [(None, 100), (1, 12)]


def test_a_missing_or_invalid_index_is_no_ready_generation(
    database: Database, table: VectorTable
) -> None:
    with database.connect(autocommit=True) as connection:
        gone, invalid, sound = (built(connection, table) for _ in range(3))
        connection.execute(
            sql.SQL("DROP INDEX {}").format(sql.Identifier(f"verse_embeddings_s1_ivf_g{gone}"))
        )
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)",
            (f"verse_embeddings_s1_ivf_g{invalid}",),
        )
        ready = generations.ready_generations(connection, table)
        there = {index.generation: index.valid for index in
                 live_indexes(connection, table)}  # fmt: skip
    assert [made.number for made in ready] == [sound]
    assert there == {invalid: False, sound: True}


def test_a_renamed_index_still_belongs_to_its_generation(
    database: Database, table: VectorTable
) -> None:
    with database.connect(autocommit=True) as connection:
        number = built(connection, table)
        connection.execute(
            sql.SQL("ALTER INDEX {} RENAME TO {}").format(
                sql.Identifier(f"verse_embeddings_s1_ivf_g{number}"),
                sql.Identifier(LIVE_NAMES["bible"]),
            )
        )
        (index,) = live_indexes(connection, table)
        (made,) = generations.ready_generations(connection, table)
        generations.drop_indexes(connection, [index])
        states = generation_states(connection)
        left = index_names(connection)
    assert (index.name, index.generation, made.number) == (LIVE_NAMES["bible"], number, number)
    assert (states, left) == ([(number, "dropped")], [])


def test_dropping_a_missing_index_is_no_error(database: Database, table: VectorTable) -> None:
    with database.connect(autocommit=True) as connection:
        number = built(connection, table)
        found = live_indexes(connection, table)
        generations.drop_indexes(connection, found)
        generations.drop_indexes(connection, found)
        assert generation_states(connection) == [(number, "dropped")]


def test_a_failed_generation_keeps_its_state_and_error_when_its_index_is_dropped(
    database: Database, table: VectorTable
) -> None:
    with database.connect(autocommit=True) as connection:
        number = built(connection, table)
        generations.fail_generation(connection, number, "no room")
        generations.drop_indexes(connection, live_indexes(connection, table))
        row = connection.execute("SELECT state, error FROM index_generations").fetchone()
    assert row == ("failed", "no room")


def test_only_dead_builds_are_marked_failed(database: Database, table: VectorTable) -> None:
    with database.connect(autocommit=True) as connection:
        built(connection, table)
        generations.start_generation(
            connection,
            table,
            precision="halfvec",
            lists=4,
            lists_from="profile",
            rows=200,
            revision=Revision(1, 1),
            run_id="killed",
        )
        generations.fail_dead_builds(connection, table)
        rows = connection.execute(
            "SELECT state, error FROM index_generations ORDER BY generation"
        ).fetchall()
    assert rows == [("ready", None), ("failed", "its run ended without a report")]


def release(
    connection: Connection, state: str, generation: int | None, previous: int | None
) -> int:
    """A release of the small space as the release step records it."""
    row = connection.execute(
        "INSERT INTO releases (state, versions, reasons, manifest, previous_id, code_version,"
        " run_id) VALUES (%s, '{}', '{}', '{}', %s, 'test', 'run') RETURNING release_id",
        (state, previous),
    ).fetchone()
    assert row is not None
    connection.execute(
        "INSERT INTO release_spaces (release_id, corpus, role, space_id, generation)"
        " VALUES (%s, 'bible', 'small', 1, %s)",
        (row[0], generation),
    )
    return int(row[0])


@pytest.mark.parametrize(
    ("kept", "pinned"), [(0, {5}), (1, {4, 5}), (2, {4, 5}), (3, {2, 4, 5}), (9, {1, 2, 4, 5})]
)
def test_the_active_release_and_kept_predecessors_pin_their_generations(
    database: Database, table: VectorTable, kept: int, pinned: set[int]
) -> None:
    """The chain is 5 (active), 4, exact search, 2, 1; generation 3 is in another chain."""
    with database.connect(autocommit=True) as connection:
        for _ in range(5):
            generations.start_generation(
                connection,
                table,
                precision="halfvec",
                lists=4,
                lists_from="profile",
                rows=200,
                revision=Revision(1, 1),
                run_id="run",
            )
        first = release(connection, "superseded", 1, None)
        second = release(connection, "superseded", 2, first)
        release(connection, "rolled_back", 3, second)
        exact = release(connection, "superseded", None, second)
        fourth = release(connection, "superseded", 4, exact)
        release(connection, "active", 5, fourth)
        assert pinned_generations(connection, kept=kept) == pinned


def test_without_an_active_release_nothing_is_pinned(
    database: Database, table: VectorTable
) -> None:
    with database.connect(autocommit=True) as connection:
        number = built(connection, table)
        release(connection, "candidate", number, None)
        assert pinned_generations(connection, kept=9) == frozenset()


def test_a_decision_replaces_the_previous_one(database: Database, table: VectorTable) -> None:
    with database.connect(autocommit=True) as connection:
        assert generations.last_decision(connection, table) is None
        number = built(connection, table)
        for action, generation in (("build", number), ("exact", None)):
            generations.record_decision(
                connection,
                table,
                action=action,
                generation=generation,
                reasons=("first", "second"),
                rows=200,
                revision=17,
                run_id="run",
            )
            found = generations.last_decision(connection, table)
            assert found is not None
            assert (found.action, found.generation, found.reasons) == (
                action,
                generation,
                ("first", "second"),
            )
            assert (found.rows, found.revision) == (200, 17)
        assert connection.execute("SELECT count(*) FROM index_decisions").fetchone() == (1,)
