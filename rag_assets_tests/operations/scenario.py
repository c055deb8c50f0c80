"""A site with full monitoring, for scenarios of failures."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_assets.errors import RagAssetsError
from rag_assets_tests.defs.deployment import plain_environment
from rag_assets_tests.defs.site import Site, drop, running_site
from rag_assets_tests.operations.recording import PROMTOOL, Recording, fired, recording
from rag_assets_tests.operations.slack_receiver import Receiver, receiving

QUICK = {
    # The real ones are a minute, five, and twice ten minutes.
    "RAG_NO_WORKER_S": "5",
    "RAG_SLOW_DOCUMENT_S": "15",
    "RAG_STAGNATION_S": "150",
    "RAG_RECOVERY_STEADY_S": "10",
    "RAG_PROBE_TIMEOUT_S": "2",
    "RAG_METRICS_CACHE_S": "0",
    # One run at a time, one request of eight texts a second: a load that lasts.
    "RAG_DOCUMENT_RUNS": "1",
    "RAG_DOCUMENTS_PER_RUN": "500",
    "RAG_EMBEDDING_BATCH_SIZE": "8",
    "RAG_EMBEDDING_CONCURRENCY": "3",
}
RECOVERED_S = 120.0
"""In which work must go on once what hindered it is gone."""
CLOSED_S = 240.0
"""In which an incident must then be closed: steadiness, and a look each half minute."""


@dataclass
class Scenario:
    """The site, its messages, and the exporter's samples."""

    site: Site
    slack: Receiver
    recorded: Recording

    def load(self, documents: int) -> None:
        """Drop documents, and wait until the first are ready and others are running."""
        for number in range(documents):
            drop(self.site.inbox, number)
        self.until(lambda: self.site.states()["ready"] >= 5, "the load begins", 120)

    def until(self, reached: Callable[[], bool], what: str, timeout_s: float) -> float:
        """Wait for a condition; return the seconds that it took."""
        began = time.monotonic()
        while time.monotonic() - began < timeout_s:
            self.site.keep_daemon()
            if reached():
                return time.monotonic() - began
            time.sleep(0.5)
        raise AssertionError(
            f"{what}: not within {timeout_s:.0f} s; {self.site.states()}, incidents "
            f"{self.incidents()}, actions {self.actions()}, said {self.slack.texts}\n"
            f"{self.site.log()}"
        )

    def goes_on(self) -> float:
        """Wait until another document is ready; return the seconds that it took."""
        before = self.site.states()["ready"]
        return self.until(lambda: self.site.states()["ready"] > before, "work goes on", RECOVERED_S)

    def ends_well(self, documents: int) -> None:
        """Check that all documents are ready, no text is stored twice, and no incident is open."""
        self.site.wait_for(Counter(ready=documents), timeout_s=300)
        self.until(
            lambda: {row["state"] for row in self.incidents()} == {"closed"},
            "the incident is closed",
            CLOSED_S,
        )
        assert self.rows("SELECT count(*) FROM documents WHERE state <> 'ready'") == [(0,)]
        ((chunks, vectors, places),) = self.rows(
            "SELECT (SELECT count(*) FROM document_chunks),"
            " (SELECT count(*) FROM chunk_embeddings),"
            " (SELECT count(DISTINCT (document_id, position)) FROM document_chunks)"
        )
        assert chunks == vectors == places

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.site.database.connect() as connection:
            return connection.execute(query).fetchall()

    def ready(self, lane: str) -> int:
        """Number of ready documents of a lane."""
        found = Counter(
            dict(
                self.rows(
                    "SELECT lane, count(*) FROM documents WHERE state = 'ready' GROUP BY lane"
                )
            )
        )
        return found[lane]

    def incidents(self) -> list[dict[str, Any]]:
        """All incidents; none while the database is down."""
        try:
            found = self.rows(
                "SELECT state, cause, evidence->>'subject', escalated_at FROM incidents"
                " ORDER BY incident_id"
            )
        except RagAssetsError:
            return []
        return [
            dict(zip(("state", "cause", "subject", "escalated_at"), row, strict=True))
            for row in found
        ]

    def measures(self) -> set[str]:
        """The kinds of the recovery's actions."""
        return {action for action, _, _ in self.actions()}

    def actions(self) -> list[tuple[Any, ...]]:
        """The recovery's actions."""
        try:
            return self.rows("SELECT action, subject, done FROM recovery_actions ORDER BY 1, 2")
        except RagAssetsError:
            return []

    def one_incident(self, cause: str, subject: str | None = None) -> None:
        """Check that there was one incident with a cause, reported once and not escalated."""
        found = self.incidents()
        told = f"{found}, actions {self.actions()}, said {self.slack.texts}"
        assert [incident["cause"] for incident in found] == [cause], told
        assert subject in (None, found[0]["subject"]), told
        assert found[0]["escalated_at"] is None, told
        assert len(self.slack.texts) == 1, told
        assert cause in self.slack.texts[0], told

    def sets_off(self, *alerts: str, step_s: int) -> None:
        """Check that these alerts fire on the recording, if Prometheus is available."""
        if PROMTOOL is not None:
            found = fired(self.recorded.series, self.recorded.samples, step_s=step_s)
            assert set(alerts) <= found, f"{found} fired of {self.recorded.samples} samples"


@contextmanager
def scenario(*, latency_ms: float, own_server: bool = True, **changes: str) -> Iterator[Scenario]:
    """A site with its daemon, a receiver of Slack messages, and a scraped exporter."""
    with (
        receiving() as slack,
        running_site(
            latency_ms=latency_ms,
            own_server=own_server,
            **{**QUICK, "SLACK_WEBHOOK_URL": slack.url, **changes},
        ) as site,
        recording(
            [str(Path(sys.executable).parent / "rag-assets"), "exporter", "--port", "0", "--json"],
            {**plain_environment(), **site.environment},
            cwd=site.folder,
        ) as recorded,
    ):
        site.start_daemon()
        yield Scenario(site, slack, recorded)
