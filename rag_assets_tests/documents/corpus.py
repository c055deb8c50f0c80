"""Documents for tests of later steps: published, checked, released."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from rag_assets.documents.model import Chunk, ChunkedDocument
from rag_assets.documents.quality import keep_documents_evidence
from rag_assets.documents.sql.publishing import publish
from rag_assets.embedding.batching import text_hash
from rag_assets.index.checks import CHUNK_INDEX_CHECKS
from rag_assets.index.indexed_tables import indexed_tables
from rag_assets.index.maintain import IndexOutcome, IndexRequest, maintain
from rag_assets.index.sql.generations import index_subject
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.release.evidence import gather_evidence
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.check_results import record_check
from rag_assets.vectors.sql.code_sets import use_columns
from rag_assets.vectors.sql.spaces import Role, Space, space_spec
from rag_assets.vectors.sql.tables import VectorTable, documents_table
from rag_assets_tests.documents.queued import change, new, publication, queue, take
from rag_assets_tests.index.corpus import clustered
from rag_assets_tests.vectors.vectors import answer_texts, space_of


def document(
    texts: Sequence[str],
    *,
    language: str = "en",
    title: str = "A title",
    heading: tuple[str, ...] = (),
    paged: bool = False,
) -> ChunkedDocument:
    """A document of these passages, one per page if it has pages."""
    chunks = tuple(
        Chunk(text, heading, place if paged else None, len(text.split()))
        for place, text in enumerate(texts, start=1)
    )
    pages = len(texts) if paged else None
    characters = sum(map(len, texts))
    return ChunkedDocument(title, "text/plain", language, pages, characters, chunks, {})


def publish_vectors(
    database: Database,
    key: str,
    made: ChunkedDocument,
    vectors: Mapping[Space, NDArray[np.float32]],
    *,
    again: bool = False,
    corpus: str = "documents",
) -> None:
    """Queue a document, or change it, and publish it with these vectors of its passages."""
    if again:
        change(database, key, repr(made.chunks))
    else:
        queue(database, new(key, corpus=corpus))
    (claimed,) = take(database, keys=[key])
    texts = [chunk.text for chunk in made.chunks]
    with database.connect(autocommit=True) as connection:
        for space, rows in vectors.items():
            statement = sql.SQL("SELECT text_hash FROM {}").format(space.answers_table)
            known = {bytes(row[0]) for row in connection.execute(statement)}
            given = dict(zip(texts, rows, strict=True))
            fresh = {text: row for text, row in given.items() if text_hash(text) not in known}
            if fresh:
                answer_texts(connection, space, list(fresh), np.array(list(fresh.values())))
        assert publish(connection, publication(claimed, made), list(vectors)) is not None


def publish_document(
    database: Database,
    settings: Settings,
    key: str,
    texts: Sequence[str],
    *,
    roles: Sequence[Role] = ("small",),
    again: bool = False,
    corpus: str = "documents",
    **about: object,
) -> None:
    """Publish a document with the vectors that the settings' embedder gives its passages."""
    vectors = {
        space_of(database, settings, role): embed_queries(
            settings, space_spec(settings, role), list(texts)
        )
        for role in roles
    }
    made = document(texts, **about)  # type: ignore[arg-type]
    publish_vectors(database, key, made, vectors, again=again, corpus=corpus)


def filled_documents(
    database: Database,
    settings: Settings,
    languages: Mapping[str, int],
    *,
    each: int = 100,
    spread: float = 0.7,
) -> VectorTable:
    """This many clustered vectors of each language, in documents of ``each`` passages."""
    space = space_of(database, settings)
    for seed, (language, count) in enumerate(languages.items(), start=1):
        vectors = clustered(count, dimensions=space.spec.dimensions, spread=spread, seed=seed)
        for number, first in enumerate(range(0, count, each)):
            rows = vectors[first : first + each]
            texts = [f"{language} {number} passage {place}" for place in range(len(rows))]
            made = document(texts, language=language)
            publish_vectors(database, f"{language}-{number}", made, {space: rows})
    return documents_table(space)


def check_documents(database: Database, settings: Settings) -> None:
    """Run the checks of all documents and store the evidence, whatever it is."""
    with database.connect() as connection:
        keep_documents_evidence(connection, settings, run_id="check")


def index_documents(database: Database, settings: Settings, *, force: bool = False) -> IndexOutcome:
    """Decide on the documents' index, build it if needed, and record passing evidence."""
    with database.connect() as connection:
        table, *_ = indexed_tables(connection, settings, "documents")
    request = IndexRequest(force=force)
    outcome = maintain(database, settings, table, request, run_id="index", progress=Silent())
    vouch_for_documents(database, settings)
    return outcome


def vouch_for_documents(database: Database, settings: Settings) -> None:
    """Store passing results for the selected index, without measuring for seconds."""
    with database.connect() as connection:
        known = gather_evidence(connection, settings).documents
        assert known is not None
        found = known.index
        assert found.decision is not None
        for name in CHUNK_INDEX_CHECKS:
            record_check(
                connection,
                known.tables["small"],
                subject=index_subject(found.decision.generation, found.codes),
                check=name,
                reasons=(),
                measured={
                    "probes": found.probes.plain if found.probes else None,
                    "filtered_probes": found.probes.filtered if found.probes else None,
                    **use_columns(found.codes),
                },
                revision=found.revision,
                run_id="vouch",
            )


def judge_all(database: Database, settings: Settings, *, force: bool = False) -> None:
    """Create all evidence that a release of published documents needs."""
    check_documents(database, settings)
    index_documents(database, settings, force=force)
