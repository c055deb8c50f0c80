"""Each way to read the table: how it is built, its knob, and its statement."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pgvector import HalfVector
from psycopg import sql

from benchmarks.index.bench import RUN_ID, Bench, say
from benchmarks.index.corpus import Vectors
from benchmarks.retrieve.raw import set_for_session
from rag_assets.index.build_size import kilobytes
from rag_assets.index.sql import builds as index_builds
from rag_assets.postgres.database import Connection
from rag_assets.progress import Silent
from rag_assets.vectors.codes import Recipe
from rag_assets.vectors.search_plan import EXACT, RowFilter, SearchPlan
from rag_assets.vectors.sql import code_sets, code_writing
from rag_assets.vectors.sql.code_sets import CodeSet
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets.vectors.sql.statement import statement, values
from rag_assets.vectors.sql.tables import VectorTable

TOP_K = 10
CANDIDATES = 50, 100, 200, 400, 800, 1600
_EF = 10, 14, 20, 28, 40, 60, 80, 120, 200, 400
_VECTORS, _HNSW = 7_001, 7_002
_CODES = 8_000
"""Numbers of the indexes' generations, by which a statement picks its own."""


@dataclass
class Contender:
    """One way.

    :param scopes: all that the table holds.
    :param built_s: seconds of its build; of codes, of filling their table.
    :param megabytes: of what was built.
    :param knobs: in ascending order of what they find and take.
    """

    name: str
    table: VectorTable
    scopes: Sequence[str]
    built_s: float = 0.0
    megabytes: float = 0.0
    knobs: Sequence[int] = (0,)
    knob: int = 0
    recalls: list[float] = field(default_factory=list)
    ms: dict[int, list[float]] = field(default_factory=dict)
    rates: dict[int, list[float]] = field(default_factory=dict)

    def told(self) -> str:
        """Its knob, for the table."""
        return ""

    def prepare(self, connection: Connection) -> None:
        """Settings of a session that searches so."""

    def statement(self, scopes: Sequence[str]) -> sql.Composed:
        """With parameters as :meth:`values` names them."""
        raise NotImplementedError

    def values(self, query: Vectors, scopes: Sequence[str]) -> dict[str, object]:
        raise NotImplementedError


@dataclass
class Planned(Contender):
    """One of the product's own plans."""

    plan: SearchPlan = EXACT
    wide: bool = True

    def now(self) -> SearchPlan:
        """The plan with the knob: candidates of a scan, probes of an index."""
        if self.plan.kind == "exact":
            return self.plan
        if self.plan.kind == "codes":
            return replace(self.plan, candidates=self.knob, wide=self.wide)
        return replace(self.plan, probes=self.knob, max_probes=self.plan.lists)

    def told(self) -> str:
        return str(self.now())

    def prepare(self, connection: Connection) -> None:
        set_for_session(connection, self.now())

    def statement(self, scopes: Sequence[str]) -> sql.Composed:
        return statement(self.table, self.now(), RowFilter(tuple(scopes)), sql.Placeholder)

    def values(self, query: Vectors, scopes: Sequence[str]) -> dict[str, object]:
        return values(self.table, self.now(), query, RowFilter(tuple(scopes)), TOP_K)


@dataclass
class Hnsw(Contender):
    """HNSW over the vectors as pgvector has it."""

    def told(self) -> str:
        return f"ef_search {self.knob}"

    def prepare(self, connection: Connection) -> None:
        connection.execute("SELECT set_config('hnsw.ef_search', %s, false)", (str(self.knob),))
        connection.execute("SET enable_sort = off")

    def statement(self, scopes: Sequence[str]) -> sql.Composed:  # noqa: ARG002
        return sql.SQL(
            "SELECT {id}, embedding <=> %(vector)s::halfvec({dimensions}) AS distance FROM {table}"
            " WHERE {id} <> {number} ORDER BY distance LIMIT %(limit)s::bigint"
        ).format(
            id=self.table.id_column,
            dimensions=sql.Literal(self.table.space.spec.dimensions),
            table=self.table.identifier,
            number=sql.Literal(-_HNSW),
        )

    def values(self, query: Vectors, scopes: Sequence[str]) -> dict[str, object]:  # noqa: ARG002
        return {"vector": HalfVector(query), "limit": TOP_K}


def contenders(
    bench: Bench, table: VectorTable, scopes: Sequence[str], rows: int, widths: Sequence[int],
    *, hnsw: bool,
) -> Iterator[Contender]:  # fmt: skip
    """All of them, each built when its turn comes.

    :param widths: bits of the codes.
    """
    lists = max(8, round(rows / 1000))
    yield Planned("exact", table, scopes)
    yield _vectors(bench, table, scopes, lists)
    if hnsw:
        yield _hnsw(bench, table, scopes)
    for place, bits in enumerate(widths):
        code_set, filled = filled_codes(bench, table, bits)
        yield Planned(
            f"scan of codes, {bits:,} bits", table, scopes, filled, _size(bench, code_set.name),
            CANDIDATES, plan=SearchPlan("codes", codes=code_set, wide=True),
        )  # fmt: skip
        yield _index_of_codes(bench, table, scopes, code_set, lists, _CODES + place)


def _vectors(bench: Bench, table: VectorTable, scopes: Sequence[str], lists: int) -> Planned:
    name, seconds = _build(bench, table, _VECTORS, lists, None)
    plan = SearchPlan("ivfflat", _VECTORS, "halfvec", lists=lists)
    megabytes = _size(bench, name)
    return Planned("IVFFlat over halfvec", table, scopes, seconds, megabytes, _probes(lists),
                   plan=plan)  # fmt: skip


def _index_of_codes(
    bench: Bench,
    table: VectorTable,
    scopes: Sequence[str],
    code_set: CodeSet,
    lists: int,
    number: int,
) -> Planned:
    name, seconds = _build(bench, table, number, lists, code_set)
    plan = SearchPlan("ivfflat", number, "halfvec", lists=lists, codes=code_set, wide=True)
    return Planned(f"IVFFlat over codes, {code_set.recipe.bits:,} bits", table, scopes, seconds,
                   _size(bench, name), _probes(lists), plan=plan)  # fmt: skip


def _probes(lists: int) -> tuple[int, ...]:
    found, probes = [], max(1, lists // 100)
    while probes < lists:
        found.append(probes)
        probes = max(probes + 1, round(probes * 1.3))
    return (*found, lists)


def _build(
    bench: Bench, table: VectorTable, number: int, lists: int, codes: CodeSet | None
) -> tuple[str, float]:
    say(f"building {lists} lists over {codes or 'halfvec'}")
    with bench.database.connect(autocommit=True) as session:
        _prepare(bench, session)
        began = time.perf_counter()
        name = index_builds.create_index(
            session, table, number, precision="halfvec", lists=lists, codes=codes
        )
        seconds = time.perf_counter() - began
        session.execute("CHECKPOINT")
    return name, seconds


def _hnsw(bench: Bench, table: VectorTable, scopes: Sequence[str]) -> Hnsw:
    say("building HNSW over halfvec")
    name = f"{table.name}_hnsw"
    with bench.database.connect(autocommit=True) as session:
        _prepare(bench, session)
        began = time.perf_counter()
        session.execute(
            sql.SQL(
                "CREATE INDEX CONCURRENTLY {} ON {} USING hnsw (embedding halfvec_cosine_ops)"
                " WHERE {} <> {}"
            ).format(sql.Identifier(name), table.identifier, table.id_column, sql.Literal(-_HNSW))
        )
        seconds = time.perf_counter() - began
        session.execute("CHECKPOINT")
    return Hnsw("HNSW over halfvec", table, scopes, seconds, _size(bench, name), _EF)


def _prepare(bench: Bench, session: Connection) -> None:
    index_builds.prepare_session(
        session,
        memory_kb=kilobytes(bench.settings.rag_index_maintenance_work_mem),
        workers=bench.settings.rag_index_parallel_workers,
    )


def filled_codes(bench: Bench, table: VectorTable, bits: int) -> tuple[CodeSet, float]:
    """A code set of every row, and the seconds that it took."""
    say(f"codes of {bits:,} bits")
    with bench.database.connect(autocommit=True) as session:
        made = code_sets.create(
            session, table, Recipe(table.space.spec.dimensions, bits), measured={}, run_id=RUN_ID
        )
        began = time.perf_counter()
        with bench.database.connect(autocommit=True) as second:
            code_writing.fill(session, table, made, progress=Silent(), others=[second])
        seconds = time.perf_counter() - began
        session.execute(sql.SQL("VACUUM ANALYZE {}").format(made.identifier))
        session.execute("CHECKPOINT")
    return made, seconds


def _size(bench: Bench, relation: str) -> float:
    with bench.database.connect() as connection:
        return index_builds.relation_bytes(connection, relation) / 1e6


def search_all(
    connection: Connection,
    way: Contender,
    queries: Vectors,
    scopes: Sequence[str] | None = None,
) -> tuple[list[list[float]], list[float]]:
    """Similarities of the hits, and milliseconds, of each query in turn."""
    prepare_connection(connection)
    way.prepare(connection)
    scopes = scopes or way.scopes
    text = way.statement(scopes)
    found, taken = [], []
    for query in queries:
        began = time.perf_counter()
        hits = connection.execute(text, way.values(query, scopes), prepare=True).fetchall()
        taken.append((time.perf_counter() - began) * 1000)
        found.append(similarities(hits))
    return found, taken


def similarities(found: Sequence[tuple[int, float]]) -> list[float]:
    """Of hits, descending."""
    return sorted((1 - float(distance) for _, distance in found), reverse=True)


def percentiles(ms: Sequence[float]) -> str:
    """P50 / P95, for the table."""
    p50, p95 = np.percentile(ms, [50, 95])
    return f"{p50:.2f} / {p95:.2f}" if p95 < 10 else f"{p50:.1f} / {p95:.1f}"
