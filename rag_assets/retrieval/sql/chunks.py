"""The documents and chunks that a search requests or finds.

Each function takes a time limit for its statement, ``timeout_ms`` (0 for none), and raises
SearchTimeoutError when the limit is reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rag_assets.postgres.database import Connection
from rag_assets.postgres.time_limit import limited
from rag_assets.vectors.sql.statement import Joined

CHUNKS = Joined(
    columns="c.document_id, d.document_key, d.corpus,"
    " coalesce(d.title, d.document_key) AS title, c.language, c.page, c.heading,"
    " c.position, c.text",
    tables="JOIN document_chunks c ON c.chunk_id = near.id"
    " JOIN documents d ON d.document_id = c.document_id AND d.state <> 'withdrawn'",
)
"""What a search returns of each chunk: the fields of :class:`FoundChunk`."""

_NEAR = 50  # keys before and after an unknown one, and keys that contain its longest word


@dataclass(frozen=True)
class FoundChunk:
    """One stored chunk, and its document.

    :param page: the page that it begins on, from 1; ``None`` without pages.
    :param heading: headings above it, outermost first.
    :param position: position in the document, from 1.
    """

    document_id: int
    document_key: str
    corpus: str
    title: str
    language: str
    page: int | None
    heading: Sequence[str]
    position: int
    text: str


@dataclass(frozen=True)
class NamedDocument:
    """A document that can be searched, and its number of chunks."""

    document_id: int
    chunks: int


def documents_by_key(
    connection: Connection,
    keys: Sequence[str],
    *,
    languages: Sequence[str] | None = None,
    corpora: Sequence[str] | None = None,
    timeout_ms: int = 0,
) -> Mapping[str, NamedDocument]:
    """Those of these documents that have chunks and are not withdrawn. Uses the key's index.

    :param languages: only those in these languages, as primary subtags.
    :param corpora: only those of these corpora.
    """
    with limited(connection, timeout_ms):
        found = connection.execute(
            """
            SELECT document_key, document_id, chunks FROM documents
             WHERE document_key = ANY(%(keys)s) AND chunks > 0 AND state <> 'withdrawn'
               AND (%(languages)s::text[] IS NULL
                    OR lower(split_part(language, '-', 1)) = ANY(%(languages)s))
               AND (%(corpora)s::text[] IS NULL OR corpus = ANY(%(corpora)s))
            """,
            {
                "keys": _without_nul(keys),
                "languages": languages and list(languages),
                "corpora": None if corpora is None else list(corpora),
            },
        )
    return {key: NamedDocument(number, chunks) for key, number, chunks in found.fetchall()}


def keys_near(
    connection: Connection,
    key: str,
    *,
    languages: Sequence[str] | None = None,
    corpora: Sequence[str] | None = None,
    timeout_ms: int = 0,
) -> list[str]:
    """Keys of searchable documents that an unknown key may have been meant for.

    Its neighbours in key order, using the key's index, and some that contain its longest word.

    :param languages: as for :func:`documents_by_key`, like ``corpora``.
    """
    (clean,) = _without_nul([key])
    words = "".join(letter if letter.isalnum() else " " for letter in clean).split()
    with limited(connection, timeout_ms):
        found = connection.execute(
            """
            (SELECT document_key FROM documents
              WHERE document_key >= %(key)s AND chunks > 0 AND state <> 'withdrawn'
               AND (%(languages)s::text[] IS NULL
                    OR lower(split_part(language, '-', 1)) = ANY(%(languages)s))
               AND (%(corpora)s::text[] IS NULL OR corpus = ANY(%(corpora)s))
              ORDER BY document_key LIMIT %(near)s)
            UNION
            (SELECT document_key FROM documents
              WHERE document_key < %(key)s AND chunks > 0 AND state <> 'withdrawn'
               AND (%(languages)s::text[] IS NULL
                    OR lower(split_part(language, '-', 1)) = ANY(%(languages)s))
               AND (%(corpora)s::text[] IS NULL OR corpus = ANY(%(corpora)s))
              ORDER BY document_key DESC LIMIT %(near)s)
            UNION
            (SELECT document_key FROM documents
              WHERE strpos(lower(document_key), %(word)s) > 0
                AND chunks > 0 AND state <> 'withdrawn'
                AND (%(languages)s::text[] IS NULL
                    OR lower(split_part(language, '-', 1)) = ANY(%(languages)s))
                AND (%(corpora)s::text[] IS NULL OR corpus = ANY(%(corpora)s))
               AND (%(corpora)s::text[] IS NULL OR corpus = ANY(%(corpora)s))
              LIMIT %(near)s)
            """,
            {
                "key": clean,
                "word": max(words, key=len, default="").lower(),
                "near": _NEAR,
                "languages": languages and list(languages),
                "corpora": None if corpora is None else list(corpora),
            },
        )
    return [row[0] for row in found.fetchall()]


def neighbours(
    connection: Connection,
    places: Sequence[tuple[str, int]],
    reach: int,
    *,
    timeout_ms: int = 0,
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The texts before and after each of these passages, in their order in the document.

    By the keys' index and the chunks' unique index of document and position.

    :param places: document keys and positions.
    :param reach: passages before and after, at most.
    :param timeout_ms: the server gives up after so long; 0 for never.
    :raises SearchTimeoutError: it gave up.
    """
    found: list[tuple[list[str], list[str]]] = [([], []) for _ in places]
    with limited(connection, timeout_ms):
        rows = connection.execute(
            """
            SELECT h.nth, c.position > h.position, c.text
              FROM unnest(%(keys)s::text[], %(positions)s::integer[])
                   WITH ORDINALITY AS h (document_key, position, nth)
              JOIN documents d ON d.document_key = h.document_key AND d.state <> 'withdrawn'
              JOIN document_chunks c ON c.document_id = d.document_id
               AND c.position BETWEEN h.position - %(reach)s AND h.position + %(reach)s
               AND c.position <> h.position
             ORDER BY h.nth, c.position
            """,
            {
                "keys": [key for key, _ in places],
                "positions": [position for _, position in places],
                "reach": reach,
            },
        )
    for nth, is_after, text in rows.fetchall():
        found[nth - 1][is_after].append(text)
    return [(tuple(before), tuple(after)) for before, after in found]


def chunks_by_corpus(connection: Connection, *, timeout_ms: int = 0) -> dict[str, dict[str, int]]:
    """Chunks of the searchable documents by corpus and language. Reads all of ``documents``."""
    with limited(connection, timeout_ms):
        found = connection.execute(
            """
            SELECT corpus, language, sum(chunks)::bigint FROM documents
             WHERE chunks > 0 AND language IS NOT NULL AND state <> 'withdrawn'
             GROUP BY corpus, language ORDER BY corpus, language
            """
        )
    counts: dict[str, dict[str, int]] = {}
    for corpus, language, chunks in found.fetchall():
        counts.setdefault(corpus, {})[language] = chunks
    return counts


def _without_nul(keys: Iterable[str]) -> list[str]:
    return [key.replace("\0", " ") for key in keys]  # PostgreSQL has no such character
