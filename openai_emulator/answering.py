"""How an answer is given or not, for every route: cut, never, later, or refused as ordered."""

from __future__ import annotations

import asyncio
import time

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from openai_emulator import refusals
from openai_emulator.dialects import Dialect
from openai_emulator.faults import Fault, FaultKind

REFUSING = {
    FaultKind.INSUFFICIENT_QUOTA: refusals.insufficient_quota,
    FaultKind.SERVER_ERROR: refusals.server_error,
    FaultKind.UNAVAILABLE: refusals.unavailable,
    FaultKind.OUTAGE: refusals.unavailable,
    FaultKind.POISON: refusals.poisoned,
}


class CutResponse(Response):
    """Sends half of its body and returns, upon which the server closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})


class HangResponse(Response):
    """Sends nothing and waits until the client gives up."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        while (await receive())["type"] != "http.disconnect":
            pass


def refuse_if_ordered(fault: Fault | None, dialect: Dialect) -> None:
    """Raise what the fault says, if it is one by which nothing is answered."""
    if fault is None:
        return
    if dialect.upstream_in_200 and fault.kind is FaultKind.UNAVAILABLE:
        raise refusals.AsWritten(200, {"error": {"code": 503, "message": "no upstream"}})
    if fault.kind is FaultKind.RATE_LIMIT:
        message = "Rate limit reached, as ordered."
        raise refusals.rate_limited(message, unit="requests", wait_s=fault.retry_after_s)
    if fault.kind in REFUSING:
        raise REFUSING[fault.kind]()


async def sleep_until(moment: float) -> None:
    """On the monotonic clock; at once if it has passed."""
    rest = moment - time.monotonic()
    if rest > 0:
        await asyncio.sleep(rest)
