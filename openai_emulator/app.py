"""The routes: ``POST /v1/embeddings``, ``GET /v1/models``, those of ``batches`` and ``reranking``,
and ``/_emulator/*`` to order faults and read the figures.

Only the course of a request belongs here; each step of it stands in the module named after it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from openai_emulator import answers, refusals, reranking
from openai_emulator.accounting import Ledger
from openai_emulator.answering import CutResponse, HangResponse, refuse_if_ordered, sleep_until
from openai_emulator.batches import Batches
from openai_emulator.dialects import DIALECTS, Dialect
from openai_emulator.faults import FORMS, Fault, FaultBook, FaultKind
from openai_emulator.limits import NO_LIMITS, Limits, RateLimiter
from openai_emulator.requests import NATIVE_DIMENSIONS, read_key, read_request


@dataclass(frozen=True)
class Settings:
    """How the emulator starts.

    :param latency_ms: from a request's arrival to its answer; refusals come at once.
    :param organisation: limits over all keys together.
    :param per_key: limits of each key.
    :param valid_keys: ``None`` for any that begins with ``sk-test-``.
    :param dialect: one of :data:`openai_emulator.dialects.DIALECTS`.
    """

    latency_ms: float = 0
    organisation: Limits = NO_LIMITS
    per_key: Limits = NO_LIMITS
    valid_keys: Collection[str] | None = None
    dialect: str = "openai"


class State:
    """What changes while the emulator runs. All of it is used from one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.latency_ms = settings.latency_ms
        self.valid_keys = settings.valid_keys
        self.dialect = DIALECTS[settings.dialect]
        self.limiter = RateLimiter(settings.organisation, settings.per_key)
        self.faults = FaultBook()
        self.ledger = Ledger()
        self.batch_s = 0.0
        self.enqueued_tokens: int | None = None

    def reset(self) -> None:
        """Forget counts and faults, and speak as OpenAI; keys and limits stay."""
        self.batch_s, self.enqueued_tokens = 0.0, None
        self.dialect = DIALECTS["openai"]
        self.limiter.forget()
        self.faults.clear()
        self.ledger = Ledger()  # requests in flight still count in the old one


AZURE = "/openai/deployments/{deployment}"
"""Azure's classic address, whose path names what answers."""


def echoing(fault: Fault | None, key: str) -> Fault | None:
    """What an echo does to this request; other faults as they are.

    :raises refusals.Refused: an echo with another status than 200.
    """
    if fault is None or fault.kind is not FaultKind.ECHO:
        return fault
    shown_key = FORMS[fault.form](key)
    if fault.status != 200:
        raise refusals.echoed(fault.status, shown_key)
    return replace(fault, kind=FaultKind.WRONG_MODEL, model=shown_key)


def credential(request: Request, dialect: Dialect) -> str:
    """The header that carries the key, in the form of ``Authorization``.

    :raises refusals.Refused: Azure's classic address, without what it needs.
    """
    if not dialect.classic_azure:
        return request.headers.get("authorization", "")
    if "api-version" not in request.query_params:
        raise refusals.AsWritten(404, {"error": {"code": "404", "message": "Resource not found"}})
    return f"Bearer {request.headers.get('api-key', '')}"


class Embeddings:
    """``POST /v1/embeddings``, as an ASGI application: it may also not answer."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = time.monotonic()
        ledger = self._state.ledger
        request = Request(scope, receive)
        ledger.arrived(time.time(), request.headers.get("traceparent", ""))
        try:
            response = await self._respond(request, ledger, arrived)
            response.headers["x-request-id"] = f"req_{uuid.uuid4().hex}"
            response.headers["openai-version"] = "2020-10-01"
            elapsed_ms = (time.monotonic() - arrived) * 1000
            response.headers["openai-processing-ms"] = str(round(elapsed_ms))
            await response(scope, receive, send)
        except ClientDisconnect:
            ledger.ended("gone")
        finally:
            ledger.left()

    async def _respond(self, request: Request, ledger: Ledger, arrived: float) -> Response:
        state = self._state
        headers: dict[str, str] = {}
        try:
            body = await request.body()
            dialect = state.dialect
            key = read_key(credential(request, dialect), state.valid_keys, dialect)
            ledger.key_used(key)
            asked = read_request(body, dialect, deployment=request.path_params.get("deployment"))
            try:
                state.limiter.admit(key, asked.model, asked.tokens, time.monotonic())
            finally:
                headers = state.limiter.headers(key, time.monotonic())
            fault, extra_ms = state.faults.choose(key, asked.texts, time.monotonic())
            await sleep_until(arrived + extra_ms / 1000)
            fault = echoing(fault, key)
            refuse_if_ordered(fault, dialect)
            if dialect.fails_on and any(dialect.fails_on in text for text in asked.texts):
                raise refusals.server_error()
        except refusals.Refused as refused:
            ledger.ended(str(refused.status))
            return JSONResponse(refused.body(), refused.status, {**headers, **refused.headers})
        if fault and fault.kind is FaultKind.HANG:
            ledger.ended("hang")
            return HangResponse()
        answer, answered = answers.write(asked, fault, state.dialect)
        await sleep_until(arrived + (state.latency_ms + extra_ms) / 1000)
        cut = fault is not None and fault.kind is FaultKind.CUT
        ledger.billed(asked.model, asked.dimensions, asked.texts[:answered], asked.tokens)
        ledger.ended("cut" if cut else "200")
        make = CutResponse if cut else Response
        return make(answer, 200, headers, media_type="application/json")


class Models:
    """``GET /v1/models``: free and not limited; it fails during an outage."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def list(self, request: Request) -> Response:
        """The models that have vectors here."""
        try:
            read_key(request.headers.get("authorization", ""), self._state.valid_keys)
            if self._state.faults.away(time.monotonic()):
                raise refusals.unavailable()
        except refusals.Refused as refused:
            return JSONResponse(refused.body(), refused.status)
        models = [{"id": name, "object": "model"} for name in NATIVE_DIMENSIONS]
        return JSONResponse({"object": "list", "data": models})


class Admin:
    """``/_emulator/*``."""

    def __init__(self, state: State, batches: Batches) -> None:
        self._state = state
        self._batches = batches

    async def stats(self, _: Request) -> Response:
        """GET: the figures, with those of batches whose time is up."""
        self._batches.go_on()
        return JSONResponse(self._state.ledger.stats(time.process_time()).as_json())

    async def reset(self, _: Request) -> Response:
        """POST: forget counts, faults and batches."""
        self._state.reset()
        self._batches.forget()
        return Response(status_code=204)

    async def faults(self, request: Request) -> Response:
        """POST: order one fault or a list of them. DELETE: forget all."""
        if request.method == "DELETE":
            self._state.faults.clear()
            return Response(status_code=204)
        given = await request.json()
        try:
            ordered = [
                Fault.from_json(one) for one in (given if isinstance(given, list) else [given])
            ]
        except (ValueError, TypeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        for fault in ordered:
            self._state.faults.order(fault, time.monotonic())
        return Response(status_code=204)

    async def dialect(self, request: Request) -> Response:
        """POST: the ``name`` of a server to speak as."""
        name = (await request.json())["name"]
        if name not in DIALECTS:
            return JSONResponse({"error": f"the dialects are {sorted(DIALECTS)}"}, 400)
        self._state.dialect = DIALECTS[name]
        return Response(status_code=204)

    async def batches(self, request: Request) -> Response:
        """POST: ``seconds`` that a batch takes, and ``enqueued_tokens`` that may be open."""
        given = await request.json()
        self._state.batch_s = given.get("seconds", self._state.batch_s)
        self._state.enqueued_tokens = given.get("enqueued_tokens", self._state.enqueued_tokens)
        return Response(status_code=204)

    async def keys(self, request: Request) -> Response:
        """POST: ``valid`` (list or null), ``limits`` (by key), ``organisation``; each optional."""
        given = await request.json()
        if "valid" in given:
            self._state.valid_keys = given["valid"]
        for key, limits in given.get("limits", {}).items():
            self._state.limiter.set_key(key, Limits(**limits))
        if "organisation" in given:
            self._state.limiter.set_organisation(Limits(**given["organisation"]))
        return Response(status_code=204)


def build_app(settings: Settings) -> Starlette:
    """The application, with a state of its own."""
    state = State(settings)
    batches = Batches(state)
    admin = Admin(state, batches)
    return Starlette(
        routes=[
            Route("/v1/embeddings", Embeddings(state), methods=["POST"]),
            Route(
                "/openai/deployments/{deployment}/embeddings", Embeddings(state), methods=["POST"]
            ),
            *batches.routes(),
            *reranking.routes(state),
            Route("/v1/models", Models(state).list, methods=["GET"]),
            Route("/_emulator/stats", admin.stats, methods=["GET"]),
            Route("/_emulator/reset", admin.reset, methods=["POST"]),
            Route("/_emulator/faults", admin.faults, methods=["POST", "DELETE"]),
            Route("/_emulator/dialect", admin.dialect, methods=["POST"]),
            Route("/_emulator/batches", admin.batches, methods=["POST"]),
            Route("/_emulator/keys", admin.keys, methods=["POST"]),
        ]
    )
