"""A worker killed between publishing documents and reporting them, under the real daemon."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

import dagster as dg
import pytest

from openai_emulator.faults import Fault, FaultKind
from rag_assets.postgres.database import dagster_database
from rag_assets.settings.model import Settings
from rag_assets_tests.defs.document_lane import ASSETS, events_of
from rag_assets_tests.defs.site import drop, running_site


@pytest.mark.long
@pytest.mark.timeout(400)
def test_after_a_killed_worker_all_ready_documents_read_materialized(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dagster's event log is locked for a while: the worker publishes and cannot report."""
    with running_site(latency_ms=0) as site:
        for name, value in site.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(site.folder)
        site.start_daemon()
        drop(site.inbox, 0)
        site.wait_for(Counter(ready=1), timeout_s=120)
        site.emulator.order(Fault(FaultKind.LATENCY, latency_ms=3000))
        for number in range(1, 13):
            drop(site.inbox, number)
        wait_until(lambda: site.states()["running"] > 0)
        with dagster_database(Settings()).connect() as connection:
            connection.execute("LOCK TABLE event_logs IN EXCLUSIVE MODE")
            wait_until(lambda: site.states()["ready"] > 6)
            assert site.kill_run(random.Random(0))
            site.emulator.clear_faults()
        drop(site.inbox, 13)
        site.wait_for(Counter(ready=14), timeout_s=120)
        keys = {f"document-{number:04}.md" for number in range(14)}
        with dg.DagsterInstance.from_config(str(site.folder)) as instance:
            for asset in map(dg.AssetKey, ASSETS):
                wait_until(lambda one=asset: instance.get_materialized_partitions(one) == keys)
            assert events_of(instance) == Counter(dict.fromkeys(keys, 2))


def wait_until(reached: Callable[[], bool]) -> None:
    """:raises AssertionError: it did not happen within two minutes."""
    until = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.25)
