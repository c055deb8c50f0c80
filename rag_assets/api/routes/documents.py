"""``/api/v1/documents``: upload documents and follow their state."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.requests import ClientDisconnect

from rag_assets.api import request_id as ids
from rag_assets.api.bodies import Bodies, body_cut
from rag_assets.api.document_models import (
    DocumentAnswer,
    DocumentList,
    DocumentModel,
    State,
    UploadAnswer,
)
from rag_assets.api.models import Problem
from rag_assets.api.problems import ProblemError
from rag_assets.api.routes.retrieve import PROBLEMS
from rag_assets.api.security import Guard, confinement_of, service_of
from rag_assets.api.service import Service
from rag_assets.documents.corpora import settings_for
from rag_assets.documents.inbox.files import MAX_PATH_BYTES, StoredFile, Upload
from rag_assets.documents.inbox.inbox import Inbox, open_inbox
from rag_assets.documents.inbox.intake import take_files
from rag_assets.documents.sql.corpora import document_corpora
from rag_assets.documents.sql.documents import find_document, list_documents, nearest_keys
from rag_assets.documents.sql.intake import known_documents
from rag_assets.errors import ConfigurationError, DocumentTooLargeError, RequestError
from rag_assets.lanes import DocumentLane
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.confinement import Confinement
from rag_assets.retrieval.request import CORPUS_NAME
from rag_assets.settings.documents import MB
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import DOCUMENTS as DEFAULT_CORPUS

DOCUMENTS = "/api/v1/documents"
MAX_LISTED = 1000

router = APIRouter(prefix=DOCUMENTS, tags=["documents"], responses=PROBLEMS)
ServiceOf = Annotated[Service, Depends(service_of)]


@router.post(
    "",
    dependencies=[Depends(Guard("admin"))],
    status_code=201,
    response_model=UploadAnswer,
    responses={
        200: {"model": UploadAnswer, "description": "The very same file was there already."},
        409: {
            "model": Problem,
            "description": "Another file or folder has this name, or a file that of its folder.",
        },
        415: {"model": Problem, "description": "The body is not application/octet-stream."},
    },
    summary="Upload a document",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def upload(
    request: Request,
    response: Response,
    service: ServiceOf,
    name: Annotated[
        str,
        Query(
            min_length=1,
            max_length=MAX_PATH_BYTES,
            description="Its path below the inbox, such as `reports/2026.pdf`.",
        ),
    ],
    replace: Annotated[
        bool, Query(description="A file of this name with another content may be replaced.")
    ] = False,
    corpus: Annotated[
        str, Query(pattern=CORPUS_NAME, description="The document corpus whose inbox it goes to.")
    ] = DEFAULT_CORPUS,
) -> UploadAnswer:
    """Send the file itself as the body. It is stored whole or not at all, then waits its turn."""
    _refuse_forms(request)
    settings = await _settings_of(service, corpus)
    inbox = _inbox(settings)
    max_bytes = service.settings.rag_documents_max_mb * MB
    try:
        _refuse_declared(request, max_bytes)
        async with _uploading(inbox, name, max_bytes) as upload:
            async for piece in _pieces(request, service):
                await anyio.to_thread.run_sync(upload.write, piece)
            stored = await anyio.to_thread.run_sync(lambda: upload.finish(replace=replace))
    except DocumentTooLargeError as error:
        raise ProblemError(413, "document-too-large", str(error)) from None
    key = await service.write(lambda c: _take(c, settings, inbox, stored, corpus), timeout_ms=0)
    if stored.how == "unchanged":
        response.status_code = 200
    return UploadAnswer(
        request_id=ids.request_id.get(),
        key=key,
        path=stored.path,
        bytes=stored.size,
        sha256=stored.content_hash.hex(),
        how=stored.how,
    )


@router.get("", dependencies=[Depends(Guard("read"))], summary="Documents and how far they are")
async def list_all(
    request: Request,
    service: ServiceOf,
    state: Annotated[State | None, Query(description="Only those in this state.")] = None,
    lane: Annotated[DocumentLane | None, Query(description="Only those of this lane.")] = None,
    corpus: Annotated[
        str | None, Query(pattern=CORPUS_NAME, description="Only those of this document corpus.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED, description="How many.")] = 100,
    after: Annotated[
        int, Query(ge=0, lt=2**63, description="`next` of the page before this one.")
    ] = 0,
) -> DocumentList:
    """List documents in the order they were dropped, page by page."""
    may = _may_read(request)
    named = may.document_corpora if corpus is None else (corpus,)
    if corpus is not None and not may.allows_corpus(corpus):
        raise may.refusal("corpus", f"corpus {corpus} may not be read")
    found = await service.look_up(
        lambda c: list_documents(
            c,
            state=state,
            lane=lane,
            limit=limit,
            after=after,
            languages=may.languages,
            corpora=named,
        )
    )
    return DocumentList(
        request_id=ids.request_id.get(),
        documents=[DocumentModel.of(document) for document in found],
        next=found[-1].document_id if len(found) == limit else None,
    )


@router.get(
    "/{key:path}",
    dependencies=[Depends(Guard("read"))],
    responses={404: {"model": Problem, "description": "No document has this key."}},
    summary="One document and how far it is",
)
async def one_document(request: Request, service: ServiceOf, key: str) -> DocumentAnswer:
    """Return a document by its key."""
    may = _may_read(request)
    if "\0" in key:
        raise ProblemError(404, "unknown-document", "no key holds a NUL")
    document = await service.look_up(lambda c: find_document(c, key))
    if (
        document is None
        or not may.allows_language(document.language or "")
        or not may.allows_corpus(document.corpus)
    ):
        near = await service.look_up(
            lambda c: nearest_keys(c, key, languages=may.languages, corpora=may.document_corpora)
        )
        also = f". Did you mean {', '.join(near)}?" if near else ""
        raise ProblemError(
            404,
            "unknown-document",
            f"there is no document {key}{also}",
            extra={"choices": list(near)},
        )
    return DocumentAnswer(request_id=ids.request_id.get(), document=DocumentModel.of(document))


def _may_read(request: Request) -> Confinement:
    """What the client's documents are confined to.

    :raises RequestError: it may read no documents.
    """
    may = confinement_of(request)
    if may.document_corpora == ():
        raise may.refusal("corpus", "documents may not be read")
    return may


async def _settings_of(service: Service, corpus: str) -> Settings:
    """The settings as they apply to a corpus.

    :raises RequestError: there is no such corpus.
    """
    if corpus == DEFAULT_CORPUS:
        return service.settings
    known = await service.look_up(document_corpora)
    if corpus not in known:
        raise RequestError(
            "unknown-corpus",
            "corpus",
            f"there is no document corpus {corpus}. There are {', '.join(known)}",
            list(known),
        )
    return settings_for(service.settings, known[corpus])


def _inbox(settings: Settings) -> Inbox:
    try:
        return open_inbox(settings)
    except ConfigurationError as error:
        raise ProblemError(503, "inbox-unavailable", str(error)) from None


def _refuse_forms(request: Request) -> None:
    """Accept only a type that browsers do not send across origins without permission (CORS)."""
    sent = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if sent != "application/octet-stream":
        raise ProblemError(
            415,
            "wrong-media-type",
            "send the file itself, with Content-Type: application/octet-stream whatever it is",
        )


def _refuse_declared(request: Request, max_bytes: int) -> None:
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise DocumentTooLargeError(
            "the body", f"is larger than {max_bytes // MB} MB (RAG_DOCUMENTS_MAX_MB)"
        )


def _take(
    connection: Connection, settings: Settings, inbox: Inbox, stored: StoredFile, corpus: str
) -> str:
    """Queue the stored file and return its document's key."""
    take_files(connection, inbox, settings, [stored.path], corpus=corpus)
    document = known_documents(connection, [stored.path], corpus=corpus).get(stored.path)
    if document is None:
        raise RequestError(
            "name-taken", "name", f"{stored.path} was removed while it was uploaded: try again"
        )
    return document.key


@asynccontextmanager
async def _uploading(inbox: Inbox, name: str, max_bytes: int) -> AsyncIterator[Upload]:
    """An upload that accesses the storage in threads; an unfinished one is removed."""
    manager = inbox.upload(name, max_bytes=max_bytes)
    upload = await anyio.to_thread.run_sync(manager.__enter__)
    try:
        yield upload
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(manager.__exit__, None, None, None)


async def _pieces(request: Request, service: Service) -> AsyncIterator[bytes]:
    """Yield the body as it arrives, with a time limit for each piece and one for the whole."""
    settings = service.settings
    bodies: Bodies = request.app.state.bodies
    stream: Any = request.stream()
    clock = asyncio.get_running_loop().time
    ends = clock() + settings.rag_api_upload_timeout_s
    try:
        while True:
            # Not one limit around the loop: it would also interrupt the processing of a piece.
            patience = min(settings.rag_api_body_timeout_s, max(0, ends - clock()))
            async with asyncio.timeout(patience):
                piece = await anext(stream, None)
            if piece is None:
                return
            with bodies.holding(piece):
                yield piece
    except TimeoutError:
        raise ProblemError(
            408,
            "body-too-slow",
            f"a piece of the body did not arrive within {settings.rag_api_body_timeout_s:g} s, or "
            f"the whole within {settings.rag_api_upload_timeout_s:g} s "
            "(RAG_API_BODY_TIMEOUT_S, RAG_API_UPLOAD_TIMEOUT_S)",
        ) from None
    except ClientDisconnect:
        raise body_cut() from None
