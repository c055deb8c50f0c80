"""One scrape of the metrics, beside the bare SELECTs that any exporter needs.

    python -m benchmarks.operations            100,000 documents, 10,000 runs of Dagster
    python -m benchmarks.operations --smoke    a few hundred

An embedded PostgreSQL of the benchmark's own. All take turns, on warm caches: *bare* are twelve
plain statements on two connections that stay open, without a snapshot, a time-out or a histogram;
*ours, read* makes two connections and reads everything; *ours, scraped* is that over HTTP in
Prometheus' text format, with nothing kept between two scrapes. The exit status is 1 when the P95 of
a scrape is above 200 ms.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.index.bench import Report, own_server, say, show
from benchmarks.operations.filling import Sizes, fill_corpus, fill_dagster
from rag_assets.operations.exporter import exporting
from rag_assets.operations.metrics import OperationsMetrics
from rag_assets.postgres.database import Connection

SIZES = Sizes(documents=100_000, attempts=100_000, ledger=100_000, vectors=100_000, runs=10_000)
SMOKE_SIZES = Sizes(documents=300, attempts=300, ledger=300, vectors=300, runs=100)
MOST_MS = 200
ROUNDS, SMOKE_ROUNDS = 60, 3

BARE = (
    """
    SELECT lane, state, count(*), min(queued_at), count(*) FILTER (WHERE not_before <= now())
      FROM documents GROUP BY lane, state
    """,
    "SELECT error_class, count(*) FROM documents WHERE state = 'dead' GROUP BY error_class",
    "SELECT lane, outcome, attempts, seconds, buckets FROM attempt_totals",
    """
    SELECT key_fingerprint, sum(requests), sum(retries), sum(rate_limited), sum(tokens),
           sum(cost_usd) FROM embedding_ledger GROUP BY key_fingerprint
    """,
    "SELECT key_fingerprint, resting_until FROM provider_keys",
    "SELECT release_id, activated_at FROM releases WHERE state = 'active'",
    "SELECT corpus, subject, check_name, passed, evaluated_at FROM check_results",
    "SELECT job, status, runs FROM run_totals",
    "SELECT state FROM incidents WHERE state <> 'closed'",
    """
    SELECT relname, reltuples, pg_total_relation_size(oid) FROM pg_class
     WHERE relname ~ '^(verse|chunk)_embeddings_s[0-9]+$'
    """,
)
BARE_DAGSTER = (
    """
    SELECT pipeline_name, t.value, status, count(*)
      FROM runs r LEFT JOIN run_tags t ON t.run_id = r.run_id AND t.key = 'rag/lane'
     WHERE status IN ('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING') GROUP BY 1, 2, 3
    """,
    "SELECT daemon_type, timestamp FROM daemon_heartbeats",
)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="a few hundred of everything")
    smoke = options.parse_args().smoke
    sizes, rounds = (SMOKE_SIZES, SMOKE_ROUNDS) if smoke else (SIZES, ROUNDS)
    with own_server() as (corpus, usual), tempfile.TemporaryDirectory() as folder:
        settings = usual.model_copy(update={"rag_metrics_cache_s": 0})
        dagster = corpus.named(f"{corpus.name}_dagster")
        fill_corpus(corpus, settings, sizes)
        fill_dagster(dagster, corpus, Path(folder), sizes.runs)
        metrics = OperationsMetrics(settings, corpus=corpus, dagster=dagster)
        with (
            corpus.connect(autocommit=True) as in_corpus,
            dagster.connect(autocommit=True) as in_dagster,
            exporting(metrics, host="127.0.0.1", port=0) as url,
        ):
            taken = measure(
                {
                    "bare SELECTs": lambda: bare(in_corpus, in_dagster),
                    "ours, read": lambda: complete(metrics),
                    "ours, scraped": lambda: scrape(url),
                },
                rounds,
            )
            size = len(scrape(url))
    say(f"an exposition has {size:,} bytes")
    base = np.median(taken["bare SELECTs"])
    rows = [
        (
            what,
            f"{np.median(times):.1f}",
            f"{np.percentile(times, 95):.1f}",
            f"{max(times):.1f}",
            f"{np.median(times) / base:.2f}",
        )
        for what, times in taken.items()
    ]
    title = f"a scrape: {sizes.documents:,} documents, {sizes.runs:,} runs, {sizes.ledger:,} ledger"
    show(Report(title, ("what", "P50 ms", "P95 ms", "max ms", "÷ bare"), rows))
    if np.percentile(taken["ours, scraped"], 95) > MOST_MS:
        sys.exit(f"a scrape takes more than {MOST_MS} ms")


def measure(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each, in turn, after two rounds that are not counted."""
    taken: dict[str, list[float]] = {what: [] for what in works}
    for number in range(rounds + 2):
        for what, work in works.items():
            began = time.perf_counter()
            work()
            if number >= 2:
                taken[what].append((time.perf_counter() - began) * 1000)
    return taken


def bare(corpus: Connection, dagster: Connection) -> None:
    """The statements, one after the other."""
    for connection, statements in ((corpus, BARE), (dagster, BARE_DAGSTER)):
        for statement in statements:
            connection.execute(statement).fetchall()


def complete(metrics: OperationsMetrics) -> None:
    """A reading of both databases."""
    reading = metrics.read()
    assert reading.corpus is not None
    assert reading.dagster is not None


def scrape(url: str) -> bytes:
    """What Prometheus gets."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
        body: bytes = answer.read()
    assert b'rag_database_up{database="dagster"} 1.0' in body
    return body


if __name__ == "__main__":
    main()
