"""The five failures that the queue must survive, caused with the real parts under the real daemon.

Each time: nothing is lost and nothing bought twice, work goes on within two minutes, there is one
incident with the right cause, one message, and the alerts fire on what the exporter told.
"""

from __future__ import annotations

import time

import psutil
import pytest

from openai_emulator.faults import Fault, FaultKind
from rag_assets.postgres.database import Database
from rag_assets.settings.model import fingerprint
from rag_assets_tests.operations.scenario import RECOVERED_S, Scenario, scenario

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
DOCUMENTS = 90
LARGE = ("large-1.md", "large-2.md", "large-3.md")
MANY = 160
"""So many that over fifty still wait when the first are ready."""
IN_FLIGHT = 3 * 8
"""Texts that a run which dies has asked for and will never store."""


def test_postgresql_stops_under_load_and_comes_back() -> None:
    with scenario(latency_ms=1000, own_server=False) as seen:
        seen.load(DOCUMENTS)
        seen.site.stop_postgresql()
        for _ in range(40):
            time.sleep(0.5)
            seen.site.keep_daemon()
        seen.site.start_postgresql()
        assert seen.goes_on() < RECOVERED_S
        seen.ends_well(DOCUMENTS)
        seen.one_incident("dependency-down", "database")
        seen.sets_off("RAGDatabaseDown", step_s=30)
        # What was in flight could not be kept, and what was kept is not bought again.
        assert seen.site.emulator.stats().duplicate_answers <= 2 * IN_FLIGHT


def test_the_provider_limits_the_rate_for_a_while() -> None:
    with scenario(latency_ms=300, RAG_THROTTLE_FLOOR="0.5") as seen:
        seen.load(MANY)
        seen.site.emulator.order(Fault(FaultKind.RATE_LIMIT, times=100_000, retry_after_s=0.5))
        time.sleep(75)
        seen.site.emulator.clear_faults()
        assert seen.goes_on() < RECOVERED_S
        seen.ends_well(MANY)
        seen.one_incident("rate-limited", fingerprint("sk-test-site"))
        seen.sets_off("RAGProviderRateLimited", "RAGQueueStagnation", step_s=30)
        assert "lower_share" in seen.measures()
        seen.until(lambda: "raise_share" in seen.measures(), "a minute is quiet", 120)
        assert seen.site.emulator.stats().duplicate_answers == 0


def allow_connections(database: Database, allowed: bool) -> None:
    """Allow connections to the corpus, or refuse and end them; Dagster's database stays up."""
    with database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(
            f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS {str(allowed).lower()}"
        )
        if not allowed:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (database.name,),
            )


def test_the_vector_store_is_down_while_dagster_is_up() -> None:
    with scenario(latency_ms=1000) as seen:
        seen.load(DOCUMENTS)
        allow_connections(seen.site.database, False)
        try:
            time.sleep(75)
        finally:
            allow_connections(seen.site.database, True)
        assert seen.goes_on() < RECOVERED_S
        seen.ends_well(DOCUMENTS)
        seen.one_incident("dependency-down", "database")
        seen.sets_off("RAGDatabaseDown", step_s=30)
        assert seen.site.emulator.stats().duplicate_answers <= 2 * IN_FLIGHT


def test_a_worker_is_killed_for_memory() -> None:
    with scenario(latency_ms=1000) as seen:
        seen.load(DOCUMENTS)
        runs = seen.site.runs()
        for run in runs:
            run.kill()
        psutil.wait_procs(runs, timeout=10)
        assert seen.goes_on() < RECOVERED_S
        seen.ends_well(DOCUMENTS)
        seen.one_incident("worker-out-of-memory")
        seen.sets_off("NoActiveRAGWorkers", step_s=60)
        assert seen.site.emulator.stats().duplicate_answers <= IN_FLIGHT


def large(seen: Scenario, name: str) -> None:
    """A document of over a megabyte that takes over half a minute to embed."""
    parts = (
        f"# {name} part {part}\n\n" + f"Sentence {part} of {name}, which is long. " * 100
        for part in range(400)
    )
    beside = seen.site.inbox.with_name(name)
    beside.write_text("\n\n".join(parts), encoding="utf-8")
    beside.rename(seen.site.inbox / name)


def test_one_large_file_among_many_small_ones_holds_up_only_the_large() -> None:
    with scenario(latency_ms=500, RAG_LARGE_DOCUMENT_MB="1", RAG_EMBEDDING_CONCURRENCY="1") as seen:
        for name in LARGE:
            large(seen, name)
        seen.load(DOCUMENTS)
        seen.until(lambda: seen.ready("rag_processing") == DOCUMENTS, "small ones are ready", 240)
        assert seen.ready("rag_large_docs") == 0
        seen.ends_well(DOCUMENTS + len(LARGE))
        seen.one_incident("slow-document")
        assert seen.incidents()[0]["subject"] in LARGE
        seen.sets_off("RAGProcessingTimeHigh", step_s=8)
        assert seen.site.emulator.stats().duplicate_answers == 0
