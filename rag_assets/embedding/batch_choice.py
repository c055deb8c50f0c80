"""Whether texts are requested live or by the provider's batches, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rag_assets.embedding.batch_lane import open_api
from rag_assets.errors import ConfigurationError
from rag_assets.settings.model import Settings
from rag_assets.visible import count

Requests = Literal["live", "batch", "auto"]

_ATTEMPTS = 2  # batches in a row that may leave texts open; what the last one leaves goes live


@dataclass(frozen=True)
class Choice:
    """Whether texts go into a batch, and why."""

    batch: bool
    why: str


def choose(
    settings: Settings,
    requests: Requests,
    texts: int,
    attempt: int,
    available: Callable[[Settings], bool] | None = None,
) -> Choice:
    """Whether texts go into a batch.

    :param attempt: which batch in a row it would be.
    :param available: whether the provider has batches; by default it is asked.
    :raises ConfigurationError: a batch is asked for, and the provider has none.
    """
    if requests == "live":
        return Choice(False, "live, as chosen")
    if requests == "auto" and texts < settings.rag_batch_min_texts:
        return Choice(
            False, f"live: {count(texts, 'text')}, fewer than {settings.rag_batch_min_texts:,}"
        )
    if attempt > (_ATTEMPTS if requests == "batch" else 1):
        return Choice(False, "live: overdue, the last batch left these texts open")
    if not (available or has_batches)(settings):
        if requests == "batch":
            raise ConfigurationError(
                "the provider has no batches, or none for this key: use `--requests live` or "
                "`auto`; for the backfill, RAG_BACKFILL_REQUESTS"
            )
        return Choice(False, "live: the provider has no batches")
    return Choice(True, f"by batch: {count(texts, 'text')} that can wait a day, at half the price")


def has_batches(settings: Settings) -> bool:
    """Whether the provider has batches."""
    if not settings.needs_key() or not settings.api_keys():
        return False
    with open_api(settings) as (api, _):
        return api.supported()
