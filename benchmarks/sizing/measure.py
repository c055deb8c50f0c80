"""The constants of :mod:`benchmarks.sizing.model`, measured.

Tables as migrations make them, in a server of the benchmark's own, filled with the vectors of
:mod:`benchmarks.index.corpus`; documents go through the real job, in a real instance of Dagster.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.documents.corpus import small_documents
from benchmarks.index.bench import RUN_ID, Bench, Report, own_server, say
from benchmarks.index.corpus import real_corpus
from benchmarks.workload import ROOT
from rag_assets.index.build import BuildOptions, build
from rag_assets.index.cases import EVERYTHING, TOP_K
from rag_assets.index.policy import recommended_lists
from rag_assets.index.questions import recall, similarity_floors
from rag_assets.index.sql import builds as index_builds
from rag_assets.postgres.database import Connection, Database, dagster_database, one
from rag_assets.progress import Silent
from rag_assets.retrieval.servable import servable_scopes
from rag_assets.retrieval.timing import time_plan
from rag_assets.settings.model import Precision
from rag_assets.vectors.search_plan import SearchPlan
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets.vectors.sql.tables import VectorTable

RECALL = 0.95
DOCUMENTS = 400


def vectors(rows: int, dimensions: int, precision: Precision, queries: int) -> Report:
    """One size: bytes a row of table, indexes and WAL; seconds; the probes that recall takes."""
    with own_server() as (database, settings):
        chosen = settings.model_copy(update={"rag_embedding_small_dimensions": dimensions})
        corpus = real_corpus(dimensions)
        bench = Bench(database, chosen, corpus, (rows,), 1, queries, smoke=False)
        table = bench.space_table(f"rows-{rows}", precision)
        start = _wal(database)
        load_s = bench.fill(table, rows)
        load_wal = _wal(database) - start
        heap, btrees = _sizes(database, table)
        options = BuildOptions(
            lists=recommended_lists(rows, "prod"),
            lists_from="profile",
            precision=precision,
            maintenance_work_mem=chosen.rag_index_maintenance_work_mem,
            workers=chosen.rag_index_parallel_workers,
        )
        start, began = _wal(database), time.perf_counter()
        with database.connect(autocommit=True) as session:
            index_builds.lock_builds(session, table, waiting=lambda: None)
            number = build(
                session, database, table, options, rows=rows, run_id=RUN_ID, progress=Silent()
            )
        build_s, build_wal = time.perf_counter() - began, _wal(database) - start
        with database.connect() as connection:
            (index,) = live_indexes(connection, table)
            index_bytes = index.bytes
        say(f"built in {build_s:.1f} s")
        probes, p50 = _probes(bench, table, number, options.lists, queries)
    return Report(
        f"{rows:,} × {precision}({dimensions})",
        ("what", "figure"),
        [
            ("rows a second, COPY", f"{rows / load_s:,.0f}"),
            ("table, bytes a row", f"{heap / rows:,.0f}"),
            ("its other indexes, bytes a row", f"{btrees / rows:,.0f}"),
            ("IVFFlat, bytes a row", f"{index_bytes / rows:,.0f}"),
            ("WAL of the load, bytes a row", f"{load_wal / rows:,.0f}"),
            ("WAL of the build, bytes a row", f"{build_wal / rows:,.0f}"),
            ("lists", str(options.lists)),
            ("build, s", f"{build_s:.1f}"),
            (f"probes for recall@10 {RECALL}", str(probes)),
            ("rows read a query", f"{rows * probes / options.lists:,.0f}"),
            ("P50, ms", f"{p50:.1f}"),
        ],
    )


def _probes(
    bench: Bench, table: VectorTable, number: int, lists: int, queries: int
) -> tuple[int, float]:
    """The first number of a doubling by steps of a quarter that reaches the recall, and its P50."""
    asked = bench.corpus.queries(0, queries)
    with bench.database.connect(autocommit=True) as connection:
        scopes = servable_scopes(connection, bench.settings, table)
        cases = {EVERYTHING: tuple(scopes)}
        truth = similarity_floors(connection, table, asked, cases, top_k=TOP_K)[EVERYTHING]
        say("truth known")
        prepare_connection(connection)
        probes, precision = 8, table.space.spec.precision
        while True:
            plan = SearchPlan("ivfflat", number, precision, probes, probes)
            found = time_plan(connection, table, plan, asked, top_k=TOP_K, scopes=tuple(scopes))
            reached = np.mean(
                [recall(one.similarities, true) for one, true in zip(found, truth, strict=True)]
            )
            p50 = float(np.median([one.latency_ms for one in found]))
            say(f"{probes} probes: recall {reached:.3f}, P50 {p50:.1f} ms")
            if reached >= RECALL or probes >= lists:
                return probes, p50
            probes = min(lists, round(probes * 1.25))


def documents(count: int = DOCUMENTS) -> Report:
    """Bytes of chunks, and of what Dagster keeps of the run that made them."""
    with own_server() as (database, settings):
        home = settings.rag_home.resolve()
        inbox = home / "inbox"
        inbox.mkdir()
        written = 0
        for name, text in small_documents(count):
            path = inbox / name
            path.parent.mkdir(exist_ok=True)
            written += path.write_text(text, "utf-8")
        (home / "dagster.yaml").write_text(
            "storage:\n  custom:\n    module: rag_assets.defs.storage\n"
            "    class: CorpusSidePostgresStorage\ntelemetry: {enabled: false}\n"
        )
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(home),
            "RAG_HOME": str(home),
            "RAG_DOCUMENTS_URL": str(inbox),
            "RAG_DOCUMENTS_SETTLE_S": "0",
            "RAG_EMBEDDING_PROVIDER": "offline",
        }
        command = Path(sys.executable).parent / "rag-assets"
        subprocess.run([command, "documents", "scan"], env=environment, cwd=home, check=True)
        dagster = dagster_database(settings)
        dagster.create()
        runs = [_run(home, environment, dagster) for _ in range(2)]  # the second finds nothing
        with database.connect() as connection:
            chunks = one(connection.execute("SELECT count(*) FROM document_chunks"))[0]
            size = _size(connection, "document_chunks")
            text = one(connection.execute("SELECT sum(octet_length(text)) FROM document_chunks"))[0]
            ready = one(connection.execute("SELECT count(*) FROM documents WHERE state = 'ready'"))[
                0
            ]
    return Report(
        f"{ready} documents, {written / 1e6:.1f} MB, {chunks:,} chunks",
        ("what", "figure"),
        [
            ("text, bytes a chunk", f"{text / chunks:,.0f}"),
            ("chunks with full text index, bytes a chunk", f"{size / chunks:,.0f}"),
            ("Dagster's database, bytes a run that did nothing", f"{runs[1]:,.0f}"),
            ("bytes a document more", f"{(runs[0] - runs[1]) / ready:,.0f}"),
        ],
    )


def verses(version: str = "EN_KJV") -> Report:
    """Bytes a verse of the texts, without vectors."""
    folder = ROOT.parent / "shared" / "data" / "bibles" / version / "osis"
    with own_server() as (database, settings):
        home = settings.rag_home.resolve()
        environment = {
            **os.environ,
            "RAG_HOME": str(home),
            "RAG_EMBEDDING_PROVIDER": "offline",
            "DAGSTER_HOME": str(home),
        }
        command = Path(sys.executable).parent / "rag-assets"
        for words in (
            ["add", version, str(folder), "--licence", "public domain", "--ai-allowed"],
            ["embed", version],
        ):
            subprocess.run([command, "bible", *words], env=environment, cwd=home, check=True)
        with database.connect() as connection:
            rows, text = one(
                connection.execute("SELECT count(*), sum(octet_length(text)) FROM verses")
            )
            size = _size(connection, "verses")
    return Report(
        f"{rows:,} verses of {version}",
        ("what", "figure"),
        [
            ("text, bytes a verse", f"{text / rows:,.0f}"),
            ("with full text index, bytes a verse", f"{size / rows:,.0f}"),
        ],
    )


def _run(home: Path, environment: dict[str, str], dagster: Database) -> int:
    """Execute the job once; by how many bytes Dagster's database grew."""
    before = _all(dagster)
    (home / "run.yaml").write_text(
        "ops: {document_lane: {config: {lane: rag_processing}}}\n", "utf-8"
    )
    subprocess.run(
        [
            *(Path(sys.executable).parent / "dagster", "job", "execute"),
            *("-m", "rag_assets.definitions", "-j", "document_processing"),
            *("-c", str(home / "run.yaml")),
        ],
        env=environment,
        cwd=home,
        check=True,
        capture_output=True,
    )
    return _all(dagster) - before


def _all(database: Database) -> int:
    with database.connect() as connection:
        row = one(connection.execute("SELECT pg_database_size(current_database())"))
        return int(row[0])


def _size(connection: Connection, table: str) -> int:
    row = one(connection.execute("SELECT pg_total_relation_size(%s::regclass)", (table,)))
    return int(row[0])


def _sizes(database: Database, table: VectorTable) -> tuple[int, int]:
    with database.connect() as connection:
        heap, indexes = one(
            connection.execute(
                "SELECT pg_table_size(%s::regclass), pg_indexes_size(%s::regclass)",
                (table.name, table.name),
            )
        )
        return int(heap), int(indexes)


def _wal(database: Database) -> int:
    with database.connect() as connection:
        return int(one(connection.execute("SELECT pg_current_wal_lsn() - '0/0'"))[0])


def run(rows: list[int], queries: int) -> Iterator[Report]:
    """Every report; sizes in the order given."""
    for count in rows:
        yield vectors(count, 1536, "halfvec", queries)
    yield vectors(min(rows), 3072, "halfvec", queries)
    yield vectors(min(rows), 1536, "vector", queries)
    yield documents()
    yield verses()
