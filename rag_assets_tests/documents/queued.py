"""Documents for tests of the SQL: queued, claimed, published, without file or embedder."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from rag_assets.documents.model import Chunk, ChunkedDocument
from rag_assets.documents.sql.documents import Document, find_document
from rag_assets.documents.sql.intake import FileNow, NewDocument, add_documents
from rag_assets.documents.sql.publishing import Publication, Published, publish
from rag_assets.documents.sql.queue import Claimed, claim
from rag_assets.embedding.batching import Text, text_hash
from rag_assets.postgres.database import Connection, Database
from rag_assets.vectors.sql.spaces import Space
from rag_assets_tests.vectors.vectors import answer_texts, unit_vectors

LANE = "rag_processing"
MB = 2**20


def new(
    key: str,
    *,
    size: int = 1000,
    lane: str = LANE,
    priority: int = 1,
    content: str | None = None,
    corpus: str = "documents",
) -> NewDocument:
    """A dropped file with this content to hash."""
    digest = text_hash(key if content is None else content)
    return NewDocument(key, f"{key}.md", size, "1", digest, lane, priority, corpus)


def queue(database: Database, *documents: NewDocument | str) -> None:
    """Put documents into the queue, one transaction each, so that the first is the oldest."""
    for document in documents:
        with database.connect() as connection:
            add_documents(connection, [new(document) if isinstance(document, str) else document])


def take(
    database: Database,
    *,
    run_id: str = "run",
    lane: str | None = LANE,
    limit: int = 100,
    max_bytes: int = 100 * MB,
    lease_s: float = 60,
    max_running: int = 50,
    max_attempts: int = 5,
    keys: Sequence[str] | None = None,
    suspects: bool = False,
) -> tuple[Claimed, ...]:
    """Claim with a run's usual options."""
    with database.connect(autocommit=True) as connection:
        return claim(
            connection,
            run_id=run_id,
            lane=lane,
            limit=limit,
            max_bytes=max_bytes,
            lease_s=lease_s,
            max_running=max_running,
            max_attempts=max_attempts,
            keys=keys,
            suspects=suspects,
        )


def keys_of(claimed: Sequence[Claimed]) -> list[str]:
    return [document.key for document in claimed]


def row(database: Database, key: str) -> Document:
    """The document's current row."""
    with database.connect() as connection:
        document = find_document(connection, key)
    assert document is not None
    return document


def state(database: Database, key: str) -> str:
    return row(database, key).state


def file_now(database: Database, key: str, **changes: object) -> FileNow:
    """The document's file with these changes."""
    known = row(database, key)
    values: dict[str, object] = {
        name: getattr(known, name)
        for name in ("document_id", "path", "bytes", "modified", "content_hash", "lane", "priority")
    }
    return FileNow(**(values | changes))  # type: ignore[arg-type]


def chunked(texts: Sequence[str], *, language: str = "en", heading: str = "Top") -> ChunkedDocument:
    """A document of these passages."""
    chunks = tuple(
        Chunk(text, (heading,), place // 2 + 1, len(text.split()))
        for place, text in enumerate(texts)
    )
    characters = sum(map(len, texts))
    seconds = {"extract": 0.1, "chunk": 0.2}
    return ChunkedDocument("A title", "text/plain", language, 1, characters, chunks, seconds)


def publication(claimed: Claimed, document: ChunkedDocument, run_id: str = "run") -> Publication:
    return Publication(
        document_id=claimed.document_id,
        corpus=claimed.corpus,
        path=claimed.path,
        run_id=run_id,
        content_hash=claimed.content_hash,
        chunking="v1",
        document=document,
        texts=[Text(text_hash(chunk.text), chunk.text) for chunk in document.chunks],
        cost_usd=0.5,
        seconds=document.seconds,
    )


def answer(connection: Connection, space: Space, texts: Sequence[str], *, seed: int = 1) -> None:
    """Add answers to texts that have none."""
    statement = sql.SQL("SELECT text_hash FROM {}").format(space.answers_table)
    known = {bytes(row[0]) for row in connection.execute(statement)}
    fresh = [text for text in dict.fromkeys(texts) if text_hash(text) not in known]
    answer_texts(connection, space, fresh, unit_vectors(len(fresh), space, seed=seed))


def make_ready(
    database: Database, space: Space, key: str, texts: Sequence[str], *, language: str = "en"
) -> Published:
    """Queue, claim, answer and publish a document."""
    queue(database, key)
    return process(database, space, key, texts, language=language)


def process(
    database: Database, space: Space, key: str, texts: Sequence[str], *, language: str = "en"
) -> Published:
    """Claim, answer and publish a waiting document."""
    (claimed,) = take(database, keys=[key])
    with database.connect(autocommit=True) as connection:
        answer(connection, space, texts)
        document = chunked(texts, language=language)
        published = publish(connection, publication(claimed, document), [space])
    assert published is not None
    return published


def change(database: Database, key: str, content: str) -> None:
    """Change the file's content, so that the document waits."""
    from rag_assets.documents.sql.intake import record_changed

    with database.connect() as connection:
        record_changed(connection, [file_now(database, key, content_hash=text_hash(content))])
