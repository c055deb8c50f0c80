"""Prometheus metrics of the whole system, read from the databases rather than counted in processes.

Runs are processes that live for minutes. Their results are in the databases, so that every exporter
gives the same figures, also after a restart. docs/operations/metrics.md describes the metrics;
the queries are in ``sql``.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from rag_assets.errors import DatabaseUnavailableError, RagAssetsError
from rag_assets.operations import families
from rag_assets.operations.backfill import WINDOW_TAG
from rag_assets.operations.job_failures import split_explained
from rag_assets.operations.sql.metrics import (
    CorpusFigures,
    DagsterFigures,
    read_corpus,
    read_dagster,
    read_window_spent,
)
from rag_assets.operations.thresholds import keys_in_use
from rag_assets.operations.windows import backfill_windows
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings

log = logging.getLogger("rag_assets.operations")
Figures = TypeVar("Figures")


@dataclass(frozen=True)
class Scrape:
    """The data of one scrape.

    :param corpus: ``None`` while its database is down; ``dagster`` likewise.
    :param window_spent_usd: spent by the latest backfill window; ``None`` while either database is
        down.
    :param seconds: duration of the reads, by database.
    """

    settings: Settings
    corpus: CorpusFigures | None
    dagster: DagsterFigures | None
    window_spent_usd: float | None
    seconds: dict[str, float]
    free_bytes: dict[str, int]


class OperationsMetrics(Collector):
    """A thread-safe collector that reads on demand, at most once per RAG_METRICS_CACHE_S."""

    def __init__(
        self,
        settings: Settings,
        *,
        corpus: Database,
        dagster: Database,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._databases = {"corpus": corpus, "dagster": dagster}
        self._clock = clock
        self._one_at_a_time = threading.Lock()
        self._kept: tuple[float, tuple[Metric, ...]] | None = None
        self._down: set[str] = set()

    def collect(self) -> Iterable[Metric]:
        """Return current or cached metrics."""
        with self._one_at_a_time:
            now = self._clock()
            if self._kept is None or now - self._kept[0] >= self._settings.rag_metrics_cache_s:
                self._kept = now, tuple(metrics_of(self.read()))
            return self._kept[1]

    def describe(self) -> Iterable[Metric]:
        """Return nothing: otherwise a registry would trigger a read."""
        return ()

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def read(self) -> Scrape:
        """Read both databases; one that is down is omitted, and logged once."""
        settings, timeout_s = self._settings, self._settings.rag_probe_timeout_s
        seconds: dict[str, float] = {}
        window, spent = backfill_windows(settings).last(datetime.now(UTC)), None
        # Concurrently: if the server's host is down each read takes its full time limit, and
        # Prometheus waits for only ten seconds.
        with ThreadPoolExecutor(2, "metrics") as threads:
            of_corpus = partial(read_corpus, settings=settings, timeout_s=timeout_s)
            tag = WINDOW_TAG, window.key
            of_dagster = partial(read_dagster, tag=tag, timeout_s=timeout_s)
            corpus_read = threads.submit(self._read, "corpus", of_corpus, seconds)
            dagster_read = threads.submit(self._read, "dagster", of_dagster, seconds)
            corpus, dagster = corpus_read.result(), dagster_read.result()
        if corpus is not None and dagster is not None:
            spent = self._read(
                "corpus",
                partial(
                    read_window_spent,
                    opens=window.opens,
                    run_ids=dagster.tagged,
                    timeout_s=timeout_s,
                ),
                seconds,
            )
        free = free_space(settings)
        if corpus is not None and corpus.free_bytes is not None:
            free["database"] = corpus.free_bytes
        return Scrape(settings, corpus, dagster, spent, seconds, free)

    def _read(
        self, name: str, read: Callable[[Database], Figures], seconds: dict[str, float]
    ) -> Figures | None:
        began = time.perf_counter()
        try:
            figures = read(self._databases[name])
        except RagAssetsError as error:
            if name not in self._down:
                down = isinstance(error, DatabaseUnavailableError)
                log.warning("database %s %s: %s", name, "down" if down else "unusable", error)
            self._down.add(name)
            return None
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began
        if name in self._down:
            self._down.remove(name)
            log.info("database %s answers again", name)
        return figures


def metrics_of(reading: Scrape) -> Iterator[Metric]:
    """Yield all metrics of a scrape; for a database that is down, only ``rag_database_up``."""
    settings = reading.settings
    yield from families.of_exporter(
        up={"corpus": reading.corpus is not None, "dagster": reading.dagster is not None},
        seconds=reading.seconds,
        free_bytes=reading.free_bytes,
    )
    yield from families.of_settings(settings)
    if (corpus := reading.corpus) is not None:
        yield from families.of_queue(corpus.queue)
        yield from families.of_provider(corpus.provider, keys_in_use(settings))
        yield from families.of_batches(corpus.batches)
        yield from families.of_vectors(corpus.vectors, corpus.builds)
        yield from families.of_release(corpus.release, corpus.checks)
        yield from families.of_live_recall(corpus.live_recall)
        yield from families.of_audit(corpus.audit)
        # Failures that an outage explains are covered by the outage's own metrics and alert.
        reported = split_explained(corpus.failing).reported.values()
        failed = [run for jobs in reported for run in jobs.runs]
        yield from families.of_operations(
            corpus.runs, failed, corpus.incident_states, corpus.incidents
        )
    if (dagster := reading.dagster) is not None:
        yield from families.of_dagster(dagster)
    if reading.window_spent_usd is not None:
        yield from families.of_backfill(reading.window_spent_usd)


def free_space(settings: Settings) -> dict[str, int]:
    """Return the free bytes where RAG_HOME and a local inbox are, or will be created."""
    places = {"home": settings.rag_home}
    if "://" not in settings.rag_documents_url:
        places["inbox"] = Path(settings.rag_documents_url)
    free = {}
    for name, path in places.items():
        with suppress(OSError):  # a missing disk must not hide the others
            free[name] = shutil.disk_usage(_existing(path)).free
    return free


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())
