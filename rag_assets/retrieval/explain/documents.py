"""Expected documents, and passages of them: how far each has come."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from rag_assets.documents.corpora import registered, settings_for
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.inbox.local import LocalInbox
from rag_assets.documents.sql.documents import Document, find_document, key_of_file
from rag_assets.documents.sql.lanes import paused_lanes
from rag_assets.errors import RagAssetsError
from rag_assets.retrieval.explain.expectation import Context, ExpectedDocument, Passage
from rag_assets.retrieval.explain.stored import (
    OUTSIDE_KEY_SCOPE,
    DocumentFacts,
    document_stopped,
)
from rag_assets.retrieval.request import near_names
from rag_assets.retrieval.sql.chunks import keys_near
from rag_assets.retrieval.sql.stored import stored_chunks
from rag_assets.vectors.sql.tables import documents_table


def passage_of_document(context: Context, wanted: ExpectedDocument) -> Passage:
    """The document, by its key or its path below the inbox, or the passage of it.

    :raises RequestError: there is no such document, and its name looks like that of a verse.
    """
    may = context.request.confinement
    connection, timeout_ms = context.connection, context.timeout_ms
    named = wanted.key.replace("\0", " ")
    found = find_document(connection, named)
    if found is None and (key := key_of_file(connection, named, corpora=may.document_corpora)):
        wanted, found = replace(wanted, key=key), find_document(connection, key)
    language = found.language if found else None
    of_language = language is not None and may.allows_language(language)
    of_corpus = may.allows_corpus(found.corpus) if found else may.document_corpora is None
    if not of_corpus or not (may.languages is None or of_language):
        return Passage(wanted.asked, wanted.asked, "documents", (), {}, lambda: OUTSIDE_KEY_SCOPE)
    if found is None and wanted.doubt is not None:
        raise wanted.doubt
    table = documents_table(context.served.target.table.space)
    passages = [
        one
        for one in (
            stored_chunks(connection, table, found.document_id, timeout_ms=timeout_ms)
            if found
            else ()
        )
        if wanted.position in (None, int(one.place))
    ]
    position = f"#{wanted.position}" if wanted.position else ""
    served = context.served.documents
    near = () if found else keys_near(connection, wanted.key, corpora=may.document_corpora)

    def facts() -> DocumentFacts:
        return DocumentFacts(
            key=wanted.key,
            position=wanted.position,
            document=found,
            passages=passages,
            unscanned=_unscanned(context, wanted.key, found),
            near=() if found else near_names(wanted.key, near),
            released=served is not None and (found is None or found.corpus in served.corpora),
            release_id=context.served.release_id,
            pause=paused_lanes(connection).get(found.lane) if found else None,
        )

    return Passage(
        wanted.asked,
        f"{wanted.key}{position}",
        "documents",
        tuple(one.id for one in passages if one.embedded),
        {"documents": (wanted.key,)},
        lambda: document_stopped(facts()),
    )


def _unscanned(context: Context, key: str, known: Document | None) -> bool:
    """Whether the inbox has its file, new or changed since the last scan.

    An inbox elsewhere is not asked: it may take long to answer.
    """
    with suppress(RagAssetsError):
        settings = context.settings
        if known is not None:
            settings = settings_for(settings, registered(context.connection, known.corpus))
        inbox = open_inbox(settings)
        if isinstance(inbox, LocalInbox) and (file := inbox.find(known.path if known else key)):
            return known is None or (file.bytes, file.modified) != (known.bytes, known.modified)
    return False
