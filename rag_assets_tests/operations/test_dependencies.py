"""Probes of dependencies that work, are down, refuse or hang; no secret is shown."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.operations.dependencies import (
    DAEMON_PATIENCE_S,
    DependencyProbe,
    judge_provider,
    probe_daemon,
    probe_dagster,
    probe_database,
    probe_disk,
    probe_inbox,
    probe_provider,
    probe_vectors,
)
from rag_assets.postgres.database import Database
from rag_assets.settings.model import fingerprint
from rag_assets_tests.conftest import MakeSettings

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOWHERE = Database("host=127.0.0.1 port=9 dbname=corpus user=rag password=hunter2")


def test_a_working_database_is_reported_with_its_version(database: Database) -> None:
    seen, vectors = probe_database(database), probe_vectors(database)
    assert (seen.name, seen.ok, seen.remedy) == ("database", True, "")
    assert seen.detail.startswith("PostgreSQL 1")
    assert vectors.ok
    assert vectors.detail.startswith("pgvector 0.")
    assert 0 < seen.seconds < 2


@pytest.mark.parametrize("probe", [probe_database, probe_vectors])
def test_an_unreachable_database_is_reported_without_raising(
    probe: type[DependencyProbe],
) -> None:
    seen = probe(NOWHERE)  # type: ignore[call-arg, arg-type]
    assert not seen.ok
    assert "cannot be reached" in seen.detail
    assert "db status" in seen.remedy
    assert "hunter2" not in repr(seen)


def test_a_database_that_refuses_connections_is_down(database: Database) -> None:
    # Not in PostgreSQL's words for a missing database, which a migration would make.
    with database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
        try:
            seen = probe_vectors(database)
        finally:
            connection.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
    assert not seen.ok
    assert "not currently accepting connections" in seen.detail
    assert probe_vectors(database).ok


def test_a_database_without_pgvector_says_so(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("DROP EXTENSION vector CASCADE")
    seen = probe_vectors(database)
    assert not seen.ok
    assert "no pgvector" in seen.detail
    assert "db migrate" in seen.remedy


def test_probing_dagster_does_not_create_its_database(
    make_settings: MakeSettings,
) -> None:
    seen = probe_dagster(make_settings(rag_dagster_database="never_made"))
    assert not seen.ok
    assert "rag-assets up" in seen.remedy
    assert not probe_dagster(make_settings(rag_dagster_database="never_made")).ok


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_hanging_dependency_does_not_block_the_others(make_settings: MakeSettings) -> None:
    with silent_server() as port:
        began = time.monotonic()
        database = Database(f"host=127.0.0.1 port={port} dbname=corpus user=rag")
        settings = make_settings(
            rag_embedding_provider="openai",
            openai_api_key="sk-test-one",
            openai_base_url=f"http://127.0.0.1:{port}/v1",
            rag_probe_timeout_s=0.3,
        )
        seen = [probe_database(database, timeout_s=0.3), probe_provider(settings)]
        assert time.monotonic() - began < 30  # the server would never answer
    assert [one.ok for one in seen] == [False, False]
    assert all("0.3 s" in one.detail for one in seen)


def test_probing_a_working_provider_costs_nothing(
    openai_settings: MakeSettings, emulator: Emulator
) -> None:
    seen = probe_provider(openai_settings())
    assert seen.ok
    assert seen.detail == "127.0.0.1 answers"
    assert emulator.stats().requests == 0


def test_a_provider_outage_is_detected_and_so_is_its_end(
    openai_settings: MakeSettings, emulator: Emulator
) -> None:
    emulator.order(Fault(FaultKind.OUTAGE, seconds=60))
    seen = probe_provider(openai_settings())
    assert (seen.ok, seen.detail) == (False, "127.0.0.1 fails with status 503")
    emulator.clear_faults()
    assert probe_provider(openai_settings()).ok


def test_a_provider_works_if_it_accepts_one_key(
    openai_settings: MakeSettings, emulator: Emulator
) -> None:
    emulator.keys(valid=["sk-test-two"])
    try:
        one = probe_provider(openai_settings())
        both = probe_provider(
            openai_settings(use_api_key_rotation=True, openai_api_keys="sk-test-one,sk-test-two")
        )
    finally:
        emulator.keys(valid=None)
    assert not one.ok
    assert fingerprint("sk-test-one") in one.detail
    assert "sk-test-one" not in repr(one)
    assert both.ok


def test_a_provider_without_a_listener_is_down(openai_settings: MakeSettings) -> None:
    seen = probe_provider(openai_settings(openai_base_url="http://127.0.0.1:9/v1"))
    assert (seen.ok, seen.detail) == (False, "the connection fails")
    assert "OPENAI_BASE_URL" in seen.remedy


def test_a_missing_key_fails_unless_the_provider_needs_none(make_settings: MakeSettings) -> None:
    seen = probe_provider(make_settings(rag_embedding_provider="openai"))
    assert (seen.ok, seen.detail) == (False, "there is no API key")
    assert probe_provider(make_settings()).ok


@pytest.mark.parametrize(
    ("status", "ok", "word"),
    [
        (200, True, "answers"),
        (402, True, "payment"),
        (403, True, "may not list"),
        (404, True, "without a list"),
        (429, True, "limits the rate"),
        (500, False, "500"),
        (503, False, "503"),
    ],
)
def test_a_provider_that_refuses_requests_works_but_one_that_fails_does_not(
    status: int, ok: bool, word: str
) -> None:
    seen = judge_provider("api.example.com", status)
    assert seen.ok is ok
    assert word in seen.detail
    assert bool(seen.remedy) is not ok


def test_an_inbox_exists_or_will_be_created(make_settings: MakeSettings, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    settings = make_settings(rag_documents_url=str(folder), rag_disk_free_gb=0)
    assert "created with the first document" in probe_inbox(settings).detail
    folder.mkdir()
    seen = probe_inbox(settings)
    assert seen.ok
    assert str(folder) in seen.detail
    assert "GB free" in seen.detail


def test_an_unreachable_inbox_is_reported_without_its_password(
    make_settings: MakeSettings,
) -> None:
    seen = probe_inbox(make_settings(rag_documents_url="ftp://rag:hunter2@127.0.0.1:9/inbox"))
    assert not seen.ok
    assert "RAG_DOCUMENTS_URL" in seen.remedy
    assert "hunter2" not in repr(seen)
    unknown = probe_inbox(make_settings(rag_documents_url="nosuch://rag:hunter2@host/inbox"))
    assert not unknown.ok
    assert "hunter2" not in repr(unknown)


def test_a_full_disk_is_reported_with_the_setting(tmp_path: Path) -> None:
    assert probe_disk(tmp_path / "not" / "yet", 0).ok
    seen = probe_disk(tmp_path, 1e9)
    assert not seen.ok
    assert "RAG_DISK_FREE_GB" in seen.detail
    assert seen.remedy


def beats(**ages_s: float) -> dict[str, datetime]:
    return {part: NOW - timedelta(seconds=age) for part, age in ages_s.items()}


@pytest.mark.parametrize(
    ("heartbeats", "ok", "word"),
    [
        ({}, False, "not running"),
        (beats(SENSOR=5, SCHEDULER=9, QUEUED_RUN_COORDINATOR=3), True, "9 s"),
        (beats(SENSOR=900, SCHEDULER=905, QUEUED_RUN_COORDINATOR=910), False, "for 900 s"),
        (beats(SENSOR=900, SCHEDULER=9, QUEUED_RUN_COORDINATOR=9), False, "of SENSOR"),
        (beats(SENSOR=9, SCHEDULER=9), False, "of QUEUED_RUN_COORDINATOR"),
        # A part that this version no longer has stays in the table for ever.
        (beats(SENSOR=5, SCHEDULER=9, QUEUED_RUN_COORDINATOR=3, GONE=1e6), True, "9 s"),
        (
            beats(SENSOR=DAEMON_PATIENCE_S, SCHEDULER=9, QUEUED_RUN_COORDINATOR=3),
            True,
            "120 s",
        ),
    ],
)
def test_a_daemon_is_alive_only_if_all_its_needed_parts_are(
    heartbeats: dict[str, datetime], ok: bool, word: str
) -> None:
    seen = probe_daemon(heartbeats, NOW)
    assert seen.ok is ok
    assert word in seen.detail
    assert bool(seen.remedy) is not ok
