"""Memory and disk of a build: our figures compared with the server's own errors."""

from __future__ import annotations

import re

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from rag_assets.errors import ConfigurationError, IndexBuildError
from rag_assets.index.build import BuildOptions, check_size
from rag_assets.index.build_size import build_size, check_build, item_bytes, megabytes
from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.index import kilobytes
from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.tables import bible_table
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.index.corpus import (
    Heard,
    filled_table,
    generation_states,
    index_names,
    index_settings,
    maintained,
)
from rag_assets_tests.vectors.vectors import space_of

SERVER_SAYS = re.compile(r"memory required is (\d+) MB")


def make_table(connection: Connection, rows: int, dimensions: int, precision: Precision) -> None:
    connection.execute(
        sql.SQL("CREATE TABLE t (e {type}({dimensions}))").format(
            type=sql.SQL(precision), dimensions=sql.Literal(dimensions)
        )
    )
    connection.execute("ALTER TABLE t ALTER e SET STORAGE PLAIN")  # as the spaces' tables have it
    # Each row has a 1 in its own position and its number beside it: cheap and distinct.
    connection.execute(
        sql.SQL(
            "INSERT INTO t SELECT (array_fill(0.5::real, ARRAY[n %% {d}])"
            " || ARRAY[n::real] || array_fill(1.0::real, ARRAY[{d} - 1 - n %% {d}]))::{type}"
            " FROM generate_series(1, %s) AS n"
        ).format(d=sql.Literal(dimensions), type=sql.SQL(precision)),
        (rows,),
    )


def index(connection: Connection, lists: int, precision: Precision, memory_kb: int) -> None:
    connection.execute("SELECT set_config('maintenance_work_mem', %s, false)", (f"{memory_kb}kB",))
    connection.execute("SET max_parallel_maintenance_workers = 0")
    connection.execute(
        sql.SQL("CREATE INDEX ON t USING ivfflat (e {}) WITH (lists = {})").format(
            sql.SQL(f"{precision}_cosine_ops"), sql.Literal(lists)
        )
    )


@pytest.mark.parametrize("precision", ["vector", "halfvec"])
@pytest.mark.parametrize(
    ("rows", "lists", "dimensions"),
    [
        (150, 100, 1536),
        (150, 201, 1536),
        (600, 300, 384),
        (2_000, 1, 129),
        (9_999, 10, 16),
        (10_000, 10, 16),
        (10_001, 10, 16),
        (12_000, 200, 33),
        (12_000, 201, 7),
        (12_000, 300, 33),
    ],
)
def test_the_server_accepts_our_memory_figure_and_refuses_one_kilobyte_less(
    database: Database, rows: int, lists: int, dimensions: int, precision: Precision
) -> None:
    size = build_size(rows=rows, lists=lists, dimensions=dimensions, precision=precision)
    with database.connect(autocommit=True) as connection:
        make_table(connection, rows, dimensions, precision)
        with pytest.raises(psycopg.errors.ProgramLimitExceeded) as refused:
            index(connection, lists, precision, (size.memory - 1) // 1024)
        said = SERVER_SAYS.search(str(refused.value))
        assert said is not None
        assert int(said.group(1)) == megabytes(size.memory)
        index(connection, lists, precision, -(-size.memory // 1024))


@pytest.mark.parametrize("precision", ["vector", "halfvec"])
@pytest.mark.parametrize(
    ("rows", "lists", "dimensions"), [(1, 1, 3), (3, 100, 64), (3, 1000, 5), (300, 100, 64)]
)
def test_in_a_table_of_a_few_pages_the_server_accepts_our_memory_figure(
    database: Database, rows: int, lists: int, dimensions: int, precision: Precision
) -> None:
    """Recent servers allocate no more samples than so few pages can hold."""
    size = build_size(rows=rows, lists=lists, dimensions=dimensions, precision=precision)
    with database.connect(autocommit=True) as connection:
        make_table(connection, rows, dimensions, precision)
        index(connection, lists, precision, -(-size.memory // 1024))


@pytest.mark.parametrize(
    ("lists", "expected"), [(100, 64), (300, 111), (1000, 506), (2000, 1401), (4000, 4358)]
)
def test_the_figures_that_servers_named_for_1536_components(lists: int, expected: int) -> None:
    size = build_size(rows=310_000, lists=lists, dimensions=1536, precision="vector")
    assert abs(megabytes(size.memory) - expected) <= 1


@pytest.mark.parametrize(
    ("dimensions", "precision", "expected"),
    [(1, "halfvec", 16), (4, "halfvec", 16), (5, "halfvec", 24), (1, "vector", 16),
     (2, "vector", 16), (3, "vector", 24), (1536, "vector", 6152), (1536, "halfvec", 3080)],
)  # fmt: skip
def test_an_item_is_rounded_up_to_eight_bytes(
    dimensions: int, precision: Precision, expected: int
) -> None:
    assert item_bytes(dimensions, precision) == expected


sizes = st.fixed_dictionaries(
    {
        "rows": st.integers(0, 2_000_000),
        "lists": st.integers(1, 32_768),
        "dimensions": st.integers(1, 4000),
        "precision": st.sampled_from(["vector", "halfvec"]),
    }
)


@given(sizes, st.sampled_from(["rows", "lists", "dimensions"]), st.integers(1, 1000))
def test_more_of_anything_never_needs_less(
    given_size: dict[str, int], name: str, more: int
) -> None:
    less, greater = (
        build_size(**given_size),  # type: ignore[arg-type]
        build_size(**(given_size | {name: given_size[name] + more})),  # type: ignore[arg-type]
    )
    assert less.memory <= greater.memory
    assert less.disk <= greater.disk


@given(st.integers(1, 2**45))
def test_the_megabytes_named_hold_the_bytes_and_one_fewer_would_not(size: int) -> None:
    assert (megabytes(size) - 1) * 2**20 < size <= megabytes(size) * 2**20


@pytest.mark.parametrize("precision", ["vector", "halfvec"])
@pytest.mark.parametrize(("rows", "lists", "dimensions"), [(12_000, 64, 64), (2_000, 300, 700)])
def test_the_disk_figure_holds_the_index_that_is_built(
    database: Database, rows: int, lists: int, dimensions: int, precision: Precision
) -> None:
    size = build_size(rows=rows, lists=lists, dimensions=dimensions, precision=precision)
    with database.connect(autocommit=True) as connection:
        make_table(connection, rows, dimensions, precision)
        index(connection, lists, precision, 256 * 1024)
        (built,) = connection.execute("SELECT pg_relation_size('t_e_idx')").fetchone() or (0,)
    assert built <= size.disk <= 4 * built


@pytest.mark.parametrize(
    ("written", "expected"),
    [("64kB", 64), ("64KB", 64), ("1MB", 1024), ("512 MB", 512 * 1024), (" 2GB ", 2 * 1024**2),
     ("1tb", 1024**3), ("2147483647kB", 2**31 - 1)],
)  # fmt: skip
def test_a_size_is_read_as_postgresql_writes_it(written: str, expected: int) -> None:
    assert kilobytes(written) == expected


@pytest.mark.parametrize("written", ["", "2", "2G", "2 gigabytes", "-1MB", "1.5GB", "GB", "2GB x"])
def test_an_invalid_size_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a size of memory") as caught:
        check_build(maintenance_work_mem=written, precision=None)
    assert repr(written) in str(caught.value)
    assert "2GB" in str(caught.value)


@pytest.mark.parametrize("written", ["0MB", "63kB", "2147483648kB", "2TB", "99999999GB"])
def test_a_size_that_postgresql_does_not_take_is_refused(written: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{written}' .* from 64kB to 2047GB"):
        check_build(maintenance_work_mem=written, precision=None)


@given(st.integers(64, 2047), st.sampled_from(["kB", "MB", "GB"]))
def test_a_size_is_read_as_the_server_reads_it(number: int, unit: str) -> None:
    power = ["kB", "MB", "GB"].index(unit)
    assert kilobytes(f"{number}{unit}") == number * 1024**power


def test_too_little_memory_is_refused_with_the_figure_before_anything_is_built(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = index_settings(make_settings)
    table = filled_table(database, settings, {"EN_A": 1500})
    size = build_size(rows=1500, lists=64, dimensions=64, precision="halfvec")
    enough = megabytes(size.memory)
    with pytest.raises(IndexBuildError) as caught:
        maintained(database, settings, table, maintenance_work_mem=f"{enough - 1}MB")
    said = str(caught.value)
    assert f"need {enough} MB" in said
    assert f"maintenance_work_mem is {enough - 1}MB" in said
    assert "RAG_INDEX_MAINTENANCE_WORK_MEM" in said
    with database.connect() as connection:
        assert generation_states(connection) == []
        assert index_names(connection) == []
        assert connection.execute("SELECT count(*) FROM index_decisions").fetchone() == (0,)
    outcome = maintained(database, settings, table, maintenance_work_mem=f"{enough}MB")
    assert outcome.generation is not None, "the figure named is enough"


def test_too_little_disk_is_refused_with_both_figures(
    database: Database, make_settings: MakeSettings
) -> None:
    table = bible_table(space_of(database, index_settings(make_settings)))
    options = BuildOptions(64, "profile", "halfvec", "2GB", 0)
    rows = 10**12
    needed = megabytes(build_size(rows=rows, lists=64, dimensions=64, precision="halfvec").disk)
    with (
        database.connect(autocommit=True) as connection,
        pytest.raises(IndexBuildError, match=f"needs {needed:,} MB of disk") as caught,
    ):
        check_size(connection, table, options, rows=rows, progress=Heard())
    assert "are free: make room" in str(caught.value)
    assert "RAG_RELEASES_KEPT" in str(caught.value)
    heard = Heard()
    with database.connect(autocommit=True) as connection:
        check_size(connection, table, options, rows=10_000, progress=heard)
    assert heard.lines == [], (
        "for a server on this machine, free space is read and no hint is given"
    )
