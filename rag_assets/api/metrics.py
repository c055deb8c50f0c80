"""The API's own metrics, over all of its worker processes.

Metrics read from the databases (queue, index, release, runs) are in :mod:`rag_assets.operations`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
"""Set before prometheus_client is imported, so that each worker counts in files there."""

BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.225, 0.25, 0.275, 0.3, 0.4, 0.5, 0.75,
    1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Seconds; finer around the objective of 250 ms."""


def _mark_dead_workers(folder: Path) -> None:
    """Drop the live gauges of killed workers; their counters stay."""
    for file in folder.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another worker was faster
                multiprocess.mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        except PermissionError:
            pass  # the id now belongs to another user's process


_LATEST: Literal["livemostrecent"] = "livemostrecent"


def _of_connections(registry: CollectorRegistry) -> tuple[Counter, Gauge, Gauge]:
    """Connections closed early, database connections, and requests that wait for one."""
    closed = Counter(
        "rag_api_closed_connections",
        "Connections closed early: head too slow (slow-head), least recently active of too "
        "many (evicted), answer not read (unread).",
        ("reason",),
        registry=registry,
    )
    pool = Gauge(
        "rag_pool_connections",
        "Database connections, by state.",
        ("state",),
        multiprocess_mode="livesum",
        registry=registry,
    )
    waiting = Gauge(
        "rag_pool_waiting",
        "Requests that wait for a database connection.",
        multiprocess_mode="livesum",
        registry=registry,
    )
    return closed, pool, waiting


class ApiMetrics:
    """The metrics of one app."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        histogram = partial(Histogram, registry=self._registry)
        gauge = partial(Gauge, registry=self._registry)
        self.requests = counter(
            "rag_retrieve",
            "Requests to the retrieval endpoint.",
            ("status", "corpus", "plan"),
        )
        self.tool_calls = counter(
            "rag_mcp_calls",
            "Calls of the tools for agents, by the status that the API would answer with.",
            ("tool", "status"),
        )
        self.latency = histogram(
            "rag_retrieve_latency_seconds",
            "Time to answer, whole (stage total) and by stage.",
            ("stage",),
            buckets=BUCKETS,
        )
        self.returned = histogram(
            "rag_retrieve_k_returned",
            "Hits of an answer.",
            buckets=(0, 1, 2, 5, 9, 10, 20, 50, 99, 100),
        )
        self.cache_hits = counter(
            "rag_cache_hits",
            "Queries that needed no provider, by where they were found.",
            ("level",),
        )
        self.provider_errors = counter(
            "rag_provider_errors",
            "Failures to embed a query, by kind; rate-limited are the provider's 429s.",
            ("kind",),
        )
        self.rerankings = counter("rag_rerankings", "Calls of the cross-encoder.", ("outcome",))
        self.closed, self.pool, self.waiting = _of_connections(self._registry)
        self.release = gauge(
            "rag_served_release",
            "Number of the release that this API serves; 0 for none.",
            multiprocess_mode=_LATEST,
        )

        self.reads_replica = gauge(
            "rag_reads_from_replica",
            "1 while searches read from the replica, 0 while they read from the primary.",
            multiprocess_mode=_LATEST,
        )
        self.replica_lag = gauge(
            "rag_replica_lag_seconds",
            "How far the replica is behind the primary; 0 also if that is unknown.",
            multiprocess_mode=_LATEST,
        )
        self.fallbacks = counter(
            "rag_replica_fallbacks",
            "Reads that another server had to do, because the first could not.",
        )

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format, for all workers together."""
        if folder := os.environ.get(MULTIPROCESS_DIR):
            _mark_dead_workers(Path(folder))
            together = CollectorRegistry()
            multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
            return generate_latest(together)
        return generate_latest(self._registry)
