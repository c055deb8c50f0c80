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
from rag_assets.errors import (
    ConfigurationError,
    DatabaseUnusableError,
    RagAssetsError,
)
from rag_assets.operations.broker import open_broker
from rag_assets.operations.sql import dependencies as asked
from rag_assets.postgres.database import Database, dagster_database
from rag_assets.settings.model import Settings, fingerprint
from rag_assets.vectors.prices import missing_prices
from rag_assets.vectors.sql.spaces import ROLES

DAEMON_PATIENCE_S = 120.0
"""Each part of the daemon writes a heartbeat every 30 s; a busy machine may be late."""
_START = "start PostgreSQL, or open the database; `rag-assets db status` shows whether it answers"
_DAEMON_PARTS = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR")
_NO_FILE = "rag-assets-looks-whether-the-inbox-answers.txt"


@dataclass(frozen=True)
class DependencyProbe:
    """Result of probing one dependency.

    :param name: database, vectors, dagster, provider, inbox, disk, daemon, broker or workers.
    :param ok: whether it works. A provider that limits the rate does.
    :param seconds: duration of the probe.
    :param told: what was found, in words.
    :param remedy: what to do; empty if there is nothing to do.
    """

    name: str
    ok: bool
    seconds: float
    told: str
    remedy: str = ""


@dataclass(frozen=True)
class _Seen:
    """A :class:`DependencyProbe` without its name and time."""

    ok: bool
    told: str
    remedy: str = ""


def probe_database(
    database: Database, *, timeout_s: float = 5, name: str = "database"
) -> DependencyProbe:
    """Check that PostgreSQL accepts a connection to this database and answers."""

    def look() -> _Seen:
        return _Seen(True, f"PostgreSQL {asked.answers(database, timeout_s)}")

    return _timed(name, timeout_s, look, _START)


def probe_vectors(database: Database, *, timeout_s: float = 5) -> DependencyProbe:
    """Check that pgvector is installed and compares two vectors."""

    def look() -> _Seen:
        return _Seen(True, f"pgvector {asked.compares_vectors(database, timeout_s)}")

    return _timed("vectors", timeout_s, look, _START)


def probe_dagster(settings: Settings) -> DependencyProbe:
    """Check that the database of Dagster's own state answers, without creating it."""
    timeout_s = settings.rag_probe_timeout_s

    def look() -> _Seen:
        database = dagster_database(settings)
        try:
            return _Seen(True, f"PostgreSQL {asked.answers(database, timeout_s)}")
        except DatabaseUnusableError:  # also raised if the corpus database refuses the user
            return _Seen(False, f"{database.name} is not there yet", "`rag-assets up` makes it")

    return _timed("dagster", timeout_s, look, _START)


def probe_provider(settings: Settings) -> DependencyProbe:
    """Check that the embedding provider answers and accepts one of the keys, free of charge."""
    timeout_s = settings.rag_probe_timeout_s
    if settings.rag_embedding_provider == "offline":
        return DependencyProbe("provider", True, 0.0, "offline: in this process")
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

    def look() -> _Seen:
        keys = settings.api_keys()
        if not keys:
            name = "OPENAI_API_KEYS" if settings.use_api_key_rotation else "OPENAI_API_KEY"
            return _Seen(False, "there is no API key", f"set {name} in .env")
        place = urlsplit(settings.openai_base_url).hostname or "the provider"
        refused = []
        for key in keys:
            status = ask_for_models(base_url=settings.openai_base_url, key=key, timeout_s=timeout_s)
            if status != 401:
                return judge_provider(place, status)
            refused.append(fingerprint(key))
        return _Seen(
            False,
            f"{place} refuses {' and '.join(f'key {name}' for name in refused)} (401)",
            "correct OPENAI_API_KEY, then start again what uses it",
        )

    return _timed("provider", timeout_s, look, "correct OPENAI_BASE_URL, or wait until it is back")


def judge_provider(place: str, status: int) -> _Seen:
    """Interpret a provider's status code for a request of its list of models."""
    if status == 429:
        return _Seen(True, f"{place} answers, but limits the rate (429)")
    if status == 402:
        return _Seen(True, f"{place} answers, but requires payment (402)")
    if status in (404, 405):
        return _Seen(True, f"{place} answers, without a list of models ({status})")
    if status == 403:
        return _Seen(True, f"{place} answers, but this key may not list its models (403)")
    if status >= 400:
        return _Seen(False, f"{place} fails with status {status}", "wait until it is back")
    return _Seen(True, f"{place} answers")


def probe_inbox(settings: Settings) -> DependencyProbe:
    """Check that the inbox answers, and for a local folder that enough space is free."""

    def look() -> _Seen:
        inbox = open_inbox(settings)
        inbox.find(_NO_FILE)  # raises if the storage does not answer
        place = inbox.describe()
        if "://" in place:
            return _Seen(True, place)
        if not Path(place).exists():
            return _Seen(True, f"{place}: does not exist yet, created with the first document")
        return _judge_space(Path(place), settings.rag_disk_free_gb)

    return _timed("inbox", settings.rag_probe_timeout_s, look, "correct RAG_DOCUMENTS_URL")


def probe_broker(settings: Settings) -> DependencyProbe:
    """Check that the broker that distributes runs answers."""

    def look() -> _Seen:
        broker = open_broker(settings)
        broker.ping()
        return _Seen(True, broker.describe())

    return _timed("broker", settings.rag_probe_timeout_s, look, "start Redis")


def probe_workers(settings: Settings) -> DependencyProbe:
    """Check that each queue has a worker that takes runs."""

    def look() -> _Seen:
        workers = open_broker(settings).workers()
        idle = [queue for queue, names in workers.items() if not names]
        if idle:
            return _Seen(
                False,
                f"no worker takes runs of {' and '.join(idle)}: they wait",
                f"on a worker's machine: `rag-assets worker --queue {idle[0]}`",
            )
        return _Seen(
            True, "; ".join(f"{queue}: {', '.join(names)}" for queue, names in workers.items())
        )

    # Celery always collects answers for two seconds.
    timeout_s = settings.rag_probe_timeout_s + 2
    return _timed("workers", timeout_s, look, "check that the workers' machines are up")


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
        told = f"no heartbeat for {min(ages.values()):.0f} s"
    elif silent:
        told = f"no heartbeat of {' and '.join(silent)}"
    else:
        return DependencyProbe("daemon", True, 0.0, f"alive {max(0.0, *ages.values()):.0f} s ago")
    return DependencyProbe("daemon", False, 0.0, told, "restart it: `rag-assets up`")


def _judge_space(path: Path, floor_gb: float) -> _Seen:
    place = path.absolute()
    while not place.exists():
        place = place.parent
    free_gb = shutil.disk_usage(place).free / 1e9
    told = f"{free_gb:,.1f} GB free at {place}"
    if free_gb < floor_gb:
        return _Seen(
            False,
            f"{told}, under RAG_DISK_FREE_GB ({floor_gb:g})",
            "make room there",
        )
    return _Seen(True, told)


def _timed(name: str, timeout_s: float, look: Callable[[], _Seen], remedy: str) -> DependencyProbe:
    """Run the probe in its own thread: a hanging file system or network blocks only that thread."""
    found: list[_Seen] = []
    thread = threading.Thread(
        target=lambda: found.append(_explained(look, remedy)), name=f"probe-{name}", daemon=True
    )
    began = time.perf_counter()
    thread.start()
    thread.join(timeout_s)
    seconds = time.perf_counter() - began
    seen = found[0] if found else _Seen(False, f"no answer within {timeout_s:g} s", remedy)
    return DependencyProbe(name, seen.ok, seconds, seen.told, seen.remedy)


def _explained(look: Callable[[], _Seen], remedy: str) -> _Seen:
    try:
        return look()
    except DatabaseUnusableError as error:
        return _Seen(False, str(error), "`rag-assets db migrate`")
    except ConfigurationError as error:
        return _Seen(False, str(error), "correct the setting: docs/settings.md")
    except RagAssetsError as error:
        return _Seen(False, str(error), remedy)
    except Exception as error:  # a probe must not stop its caller
        return _Seen(False, type(error).__name__, remedy)  # the message may contain a secret
