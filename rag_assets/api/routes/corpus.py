"""``/api/v1/corpus``: what can be searched; ``/api/v1/verses``: verses side by side.

Passages by their place, for the tools of agents.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Query, Request

from rag_assets.api import request_id as ids
from rag_assets.api.corpus_models import (
    MAX_LISTED,
    CorpusResponse,
    FetchResponse,
    VersesResponse,
    corpus_model,
    fetch_model,
    verses_model,
)
from rag_assets.api.models import MAX_NAMES, Name
from rag_assets.api.routes.retrieve import PROBLEMS
from rag_assets.api.security import Guard, confinement_of, service_of
from rag_assets.api.service import Service
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.contents import contents
from rag_assets.retrieval.passages import (
    fetch_passages,
    fetch_side_by_side,
    fetch_verses,
)
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest

Answer = TypeVar("Answer")
CORPUS = "/api/v1/corpus"
VERSES = "/api/v1/verses"

router = APIRouter(tags=["retrieval"], responses=PROBLEMS)
ServiceOf = Annotated[Service, Depends(service_of)]


@router.get(CORPUS, dependencies=[Depends(Guard("read"))], summary="What can be searched")
async def corpus(
    request: Request,
    service: ServiceOf,
    limit: Annotated[
        int, Query(ge=0, le=MAX_LISTED, description="How many documents to list.")
    ] = 100,
    after: Annotated[
        str, Query(max_length=400, description="`documents.next` of the page before this one.")
    ] = "",
) -> CorpusResponse:
    """List the versions, books, languages and documents that are released, with their counts."""
    return await listed(request, service, limit=limit, after=after)


@router.get(VERSES, dependencies=[Depends(Guard("read"))], summary="Verses side by side")
async def verses(
    request: Request,
    service: ServiceOf,
    reference: Annotated[
        Name, Query(description="Such as JHN 3:16, John 3:16-18, or a chapter: JHN 3.")
    ],
    versions: Annotated[
        list[Name] | None,
        Query(max_length=MAX_NAMES, description="In these versions; all that may be read."),
    ] = None,
) -> VersesResponse:
    """Read the same verses in several versions."""
    found = await _read(
        request,
        service,
        SearchRequest(versions=tuple(versions) if versions else None),
        lambda connection, served, wanted, timeout_ms: fetch_side_by_side(
            connection, served, wanted, reference, timeout_ms=timeout_ms
        ),
    )
    return verses_model(found, ids.request_id.get())


async def listed(request: Request, service: Service, *, limit: int, after: str) -> CorpusResponse:
    """List what the client of this request may search."""
    exact_rows = service.settings.rag_search_exact_rows
    found = await _read(
        request,
        service,
        SearchRequest(corpus="both"),
        lambda connection, served, wanted, timeout_ms: contents(
            connection, served, wanted,
            exact_rows=exact_rows, after=after, limit=limit, timeout_ms=timeout_ms,
        ),
    )  # fmt: skip
    return corpus_model(found, ids.request_id.get())


async def fetched_verses(
    request: Request, service: Service, *, version: str, reference: str, context: int
) -> FetchResponse:
    """Fetch verses of a version by their reference, with their neighbours."""
    found = await _read(
        request,
        service,
        SearchRequest(versions=(version,), context=context),
        lambda connection, served, wanted, timeout_ms: fetch_verses(
            connection, served, wanted, reference, timeout_ms=timeout_ms
        ),
    )
    return fetch_model(found, ids.request_id.get())


async def fetched_passages(
    request: Request,
    service: Service,
    *,
    document: str,
    position: int | None,
    context: int,
    first: int,
    limit: int,
) -> FetchResponse:
    """Fetch a passage of a document with its neighbours, or the document's passages in order."""
    found = await _read(
        request,
        service,
        SearchRequest(documents=(document,), context=context),
        lambda connection, served, wanted, timeout_ms: fetch_passages(
            connection, served, wanted, position,
            first=first, limit=limit, timeout_ms=timeout_ms,
        ),
    )  # fmt: skip
    return fetch_model(found, ids.request_id.get())


async def _read(
    request: Request,
    service: Service,
    wanted: SearchRequest,
    work: Callable[[Connection, Served, SearchRequest, int], Answer],
) -> Answer:
    """Read what the client may read, within the limits and the log line of a search."""
    confined = replace(wanted, confinement=confinement_of(request))
    source = service.sources.to_search()
    served = source.current.served
    timeout_ms = service.settings.rag_api_statement_timeout_ms
    request.state.log_fields = {
        "release": served.release_id,
        "key": getattr(request.state, "key_id", "-"),
    }
    return await service.search(
        source, lambda connection: work(connection, served, confined, timeout_ms), timeout_ms=0
    )
