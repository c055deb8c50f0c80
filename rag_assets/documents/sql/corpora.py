"""The document corpora that share the queue: registered by the code location that defines them.

The settings describe the corpus ``documents``; any other states how it differs.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

from rag_assets.postgres.database import Connection, fetch_all


@dataclass(frozen=True)
class CorpusOptions:
    """A document corpus, and its options; ``None`` for what the settings say.

    :param inbox_url: as for ``RAG_DOCUMENTS_URL``, without a password.
    :param golden_file: queries with their expected documents.
    """

    corpus: str
    inbox_url: str | None = None
    max_chunk_size: int | None = None
    chunk_overlap: int | None = None
    chunk_context: bool | None = None
    golden_file: str | None = None


def document_corpora(connection: Connection) -> dict[str, CorpusOptions]:
    """All registered corpora by name, ``documents`` included."""
    found = fetch_all(
        connection,
        CorpusOptions,
        """
        SELECT corpus, inbox_url, max_chunk_size, chunk_overlap, chunk_context, golden_file
          FROM document_corpora ORDER BY corpus
        """,
    )
    return {options.corpus: options for options in found}


def register_corpus(connection: Connection, options: CorpusOptions) -> bool:
    """Register a corpus, or its new options; return whether anything changed."""
    return bool(
        connection.execute(
            """
            INSERT INTO document_corpora AS c
                   (corpus, inbox_url, max_chunk_size, chunk_overlap, chunk_context, golden_file)
            VALUES (%s, %s, %s, %s, %s, %s)
            ON CONFLICT (corpus) DO UPDATE
               SET (inbox_url, max_chunk_size, chunk_overlap, chunk_context, golden_file)
                 = (EXCLUDED.inbox_url, EXCLUDED.max_chunk_size, EXCLUDED.chunk_overlap,
                    EXCLUDED.chunk_context, EXCLUDED.golden_file)
             WHERE (c.inbox_url, c.max_chunk_size, c.chunk_overlap, c.chunk_context, c.golden_file)
                   IS DISTINCT FROM
                   (EXCLUDED.inbox_url, EXCLUDED.max_chunk_size, EXCLUDED.chunk_overlap,
                    EXCLUDED.chunk_context, EXCLUDED.golden_file)
            """,
            astuple(options),
        ).rowcount
    )
