"""What a hit shows beside its place: snippets, elements of a page, and the passages around it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from rag_assets.postgres.database import Connection
from rag_assets.retrieval.confinement import primary
from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.rendering import rendered
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.snippets import (
    Forms,
    Words,
    likely,
    marked,
    of_query,
    same,
    snippet,
)
from rag_assets.retrieval.sql.chunks import neighbours
from rag_assets.retrieval.sql.full_text import word_forms

MAX_KNOWN = 50_000
"""Words whose forms are kept in memory, some 400 bytes each."""

_known: defaultdict[int, dict[tuple[str, str], Forms]] = defaultdict(dict)


def shown(
    connection: Connection, request: SearchRequest, hits: tuple[Hit, ...], timeout_ms: int
) -> tuple[Hit, ...]:
    """The hits with all that the request asks for."""
    hits = _with_neighbours(connection, request, hits, timeout_ms)
    if request.snippets == "none" and not request.elements:
        return hits
    words = _words(connection, request, hits, timeout_ms)
    return tuple(_with_text(request, hit, words.get(primary(hit.language), {})) for hit in hits)


def _with_text(request: SearchRequest, hit: Hit, words: Words) -> Hit:
    parts = elements = None
    if request.snippets != "none":
        parts = (marked if request.snippets == "full" else snippet)(hit.text, words)
    if request.elements:
        elements = rendered(hit.text, words, markdown=hit.document is not None)
    return replace(hit, snippet=parts, elements=elements)


def _words(
    connection: Connection, request: SearchRequest, hits: tuple[Hit, ...], timeout_ms: int
) -> Mapping[str, Words]:
    """By language, the words of the hits that are words of the query."""
    query = request.embedded_text.replace("\0", " ")  # PostgreSQL has no such character
    asked = of_query(query)
    words: dict[str, set[str]] = {}
    for hit in hits if asked else ():
        language = primary(hit.language)
        words.setdefault(language, set()).update(likely(asked, hit.text, language))
    wanted = {(language, word) for language, some in words.items() for word in some | asked}
    forms = _forms(connection, wanted, timeout_ms)
    return {
        language: same(asked, some, {word: forms[language, word] for word in some | asked})
        for language, some in words.items()
    }


def _forms(
    connection: Connection, wanted: set[tuple[str, str]], timeout_ms: int
) -> Mapping[tuple[str, str], Forms]:
    """The folded forms of words; each is asked for once per process."""
    known = _known[connection.info.server_version]  # stemmers change with it
    # Not `wanted - known.keys()`, which goes through all that is known: a millisecond a search.
    if unknown := {word for word in wanted if word not in known}:
        if len(known) + len(unknown) > MAX_KNOWN:
            known = _known[connection.info.server_version] = {}
            unknown = wanted
        known |= word_forms(connection, unknown, timeout_ms=timeout_ms)
    return known


def _with_neighbours(
    connection: Connection, request: SearchRequest, hits: tuple[Hit, ...], timeout_ms: int
) -> tuple[Hit, ...]:
    """The hits of documents with the passages around them, where they are asked for."""
    places = [(hit.document.key, hit.document.position) for hit in hits if hit.document]
    if not request.context or not places:
        return hits
    found = iter(neighbours(connection, places, request.context, timeout_ms=timeout_ms))
    complete = []
    for hit in hits:
        if hit.document is not None:
            before, after = next(found)
            hit = replace(hit, document=replace(hit.document, before=before, after=after))  # noqa: PLW2901
        complete.append(hit)
    return tuple(complete)
