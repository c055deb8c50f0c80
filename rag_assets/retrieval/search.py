"""Search: the one path from a query to hits. So far exact, over the small space."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_assets.corpus.bible.books import Language, display_name
from rag_assets.embedding.verses import open_embedder
from rag_assets.errors import ConfigurationError
from rag_assets.settings import Settings
from rag_assets.store.database import Database
from rag_assets.store.spaces import SpaceSpec, find_space
from rag_assets.store.verse_search import VerseHit, nearest_verses, servable_versions


@dataclass(frozen=True)
class Hit:
    """One hit as a person reads it; ``reference`` such as "John 3:16" is in its language."""

    rank: int
    reference: str
    usfm: str
    version: str
    language: str
    text: str
    score: float


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first, and where the time went, in milliseconds."""

    hits: tuple[Hit, ...]
    space: SpaceSpec
    embedding_ms: float
    search_ms: float


def search(
    database: Database,
    settings: Settings,
    query: str,
    *,
    top_k: int = 10,
    versions: Sequence[str] | None = None,
) -> SearchResult:
    """Embed the query in the small space and return the nearest verses that may be served.

    :param versions: only these; ``None`` for all that policy and RAG_ALLOWED_VERSIONS allow.
    :raises ConfigurationError: nothing is embedded yet, a version is unknown or may not be served,
        or there is no key for the provider.
    """
    if not query.strip():
        raise ConfigurationError("the query is empty: write what you are looking for")
    with database.connect() as connection:
        space = find_space(connection, settings, "small")
        if space is None:
            raise ConfigurationError(
                "nothing is embedded yet with the configured model: materialize verse_embeddings, "
                "or run `rag-assets demo`"
            )
        wanted = _allowed(settings, servable_versions(connection), versions)
        started = time.perf_counter()
        vector = asyncio.run(_embed(settings, space.spec, query))
        embedded = time.perf_counter()
        found = nearest_verses(connection, space, vector, top_k=top_k, versions=wanted)
        searched = time.perf_counter()
    hits = tuple(_hit(rank, hit) for rank, hit in enumerate(found, start=1))
    return SearchResult(hits, space.spec, (embedded - started) * 1000, (searched - embedded) * 1000)


def _allowed(
    settings: Settings, servable: frozenset[str], versions: Sequence[str] | None
) -> list[str]:
    narrowed = servable & settings.allowed_versions() if settings.allowed_versions() else servable
    if versions is None:
        return sorted(narrowed)
    for code in versions:
        if code not in narrowed:
            raise ConfigurationError(
                f"version {code} may not be searched: it is not loaded, not enabled_for_rag, not "
                f"ai_allowed, or not in RAG_ALLOWED_VERSIONS. To choose from: "
                f"{', '.join(sorted(narrowed)) or 'none'}"
            )
    return list(versions)


async def _embed(settings: Settings, spec: SpaceSpec, query: str) -> NDArray[np.float32]:
    async with open_embedder(settings) as embedder:
        answer = await embedder.embed([query], spec, embedder.keys[0])
    if answer.refused:
        raise ConfigurationError(f"the query cannot be embedded: {answer.refused[0]}")
    vector: NDArray[np.float32] = answer.vectors[0]
    return vector


def _hit(rank: int, hit: VerseHit) -> Hit:
    portuguese = hit.language.lower().startswith("pt")
    name = display_name(hit.book, Language.PORTUGUESE if portuguese else Language.ENGLISH)
    end = f"-{hit.verse_end}" if hit.verse_end != hit.verse else ""
    place = f"{hit.chapter}:{hit.verse}{end}"
    return Hit(
        rank=rank,
        reference=f"{name} {place}",
        usfm=f"{hit.book} {place}",
        version=hit.version_code,
        language=hit.language,
        text=hit.text,
        score=hit.score,
    )
