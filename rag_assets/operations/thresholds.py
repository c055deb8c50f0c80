"""Thresholds of the rules and of the recovery, from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from rag_assets.errors import ConfigurationError
from rag_assets.settings.model import Settings, fingerprint

INTERVAL = timedelta(seconds=30)
"""Time between two checks."""


@dataclass(frozen=True)
class Thresholds:
    """One field per setting.

    :param max_active: maximum number of documents in processing, over all lanes.
    :param rebuild_share: share of an index's rows that may change before a rebuild.
    :param live_recall_floor: recall@10 that users' searches must reach.
    :param public_url: the URL of Dagster's UI; ``embedded``: whether the server is embedded.
    :param deprecated: deprecated settings that have a value, each with what to set instead.
    """

    stagnation_queue: int = 50
    stagnation: timedelta = timedelta(minutes=10)
    no_worker: timedelta = timedelta(minutes=1)
    slow_document: timedelta = timedelta(minutes=5)
    check: timedelta = timedelta(minutes=2)
    steady: timedelta = timedelta(minutes=10)
    max_actions: int = 10
    throttle_floor: float = 0.1
    max_active: int = 50
    rebuild_share: float = 0.2
    live_recall_floor: float = 0.95
    public_url: str = "http://127.0.0.1:3000"
    embedded: bool = True
    deprecated: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_settings(cls, settings: Settings) -> Thresholds:
        """Return the thresholds in force."""
        return cls(
            stagnation_queue=settings.rag_stagnation_queue,
            stagnation=timedelta(seconds=settings.rag_stagnation_s),
            no_worker=timedelta(seconds=settings.rag_no_worker_s),
            slow_document=timedelta(seconds=settings.rag_slow_document_s),
            check=timedelta(seconds=settings.rag_recovery_check_s),
            steady=timedelta(seconds=settings.rag_recovery_steady_s),
            max_actions=settings.rag_recovery_max_actions,
            throttle_floor=settings.rag_throttle_floor,
            max_active=settings.rag_max_concurrent_jobs,
            rebuild_share=settings.rag_index_rebuild_share,
            live_recall_floor=settings.rag_live_recall_floor,
            public_url=settings.rag_public_url,
            embedded=settings.rag_database_url is None,
            deprecated=tuple(settings.deprecated().items()),
        )


def keys_in_use(settings: Settings) -> tuple[str, ...]:
    """Return the fingerprints of the configured keys; none if the provider needs no key."""
    if not settings.needs_key():
        return ()
    try:
        return tuple(map(fingerprint, settings.api_keys()))
    except ConfigurationError:  # the provider's probe reports it
        return ()
