"""Re-ranking by a cross-encoder: a server that reads query and passage together and scores them.

It speaks one of three dialects of ``/rerank``: Cohere's, Jina's or that of Hugging Face's
text-embeddings-inference (TEI). Whatever it does, a search is answered: without its scores the hits
have the order that they had.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2

from rag_assets import tracing
from rag_assets.errors import RequestError
from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.request import SearchRequest
from rag_assets.settings.interfaces import RerankApi
from rag_assets.settings.model import Settings

Outcome = Literal["done", "timeout", "rate-limited", "unavailable", "refused", "bad-answer"]


@dataclass(frozen=True)
class Reranking:
    """What became of the attempt to re-rank some hits.

    :param outcome: ``done``, or why their order is the one before.
    :param candidates: hits that the cross-encoder was given.
    :param detail: of a failure, for the log; it has no text of query or passages.
    """

    outcome: Outcome
    model: str | None
    candidates: int
    ms: float
    detail: str = ""


class _FailedError(Exception):
    """No scores."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


def is_wanted(settings: Settings, wish: bool | None, *, query: bool = True) -> bool:
    """Whether a cross-encoder re-ranks the hits. Pure.

    :param wish: the client's; ``None`` if it has none: then if there is one.
    :param query: whether the request has the words of a query.
    :raises RequestError: it is wanted and there is none, or no query.
    """
    there = settings.rag_rerank_url is not None
    if wish is None:
        return there and query
    if wish and not there:
        raise RequestError(
            "no-cross-encoder",
            "cross_encoder",
            "there is no cross-encoder: set RAG_RERANK_URL, or leave cross_encoder out",
        )
    if wish and not query:
        raise RequestError(
            "no-query", "cross_encoder", "a cross-encoder reads the query's words: give query"
        )
    return wish


def with_candidates(settings: Settings, request: SearchRequest) -> SearchRequest:
    """The same request for as many hits as the cross-encoder reads. Pure."""
    if not request.cross_encoder:
        return request
    return replace(request, top_k=max(request.top_k, settings.rag_rerank_candidates))


class CrossEncoder:
    """The server of ``RAG_RERANK_URL``. Opened at its first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open = AsyncExitStack()
        self._client: httpx2.AsyncClient | None = None

    async def aclose(self) -> None:
        """Close the connections to it."""
        await self._open.aclose()

    async def rank(
        self, request: SearchRequest, hits: Sequence[Hit]
    ) -> tuple[tuple[Hit, ...], Reranking | None]:
        """The ``top_k`` best hits by its scores, or in the order that they have.

        :param hits: those of the request :func:`with_candidates`.
        """
        given = hits[: self._settings.rag_rerank_candidates]
        if not request.cross_encoder or not given:
            return tuple(hits[: request.top_k]), None
        started = time.perf_counter()
        outcome: Outcome = "done"
        detail = ""
        ordered = list(hits)
        model = self._settings.rag_rerank_model
        about = {
            "gen_ai.operation.name": "rerank",
            "gen_ai.request.model": model,
            "server.address": urlsplit(self._settings.rag_rerank_url or "").hostname,
            "rag_assets.candidates": len(given),
        }
        with tracing.span(f"rerank {model or ''}".rstrip(), about, kind="CLIENT") as span:
            try:
                scores = await self._scores(request.embedded_text, [hit.text for hit in given])
                scored = [replace(hit, relevance=s) for hit, s in zip(given, scores, strict=True)]
                scored.sort(key=lambda hit: -(hit.relevance or 0.0))  # ties keep their order
                ordered[: len(given)] = scored
            except _FailedError as failed:
                outcome, detail = failed.outcome, str(failed)
                span.fail(outcome)
        best = tuple(replace(h, rank=r) for r, h in enumerate(ordered[: request.top_k], start=1))
        ms = (time.perf_counter() - started) * 1000
        return best, Reranking(outcome, model, len(given), ms, detail)

    async def _scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """The score of each text. All within the time limit, however slowly the answer comes."""
        limit_s = self._settings.rag_rerank_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._post(request_body(self._settings, query, texts))
        except TimeoutError:
            raise _FailedError("timeout", f"no answer within {limit_s:g} s") from None
        except Exception as error:  # a user's answer never depends on it
            raise _FailedError("unavailable", f"no answer: {type(error).__name__}") from None
        if answer.status_code != 200:
            raise _FailedError(
                _refused(answer.status_code),
                f"status {answer.status_code}{_hint(self._settings, answer.status_code)}",
            )
        try:
            return read_scores(self._settings.rag_rerank_api, answer.json(), len(texts))
        except Exception:  # whatever it answered; its words may be the passages'
            detail = f"the answer has no finite score for each of the {len(texts)} texts"
            raise _FailedError("bad-answer", detail) from None

    async def _post(self, body: dict[str, Any]) -> httpx2.Response:
        if self._client is None:
            client = httpx2.AsyncClient(timeout=None)  # the caller's limit holds
            self._client = await self._open.enter_async_context(client)
        headers = tracing.outgoing()
        if key := self._settings.rag_rerank_api_key:
            headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        url = self._settings.rag_rerank_url or ""
        return await self._client.post(url, json=body, headers=headers)


def request_body(settings: Settings, query: str, texts: Sequence[str]) -> dict[str, Any]:
    """The body of a request, in the server's dialect. Pure."""
    if settings.rag_rerank_api == "tei":
        return {"query": query, "texts": list(texts), "truncate": True}
    body: dict[str, Any] = {"query": query, "documents": list(texts), "top_n": len(texts)}
    if settings.rag_rerank_model:
        body["model"] = settings.rag_rerank_model
    if settings.rag_rerank_api == "jina":
        body["return_documents"] = False
    return body


def read_scores(api: RerankApi, answer: Any, count: int) -> list[float]:
    """The score of each text, in the order that they were sent. Pure.

    :raises Exception: the answer does not have one finite score for each.
    """
    name = "score" if api == "tei" else "relevance_score"
    results = answer if api == "tei" else answer["results"]
    scores: dict[int, float] = {}
    for result in results:
        place, score = result["index"], float(result[name])
        if not math.isfinite(score):
            raise ValueError(name)
        scores[place] = score
    if len(results) != count:
        raise ValueError("results")
    return [scores[place] for place in range(count)]


def _hint(settings: Settings, status: int) -> str:
    """What the settings lack, if that may be why the server refuses. Pure."""
    if status in (401, 403) and settings.rag_rerank_api_key is None:
        return ": set RAG_RERANK_API_KEY"
    if status in (400, 422) and settings.rag_rerank_api != "tei" and not settings.rag_rerank_model:
        return ": set RAG_RERANK_MODEL"
    return ""


def _refused(status: int) -> Outcome:
    if status == 429:
        return "rate-limited"
    return "unavailable" if status >= 500 else "refused"
