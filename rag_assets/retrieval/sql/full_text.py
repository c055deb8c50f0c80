"""Full text search, with the text search configuration of each passage's language.

Each function takes a time limit for its statement, ``timeout_ms`` (0 for none), and raises
SearchTimeoutError when the limit is reached.
"""

from __future__ import annotations

from collections.abc import Sequence

from rag_assets.postgres.database import Connection
from rag_assets.postgres.time_limit import limited


def matching_verses(
    connection: Connection,
    query: str,
    *,
    limit: int,
    scopes: Sequence[str],
    books: Sequence[str] | None = None,
    chapters: tuple[int, int] | None = None,
    timeout_ms: int = 0,
) -> list[int]:
    """Ids of the verses that contain any word of the query, best first (``ts_rank_cd``).

    Any word, not all: a question contains words that its answer does not. The query is parsed once
    for each configuration that the versions use. Uses the GIN index on ``text_search``.
    """
    first, last = chapters or (None, None)
    with limited(connection, timeout_ms):
        found = connection.execute(
            """
            WITH asked AS MATERIALIZED (
                SELECT version_code,
                       replace(plainto_tsquery(
                           text_search_configuration(version_code), %(query)s
                       )::text, '&', '|')::tsquery AS words
                  FROM unnest(%(scopes)s::text[]) AS version_code
            )
            SELECT found.verse_id
              FROM (SELECT words, array_agg(version_code) AS versions
                      FROM asked GROUP BY words) AS q
             CROSS JOIN LATERAL (
                   SELECT verse_id, ts_rank_cd(text_search, q.words) AS rank
                     FROM verses
                    WHERE text_search @@ q.words AND version_code = ANY(q.versions)
                      AND (%(books)s::text[] IS NULL OR book = ANY(%(books)s::text[]))
                      AND (%(first)s::int IS NULL OR chapter BETWEEN %(first)s AND %(last)s)
                    ORDER BY rank DESC, verse_id LIMIT %(limit)s) AS found
             ORDER BY found.rank DESC, found.verse_id LIMIT %(limit)s
            """,
            {
                "query": query.replace("\0", " "),  # PostgreSQL has no such character
                "limit": limit,
                "scopes": list(scopes),
                "books": None if books is None else list(books),
                "first": first,
                "last": last,
            },
        )
    return [row[0] for row in found.fetchall()]


def matching_chunks(
    connection: Connection,
    query: str,
    *,
    limit: int,
    languages: Sequence[str],
    documents: Sequence[int] | None = None,
    timeout_ms: int = 0,
) -> list[int]:
    """Ids of the documents' chunks that contain any word of the query, best first.

    Includes chunks of withdrawn documents, which are dropped later because they have no vectors.
    Uses the GIN index on ``text_search``.

    :param languages: only chunks in these languages.
    :param documents: only chunks of these documents, by id.
    """
    with limited(connection, timeout_ms):
        found = connection.execute(
            """
            WITH asked AS MATERIALIZED (
                SELECT language,
                       replace(plainto_tsquery(
                           text_search_configuration(upper(split_part(language, '-', 1))),
                           %(query)s
                       )::text, '&', '|')::tsquery AS words
                  FROM unnest(%(languages)s::text[]) AS language
            )
            SELECT found.chunk_id
              FROM (SELECT words, array_agg(language) AS languages
                      FROM asked GROUP BY words) AS q
             CROSS JOIN LATERAL (
                   SELECT chunk_id, ts_rank_cd(text_search, q.words) AS rank
                     FROM document_chunks
                    WHERE text_search @@ q.words AND language = ANY(q.languages)
                      AND (%(documents)s::bigint[] IS NULL
                           OR document_id = ANY(%(documents)s::bigint[]))
                    ORDER BY rank DESC, chunk_id LIMIT %(limit)s) AS found
             ORDER BY found.rank DESC, found.chunk_id LIMIT %(limit)s
            """,
            {
                "query": query.replace("\0", " "),
                "limit": limit,
                "languages": list(languages),
                "documents": None if documents is None else list(documents),
            },
        )
    return [row[0] for row in found.fetchall()]
