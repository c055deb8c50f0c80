"""Code sets: complete whichever client writes, filled during other work, used by searches."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg import sql

from rag_assets.index.sql import builds as index_builds
from rag_assets.index.sql.explained import indexes_used
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Silent
from rag_assets.retrieval.plan import Codes, Target, choose_plan
from rag_assets.vectors.codes import Recipe
from rag_assets.vectors.search_plan import EXACT, RowFilter, SearchPlan
from rag_assets.vectors.sql import code_sets, code_writing
from rag_assets.vectors.sql.code_sets import CodeSet, CodeUse
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.nearest import by_rank, nearest, prepare_connection, search_by
from rag_assets.vectors.sql.stream import stream_vectors
from rag_assets.vectors.sql.tables import VectorTable
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.index.corpus import (
    DIMENSIONS,
    clustered,
    fill,
    filled_table,
    index_settings,
    republish,
    texts_of,
)

QUERIES = clustered(10, seed=77)


@pytest.fixture
def table(database: Database, make_settings: MakeSettings) -> VectorTable:
    return filled_table(database, index_settings(make_settings), {"EN_A": 800, "EN_B": 400})


@pytest.fixture
def session(database: Database, table: VectorTable) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        yield connection


def filled(session: Connection, table: VectorTable, bits: int = 256) -> CodeSet:
    made = code_sets.create(session, table, Recipe(DIMENSIONS, bits), measured={}, run_id="run")
    code_writing.fill(session, table, made, progress=Silent())
    (found,) = (s for s in code_sets.code_sets(session, table) if s.number == made.number)
    return found


def wrong_codes(session: Connection, table: VectorTable, made: CodeSet) -> int:
    """Codes that are missing, orphaned, or do not match their vectors."""
    expected = {}
    for chunk in stream_vectors(session, table, ["EN_A", "EN_B", "EN_C"]):
        codes = made.recipe.encode(chunk.vectors)
        expected |= {int(i): code.tobytes() for i, code in zip(chunk.ids, codes, strict=True)}
    found = {
        row[0]: np.packbits(np.array(list(row[1]), dtype=np.uint8)).tobytes()
        for row in session.execute(
            sql.SQL("SELECT verse_id, code::text FROM {}").format(made.identifier)
        )
    }
    return sum(found.get(i) != code for i, code in expected.items()) + len(found.keys() - expected)


def test_a_fill_encodes_every_vector_and_marks_the_set_ready(
    session: Connection, table: VectorTable
) -> None:
    made = filled(session, table)
    assert made.state == "ready"
    assert code_sets.count_uncoded(session, table, made) == 0
    assert wrong_codes(session, table, made) == 0


def test_a_publication_writes_its_codes_with_its_vectors(
    database: Database, session: Connection, table: VectorTable
) -> None:
    made = filled(session, table)
    republish(database, table.space, "EN_A", texts_of("EN_A", 50), clustered(50, seed=5))
    fill(database, table.space, "EN_C", clustered(30, seed=6))
    assert code_sets.count_uncoded(session, table, made) == 0
    assert wrong_codes(session, table, made) == 0


@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        (
            "UPDATE {0} e SET embedding = o.embedding FROM {0} o"
            " WHERE e.verse_id <= 7 AND o.verse_id = e.verse_id + 10",
            7,
        ),
        ("UPDATE {} SET chapter = 9 WHERE verse_id <= 7", 7),
        ("UPDATE {} SET run_id = 'another' WHERE verse_id <= 7", 0),
        ("DELETE FROM {} WHERE verse_id <= 7", 0),
        ("TRUNCATE {}", 0),
    ],
)
def test_a_vector_changed_by_another_client_loses_its_code_until_the_next_fill(
    session: Connection, table: VectorTable, statement: str, lost: int
) -> None:
    made = filled(session, table)
    session.execute(statement.format(table.name).encode())
    assert code_sets.count_uncoded(session, table, made) == lost
    code_writing.fill(session, table, made, progress=Silent())
    assert wrong_codes(session, table, made) == 0


def test_deleting_a_verse_deletes_its_code(session: Connection, table: VectorTable) -> None:
    made = filled(session, table)
    session.execute("DELETE FROM verses WHERE version_code = 'EN_B'")
    assert wrong_codes(session, table, made) == 0


def test_a_fill_continues_while_versions_are_published_and_vectors_changed(
    database: Database,
    session: Connection,
    table: VectorTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(code_writing, "FILL_ROWS", 20)
    made = code_sets.create(session, table, Recipe(DIMENSIONS, 64), measured={}, run_id="run")
    stop = threading.Event()

    def write() -> None:
        seed = 0
        while not stop.is_set():
            seed += 1
            republish(database, table.space, "EN_B", texts_of("EN_B", 9), clustered(9, seed=seed))
            with database.connect() as connection:
                connection.execute(
                    sql.SQL(
                        "UPDATE {0} e SET embedding = o.embedding FROM {0} o"
                        " WHERE e.verse_id = %s AND o.verse_id = %s"
                    ).format(table.identifier),
                    (seed % 800 + 1, seed % 790 + 5),
                )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        code_writing.fill(session, table, made, progress=Silent())
    finally:
        stop.set()
        writer.join()
    (made,) = code_sets.code_sets(session, table)
    assert made.state == "ready"
    code_writing.fill(session, table, made, progress=Silent())  # for what the other client changed
    assert wrong_codes(session, table, made) == 0


def test_an_interrupted_fill_is_continued(
    session: Connection, table: VectorTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_writing, "FILL_ROWS", 100)
    made = code_sets.create(session, table, Recipe(DIMENSIONS, 64), measured={}, run_id="run")

    class Interrupts(Silent):
        def advance(self, steps: int) -> None:  # noqa: ARG002
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        code_writing.fill(session, table, made, progress=Interrupts())
    assert code_sets.count_uncoded(session, table, made) == 1100
    assert code_writing.fill(session, table, made, progress=Silent()) == 1100
    assert wrong_codes(session, table, made) == 0


def test_several_sessions_fill_together(
    database: Database, session: Connection, table: VectorTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_writing, "FILL_ROWS", 50)
    made = code_sets.create(session, table, Recipe(DIMENSIONS, 64), measured={}, run_id="run")
    with database.connect(autocommit=True) as second, database.connect(autocommit=True) as third:
        done = code_writing.fill(session, table, made, progress=Silent(), others=[second, third])
    assert done == 1200
    assert wrong_codes(session, table, made) == 0
    (found,) = code_sets.code_sets(session, table)
    assert found.state == "ready"


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("scopes", [["EN_A", "EN_B"], ["EN_B"]])
def test_a_scan_of_the_codes_finds_what_exact_search_finds(
    session: Connection, table: VectorTable, scopes: list[str], wide: bool
) -> None:
    made = filled(session, table)
    plan = SearchPlan("codes", codes=made, candidates=200, wide=wide)
    for query in QUERIES:
        exact = nearest(session, table, EXACT, query, top_k=10, scopes=scopes)
        assert nearest(session, table, plan, query, top_k=10, scopes=scopes) == exact


@pytest.mark.parametrize("wide", [False, True])
def test_a_scan_of_one_version_reads_the_codes_of_that_version_only(
    session: Connection, table: VectorTable, wide: bool
) -> None:
    """For any share of rows that the planner assumes, with custom and generic plans."""
    made = filled(session, table)
    plan = SearchPlan("codes", codes=made, candidates=50, wide=wide)
    used = indexes_used(session, table, plan, QUERIES[0], top_k=10, scopes=["EN_B"])
    for mode in ("custom", "generic"):
        assert (f"{made.name}_part_book_chapter_idx" in used[mode]) != wide


def aside(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same vectors moved away, like another language's."""
    moved = vectors + 1.5 * np.eye(1, DIMENSIONS, dtype=np.float32)
    unit: NDArray[np.float32] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return unit


def test_the_scan_answers_if_a_filter_excludes_what_an_index_over_codes_finds(
    database: Database, make_settings: MakeSettings
) -> None:
    """Two distant languages: a query in one, confined to the other, is answered."""
    table = filled_table(database, index_settings(make_settings), {"EN_A": 900})
    fill(database, table.space, "PT_B", aside(clustered(900, seed=2)), language="pt")
    scopes = {"EN_A": 900, "PT_B": 900}
    with database.connect(autocommit=True) as session:
        prepare_connection(session)
        made = filled(session, table)
        index_builds.create_index(session, table, 5, precision="halfvec", lists=16, codes=made)
        codes = Codes(made, CodeUse(made.number, 45, 100, 95, scan_rows=0))
        target = Target(table, scopes, 5, "halfvec", Probes(16, 16, 16), codes, lists=16)
        confined = choose_plan(target, ["EN_A"], exact_rows=100)
        assert (confined.kind, confined.candidates, confined.fetched) == ("iterative", 90, 360)
        assert (confined.scan.kind, confined.scan.candidates) == ("codes", 95)
        for query, language, kind in (
            (QUERIES[0], "EN_A", "iterative"),
            (aside(QUERIES)[0], "EN_A", "codes"),
            (aside(QUERIES)[0], "PT_B", "iterative"),
            (QUERIES[0], "PT_B", "codes"),
        ):
            plan = choose_plan(target, [language], exact_rows=100)
            found, used = search_by(session, table, plan, query, RowFilter((language,)), top_k=10)
            exact = nearest(session, table, EXACT, query, top_k=10, scopes=[language])
            assert used.kind == kind, (language, kind)
            assert len({(row.id, row.distance) for row in found} & set(exact)) >= 9


def test_one_search_shows_what_each_number_of_candidates_finds(
    session: Connection, table: VectorTable
) -> None:
    made = filled(session, table, 64)
    scan = SearchPlan("codes", codes=made, candidates=400)
    for query in QUERIES[:3]:
        ranked = by_rank(session, table, scan, query, scopes=["EN_A"])
        assert sorted(rank for rank, _ in ranked) == list(range(1, 401))
        for candidates in (50, 200):
            fewer = replace(scan, candidates=candidates)
            found = nearest(session, table, fewer, query, top_k=10, scopes=["EN_A"])
            ten = sorted(away for rank, away in ranked if rank <= candidates)[:10]
            # Codes that tie at the last rank: which of them are taken is chance.
            assert np.mean(np.isclose(ten, [away for _, away in found])) >= 0.8


def test_a_version_that_is_not_served_is_never_found_through_codes(
    database: Database, session: Connection, table: VectorTable
) -> None:
    made = filled(session, table)
    fill(database, table.space, "EN_C", clustered(30, seed=6))
    for wide in (False, True):
        plan = SearchPlan("codes", codes=made, candidates=1230, wide=wide)
        found = nearest(session, table, plan, QUERIES[0], top_k=1230, scopes=["EN_A", "EN_B"])
        assert len(found) == 1200


def test_books_and_chapters_confine_a_scan_of_the_codes(
    session: Connection, table: VectorTable
) -> None:
    plan = SearchPlan("codes", codes=filled(session, table), candidates=50)
    for books, chapters in ((["GEN"], None), (["GEN"], (1, 1)), (["EXO"], None)):
        asked = {"books": books, "chapters": chapters, "scopes": ["EN_A", "EN_B"], "top_k": 5}
        exact = nearest(session, table, EXACT, QUERIES[0], **asked)  # type: ignore[arg-type]
        assert nearest(session, table, plan, QUERIES[0], **asked) == exact  # type: ignore[arg-type]


def test_sets_that_nothing_needs_are_dropped(session: Connection, table: VectorTable) -> None:
    old, new = filled(session, table, 64), filled(session, table, 128)
    assert code_sets.drop_unneeded(session, table, [new.number]) == (old.number,)
    assert [made.number for made in code_sets.code_sets(session, table)] == [new.number]
    session.execute("DELETE FROM verses WHERE version_code = 'EN_B'")
    assert wrong_codes(session, table, new) == 0
