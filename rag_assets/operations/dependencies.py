"""Looks at what the system depends on: each ends soon, never raises, shows no secret, buys nothing.

What is done about it is decided in :mod:`rag_assets.operations.diagnosis`.
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
from rag_assets.operations.sql import dependencies as asked
from rag_assets.postgres.database import Database, dagster_database
from rag_assets.settings.model import Settings, fingerprint
from rag_assets.vectors.prices import missing_prices
from rag_assets.vectors.sql.spaces import ROLES

DAEMON_PATIENCE_S = 120.0
"""Each part of the daemon shows every 30 s that it lives; a busy machine is granted some more."""
_START = "start PostgreSQL, or open the database; `rag-assets db status` shows whether it answers"
_DAEMON_PARTS = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR")
_NO_FILE = "rag-assets-looks-whether-the-inbox-answers.txt"


@dataclass(frozen=True)
class DependencyProbe:
    """What a look at one dependency found.

    :param name: database, vectors, dagster, provider, inbox, disk, daemon, broker or workers.
    :param ok: it is there and does its work. A provider that limits the rate is there.
    :param seconds: that the look took.
    :param told: what was seen, for people.
    :param remedy: what to do; empty where nothing is to be done.
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
    """Whether PostgreSQL takes a connection to this database, and answers."""

    def look() -> _Seen:
        return _Seen(True, f"PostgreSQL {asked.answers(database, timeout_s)}")

    return _timed(name, timeout_s, look, _START)


def probe_vectors(database: Database, *, timeout_s: float = 5) -> DependencyProbe:
    """Whether pgvector is there and compares two vectors."""

    def look() -> _Seen:
        return _Seen(True, f"pgvector {asked.compares_vectors(database, timeout_s)}")

    return _timed("vectors", timeout_s, look, _START)


def probe_dagster(settings: Settings) -> DependencyProbe:
    """Whether the database of Dagster's own state answers. It is not made."""
    timeout_s = settings.rag_probe_timeout_s

    def look() -> _Seen:
        database = dagster_database(settings)
        try:
            return _Seen(True, f"PostgreSQL {asked.answers(database, timeout_s)}")
        except DatabaseUnusableError:  # it refuses a user in the corpus' database, too
            return _Seen(False, f"{database.name} is not there yet", "`rag-assets up` makes it")

    return _timed("dagster", timeout_s, look, _START)


def probe_provider(settings: Settings) -> DependencyProbe:
    """Whether the embedding provider answers and takes one of the keys. Nothing is bought."""
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

    # Late: importing openai takes half a second that most commands need not wait for.
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
    """What a status means that a provider at a place answered to a request for its models."""
    if status == 429:
        return _Seen(True, f"{place} answers, and limits the rate (429)")
    if status == 402:
        return _Seen(True, f"{place} answers, and wants to be paid (402)")
    if status in (404, 405):
        return _Seen(True, f"{place} answers, without a list of models ({status})")
    if status == 403:
        return _Seen(True, f"{place} answers, and this key may not list its models (403)")
    if status >= 400:
        return _Seen(False, f"{place} fails with status {status}", "wait until it is back")
    return _Seen(True, f"{place} answers")


def probe_inbox(settings: Settings) -> DependencyProbe:
    """Whether the inbox answers; with the free space where it is a folder of this machine."""

    def look() -> _Seen:
        inbox = open_inbox(settings)
        inbox.find(_NO_FILE)  # raises where the storage does not answer
        place = inbox.describe()
        if "://" in place:
            return _Seen(True, place)
        if not Path(place).exists():
            return _Seen(True, f"{place}: not there yet, made with the first document")
        return _judge_space(Path(place), settings.rag_disk_free_gb)

    return _timed("inbox", settings.rag_probe_timeout_s, look, "correct RAG_DOCUMENTS_URL")


def probe_broker(settings: Settings) -> DependencyProbe:
    """Whether the broker answers by which runs go to several machines."""

    def look() -> _Seen:
        broker = open_broker(settings)
        broker.ping()
        return _Seen(True, broker.describe())

    return _timed("broker", settings.rag_probe_timeout_s, look, "start Redis")


def probe_workers(settings: Settings) -> DependencyProbe:
    """Whether each queue has a worker that takes runs."""

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

    # Celery's answers are collected for two seconds, whoever answers.
    timeout_s = settings.rag_probe_timeout_s + 2
    return _timed("workers", timeout_s, look, "see whether the workers' machines are there")


def probe_disk(path: Path, floor_gb: float, *, timeout_s: float = 5) -> DependencyProbe:
    """Whether enough is free where a folder is, or will be.

    :param floor_gb: least free space, in GB (1e9 bytes).
    """
    return _timed(
        "disk", timeout_s, lambda: _judge_space(path, floor_gb), "see whether the disk is mounted"
    )


def probe_daemon(
    heartbeats: Mapping[str, datetime], now: datetime, *, patience_s: float = DAEMON_PATIENCE_S
) -> DependencyProbe:
    """Whether each part of Dagster's daemon that work needs showed lately that it lives.

    :param heartbeats: as :func:`.sql.dagster_state.daemon_heartbeats` has them.
    """
    ages = {
        part: (now - heartbeats[part]).total_seconds()
        for part in _DAEMON_PARTS
        if part in heartbeats
    }
    if not ages:
        return DependencyProbe("daemon", False, 0.0, "it does not run", "`rag-assets up`")
    silent = [part for part in _DAEMON_PARTS if ages.get(part, patience_s + 1) > patience_s]
    if len(silent) == len(_DAEMON_PARTS):
        told = f"no sign of life for {min(ages.values()):.0f} s"
    elif silent:
        told = f"no sign of life of {' and '.join(silent)}"
    else:
        return DependencyProbe("daemon", True, 0.0, f"alive {max(0.0, *ages.values()):.0f} s ago")
    return DependencyProbe("daemon", False, 0.0, told, "start it again: `rag-assets up`")


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
    """Look in a thread of its own: a file system or a network that hangs holds up only that."""
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
    except Exception as error:  # a look never ends the work of who looks
        return _Seen(False, type(error).__name__, remedy)  # its words may hold a secret
