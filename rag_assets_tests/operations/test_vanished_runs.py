"""A run that went down with all of Dagster: it counts as started, and keeps its place in its lane.

It is ended, started again, and what it had bought is not bought again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from rag_assets_tests.corpora import sentences, write_usfm_version
from rag_assets_tests.defs.site import Site, running_site

pytestmark = pytest.mark.long

VERSES, BATCH = 24, 2
STAGNATION_S = 35


@pytest.mark.timeout(400)
def test_a_bible_run_that_died_with_dagster_is_ended_and_retried() -> None:
    with running_site(
        latency_ms=1500,
        RAG_EMBEDDING_BATCH_SIZE=str(BATCH),
        RAG_EMBEDDING_CONCURRENCY="1",
        RAG_BIBLE_SETTLE_S="0",
        RAG_STAGNATION_S=str(STAGNATION_S),
    ) as site:
        write_usfm_version(site.folder / "bibles", "EN_LONG", sentences(VERSES))
        site.start_daemon()
        wait_for(site, lambda: site.emulator.stats().ok >= 3, 120)
        for process in site.family():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        assert site.daemon is not None
        site.daemon.wait()
        time.sleep(1)
        (killed,) = runs(site)
        assert killed[1:] == ("bible_embeddings", "STARTED"), "nobody is left to say otherwise"
        site.start_daemon()
        wait_for(site, lambda: killed[0] in having(site, "FAILURE"), STAGNATION_S + 120)
        wait_for(site, lambda: bool(having(site, "SUCCESS")), 200)
        assert vectors(site) == 2 * VERSES
        assert site.emulator.stats().duplicate_answers <= BATCH, "what was in flight"
        with site.database.connect() as connection:
            assert connection.execute(
                "SELECT action, subject, done FROM recovery_actions"
            ).fetchall() == [("end_run", "rag_bible", True)]
            assert connection.execute(
                "SELECT cause, evidence ->> 'subject' FROM incidents"
            ).fetchall() == [("worker-lost", killed[0])]


def runs(site: Site) -> list[tuple[str, str, str]]:
    with site.database.named(f"{site.database.name}_dagster").connect() as connection:
        return connection.execute(
            "SELECT run_id, pipeline_name, status FROM runs ORDER BY id"
        ).fetchall()


def having(site: Site, status: str) -> set[str]:
    """Runs that are in it."""
    return {run_id for run_id, _, found in runs(site) if found == status}


def vectors(site: Site) -> int:
    with site.database.connect() as connection:
        ((small, large),) = connection.execute(
            "SELECT count(embedding_small), count(embedding_large) FROM verse_embeddings"
        ).fetchall()
    return int(small + large)


def wait_for(site: Site, reached: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if reached():
            return
        site.keep_daemon()
        time.sleep(0.5)
    raise AssertionError(f"not within {timeout_s:.0f} s: {runs(site)}\n{site.log()}")
