"""The tools for agents: their arguments, their answers, and what they call.

A tool answers through the same functions as a route of the API. A new tool is a row in ``TOOLS``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from rag_assets.api.corpus_models import CorpusResponse, FetchResponse
from rag_assets.api.explain_models import (
    EXPECT,
    Expectations,
    ExplainRequest,
    ExplainResponse,
)
from rag_assets.api.models import (
    MAX_QUERY,
    DocumentKey,
    Name,
    RetrieveRequest,
    RetrieveResponse,
    SimpleRequest,
)
from rag_assets.api.routes.corpus import fetched_passages, fetched_verses, listed
from rag_assets.api.routes.explain import explained
from rag_assets.api.routes.retrieve import retrieved
from rag_assets.api.service import Service
from rag_assets.errors import RequestError
from rag_assets.retrieval.request import MAX_CONTEXT
from rag_assets.retrieval.snippets import Snippets

MAX_FETCHED = 500
MAX_LISTED = 200


class SearchArguments(SimpleRequest):
    """What to search for, and how."""

    query: str = Field(max_length=MAX_QUERY, description="What to look for, in words.")
    snippet: Snippets = Field(
        "none",
        description="Also the part of each passage that matches, or all of it, with the query's "
        "words marked.",
    )


class ExplainArguments(SearchArguments):
    """A search, and the passages that are expected in its answer."""

    expect: Expectations = EXPECT


class FetchArguments(BaseModel):
    """A place in a Bible version (``version`` and ``reference``), or in a document."""

    model_config = ConfigDict(extra="forbid")

    version: Name | None = Field(None, description="A Bible version, such as `version` of a hit.")
    reference: Name | None = Field(
        None,
        description="In that version: `usfm` or `reference` of a hit, such as JHN 3:16 or "
        "John 3:16-18, or a chapter, such as JHN 3.",
    )
    document: DocumentKey | None = Field(None, description="A document's key.")
    position: int | None = Field(
        None,
        ge=1,
        le=2**31 - 100,
        description="`position` of a hit: that passage alone. Unset: the document from its "
        "beginning.",
    )
    context: int = Field(
        0,
        ge=0,
        le=MAX_CONTEXT,
        description="Passages before and after that come with it; not for a whole document.",
    )
    after: int = Field(
        1, ge=1, le=2**31 - 1000, description="`next` of the answer before, for a long document."
    )
    limit: int = Field(
        100, ge=1, le=MAX_FETCHED, description="At most this many passages of a document."
    )


class ListArguments(BaseModel):
    """How many documents to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=0, le=MAX_LISTED, description="How many documents to list.")
    after: str = Field("", max_length=400, description="`documents.next` of the answer before.")


@dataclass(frozen=True)
class Tool:
    """One tool.

    :param answer: called with the request, the service and the valid arguments.
    """

    name: str
    title: str
    description: str
    arguments: type[BaseModel]
    answers: type[BaseModel]
    answer: Callable[[Request, Service, Any], Awaitable[BaseModel]]


async def _search(request: Request, service: Service, asked: SearchArguments) -> RetrieveResponse:
    return await retrieved(request, service, RetrieveRequest(**asked.model_dump()))


async def _fetch(request: Request, service: Service, asked: FetchArguments) -> FetchResponse:
    of_bible = asked.version is not None and asked.reference is not None
    if asked.document is None and of_bible:
        return await fetched_verses(
            request,
            service,
            version=asked.version or "",
            reference=asked.reference or "",
            context=asked.context,
        )
    if asked.document is None or asked.version is not None or asked.reference is not None:
        raise RequestError(
            "version-or-document",
            "document",
            "give version and reference for verses, or document for a document's passages",
        )
    return await fetched_passages(
        request,
        service,
        document=asked.document,
        position=asked.position,
        context=asked.context,
        first=asked.after,
        limit=asked.limit,
    )


async def _list_corpus(request: Request, service: Service, asked: ListArguments) -> CorpusResponse:
    return await listed(request, service, limit=asked.limit, after=asked.after)


async def _explain(request: Request, service: Service, asked: ExplainArguments) -> ExplainResponse:
    return await explained(request, service, ExplainRequest(**asked.model_dump()))


TOOLS: tuple[Tool, ...] = (
    Tool(
        "search",
        "Search the corpus",
        "Find the Bible verses and document passages that are nearest in meaning to a query. Each "
        "hit names its reference; the answer names the release that was searched and the plan.",
        SearchArguments,
        RetrieveResponse,
        _search,
    ),
    Tool(
        "fetch",
        "Read passages",
        "Read verses or a whole chapter of a Bible version by their reference, or a passage of a "
        "document, with its neighbours, or the whole document page by page.",
        FetchArguments,
        FetchResponse,
        _fetch,
    ),
    Tool(
        "list_corpus",
        "List what can be searched",
        "List the released Bible versions, books, languages and documents, with counts. Their "
        "codes and keys are what the filters of search and the arguments of fetch take.",
        ListArguments,
        CorpusResponse,
        _list_corpus,
    ),
    Tool(
        "explain",
        "Explain a search",
        "Search, and explain why each hit is there (source, vector, rank after each step) and, "
        "for passages that you expected, where they stand, or at which stage they stopped and why.",
        ExplainArguments,
        ExplainResponse,
        _explain,
    ),
)
