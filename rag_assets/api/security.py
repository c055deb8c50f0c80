"""API keys and their rates. Keys are compared by hash, and rates apply across all workers."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from rag_assets.api.problems import ProblemError
from rag_assets.api.service import Service
from rag_assets.api.sql.keys import (
    Allowance,
    ApiKey,
    Scope,
    any_key,
    find_key,
    key_pace,
    take_request,
)
from rag_assets.errors import DatabaseUnavailableError
from rag_assets.postgres.database import Connection
from rag_assets.postgres.rate_limit import Pace
from rag_assets.retrieval.confinement import EVERYTHING, Confinement
from rag_assets.settings.loopback import is_loopback

_HOW_TO_GIVE_A_KEY = "Authorization: Bearer rag_…, or X-API-Key"
_BEARER = HTTPBearer(auto_error=False, description="An API key: `rag-assets keys create`.")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same in a header.")
_REMEMBERED = 1000


async def service_of(request: Request) -> Service:
    """The service of the app that answers this request.

    ``async``, because FastAPI would call it in a thread otherwise.
    """
    service: Service = request.app.state.service
    return service


def keyring_of(request: Request) -> Keyring:
    """The keyring of the app that answers this request."""
    keyring: Keyring = request.app.state.keyring
    return keyring


def confinement_of(request: Request) -> Confinement:
    """What the client of this request may read. Fails if no :class:`Guard` has accepted it."""
    confinement: Confinement = request.state.confinement
    return confinement


@dataclass
class _Known:
    key: ApiKey | None
    until: float


class Keyring:
    """Caches keys for some seconds, by hash, so that not every request queries the database."""

    def __init__(self, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._known: dict[bytes, _Known] = {}
        self._no_key_until = 0.0
        self._any_key_query: asyncio.Task[bool] | None = None
        self._due: dict[str, float] = {}

    def remembered(self, presented: str) -> _Known | None:
        """The cached entry of a key, if it is still fresh."""
        found = self._known.get(_digest(presented))
        return found if found is not None and found.until > self._clock() else None

    def remember(self, presented: str, key: ApiKey | None) -> None:
        """Cache the result of looking up a key."""
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[_digest(presented)] = _Known(key, self._clock() + self._seconds)

    async def is_open(self, service: Service) -> bool:
        """Whether no key is required: none was ever created, and only this machine has access."""
        return is_loopback(service.settings.rag_api_host) and not await self._any_key(service)

    async def _any_key(self, service: Service) -> bool:
        """Whether any key was ever created; cached for some seconds.

        Only one such query runs at a time, because many clients without keys would take all
        connections. Once a key exists, it is not queried again.
        """
        if self._clock() < self._no_key_until:
            return False
        if self._any_key_query is None or (
            self._any_key_query.done() and not _found_key(self._any_key_query)
        ):
            self._any_key_query = asyncio.create_task(service.look_up(any_key))
        exists = await asyncio.shield(self._any_key_query)
        if not exists:
            self._no_key_until = self._clock() + self._seconds
        return exists

    def take(self, key_id: str, pace: Pace) -> Allowance:
        """Count a request in this worker only, as :func:`take_request` does across all workers."""
        wait_s, due = pace.take(self._due.get(key_id, -math.inf), self._clock())
        if wait_s <= 0:
            self._due[key_id] = due
        return Allowance.of(wait_s, pace)


class Guard:
    """Accepts a request if its key has the scope and has not used up its rate."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def __call__(
        self,
        request: Request,
        _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        _header: Annotated[str | None, Security(_HEADER)],
    ) -> None:
        """Check as a dependency, for the OpenAPI document and for routes without a body."""
        await self.check(request)

    async def check(self, request: Request) -> None:
        """Check and count the request, once.

        :raises ProblemError: 401, 403 or 429.
        """
        if hasattr(request.state, "passed"):
            return
        service, keyring = await service_of(request), keyring_of(request)
        bearer = await _BEARER(request)
        presented = bearer.credentials if bearer else await _HEADER(request)
        if presented is None:
            if not await keyring.is_open(service):
                how = getattr(request.state, "how_to_give_a_key", _HOW_TO_GIVE_A_KEY)
                raise _unauthorised(f"give an API key: {how} (`rag-assets keys create`)")
            request.state.confinement = EVERYTHING
        else:
            await self._check_key(request, service, keyring, presented)
        request.state.passed = True

    async def _check_key(
        self, request: Request, service: Service, keyring: Keyring, presented: str
    ) -> None:
        known = keyring.remembered(presented)
        key = known.key if known else None
        if known is None:
            key = await service.look_up(lambda c: find_key(c, presented))
            keyring.remember(presented, key)
        if key is None:
            raise _unauthorised("this API key is not known here, or was revoked")
        if self._scope not in key.scopes and "admin" not in key.scopes:
            raise ProblemError(
                403, "missing-scope", f"this needs a key with the scope {self._scope}"
            )
        request.state.key_id = key.key_id
        request.state.confinement = key.confinement
        await _take(request, service, keyring, key)


def _found_key(query: asyncio.Task[bool]) -> bool:
    """Whether a finished query found a key."""
    return not query.cancelled() and query.exception() is None and query.result()


async def _take(request: Request, service: Service, keyring: Keyring, key: ApiKey) -> None:
    """Count the request, and report the remaining requests in the response's headers."""
    burst = service.settings.rag_api_burst
    limit = key.requests_per_minute
    pace = key_pace(per_minute=limit, burst=burst)

    def work(connection: Connection) -> Allowance:
        return take_request(connection, key.key_id, pace)

    try:
        allowance = await service.write(work)
    except DatabaseUnavailableError:
        if service.sources.replica is None:
            raise
        # While only a replica serves, each worker counts on its own.
        allowance = keyring.take(key.key_id, pace)
    request.state.headers = {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(max(0, allowance.remaining)),
    }
    if retry_after_s := allowance.retry_after_s:
        raise ProblemError(
            429,
            "rate-limited",
            f"this key may send {limit} requests a minute, with bursts of {burst}: wait "
            f"{math.ceil(retry_after_s)} s",
            headers={"Retry-After": str(math.ceil(retry_after_s))},
        )


def _unauthorised(detail: str) -> ProblemError:
    return ProblemError(401, "unauthorised", detail, headers={"WWW-Authenticate": "Bearer"})


def _digest(presented: str) -> bytes:
    return hashlib.sha256(presented.encode()).digest()
