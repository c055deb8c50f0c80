"""Probes of dependencies. A probe ends quickly, never raises, shows no secret and costs nothing.

:mod:`rag_assets.operations.diagnosis` decides what to do about the results.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.embedding.embedder import check_key
from rag_assets.errors import (
    ConfigurationError,
    DatabaseUnusableError,
    RagAssetsError,
)
from rag_assets.operations.broker import open_broker
from rag_assets.operations.sql import dependencies as queries
from rag_assets.postgres.database import Database, dagster_database
from rag_assets.settings.model import Settings, fingerprint
from rag_assets.vectors.prices import missing_prices
from rag_assets.vectors.sql.spaces import ROLES

DAEMON_PATIENCE_S = 120.0
"""Each part of the daemon writes a heartbeat every 30 s; a busy machine may be late."""
_START = "start PostgreSQL, or open the database; `rag-assets db status` shows whether it answers"
_DAEMON_PARTS = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR")
_NO_FILE = "rag-assets-probe-of-the-inbox.txt"


@dataclass(frozen=True)
class DependencyProbe:
    """Result of probing one dependency.

    :param name: database, vectors, dagster, provider, inbox, disk, daemon, broker or workers.
    :param ok: whether it works. A provider that limits the rate does.
    :param seconds: duration of the probe.
    :param detail: what was found, in words.
    :param remedy: what to do; empty if there is nothing to do.
    """

    name: str
    ok: bool
    seconds: float
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class _Result:
    """A :class:`DependencyProbe` without its name and time."""

    ok: bool
    detail: str
    remedy: str = ""


def probe_database(
    database: Database, *, timeout_s: float = 5, name: str = "database"
) -> DependencyProbe:
    """Check that PostgreSQL accepts a connection to this database and answers."""

    def probe() -> _Result:
        return _Result(True, f"PostgreSQL {queries.answers(database, timeout_s)}")

    return _timed(name, timeout_s, probe, _START)


def probe_vectors(database: Database, *, timeout_s: float = 5) -> DependencyProbe:
    """Check that pgvector is installed and compares two vectors."""

    def probe() -> _Result:
        return _Result(True, f"pgvector {queries.compares_vectors(database, timeout_s)}")

    return _timed("vectors", timeout_s, probe, _START)


def probe_dagster(settings: Settings) -> DependencyProbe:
    """Check that the database of Dagster's own state answers, without creating it."""
    timeout_s = settings.rag_probe_timeout_s

    def probe() -> _Result:
        database = dagster_database(settings)
        try:
            return _Result(True, f"PostgreSQL {queries.answers(database, timeout_s)}")
        except DatabaseUnusableError:  # also raised if the corpus database refuses the user
            return _Result(False, f"{database.name} is missing", "`rag-assets up` creates it")

    return _timed("dagster", timeout_s, probe, _START)


def probe_provider(settings: Settings) -> DependencyProbe:
    """Check that the embedding provider answers and accepts one of the keys, free of charge."""
    timeout_s = settings.rag_probe_timeout_s
    if not settings.needs_key():
        try:
            check_key(settings)
        except ConfigurationError as error:
            return DependencyProbe("provider", False, 0.0, str(error), "install it")
        return DependencyProbe(
            "provider", True, 0.0, f"{settings.rag_embedding_provider}: on this machine"
        )
    unknown = missing_prices(settings, ROLES)
    if unknown and settings.rag_max_run_cost_usd is not None:
        return DependencyProbe(
            "provider",
            False,
            0.0,
            "the price of its model is not known, so that RAG_MAX_RUN_COST_USD cannot be enforced",
            f"set {' and '.join(unknown)}",
        )

    # Lazy import: openai takes half a second.
    from rag_assets.embedding.providers.openai_client import ask_for_models  # noqa: PLC0415

    def probe() -> _Result:
        keys = settings.api_keys()
        if not keys:
            name = "OPENAI_API_KEYS" if settings.use_api_key_rotation else "OPENAI_API_KEY"
            return _Result(False, "there is no API key", f"set {name} in .env")
        place = urlsplit(settings.openai_base_url).hostname or "the provider"
        refused = []
        for key in keys:
            status = ask_for_models(base_url=settings.openai_base_url, key=key, timeout_s=timeout_s)
            if status != 401:
                return judge_provider(place, status)
            refused.append(fingerprint(key))
        return _Result(
            False,
            f"{place} refuses {' and '.join(f'key {name}' for name in refused)} (401)",
            "correct OPENAI_API_KEY, then restart whatever uses it",
        )

    return _timed("provider", timeout_s, probe, "correct OPENAI_BASE_URL, or wait until it is back")


def judge_provider(place: str, status: int) -> _Result:
    """Interpret a provider's status code for a request of its list of models."""
    if status == 429:
        return _Result(True, f"{place} answers, but limits the rate (429)")
    if status == 402:
        return _Result(True, f"{place} answers, but requires payment (402)")
    if status in (404, 405):
        return _Result(True, f"{place} answers, without a list of models ({status})")
    if status == 403:
        return _Result(True, f"{place} answers, but this key may not list its models (403)")
    if status >= 400:
        return _Result(False, f"{place} fails with status {status}", "wait until it is back")
    return _Result(True, f"{place} answers")


def probe_inbox(settings: Settings) -> DependencyProbe:
    """Check that the inbox answers, and for a local folder that enough space is free."""

    def probe() -> _Result:
        inbox = open_inbox(settings)
        inbox.find(_NO_FILE)  # raises if the storage does not answer
        place = inbox.describe()
        if "://" in place:
            return _Result(True, place)
        if not Path(place).exists():
            return _Result(True, f"{place}: does not exist yet, created with the first document")
        return _judge_space(Path(place), settings.rag_disk_free_gb)

    return _timed("inbox", settings.rag_probe_timeout_s, probe, "correct RAG_DOCUMENTS_URL")


def probe_broker(settings: Settings) -> DependencyProbe:
    """Check that the broker that distributes runs answers."""

    def probe() -> _Result:
        broker = open_broker(settings)
        broker.ping()
        return _Result(True, broker.describe())

    return _timed("broker", settings.rag_probe_timeout_s, probe, "start Redis")


def probe_workers(settings: Settings) -> DependencyProbe:
    """Check that each queue has a worker that takes runs."""

    def probe() -> _Result:
        workers = open_broker(settings).workers()
        idle = [queue for queue, names in workers.items() if not names]
        if idle:
            return _Result(
                False,
                f"no worker takes runs of {' and '.join(idle)}: they wait",
                f"on a worker's machine: `rag-assets worker --queue {idle[0]}`",
            )
        return _Result(
            True, "; ".join(f"{queue}: {', '.join(names)}" for queue, names in workers.items())
        )

    # Celery always collects answers for two seconds.
    timeout_s = settings.rag_probe_timeout_s + 2
    return _timed("workers", timeout_s, probe, "check that the workers' machines are up")


def probe_disk(path: Path, floor_gb: float, *, timeout_s: float = 5) -> DependencyProbe:
    """Check that enough space is free where a folder is, or will be created.

    :param floor_gb: minimum free space in GB (1e9 bytes).
    """
    return _timed(
        "disk", timeout_s, lambda: _judge_space(path, floor_gb), "check that the disk is mounted"
    )


def probe_daemon(
    heartbeats: Mapping[str, datetime], now: datetime, *, patience_s: float = DAEMON_PATIENCE_S
) -> DependencyProbe:
    """Check that each part of Dagster's daemon that work needs has written a recent heartbeat.

    :param heartbeats: the result of :func:`.sql.dagster_state.daemon_heartbeats`.
    """
    ages = {
        part: (now - heartbeats[part]).total_seconds()
        for part in _DAEMON_PARTS
        if part in heartbeats
    }
    if not ages:
        return DependencyProbe("daemon", False, 0.0, "not running", "`rag-assets up`")
    silent = [part for part in _DAEMON_PARTS if ages.get(part, patience_s + 1) > patience_s]
    if len(silent) == len(_DAEMON_PARTS):
        detail = f"no heartbeat for {min(ages.values()):.0f} s"
    elif silent:
        detail = f"no heartbeat of {' and '.join(silent)}"
    else:
        return DependencyProbe("daemon", True, 0.0, f"alive {max(0.0, *ages.values()):.0f} s ago")
    return DependencyProbe("daemon", False, 0.0, detail, "restart it: `rag-assets up`")


def _judge_space(path: Path, floor_gb: float) -> _Result:
    place = path.absolute()
    while not place.exists():
        place = place.parent
    free_gb = shutil.disk_usage(place).free / 1e9
    detail = f"{free_gb:,.1f} GB free at {place}"
    if free_gb < floor_gb:
        return _Result(
            False,
            f"{detail}, under RAG_DISK_FREE_GB ({floor_gb:g})",
            "free some space there",
        )
    return _Result(True, detail)


def _timed(
    name: str, timeout_s: float, probe: Callable[[], _Result], remedy: str
) -> DependencyProbe:
    """Run the probe in its own thread: a hanging file system or network blocks only that thread."""
    found: list[_Result] = []
    thread = threading.Thread(
        target=lambda: found.append(_explained(probe, remedy)), name=f"probe-{name}", daemon=True
    )
    began = time.perf_counter()
    thread.start()
    thread.join(timeout_s)
    seconds = time.perf_counter() - began
    seen = found[0] if found else _Result(False, f"no answer within {timeout_s:g} s", remedy)
    return DependencyProbe(name, seen.ok, seconds, seen.detail, seen.remedy)


def _explained(probe: Callable[[], _Result], remedy: str) -> _Result:
    try:
        return probe()
    except DatabaseUnusableError as error:
        return _Result(False, str(error), "`rag-assets db migrate`")
    except ConfigurationError as error:
        return _Result(False, str(error), "correct the setting: docs/settings.md")
    except RagAssetsError as error:
        return _Result(False, str(error), remedy)
    except Exception as error:  # a probe must not stop its caller
        return _Result(False, type(error).__name__, remedy)  # the message may contain a secret
