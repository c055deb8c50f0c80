"""Search with fixed options; what retrieval frameworks build on.

Written by hand; ``generated`` beside it comes from the API's OpenAPI document.
"""

from __future__ import annotations

import os
import ssl
import weakref
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import httpx
from attrs import fields

from rag_assets_client.generated.api.retrieval import retrieve
from rag_assets_client.generated.client import AuthenticatedClient, Client
from rag_assets_client.generated.models import (
    DocumentHitModel,
    HitModel,
    Problem,
    RetrieveRequest,
    RetrieveResponse,
)
from rag_assets_client.generated.types import Response

URL = "http://127.0.0.1:8000"
OPTIONS = tuple(
    field.name for field in fields(RetrieveRequest) if field.name not in ("query", "top_k")
)


class SearchError(Exception):
    """The service refused a search, or could not answer it.

    :ivar problem: what the service answered; ``None`` if that was no problem of its own.
    """

    def __init__(self, status: int, problem: Problem | None) -> None:
        about = f"{problem.detail} (request {problem.request_id})" if problem else "no details"
        super().__init__(f"status {status}: {about}")
        self.status = status
        self.problem = problem


class Searcher:
    """Searches with the same options each time.

    :param url: of the service; else ``RAG_ASSETS_URL``, else loopback.
    :param api_key: else ``RAG_ASSETS_API_KEY``.
    :param options: further fields of a search, such as ``language`` or ``versions``.
    :raises ValueError: an option does not exist.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 30,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._url = url or os.environ.get("RAG_ASSETS_URL") or URL
        self._key = api_key or os.environ.get("RAG_ASSETS_API_KEY")
        self._timeout = httpx.Timeout(timeout_s)
        self._options = dict(options or {})
        if unknown := self._options.keys() - set(OPTIONS):
            raise ValueError(
                f"a search has no {', '.join(sorted(unknown))}. It has {', '.join(OPTIONS)}"
            )

    def search(self, query: str, top_k: int) -> RetrieveResponse:
        """Search and wait.

        :raises SearchError: the service refused.
        """
        return _found(retrieve.sync_detailed(client=self._client, body=self._body(query, top_k)))

    async def asearch(self, query: str, top_k: int) -> RetrieveResponse:
        """Search as :meth:`search` does, in whatever event loop runs."""
        async with self.connect() as client:  # a pool would belong to one loop
            body = self._body(query, top_k)
            return _found(await retrieve.asyncio_detailed(client=client, body=body))

    def connect(self) -> AuthenticatedClient | Client:
        """Open a client for the functions of ``generated.api``; close it after use."""
        if self._key:
            return AuthenticatedClient(
                self._url, self._key, timeout=self._timeout, verify_ssl=self._tls
            )
        return Client(self._url, timeout=self._timeout, verify_ssl=self._tls)

    def _body(self, query: str, top_k: int) -> RetrieveRequest:
        return RetrieveRequest.from_dict({**self._options, "query": query, "top_k": top_k})

    @cached_property
    def _client(self) -> Any:
        client = self.connect()
        weakref.finalize(self, client.get_httpx_client().close)  # frameworks close no retriever
        return client

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()  # takes longer than a search


def identifier(hit: HitModel | DocumentHitModel) -> str:
    """What identifies a passage across searches: ``EN_KJV JHN 3:16``, ``manual.pdf#3``."""
    if isinstance(hit, HitModel):
        return f"{hit.version} {hit.usfm}"
    return f"{hit.document}#{hit.position}"


def metadata(hit: HitModel | DocumentHitModel, found: RetrieveResponse) -> dict[str, Any]:
    """All that is known of a hit but its text, and the release, plan and id of the search."""
    about = hit.to_dict()
    del about["text"]
    search = {"release": found.release, "plan": found.plan.kind, "request_id": found.request_id}
    return about | search


def _found(answer: Response[Problem | RetrieveResponse]) -> RetrieveResponse:
    if isinstance(answer.parsed, RetrieveResponse):
        return answer.parsed
    raise SearchError(answer.status_code, answer.parsed)
