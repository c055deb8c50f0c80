"""Quality of the vectors of a document corpus, counted for the checks and the gate."""

from __future__ import annotations

from rag_assets.documents.sql.corpora import document_corpora
from rag_assets.documents.sql.quality import count_chunk_faults, missing_by_document
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Settings
from rag_assets.vectors.quality import (
    QUALITY_CHECKS,
    RowWords,
    SpaceQuality,
    keep_evidence,
    named,
)
from rag_assets.vectors.sql.spaces import ROLES, find_space
from rag_assets.vectors.sql.tables import DOCUMENTS, VectorTable, documents_table, scope_revisions

CHUNK_WORDS = RowWords(
    "chunks", "there are no chunks", "materialize document_embeddings with force: true"
)


def documents_quality(
    connection: Connection, settings: Settings, corpus: str = DOCUMENTS
) -> tuple[SpaceQuality, ...]:
    """Count the faults of a corpus in the small space, and in the large one if it is used."""
    found = []
    for role in ROLES:
        space = find_space(connection, settings, role)
        if space is None:
            continue
        table = documents_table(space)
        revision = scope_revisions(connection, table).get(corpus, 0)
        if role == "small" or revision:
            counts = count_chunk_faults(connection, space, corpus)
            found.append(SpaceQuality(table, counts, CHUNK_WORDS, revision))
    return tuple(found)


def keep_documents_evidence(connection: Connection, settings: Settings, *, run_id: str) -> None:
    """Evaluate every corpus, and store the results for the gate."""
    for corpus in document_corpora(connection):
        found = documents_quality(connection, settings, corpus)
        keep_evidence(connection, corpus, found, list(QUALITY_CHECKS), run_id=run_id)


def documents_faults(connection: Connection, table: VectorTable, corpus: str) -> dict[str, str]:
    """Return what a corpus lacks in a space, by check, naming the first documents.

    Counted now, because documents change after the checks ran; needs only primary keys.
    """
    lacking = missing_by_document(connection, table, corpus)
    if not lacking:
        return {}
    count = sum(lacking.values())
    chunks = "1 chunk has" if count == 1 else f"{count:,} chunks have"
    return {"completeness": named(f"{chunks} no vector in {table.space.spec}", tuple(lacking))}
