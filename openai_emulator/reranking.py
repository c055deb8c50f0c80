"""``/rerank`` as Cohere (``/v2/rerank``), Jina (``/v1/rerank``) and TEI (``/rerank``) answer it.

The scores are lexical, and defined here: they order passages by the words that they share with the
query, and say nothing about meaning. Faults are those of embeddings, ordered for the key.
"""

from __future__ import annotations

import json
import math
import re
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from openai_emulator import refusals
from openai_emulator.answering import (
    CutResponse,
    HangResponse,
    refuse_if_ordered,
    sleep_until,
)
from openai_emulator.faults import FaultKind
from openai_emulator.requests import read_key

if TYPE_CHECKING:
    from openai_emulator.app import State

Shape = Literal["cohere", "jina", "tei"]
TEI_LARGEST_BATCH = 32
_WORD = re.compile(r"[^\W_]+")
_SAME_BEGINNING = 5


@dataclass(frozen=True)
class RerankRequest:
    """A valid request."""

    query: str
    texts: tuple[str, ...]
    top_n: int


def score(query: str, text: str) -> float:
    """From 0 to 1: the share of the query's words in the text, and of its pairs of words in order.

    A longer word weighs more (by its letters), one that only begins alike counts half, and pairs
    are a third of the score. Neither accents nor case matter.
    """
    asked, there = _words(query), _words(text)
    if not asked:
        return 0.0
    known, begun = set(there), {word[:_SAME_BEGINNING] for word in there}
    total = found = 0.0
    for word in dict.fromkeys(asked):
        total += len(word)
        if word in known:
            found += len(word)
        elif len(word) >= _SAME_BEGINNING and word[:_SAME_BEGINNING] in begun:
            found += len(word) / 2
    pairs, theirs = set(pairwise(asked)), set(pairwise(there))
    together = len(pairs & theirs) / len(pairs) if pairs else found / total
    return (2 * found / total + together) / 3


def _words(text: str) -> list[str]:
    letters = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(one for one in letters if not unicodedata.combining(one)))


class Reranking:
    """One shape's route, as an ASGI application: it may also not answer."""

    def __init__(self, state: State, shape: Shape) -> None:
        self._state, self._shape = state, shape

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = time.monotonic()
        request = Request(scope, receive)
        self._state.ledger.reranked(request.headers.get("traceparent", ""))
        try:
            response = await self._respond(request, arrived)
            await response(scope, receive, send)
        except ClientDisconnect:
            pass

    async def _respond(self, request: Request, arrived: float) -> Response:
        state = self._state
        try:
            body = await request.body()
            key = read_key(request.headers.get("authorization", ""), state.valid_keys)
            asked = read_request(body, self._shape)
            fault, extra_ms = state.faults.choose(key, asked.texts, time.monotonic())
            await sleep_until(arrived + (state.latency_ms + extra_ms) / 1000)
            refuse_if_ordered(fault, state.dialect)
        except refusals.Refused as refused:
            return JSONResponse(self._refusal(refused), refused.status, refused.headers)
        kind = fault.kind if fault else None
        if kind is FaultKind.HANG:
            return HangResponse()
        make = CutResponse if kind is FaultKind.CUT else Response
        return make(write(asked, self._shape, kind), 200, media_type="application/json")

    def _refusal(self, refused: refusals.Refused) -> object:
        if self._shape == "cohere":
            return {"message": refused.message}
        return {"detail": refused.message} if self._shape == "jina" else {"error": refused.message}


def read_request(body: bytes, shape: Shape) -> RerankRequest:
    """The request, or the refusal that the server would answer."""
    try:
        given = json.loads(body)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise refusals.bad_request("the body is no JSON object")
    texts = given.get("texts" if shape == "tei" else "documents")
    query = given.get("query")
    if not isinstance(query, str) or not query.strip():
        raise refusals.Refused(422, "query must be a string that is not empty")
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise refusals.Refused(422, "give a list of texts")
    if shape == "tei" and len(texts) > TEI_LARGEST_BATCH:
        message = f"batch size {len(texts)} > maximum allowed batch size {TEI_LARGEST_BATCH}"
        raise refusals.Refused(422, message)
    if shape != "tei" and not isinstance(given.get("model"), str):
        raise refusals.bad_request("model is required")
    if shape == "cohere" and "return_documents" in given:
        raise refusals.bad_request("unknown field: return_documents")
    top_n = given.get("top_n", len(texts))
    return RerankRequest(query, tuple(texts), min(top_n, len(texts)))


def write(asked: RerankRequest, shape: Shape, kind: FaultKind | None) -> bytes:
    """The JSON of the answer, the best first, or distorted as ordered."""
    scores = [score(asked.query, text) for text in asked.texts]
    order = sorted(range(len(scores)), key=lambda place: -scores[place])[: asked.top_n]
    if kind is FaultKind.SHUFFLE:
        order.sort()
    elif kind is FaultKind.MISSING_ITEMS:
        order = order[:-1]
    elif kind is FaultKind.NAN:
        scores[order[0]] = math.nan
    name = "score" if shape == "tei" else "relevance_score"
    results: list[dict[str, Any]] = [{"index": p, name: scores[p]} for p in order]
    if shape == "tei":
        return json.dumps(results).encode()
    tokens = sum(len(text) // 4 for text in asked.texts)
    tail: dict[str, Any] = {"usage": {"total_tokens": tokens}}
    if shape == "cohere":
        tail = {"id": "emulated", "meta": {"api_version": {"version": "2"}}}
    return json.dumps({"results": results, **tail}).encode()


def routes(state: State) -> Sequence[Route]:
    """The three addresses."""
    shapes: dict[str, Shape] = {"/v2/rerank": "cohere", "/v1/rerank": "jina", "/rerank": "tei"}
    return [
        Route(path, Reranking(state, shape), methods=["POST"]) for path, shape in shapes.items()
    ]
