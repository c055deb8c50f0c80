"""``/api/rag/admin``: what operators do to the queue, as `rag-assets documents` does."""

import math
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Query, Request

from rag_assets.api import request_id as ids
from rag_assets.api.document_models import DocumentModel
from rag_assets.api.json_body import JsonRoute
from rag_assets.api.queue_models import (
    MAX_LISTED,
    DeadLetters,
    LaneChanged,
    PauseQueue,
    PrioritizeQueue,
    QueueChanged,
    ReorderQueue,
    ResumeQueue,
    RetryDeadLetters,
    SeparateLargeJobs,
)
from rag_assets.api.routes.retrieve import PROBLEMS
from rag_assets.api.security import Guard, service_of
from rag_assets.api.service import Service
from rag_assets.documents.sql.documents import dead_by_class, list_documents, retry
from rag_assets.documents.sql.lanes import pause_lane, resume_lane
from rag_assets.documents.sql.ordering import move_large, prioritize, prioritize_by_size
from rag_assets.postgres.database import Connection
from rag_assets.settings.documents import MB

ADMIN = "/api/rag/admin"

router = APIRouter(
    prefix=ADMIN,
    tags=["queue"],
    responses=PROBLEMS,
    route_class=JsonRoute,
    dependencies=[Depends(Guard("admin"))],
)
Answer = TypeVar("Answer", int, bool)
ServiceOf = Annotated[Service, Depends(service_of)]


@router.post("/reorder-queue", summary="Process some documents first")
async def reorder_queue(request: Request, service: ServiceOf, asked: ReorderQueue) -> QueueChanged:
    """Put the documents that have waited longest before all others in their lanes."""
    return await _changed(
        request, service, lambda c: prioritize(c, limit=asked.limit, lane=asked.lane)
    )


@router.post("/separate-large-jobs", summary="Move large documents to their lane")
async def separate_large_jobs(
    request: Request, service: ServiceOf, asked: SeparateLargeJobs
) -> QueueChanged:
    """Move waiting documents of this size or more. New ones follow RAG_LARGE_DOCUMENT_MB."""
    at_least = math.ceil(asked.size_threshold_mb * MB)
    return await _changed(
        request, service, lambda c: move_large(c, at_least=at_least, lane=asked.target_queue)
    )


@router.post("/prioritize-queue", summary="Give waiting documents priorities by size")
async def prioritize_queue(
    request: Request, service: ServiceOf, asked: PrioritizeQueue
) -> QueueChanged:
    """Apply rules to waiting documents. Those put first by `reorder-queue` stay first."""
    rules = [rule.plain() for rule in asked.rules]
    return await _changed(request, service, lambda c: prioritize_by_size(c, rules))


@router.post("/pause-queue", summary="Start no further runs from a lane")
async def pause_queue(request: Request, service: ServiceOf, asked: PauseQueue) -> LaneChanged:
    """Pause a lane until it is resumed. Runs in progress continue."""
    changed = await _written(
        request, service, lambda c: pause_lane(c, asked.lane, asked.reason, "command")
    )
    return LaneChanged(
        request_id=ids.request_id.get(), lane=asked.lane, paused=True, changed=changed
    )


@router.post("/resume-queue", summary="Start runs from a lane again")
async def resume_queue(request: Request, service: ServiceOf, asked: ResumeQueue) -> LaneChanged:
    """Resume a paused lane."""
    changed = await _written(request, service, lambda c: resume_lane(c, asked.lane, "command"))
    return LaneChanged(
        request_id=ids.request_id.get(), lane=asked.lane, paused=False, changed=changed
    )


@router.post("/retry-dead-letters", summary="Put dead letters back into the queue")
async def retry_dead_letters(
    request: Request, service: ServiceOf, asked: RetryDeadLetters
) -> QueueChanged:
    """Put them back with all their attempts. What is no dead letter is left as it is."""
    return await _changed(
        request, service, lambda c: retry(c, keys=asked.keys, error_class=asked.error_class)
    )


@router.get("/dead-letters", summary="Documents that could not be processed, and why")
async def dead_letters(
    service: ServiceOf,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED, description="How many.")] = 100,
    after: Annotated[
        int, Query(ge=0, lt=2**63, description="`next` of the page before this one.")
    ] = 0,
) -> DeadLetters:
    """List dead letters with the reason and the fix, page by page."""
    classes = await service.look_up(dead_by_class)
    found = await service.look_up(
        lambda c: list_documents(c, state="dead", limit=limit, after=after)
    )
    return DeadLetters(
        request_id=ids.request_id.get(),
        classes=classes,
        documents=[DocumentModel.of(document) for document in found],
        next=found[-1].document_id if len(found) == limit else None,
    )


async def _changed(
    request: Request, service: Service, work: Callable[[Connection], int]
) -> QueueChanged:
    documents = await _written(request, service, work)
    return QueueChanged(request_id=ids.request_id.get(), documents=documents)


async def _written(
    request: Request, service: Service, work: Callable[[Connection], Answer]
) -> Answer:
    """Do what was asked, and log it with the key that asked.

    Without a time limit: a statement that has one does not report how many rows it changed.
    """
    changed = await service.write(work, timeout_ms=0)
    request.state.log_fields = {
        "changed": changed,
        "key": getattr(request.state, "key_id", "-"),
    }
    return changed
