"""Who may ask, and how often. Keys are compared by hash; their rate holds over all workers."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from rag_assets.api.loopback import is_loopback
from rag_assets.api.problems import ProblemError
from rag_assets.api.service import Service
from rag_assets.errors import DatabaseUnavailableError
from rag_assets.store.api_keys import Allowance, ApiKey, Scope, any_key, find_key, take_request
from rag_assets.store.database import Connection

_BEARER = HTTPBearer(auto_error=False, description="An API key: `rag-assets keys create`.")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same in a header.")
_REMEMBERED = 1000


def service_of(request: Request) -> Service:
    """The service of the app that answers this request."""
    service: Service = request.app.state.service
    return service


@dataclass
class _Known:
    key: ApiKey | None
    until: float


class Keyring:
    """Remembers keys for some seconds, by hash, so that not each request asks the database."""

    def __init__(self, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._known: dict[bytes, _Known] = {}
        self._any = (True, 0.0)
        self._arrives: dict[str, float] = {}

    def remembered(self, presented: str) -> _Known | None:
        """What is known of a key, while it is fresh."""
        found = self._known.get(_digest(presented))
        return found if found is not None and found.until > self._clock() else None

    def remember(self, presented: str, key: ApiKey | None) -> None:
        """Keep what the database said of a key."""
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[_digest(presented)] = _Known(key, self._clock() + self._seconds)

    async def any_key(self, service: Service) -> bool:
        """Whether any key exists, as it was some seconds ago at most."""
        exists, until = self._any
        if until <= self._clock():
            exists = await service.look_up(any_key)
            self._any = (exists, self._clock() + self._seconds)
        return exists

    def take(self, key_id: str, *, per_minute: int, burst: int) -> Allowance:
        """Count a request in this worker alone, as :func:`take_request` does over all of them."""
        pace, now = 60 / per_minute, self._clock()
        arrives = max(self._arrives.get(key_id, now), now) + pace
        early = arrives - now - pace * burst
        if early > 0:
            return Allowance(max(0.001, early), 0)
        self._arrives[key_id] = arrives
        return Allowance(0.0, int(burst - (arrives - now) / pace + 1e-6))


def needs(scope: Scope) -> Callable[..., Awaitable[None]]:
    """A dependency that lets a request through when its key has the scope and rate left."""

    async def authorise(
        request: Request,
        service: Annotated[Service, Depends(service_of)],
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        header: Annotated[str | None, Security(_HEADER)],
    ) -> None:
        presented = bearer.credentials if bearer else header
        keyring: Keyring = request.app.state.keyring
        if presented is None:
            await _refuse_unless_open(service, keyring)
            return
        known = keyring.remembered(presented)
        key = known.key if known else None
        if known is None:
            key = await service.look_up(lambda c: find_key(c, presented))
            keyring.remember(presented, key)
        if key is None:
            raise _unauthorised("this API key is not known here, or was revoked")
        if scope not in key.scopes and "admin" not in key.scopes:
            raise ProblemError(403, "missing-scope", f"this needs a key with the scope {scope}")
        request.state.key_id = key.key_id
        await _take(request, service, keyring, key)

    return authorise


async def _take(request: Request, service: Service, keyring: Keyring, key: ApiKey) -> None:
    """Count the request; the headers of its answer tell what is left."""
    burst = service.settings.rag_api_burst
    limit = key.requests_per_minute

    def work(connection: Connection) -> Allowance:
        return take_request(connection, key.key_id, per_minute=limit, burst=burst)

    try:
        allowance = await service.write(work)
    except DatabaseUnavailableError:
        if service.sources.replica is None:
            raise
        # A replica serves meanwhile: each worker then counts for itself.
        allowance = keyring.take(key.key_id, per_minute=limit, burst=burst)
    request.state.headers = {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(max(0, allowance.remaining)),
    }
    if retry_after_s := allowance.retry_after_s:
        raise ProblemError(
            429,
            "rate-limited",
            f"this key may send {limit} requests a minute, {burst} at once: wait "
            f"{math.ceil(retry_after_s)} s",
            headers={"Retry-After": str(math.ceil(retry_after_s))},
        )


async def _refuse_unless_open(service: Service, keyring: Keyring) -> None:
    """Without any key configured the API is open, but only where nobody else can reach it."""
    if is_loopback(service.settings.rag_api_host) and not await keyring.any_key(service):
        return
    raise _unauthorised(
        "give an API key: Authorization: Bearer rag_…, or X-API-Key (`rag-assets keys create`)"
    )


def _unauthorised(detail: str) -> ProblemError:
    return ProblemError(401, "unauthorised", detail, headers={"WWW-Authenticate": "Bearer"})


def _digest(presented: str) -> bytes:
    return hashlib.sha256(presented.encode()).digest()
