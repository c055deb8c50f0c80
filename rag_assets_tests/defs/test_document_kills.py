"""Documents flow while processes are killed at random: of runs, of the daemon, of PostgreSQL.

RAG_TEST_KILLS_S says for how long (25 s), RAG_TEST_KILLS_DOCUMENTS among how many (60).
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from rag_assets_tests.defs.site import Site, drop, running_site

pytestmark = pytest.mark.long

SECONDS = float(os.environ.get("RAG_TEST_KILLS_S", "25"))
DOCUMENTS = int(os.environ.get("RAG_TEST_KILLS_DOCUMENTS", "60"))
PAUSE_S = 1.0, 4.0
RECOVERY_S = 300.0
BATCH, IN_FLIGHT, RUNS = 8, 3, 3
LEAST = 3  # kills, however busy the machine is


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site(
        latency_ms=50,
        # Of many random kills some hit the same documents: nobody is to be dead of that.
        RAG_DOCUMENT_MAX_ATTEMPTS="20",
        RAG_EMBEDDING_BATCH_SIZE=str(BATCH),
        RAG_EMBEDDING_CONCURRENCY=str(IN_FLIGHT),
    ) as made:
        yield made


@pytest.mark.timeout(SECONDS + 2 * RECOVERY_S)
def test_killed_processes_lose_nothing_and_do_nothing_twice(site: Site) -> None:
    draw = random.Random(7)
    site.start_daemon()
    kills: Counter[str] = Counter()
    drop_one(site, 0)
    site.wait_for(Counter(ready=1), timeout_s=RECOVERY_S)
    dropped = 1
    started = time.monotonic()
    while (share := (time.monotonic() - started) / SECONDS) < 1 or sum(kills.values()) < LEAST:
        for number in range(dropped, round(DOCUMENTS * min(1, 0.1 + share))):
            drop_one(site, number)
            dropped = number + 1
        time.sleep(draw.uniform(*PAUSE_S))
        victim = draw.choices(("run", "daemon", "postgresql"), (6, 2, 2))[0]
        if victim == "run" and not site.kill_run(draw):
            continue
        if victim == "daemon":
            site.kill_daemon()
        elif victim == "postgresql":
            site.stop_postgresql()
            site.start_postgresql()
        kills[victim] += 1
    while dropped < DOCUMENTS:
        drop_one(site, dropped)
        dropped += 1
    good = DOCUMENTS - DOCUMENTS // 10  # each tenth is empty
    site.wait_for(Counter(ready=good, dead=DOCUMENTS - good), timeout_s=RECOVERY_S)
    with site.database.connect() as connection:
        dead = connection.execute("SELECT DISTINCT error_class FROM rag_dlq").fetchall()
        assert dead == [("EmptyDocumentError",)]
        twice = connection.execute(
            "SELECT document_id, position FROM document_chunks GROUP BY 1, 2 HAVING count(*) > 1"
        ).fetchall()
        assert twice == []
        ((chunks, vectors, documents),) = connection.execute(
            """
            SELECT (SELECT count(*) FROM document_chunks), (SELECT count(*) FROM chunk_embeddings),
                   (SELECT count(DISTINCT document_id) FROM document_chunks)
            """
        ).fetchall()
        assert documents == good
        assert chunks == vectors
    lost = site.emulator.stats().duplicate_answers
    # A process that is killed loses what it had in flight, and nothing else.
    assert lost <= sum(kills.values()) * RUNS * IN_FLIGHT * BATCH


def drop_one(site: Site, number: int) -> None:
    """Drop a document; every tenth is empty."""
    drop(site.inbox, number, empty=number % 10 == 9)
